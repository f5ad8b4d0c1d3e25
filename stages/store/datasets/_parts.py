"""A stream dealt out to the files of its three parts, then brought to the scale in which the games see it."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError
from stages.store.arrays import PARTS, ArrayWriter, chunked, rewrite
from stages.store.config import Data
from stages.store.datasets._progress import watched
from stages.store.datasets._split import sides
from stages.store.datasets._stream import Scaling, Stream, shown

LARGEST_VALUE = 1e150  # its square is still a float64


@dataclass
class Parts:
    """What was written: items of each part, labels of each part, and whether every image was grey."""

    counts: dict[str, int]
    labels: dict[str, list[np.ndarray]]
    grey: bool = True
    notes: list[str] = field(default_factory=list)


def deal(stream: Stream, data: Data, folder: Path) -> Parts:
    """Writes train.npy, validation.npy and test.npy (raw values: uint8 or float64) and the labels; an empty part raises SeesawError."""
    parts = Parts(dict.fromkeys(PARTS, 0), {part: [] for part in PARTS})
    dtype = np.uint8 if stream.kind == "image" else np.float64
    with ExitStack() as stack:
        writers = [stack.enter_context(ArrayWriter(folder / f"{part}.npy", dtype, stream.shape)) for part in PARTS]
        for batch in watched(stream.batches(), stream.total):
            side = None if stream.everywhere else sides(batch, data)
            parts.grey = parts.grey and stream.grey_if_all_grey and _is_grey(batch.items)
            for index, (part, writer) in enumerate(zip(PARTS, writers, strict=True)):
                chosen = slice(None) if side is None else side == index
                writer.append(batch.items[chosen])
                parts.counts[part] = writer.count
                if batch.labels is not None:
                    parts.labels[part].append(batch.labels[chosen])
    _check_counts(parts.counts, data)
    if stream.classes is not None:
        for part in PARTS:
            np.save(folder / f"{part}_labels.npy", np.concatenate(parts.labels[part]))
    return parts


def _is_grey(images: np.ndarray) -> bool:
    return bool((images[:, 0] == images[:, 1]).all() and (images[:, 0] == images[:, 2]).all())


def _check_counts(counts: dict[str, int], data: Data) -> None:
    empty = [part for part in PARTS if not counts[part]]
    if not empty:
        return
    total = sum(counts.values())
    what = f"the {empty[0]} part is empty ({total} items; data.validation {data.validation}, data.test {data.test})"
    remedy = "raise its share or add data" if empty[0] != "train" else "lower the other shares or add data"
    raise SeesawError(f"{what}: {remedy}; with few items another data.seed may do")


def finish_images(stream: Stream, parts: Parts, folder: Path) -> tuple[int, ...]:
    """One channel instead of three where the source asked for it and every image is grey; the final shape."""
    if not parts.grey:
        return stream.shape
    shape = (1, *stream.shape[1:])
    for part in PARTS:
        rewrite(folder / f"{part}.npy", np.uint8, shape, lambda rows: rows[:, :1])
    return shape


def finish_vectors(stream: Stream, parts: Parts, folder: Path) -> Scaling:
    """`(raw - offset) / scales` as float32 in every part; the offset and scales."""
    scaling = stream.scaling
    if scaling is None or isinstance(scaling, str):
        scaling = _standard(np.load(folder / "train.npy", mmap_mode="r"), stream, parts)
    offset, scales = np.array(scaling.offset), np.array(scaling.scales)
    for part in PARTS:
        rewrite(folder / f"{part}.npy", np.float32, stream.shape, lambda rows: _scaled(rows, offset, scales, stream))
    return scaling


def _scaled(rows: np.ndarray, offset: np.ndarray, scales: np.ndarray, stream: Stream) -> np.ndarray:
    values = (rows - offset) / scales
    bad = np.argwhere(np.abs(values) > np.finfo(np.float32).max)
    if len(bad):
        raise SeesawError(f"{_column(stream, bad[0][1])} holds a value {values[tuple(bad[0])]:.3g} scales from its mean: remove the row")
    return values.astype(np.float32)


def _standard(train: np.ndarray, stream: Stream, parts: Parts) -> Scaling:
    """Mean and standard deviation (divisor N) of each column over the train part; a column of one value has offset that value, scale 1."""
    low, high = np.full(stream.shape, np.inf), np.full(stream.shape, -np.inf)
    total = np.zeros(stream.shape)
    for rows in chunked(train):
        low, high = np.minimum(low, rows.min(0)), np.maximum(high, rows.max(0))
        total += rows.sum(0)
    large = np.flatnonzero(np.maximum(-low, high) > LARGEST_VALUE)
    if len(large):
        raise SeesawError(f"{_column(stream, large[0])} holds values beyond {LARGEST_VALUE:.0e}: divide the column by a fixed number")
    constant = low == high
    mean = np.where(constant, low, total / len(train))
    scales = np.where(constant, 1.0, np.sqrt(sum(((rows - mean) ** 2).sum(0) for rows in chunked(train)) / len(train)))
    parts.notes += [f"{_column(stream, index)} has one value in the train part: scale 1" for index in np.flatnonzero(constant)]
    return Scaling(mean.tolist(), np.where(scales > 0, scales, 1.0).tolist())


def _column(stream: Stream, index: Any) -> str:
    return f"column {index if stream.columns is None else shown(stream.columns[index])}"
