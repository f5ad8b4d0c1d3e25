"""The split: decided by an item's content and the seed, and by nothing else."""

import dataclasses
import math

import numpy as np
import pytest
from datasets_reading import encoded, sides_by_item, write_images
from hypothesis import given
from hypothesis import strategies as st

from stages.store.config import Data
from stages.store.datasets._split import sides
from stages.store.datasets._stream import Batch


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=50), st.integers(), st.randoms())
def test_a_side_depends_on_content_and_seed_alone(contents: list[bytes], seed: int, random):
    data = dataclasses.replace(Data(), seed=seed)
    alone = [int(sides(Batch(np.zeros((1, 1)), contents=[content]), data)[0]) for content in contents]
    order = list(range(len(contents)))
    random.shuffle(order)
    together = sides(Batch(np.zeros((len(contents), 1)), contents=[contents[index] for index in order]), data)
    assert together.tolist() == [alone[index] for index in order]


def test_the_shares_are_those_asked_for_and_another_seed_splits_otherwise():
    batch = Batch(np.arange(20000.0)[:, None])
    data = dataclasses.replace(Data(), validation=0.1, test=0.25)
    first = sides(batch, data)
    share = np.bincount(first, minlength=3) / 20000
    for got, wanted in zip(share, [0.65, 0.1, 0.25], strict=True):
        assert abs(got - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 20000)
    assert (sides(batch, dataclasses.replace(data, seed=1)) != first).mean() > 0.3  # independent sides differ for 1 - .65^2 - .1^2 - .25^2


def test_a_larger_test_share_takes_items_and_gives_none_back():
    batch = Batch(np.arange(2000.0)[:, None])
    small, large = (sides(batch, dataclasses.replace(Data(), test=share)) for share in (0.1, 0.3))
    assert set(np.flatnonzero(small == 2)) < set(np.flatnonzero(large == 2))


def test_minus_zero_lies_with_zero_and_byte_order_does_not_matter():
    values = np.array([[0.0, 1.0], [-0.0, 1.0]])
    data = [dataclasses.replace(Data(), seed=seed) for seed in range(40)]
    assert all(len(set(sides(Batch(values), one).tolist())) == 1 for one in data)
    assert [sides(Batch(values.astype(">f8")), one).tolist() for one in data] == [sides(Batch(values), one).tolist() for one in data]


def test_ten_percent_more_files_move_none(tmp_path, rng):
    folder = tmp_path / "raw"
    write_images(folder / "cats", 150, rng)
    before = sides_by_item("images", folder)
    write_images(folder / "cats", 10, rng)
    write_images(folder / "ants", 5, rng)  # a class that sorts before the others
    after = sides_by_item("images", folder)
    assert len(after) == 165
    assert before.items() <= after.items()
    assert set(before.values()) == {0, 1, 2}


@pytest.mark.parametrize(("shape", "kind"), [((200, 4, 4), np.uint8), ((200, 3), np.float32)])
def test_ten_percent_more_rows_of_an_array_move_none(tmp_path, rng, shape, kind):
    values = (rng.random((220, *shape[1:])) * 255).astype(kind)
    path = tmp_path / "x.npy"
    np.save(path, values[:200])
    before = sides_by_item("array", path)
    np.save(path, np.concatenate([values[200:], values[:200]]))
    after = sides_by_item("array", path)
    assert len(after) == 220
    assert before.items() <= after.items()
    assert set(before.values()) == {0, 1, 2}


def test_ten_percent_more_rows_of_a_table_move_none(tmp_path, rng):
    lines = [f"{a:.3f},{b}" for a, b in zip(rng.random(220), rng.integers(1000, size=220), strict=True)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(["a,b", *lines[:200]]) + "\n")
    before = sides_by_item("table", path)
    path.write_text("\n".join(["a,b", "0.5,7.5", *lines[200:], *lines[:200]]) + "\n")  # b is no column of integers any more
    after = sides_by_item("table", path)
    assert len(after) == 221
    assert before.items() <= after.items()


def test_a_copied_file_lies_on_the_side_of_its_twin_whatever_its_size_and_colour_become(tmp_path, rng):
    for index in range(30):
        content = encoded(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        (tmp_path / f"a{index}.png").write_bytes(content)
        (tmp_path / f"b{index}.png").write_bytes(content)
    split = sides_by_item("images", tmp_path)
    assert len(split) == 30
    assert split == sides_by_item("images", tmp_path, size=4, color="grey", background="black")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
