"""Per-step measures: kept as blocks `[steps, columns, lanes]` while training, as long-form Parquet when done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.errors import SeesawError
from stages.store.files import replacing

Column = tuple[str, str]  # (measure, layer); layer "" is the whole lane


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

    def save(self, path: Path) -> None:
        """As .npz, whole or absent."""
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, columns=np.array(self.columns, dtype=str), steps=self.steps, at=self.at, values=self.values)

    @staticmethod
    def load(path: Path) -> "Block":
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as saved:
            columns = tuple((str(measure), str(layer)) for measure, layer in saved["columns"])
            return Block(columns, saved["steps"], saved["at"], saved["values"])


@dataclass(frozen=True)
class Records:
    """A variant's records: `values[t, k, l]` with lanes in the order of `seeds`."""

    steps: np.ndarray
    seeds: np.ndarray
    columns: tuple[Column, ...]
    values: np.ndarray

    def series(self, measure: str, layer: str = "") -> np.ndarray:
        """`[T, L]` of one measure; SeesawError when it was not recorded."""
        if (measure, layer) not in self.columns:
            raise SeesawError(
                f"measure {measure!r} (layer {layer!r}) is not in these records; they hold {sorted({m for m, _ in self.columns})}"
            )
        return self.values[:, self.columns.index((measure, layer))]

    def layers(self, measure: str) -> list[str]:
        """The layers that a measure was recorded for, in the network's order."""
        return [layer for name, layer in self.columns if name == measure and layer]


def write(path: Path, columns: Sequence[Column], seeds: Sequence[int], steps: np.ndarray, values: np.ndarray) -> None:
    """Long-form Parquet sorted by (step, seed, column); the same bytes for the same values."""
    times, kinds, lanes = values.shape
    order = values.transpose(0, 2, 1).reshape(-1)  # [T, L, K]
    measures, measure_index = _dictionary([measure for measure, _ in columns])
    layers, layer_index = _dictionary([layer for _, layer in columns])
    table = pa.table(
        {
            "step": pa.array(np.repeat(steps.astype(np.int32), lanes * kinds)),
            "seed": pa.array(np.tile(np.repeat(np.asarray(seeds, np.int32), kinds), times)),
            "measure": pa.DictionaryArray.from_arrays(np.tile(measure_index, times * lanes), measures),
            "layer": pa.DictionaryArray.from_arrays(np.tile(layer_index, times * lanes), layers),
            "value": pa.array(order),
        }
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read(path: Path) -> Records:
    """What `write` wrote; SeesawError when the file is missing, truncated or of another form."""
    try:
        table = pq.read_table(path)
        steps, seeds = (_distinct(table.column(name).to_numpy()) for name in ("step", "seed"))
        kinds = table.num_rows // (len(steps) * len(seeds))
        names = zip(*(table.column(name).slice(0, kinds).to_pylist() for name in ("measure", "layer")), strict=True)
        columns = tuple((str(measure), str(layer)) for measure, layer in names)
        values = table.column("value").to_numpy().reshape(len(steps), len(seeds), kinds).transpose(0, 2, 1)
    except FileNotFoundError:
        raise SeesawError(f"{path} is missing: run `dvc repro` to train it again") from None
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, ZeroDivisionError) as error:
        raise SeesawError(f"{path} is damaged ({' '.join(str(error).split())}): run `dvc repro` to train it again") from None
    return Records(steps, seeds, columns, values)


def _dictionary(words: list[str]) -> tuple[pa.Array, np.ndarray]:
    distinct = sorted(set(words))
    return pa.array(distinct), np.array([distinct.index(word) for word in words], np.int32)


def _distinct(values: np.ndarray) -> np.ndarray:
    """Distinct values in the order of their first appearance."""
    _, first = np.unique(values, return_index=True)
    return values[np.sort(first)]
