"""CSV and Parquet tables."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets_reading import opened, whole

from stages.errors import SeesawError


def _csv(folder, text: str, name: str = "x.csv"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_numeric_columns_are_kept_and_the_others_named(tmp_path, separator):
    text = "name,a,b,when\nx,1,2.5,2020-01-01\ny,-3e2, 4 ,2020-01-02\n".replace(",", separator)
    stream = opened("table", _csv(tmp_path, text))
    np.testing.assert_array_equal(whole(stream).items, [[1, 2.5], [-300, 4]])
    assert stream.columns == ["a", "b"]
    assert stream.notes == ["table: column name is not numeric and left out", "table: column when is not numeric and left out"]
    assert (stream.kind, stream.shape, stream.scaling) == ("vector", (2,), "standard")


def test_an_empty_first_cell_does_not_hide_a_numeric_column(tmp_path):
    with pytest.raises(SeesawError, match=r"x.csv: column a, row 1 is empty: a finite number is needed"):
        whole(opened("table", _csv(tmp_path, "a,b\n,1\n2,3\n")))


@pytest.mark.parametrize(
    ("cell", "came"),
    [("nan", "nan"), ("NaN", "NaN"), ("inf", "inf"), ("", "empty"), ("oops", "oops"), ("1_000", "1_000"), ("1e999", "1e999")],
)
def test_a_cell_that_is_no_finite_number_is_named_by_column_and_row(tmp_path, cell, came):
    rows = "\n".join(f"{row},{row}" for row in range(2500))
    with pytest.raises(SeesawError) as caught:
        whole(opened("table", _csv(tmp_path, f"a,b\n{rows}\n7,{cell}\n8,8\n")))
    assert f"x.csv: column b, row 2501 is {came}: a finite number is needed" in str(caught.value)


def test_parquet_and_csv_give_the_same_rows_and_a_folder_is_pooled_by_name(tmp_path):
    values = np.random.default_rng(0).standard_normal((500, 2))
    table = pa.table({"a": values[:, 0], "text": ["x"] * 500, "b": values[:, 1]})
    pq.write_table(table, tmp_path / "b.parquet")
    np.testing.assert_array_equal(whole(opened("table", tmp_path / "b.parquet")).items, values)
    lines = "\n".join(f"{a!r},{b!r}" for a, b in values.tolist())
    _csv(tmp_path, f"a,b\n{lines}\n", "a.csv")
    np.testing.assert_array_equal(whole(opened("table", tmp_path)).items, np.concatenate([values, values]))
    _csv(tmp_path, "a,c\n1,2\n", "c.csv")
    with pytest.raises(SeesawError, match=r"c.csv has the numeric columns a, c and a.csv a, b"):
        opened("table", tmp_path)


def test_a_missing_value_in_parquet_is_named(tmp_path):
    pq.write_table(pa.table({"a": [1, 2, None], "b": [1.0, float("nan"), 2.0]}), tmp_path / "x.parquet")
    with pytest.raises(SeesawError, match="column a, row 3 is empty"):
        whole(opened("table", tmp_path))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.csv"),
        ("a,b\n", "no numeric column"),
        ("a,b\nx,y\n", r"no numeric column \(its columns: a, b\)"),
        ("1,2\n3,4\n", "a first line of column names is needed"),
        ("a,a\n1,2\n", "two columns of one name"),
        ("a,b\n1,2\n1,2,3\n", "x.csv is not readable"),
    ],
)
def test_a_table_that_cannot_be_read_ends_with_one_line(tmp_path, text, words):
    with pytest.raises(SeesawError, match=words) as caught:
        whole(opened("table", _csv(tmp_path, text)))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_and_a_truncated_parquet_file(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a,b\n\xff\xfe,1\n1,2\n")
    with pytest.raises(SeesawError, match=r"x.csv"):
        whole(opened("table", tmp_path))
    (tmp_path / "x.csv").unlink()
    pq.write_table(pa.table({"a": np.arange(1000.0)}), tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-100])
    with pytest.raises(SeesawError, match=r"x.parquet is not readable"):
        opened("table", tmp_path)


def test_a_name_with_control_characters_stays_on_one_line(tmp_path):
    with pytest.raises(SeesawError) as caught:
        whole(opened("table", _csv(tmp_path, '"a\nb\x1b[31m",c\n1,2\nx,2\n')))
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
