"""Measures while training: kept as blocks `[steps, columns, lanes]` while training, as long-form Parquet when done.

Not every measure is taken at every step. Measures taken at the same steps form one regular table; a file holds several tables.
"""

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.errors import SeesawError
from stages.store.files import replacing

Column = tuple[str, str]  # (measure, layer); layer "" is the whole lane
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, TypeError, KeyError, NotImplementedError, AttributeError)
PARTS = ("columns", "steps", "at", "values")


@dataclass(frozen=True)
class Block:
    """Rows recorded together: `values[t, k, l]` is column k of lane l at `steps[t]`, done at `at[t]` (Unix milliseconds)."""

    columns: tuple[Column, ...]
    steps: np.ndarray  # int64 [T]
    at: np.ndarray  # int64 [T]
    values: np.ndarray  # float64 [T, K, L]

    @staticmethod
    def join(blocks: "Sequence[Block]") -> "Block":
        """Blocks of the same columns and lanes, one after the other."""
        return Block(
            blocks[0].columns,
            np.concatenate([block.steps for block in blocks]),
            np.concatenate([block.at for block in blocks]),
            np.concatenate([block.values for block in blocks]),
        )


def save_blocks(path: Path, blocks: Mapping[str, Block]) -> None:
    """Blocks by the name of their table, as one .npz, whole or absent."""
    named: dict[str, Any] = {
        f"{table}/{part}": np.array(block.columns, dtype=str) if part == "columns" else getattr(block, part)
        for table, block in blocks.items()
        for part in PARTS
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **named)


def load_blocks(path: Path) -> dict[str, Block]:
    """What `save_blocks` wrote; SeesawError when it is damaged (every member's checksum is verified)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            tables = dict.fromkeys(name.partition("/")[0] for name in saved.files)
            return {table: _block(*(saved[f"{table}/{part}"] for part in PARTS)) for table in tables}
    except DAMAGED as error:
        raise SeesawError(f"{path} is damaged ({' '.join(str(error).split())}): run `dvc repro` to train it again") from None


def _block(columns: np.ndarray, steps: np.ndarray, at: np.ndarray, values: np.ndarray) -> Block:
    return Block(tuple((str(measure), str(layer)) for measure, layer in columns), steps, at, values)


@dataclass(frozen=True)
class Table:
    """Measures taken at the same steps: `values[t, k, l]`, lanes in the order of the seeds."""

    columns: tuple[Column, ...]
    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Records:
    """A variant's records, lanes in the order of `seeds`. The first table is the one of the file's first row."""

    seeds: np.ndarray
    tables: tuple[Table, ...]

    @property
    def steps(self) -> np.ndarray:
        """The steps of the first table: those at which every step's own measures are recorded."""
        return self.tables[0].steps

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every (measure, layer) there is, table by table."""
        return tuple(column for table in self.tables for column in table.columns)

    def has(self, measure: str, layer: str = "") -> bool:
        """Whether that was recorded."""
        return (measure, layer) in self.columns

    def series(self, measure: str, layer: str = "") -> np.ndarray:
        """`[T, L]` of one measure at its own steps (`steps_of`); SeesawError when it was not recorded."""
        table = self._table(measure, layer)
        return table.values[:, table.columns.index((measure, layer))]

    def steps_of(self, measure: str, layer: str = "") -> np.ndarray:
        """The steps `[T]` at which one measure was recorded; SeesawError when it was not."""
        return self._table(measure, layer).steps

    def layers(self, measure: str) -> list[str]:
        """The layers that a measure was recorded for, in the network's order."""
        return [layer for name, layer in self.columns if name == measure and layer]

    def _table(self, measure: str, layer: str) -> Table:
        for table in self.tables:
            if (measure, layer) in table.columns:
                return table
        held = sorted({name for name, _ in self.columns})
        raise SeesawError(f"measure {measure!r} (layer {layer!r}) is not in these records; they hold {held}")


