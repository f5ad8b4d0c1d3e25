"""The sources that need no file: digits, stacked_digits, ring, grid, dirac."""

import numpy as np
import pytest
from datasets_reading import opened, whole
from sklearn.datasets import load_digits


def test_digits_are_the_real_ones_on_the_whole_range_of_uint8():
    stream = opened("digits")
    batch = whole(stream)
    raw = load_digits()
    assert batch.items.shape == (1797, *stream.shape) == (1797, 1, 8, 8)
    assert batch.items.dtype == np.uint8
    assert batch.items.max() == 255
    np.testing.assert_array_equal(batch.labels, raw.target)
    np.testing.assert_allclose(batch.items[:, 0] * (16 / 255), raw.images, atol=8 / 255)  # half a step of uint8 is 16/255/2


@pytest.mark.parametrize(("source", "count", "std"), [("ring", 8, 0.01), ("grid", 25, 0.05)])
def test_a_mixture_has_its_modes_its_spread_and_equal_shares(source: str, count: int, std: float):
    stream = opened(source, items=20000)
    points = whole(stream).items
    scales = np.array(stream.scaling.scales)
    centres = np.array(stream.modes["centres"])
    assert centres.shape == (count, 2)
    stored = points / scales
    nearest = ((stored[:, None] - centres) ** 2).sum(2).argmin(1)
    assert stream.modes["std"] == pytest.approx(std / scales[0])
    # 40,000 coordinates: the standard error of a standard deviation is std / sqrt(2 * 40000), below 0.4%
    assert (stored - centres[nearest]).std() == pytest.approx(stream.modes["std"], rel=0.02)
    share = np.bincount(nearest, minlength=count) / len(points)
    assert np.abs(share - 1 / count).max() < 5 * np.sqrt((1 / count) / len(points))


def test_the_ring_has_radius_one_and_the_grid_unit_variance():
    ring = np.array(opened("ring").modes["centres"])
    np.testing.assert_allclose(np.linalg.norm(ring, axis=1), 1.0, atol=1e-12)
    grid = np.array(opened("grid").modes["centres"])
    np.testing.assert_allclose(grid.var(axis=0), 1.0, atol=1e-12)
    assert sorted(set((grid[:, 0] * np.sqrt(8)).round(9).tolist())) == [-4, -2, 0, 2, 4]


@pytest.mark.parametrize("source", ["ring", "grid", "stacked_digits"])
def test_more_items_begin_with_the_same_ones_and_another_seed_draws_others(source: str):
    few, many = whole(opened(source, items=4500)).items, whole(opened(source, items=9000)).items
    np.testing.assert_array_equal(many[:4500], few)
    assert not np.array_equal(whole(opened(source, items=4500, seed=1)).items, few)


def test_stacked_digits_are_three_digits_with_the_number_they_spell():
    batch = whole(opened("stacked_digits", items=5000))
    digits = {image.tobytes(): label for image, label in zip(*_digits(), strict=True)}
    spelt = [[digits[channel.tobytes()] for channel in image] for image in batch.items]
    np.testing.assert_array_equal(batch.labels, np.array(spelt) @ [100, 10, 1])
    assert len(opened("stacked_digits").classes) == 1000
    assert len(set(batch.labels.tolist())) > 900  # 5,000 draws leave exp(-5) of 1,000 modes unseen: about 7


def _digits() -> tuple[np.ndarray, np.ndarray]:
    batch = whole(opened("digits"))
    return batch.items[:, 0], batch.labels


def test_dirac_is_the_point_mass_at_zero():
    stream = opened("dirac")
    points = whole(stream).items
    assert points.shape[1:] == stream.shape == (1,)
    assert not points.any()
    assert stream.everywhere
