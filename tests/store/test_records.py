"""Records: long form and back, and the clear line for what is damaged."""

import numpy as np
import pytest

from stages.errors import SeesawError
from stages.store import records
from stages.store.records import Block

COLUMNS = (("d_loss", ""), ("g_gradient_norm", ""), ("g_gradient_norm", "out.weight"))


def values(steps=4, lanes=3):
    made = np.random.default_rng(0).normal(size=(steps, len(COLUMNS), lanes))
    made[-1, 0, -1], made[-1, 1, 0] = np.nan, np.inf
    return made


def test_what_was_written_is_read(tmp_path):
    steps = np.array([1, 10, 20, 25])
    records.write(tmp_path / "r.parquet", COLUMNS, [4, 7, 2], steps, values())
    found = records.read(tmp_path / "r.parquet")
    np.testing.assert_array_equal(found.values, values())
    assert (found.steps.tolist(), found.seeds.tolist(), found.columns) == (steps.tolist(), [4, 7, 2], COLUMNS)
    np.testing.assert_array_equal(found.series("g_gradient_norm", "out.weight"), values()[:, 2])


def test_the_file_is_long_form_sorted_by_step_and_seed(tmp_path):
    import pyarrow.parquet as pq

    records.write(tmp_path / "r.parquet", COLUMNS, [0, 1], np.array([1, 2]), values(2, 2))
    table = pq.read_table(tmp_path / "r.parquet").to_pydict()
    assert table["step"] == [1] * 6 + [2] * 6
    assert table["seed"] == ([0] * 3 + [1] * 3) * 2
    assert list(zip(table["measure"], table["layer"], strict=True)) == list(COLUMNS) * 4


def test_the_bytes_depend_on_the_values_alone(tmp_path):
    for name in "ab":
        records.write(tmp_path / name, COLUMNS, [0, 1, 2], np.arange(4), values())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_blocks_join_in_order_and_survive_a_file(tmp_path):
    blocks = [Block(COLUMNS, np.array([step]), np.array([step * 100]), values()[index : index + 1]) for index, step in enumerate((1, 2))]
    blocks[0].save(tmp_path / "b.npz")
    joined = Block.join([Block.load(tmp_path / "b.npz"), blocks[1]])
    np.testing.assert_array_equal(joined.values, values()[:2])
    assert (joined.columns, joined.steps.tolist(), joined.at.tolist()) == (COLUMNS, [1, 2], [100, 200])


@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    path = tmp_path / "r.parquet"
    records.write(path, COLUMNS, [0, 1, 2], np.arange(4), values())
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        path.write_text("a,b\n1,2\n")
    with pytest.raises(SeesawError, match=f"r.parquet is {'missing' if damage == 'missing' else 'damaged'}.*run `dvc repro`") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_measure_names_those_there_are(tmp_path):
    records.write(tmp_path / "r", COLUMNS, [0], np.array([1]), values(1, 1))
    with pytest.raises(SeesawError, match=r"'auc'.*d_loss"):
        records.read(tmp_path / "r").series("auc")