def write(path: Path, seeds: Sequence[int], blocks: Iterable[Block]) -> None:
    """Long-form Parquet sorted by (step, seed, table, column); the same bytes for the same values. No column stands in two blocks."""
    blocks = list(blocks)
    columns = [column for block in blocks for column in block.columns]
    measures, measure_of = _dictionary([measure for measure, _ in columns])
    layers, layer_of = _dictionary([layer for _, layer in columns])
    step, lane, column, value = (np.concatenate(parts) for parts in zip(*_rows(blocks), strict=True))
    order = np.lexsort((column, lane, step))
    kinds = column[order]
    table = pa.table(
        {
            "step": pa.array(step[order].astype(np.int32)),
            "seed": pa.array(np.asarray(seeds, np.int32)[lane[order]]),
            "measure": pa.DictionaryArray.from_arrays(measure_of[kinds], measures),
            "layer": pa.DictionaryArray.from_arrays(layer_of[kinds], layers),
            "value": pa.array(value[order]),
        }
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _rows(blocks: Iterable[Block]) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """(step, lane, column, value) of every number; columns count on from block to block."""
    first = 0
    for block in blocks:
        kinds, lanes = block.values.shape[1:]
        step, column, lane = np.meshgrid(block.steps, np.arange(first, first + kinds), np.arange(lanes), indexing="ij")
        yield step.reshape(-1), lane.reshape(-1), column.reshape(-1), block.values.reshape(-1)
        first += kinds


def read(path: Path) -> Records:
    """What `write` wrote; SeesawError when the file is missing, truncated or of another form."""
    try:
        table = pq.read_table(path)
        steps, seeds, values = (table.column(name).to_numpy() for name in ("step", "seed", "value"))
        kinds, names = _columns(table)
        return _tables(steps, seeds, values, kinds, names)
    except FileNotFoundError:
        raise SeesawError(f"{path} is missing: run `dvc repro` to train it again") from None
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError) as error:
        raise SeesawError(f"{path} is damaged ({' '.join(str(error).split())}): run `dvc repro` to train it again") from None


def _columns(table: pa.Table) -> tuple[np.ndarray, list[Column]]:
    """The number of each row's column, counted in the order of first appearance, and their names."""
    parts = [table.column(name).combine_chunks().dictionary_encode() for name in ("measure", "layer")]
    (measures, measure), (layers, layer) = ((part.dictionary.to_pylist(), part.indices.to_numpy()) for part in parts)
    codes, first, inverse = np.unique(measure.astype(np.int64) * len(layers) + layer, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.argsort(order)
    return place[inverse], [(str(measures[code // len(layers)]), str(layers[code % len(layers)])) for code in codes[order]]


def _tables(steps: np.ndarray, seeds: np.ndarray, values: np.ndarray, kinds: np.ndarray, names: Sequence[Column]) -> Records:
    """Columns taken at the same steps together; ValueError where a column lacks a lane at one of its steps."""
    if not len(names):
        raise ValueError("it holds no row")
    lanes = _distinct(seeds)
    order = np.argsort(kinds, kind="stable")
    found: dict[bytes, tuple[np.ndarray, list[Column], list[np.ndarray]]] = {}
    for name, rows in zip(names, np.split(order, np.cumsum(np.bincount(kinds))[:-1]), strict=True):
        own = steps[rows[:: len(lanes)]]
        if not np.array_equal(steps[rows], np.repeat(own, len(lanes))) or not np.array_equal(seeds[rows], np.tile(lanes, len(own))):
            raise ValueError(f"rows of {' '.join(name).strip()} are missing")
        _, columns, series = found.setdefault(own.tobytes(), (own, [], []))
        columns.append(name)
        series.append(values[rows].reshape(len(own), len(lanes)))
    return Records(lanes, tuple(Table(tuple(columns), own, np.stack(series, 1)) for own, columns, series in found.values()))


def _dictionary(words: list[str]) -> tuple[pa.Array, np.ndarray]:
    distinct = sorted(set(words))
    return pa.array(distinct), np.array([distinct.index(word) for word in words], np.int32)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Distinct values in the order of their first appearance."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]
