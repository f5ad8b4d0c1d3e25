"""Records: long form and back, and the clear line for what is damaged."""

import numpy as np
import pytest

from stages.errors import SeesawError
from stages.store import records, scratch
from stages.store.records import Block

COLUMNS = (("d_loss", ""), ("g_gradient_norm", ""), ("g_gradient_norm", "out.weight"))


def values(steps=4, lanes=3):
    made = np.random.default_rng(0).normal(size=(steps, len(COLUMNS), lanes))
    made[-1, 0, -1], made[-1, 1, 0] = np.nan, np.inf
    return made


def block(steps, made=None, columns=COLUMNS):
    made = values(len(steps)) if made is None else made
    return Block(columns, np.array(steps), np.array(steps) * 100, made)


def test_what_was_written_is_read(tmp_path):
    records.write(tmp_path / "r.parquet", [4, 7, 2], [block([1, 10, 20, 25])])
    found = records.read(tmp_path / "r.parquet")
    np.testing.assert_array_equal(found.tables[0].values, values())
    assert (found.steps.tolist(), found.seeds.tolist(), found.columns) == ([1, 10, 20, 25], [4, 7, 2], COLUMNS)
    np.testing.assert_array_equal(found.series("g_gradient_norm", "out.weight"), values()[:, 2])


RARE = (("drive", ""), ("dead", "up.1"))


def test_measures_of_other_steps_are_tables_of_their_own(tmp_path):
    """Measures taken rarely, at steps that the others do and do not share, are read back exactly, each with its own steps."""
    rare = np.random.default_rng(1).normal(size=(3, 2, 3))
    once = np.full((1, 1, 3), np.nan)
    tables = [block([1, 10, 20, 25]), block([2, 20, 25], rare, RARE), block([13], once, (("count", "up.1"),))]
    records.write(tmp_path / "r.parquet", [4, 7, 2], tables)
    found = records.read(tmp_path / "r.parquet")
    assert [table.steps.tolist() for table in found.tables] == [[1, 10, 20, 25], [2, 20, 25], [13]]
    assert (found.steps.tolist(), found.steps_of("drive").tolist()) == ([1, 10, 20, 25], [2, 20, 25])
    assert found.columns == (*COLUMNS, *RARE, ("count", "up.1"))
    np.testing.assert_array_equal(found.series("d_loss"), values()[:, 0])
    np.testing.assert_array_equal(found.series("dead", "up.1"), rare[:, 1])
    np.testing.assert_array_equal(found.series("count", "up.1"), once[:, 0])
    assert (found.layers("dead"), found.has("drive"), found.has("drive", "up.1")) == (["up.1"], True, False)


def test_steps_of_both_tables_stand_side_by_side_in_the_file(tmp_path):
    import pyarrow.parquet as pq

    records.write(tmp_path / "r.parquet", [0], [block([1, 2], values(2, 1)), block([2], np.zeros((1, 2, 1)), RARE)])
    table = pq.read_table(tmp_path / "r.parquet").to_pydict()
    assert table["step"] == [1] * 3 + [2] * 5
    assert list(zip(table["measure"], table["layer"], strict=True)) == [*COLUMNS, *COLUMNS, *RARE]


def test_the_file_is_long_form_sorted_by_step_and_seed(tmp_path):
    import pyarrow.parquet as pq

    records.write(tmp_path / "r.parquet", [0, 1], [block([1, 2], values(2, 2))])
    table = pq.read_table(tmp_path / "r.parquet").to_pydict()
    assert table["step"] == [1] * 6 + [2] * 6
    assert table["seed"] == ([0] * 3 + [1] * 3) * 2
    assert list(zip(table["measure"], table["layer"], strict=True)) == list(COLUMNS) * 4


def test_the_bytes_depend_on_the_values_alone(tmp_path):
    for name in "ab":
        records.write(tmp_path / name, [0, 1, 2], [block(range(4)), block([2], np.ones((1, 2, 3)), RARE)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_blocks_join_in_order_and_survive_a_file(tmp_path):
    blocks = [block([step], values()[index : index + 1]) for index, step in enumerate((1, 2))]
    records.save_blocks(tmp_path / "b.npz", {"steps": blocks[0], "rare": block([1], np.ones((1, 2, 3)), RARE)})
    loaded = records.load_blocks(tmp_path / "b.npz")
    assert (list(loaded), loaded["rare"].columns) == (["steps", "rare"], RARE)
    joined = Block.join([loaded["steps"], blocks[1]])
    np.testing.assert_array_equal(joined.values, values()[:2])
    assert (joined.columns, joined.steps.tolist(), joined.at.tolist()) == (COLUMNS, [1, 2], [100, 200])


def test_checkpoints_give_every_table_in_order(tmp_path):
    """A table that some checkpoints did not add to is whole all the same."""
    kept = scratch.Checkpoints(tmp_path)
    rare = block([2], np.ones((1, 2, 3)), RARE)
    for step, blocks in ((1, {"steps": block([1], values(1))}), (2, {"steps": block([2], values(1)), "rare": rare}), (3, {})):
        kept.save(step, {"step": np.array(step)}, blocks)
    found = kept.blocks()
    assert {name: one.steps.tolist() for name, one in found.items()} == {"steps": [1, 2], "rare": [2]}
    np.testing.assert_array_equal(found["rare"].values, rare.values)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other", "empty", "rows"])
def test_a_damaged_file_is_one_clear_line(tmp_path, damage):
    import pyarrow.parquet as pq

    path = tmp_path / "r.parquet"
    records.write(path, [0, 1, 2], [block(range(4)), block([2], np.ones((1, 2, 3)), RARE)])
    whole = pq.read_table(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "other":
        path.write_text("a,b\n1,2\n")
    else:
        pq.write_table(whole.slice(0, 0) if damage == "empty" else whole.slice(0, whole.num_rows - 1), path)
    with pytest.raises(SeesawError, match=f"r.parquet is {'missing' if damage == 'missing' else 'damaged'}.*run `dvc repro`") as caught:
        records.read(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_measure_names_those_there_are(tmp_path):
    records.write(tmp_path / "r", [0], [block([1], values(1, 1))])
    with pytest.raises(SeesawError, match=r"'auc'.*d_loss"):
        records.read(tmp_path / "r").series("auc")
