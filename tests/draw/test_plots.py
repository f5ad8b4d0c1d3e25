"""Pictures: what is drawn where, and the same bytes every time."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.draw.dag import EDGES, NODES, dag
from stages.draw.plots import GAP, GAP_GREY, sample_grid, scatter_grid


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def generated(path: Path) -> np.ndarray:
    """Where the picture is orange: generated points, however thin."""
    red, _, blue = np.moveaxis(rgb(path), 2, 0)
    return red - blue > 60


def dark(path: Path) -> int:
    """Nearly black pixels: marks of centres (and words)."""
    return int((rgb(path).sum(axis=2) < 330).sum())


def test_a_grid_has_a_row_per_lane_a_column_per_noise_and_whole_pixels(tmp_path):
    samples = np.linspace(-1, 1, 3 * 5 * 8 * 8).reshape(3, 5, 1, 8, 8)
    sample_grid(samples, tmp_path / "grid.png")
    drawn = pixels(tmp_path / "grid.png")
    side = 64  # 8 pixels, eight times
    assert drawn.shape == (3 * (side + GAP) - GAP, 5 * (side + GAP) - GAP)
    for lane in range(3):
        for column in range(5):
            top, left = lane * (side + GAP), column * (side + GAP)
            tile = drawn[top : top + side : 8, left : left + side : 8]
            assert np.array_equal(tile, np.rint((samples[lane, column, 0] + 1) * 127.5))
    assert (drawn[side : side + GAP] == GAP_GREY).all()


def test_colours_are_kept_and_values_beyond_the_range_are_cut(tmp_path):
    samples = np.zeros((1, 1, 3, 64, 64))
    samples[0, 0, 0], samples[0, 0, 1], samples[0, 0, 2] = 5.0, -5.0, 0.0
    sample_grid(samples, tmp_path / "grid.png")
    assert (pixels(tmp_path / "grid.png") == (255, 0, 128)).all()


@pytest.mark.parametrize(("channels", "shown"), [(2, 1), (3, 3), (4, 3)])
def test_other_channel_counts_are_drawn_by_their_first_ones(tmp_path, channels, shown):
    sample_grid(np.zeros((1, 2, channels, 16, 16)), tmp_path / "grid.png")
    assert pixels(tmp_path / "grid.png").reshape(64, -1, shown).shape == (64, 64 * 2 + GAP, shown)


def test_a_lane_that_is_not_finite_is_hatched_and_the_others_are_not(tmp_path):
    samples = np.full((2, 2, 1, 8, 8), -1.0)
    samples[1] = np.nan
    sample_grid(samples, tmp_path / "grid.png")
    drawn = pixels(tmp_path / "grid.png")
    assert (drawn[:64, :64] == 0).all()
    assert len(np.unique(drawn[66:, :64])) == 2


def test_at_most_eight_lanes_are_drawn(tmp_path):
    sample_grid(np.zeros((12, 1, 1, 64, 64)), tmp_path / "grid.png")
    assert pixels(tmp_path / "grid.png").shape[0] == 8 * (64 + GAP) - GAP


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (0, 3, 1, 8, 8)])
def test_a_grid_of_another_shape_is_refused(tmp_path, shape):
    with pytest.raises(ValueError, match="lanes, n, channels, height, width"):
        sample_grid(np.zeros(shape), tmp_path / "grid.png")


def ring(n: int, seed: int = 0) -> np.ndarray:
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_generated_points_lie_where_they_are(tmp_path):
    """All generated points at the right of the ring: the left half of the panel shows none."""
    real, drawn = ring(500), np.full((1, 200, 2), (1.0, 0.0)) + 0.02 * np.random.default_rng(1).normal(size=(1, 200, 2))
    scatter_grid(real, drawn, tmp_path / "scatter.png", None)
    seen = generated(tmp_path / "scatter.png")
    half = seen.shape[1] // 2
    assert seen[:, half:].sum() > 20
    assert seen[:, :half].sum() == 0


def test_known_centres_are_marked(tmp_path):
    centres = {"centres": [[0.0, 0.0]], "std": 0.1, "names": None}
    scatter_grid(ring(200), ring(200)[None], tmp_path / "with.png", centres)
    scatter_grid(ring(200), ring(200)[None], tmp_path / "without.png", None)
    assert dark(tmp_path / "with.png") > dark(tmp_path / "without.png")


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_every_dimension_is_drawn_and_twice_the_same(tmp_path, dimensions):
    rng = np.random.default_rng(0)
    real, samples = rng.normal(size=(300, dimensions)), rng.normal(size=(3, 100, dimensions))
    samples[1] = np.nan
    for name in ("a", "b"):
        scatter_grid(real, samples, tmp_path / f"{name}.png", None)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert generated(tmp_path / "a.png").any()


def test_a_point_mass_can_be_drawn(tmp_path):
    scatter_grid(np.zeros((10, 1)), np.ones((2, 10, 1)), tmp_path / "dirac.png", None)
    assert generated(tmp_path / "dirac.png").any()


def test_more_than_two_dimensions_are_seen_along_the_widest_spread(tmp_path):
    """Two clusters far apart along a diagonal of five dimensions: generated ones at one end fill one half of the panel."""
    rng = np.random.default_rng(0)
    ends = np.where(rng.random(400) < 0.5, 5.0, -5.0)[:, None] * np.ones(5) + 0.1 * rng.normal(size=(400, 5))
    scatter_grid(ends, ends[ends[:, 0] > 0][None], tmp_path / "scatter.png", None)
    seen = generated(tmp_path / "scatter.png").sum(axis=0)
    half = len(seen) // 2
    assert seen[half:].sum() > 0
    assert seen[:half].sum() == 0


def test_scatters_of_other_shapes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="lanes, n, D"):
        scatter_grid(np.zeros((5, 2)), np.zeros((1, 5, 3)), tmp_path / "scatter.png", None)


def test_the_graph_names_every_node_and_stays_the_same(tmp_path):
    dag(tmp_path / "a.svg")
    dag(tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    named = [element.text for element in ElementTree.fromstring(text).iter() if element.get("class") == "name"]  # noqa: S314
    assert [str(name).removesuffix("@v") for name in named] == list(NODES)
    assert text.count('class="edge"') == len(EDGES)
    committed = Path(__file__).parents[2] / "docs" / "dag.svg"
    assert committed.read_text(encoding="utf-8") == text
