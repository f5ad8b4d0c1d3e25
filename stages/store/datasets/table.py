"""Numeric columns of CSV or Parquet files, standardised by the train part."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from stages.errors import SeesawError
from stages.store.config import Data, listing
from stages.store.datasets import _paths
from stages.store.datasets._stream import Batch, Stream, rows_per_batch, shown

LOOK = 1000  # rows in which a column of text shows whether it holds numbers


def items(data: Data, path: Path) -> Stream:
    """One file, or every `.csv` and `.parquet` file of a folder in order of name, with the same numeric columns.

    A CSV column is numeric when its first filled cell is a number; from there on a cell that is none is an error. Other columns are
    left out and named in a note.
    """
    found = _paths.files(data, path, [".csv", ".parquet"])
    columns, left_out = _columns(found[0])
    for other in found[1:]:
        if _columns(other)[0] != columns:
            raise SeesawError(
                f"{shown(other.name)} has the numeric columns {shown(listing(_columns(other)[0]))} and "
                f"{shown(found[0].name)} {shown(listing(columns))}: pooled files must agree"
            )
    if not columns:
        raise SeesawError(
            f"{shown(found[0].name)} has no numeric column (its columns: {shown(listing(left_out)) or 'none'}): at least one is needed"
        )

    def batches() -> Iterator[Batch]:
        for file in found:
            start = 1
            for table in _tables(file):
                yield Batch(np.stack([_numbers(table.column(column), file, column, start) for column in columns], axis=1))
                start += table.num_rows

    notes = [f"table: column {shown(name)} is not numeric and left out" for name in left_out]
    return Stream("vector", (len(columns),), batches, total=_total(found), columns=columns, scaling="standard", notes=notes)


def _total(found: list[Path]) -> int | None:
    if any(file.suffix.lower() == ".csv" for file in found):
        return None
    return sum(pa.parquet.read_metadata(file).num_rows for file in found)


@contextmanager
def _guarded(file: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error, EOFError) as error:
        raise SeesawError(f"{shown(file.name)} is not readable ({shown(' '.join(str(error).split()))}): mend it or save it again") from None


def _columns(file: Path) -> tuple[list[str], list[str]]:
    """Names of the numeric columns and of the others, in the file's order."""
    with _guarded(file):
        if file.suffix.lower() == ".csv":
            head = next(_tables(file), None)
            names = _csv_header(file)
            numeric = [] if head is None else [name for name in names if _looks_numeric(head.column(name).slice(0, LOOK))]
        else:
            schema = pa.parquet.read_schema(file)
            names = schema.names
            numeric = [field.name for field in schema if _is_number(field.type)]
    if len(set(names)) < len(names):
        raise SeesawError(f"{shown(file.name)} has two columns of one name ({shown(listing(names))}): rename one")
    return numeric, [name for name in names if name not in numeric]


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _looks_numeric(cells: pa.ChunkedArray) -> bool:
    first = next((cell for cell in cells.to_pylist() if cell), None)
    return first is not None and _number(first) is not None


def _number(cell: str) -> float | None:
    """As Arrow reads it: no underscores, which float() would take."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _csv_header(file: Path) -> list[str]:
    with file.open(encoding="utf-8-sig", newline="") as text:
        delimiter = _delimiter(text.readline(1 << 20))
        text.seek(0)
        names = next(csv.reader(text, delimiter=delimiter), [])  # a quoted name may hold a newline
    if not names:
        raise SeesawError(f"{shown(file.name)} is empty: a line of column names and rows of numbers are needed")
    if all(_number(name) is not None for name in names):
        raise SeesawError(f"{shown(file.name)} begins with numbers: a first line of column names is needed")
    if len(set(names)) < len(names):
        raise SeesawError(f"{shown(file.name)} has two columns of one name ({shown(listing(names))}): rename one")
    return names


def _tables(file: Path) -> Iterator[pa.RecordBatch]:
    """Some rows at a time: text columns from CSV, typed ones from Parquet."""
    with _guarded(file):
        if file.suffix.lower() == ".csv":
            names = _csv_header(file)
            with file.open(encoding="utf-8-sig", newline="") as text:
                delimiter = _delimiter(text.readline(1 << 20))
            yield from pa.csv.open_csv(
                file,
                read_options=pa.csv.ReadOptions(use_threads=False),
                parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
            )
        else:
            opened = pa.parquet.ParquetFile(file)
            yield from opened.iter_batches(batch_size=rows_per_batch(8 * max(1, len(opened.schema_arrow))), use_threads=False)


def _numbers(cells: pa.Array, file: Path, column: str, start: int) -> np.ndarray:
    """One column as float64; SeesawError names the first cell that is not a finite number. Rows count from 1, the header left out."""
    values = _cast(cells)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        cell = cells[row].as_py()
        came = "empty" if cell in (None, "") else shown(str(cell))
        raise SeesawError(
            f"{shown(file.name)}: column {shown(column)}, row {start + row} is {came}: a finite number is needed; mend or remove the row"
        )
    return values


def _cast(cells: pa.Array) -> np.ndarray:
    """float64, NaN where a cell is missing or no number."""
    try:
        return cells.cast(pa.float64(), safe=pa.types.is_string(cells.type)).fill_null(np.nan).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # some cell of a text column: find it one by one
        return np.array([np.nan if (number := _number(cell)) is None else number for cell in cells.to_pylist()], dtype=np.float64)
