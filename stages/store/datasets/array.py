"""NumPy arrays: `.npy` or `.npz`, read a few rows at a time and never unpickled."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from stages.errors import SeesawError
from stages.store.arrays import BROKEN
from stages.store.config import Data, listing
from stages.store.datasets import _paths
from stages.store.datasets._stream import LARGEST_ITEM, Batch, Stream, rows_per_batch, shown

LABELS = ("labels", "label", "y")
LARGEST_LABELS = 1 << 30  # bytes: labels are held in memory


class Array(NamedTuple):
    """An array in a file: where it lies, and what its header says."""

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def name(self) -> str:
        """For messages: `file.npz: images`."""
        return shown(self.path.name) + (f": {shown(self.member)}" if self.member else "")


def items(data: Data, path: Path) -> Stream:
    """`uint8` images `[N, H, W]`, `[N, H, W, C]` or `[N, C, H, W]` (C is 1 or 3), or floats `[N, D]`: vectors, standardised.

    An `.npz` holds one array of items and, where there are any, labels `[N]` (integers or text) under `labels`, `label` or `y`.
    """
    found = _paths.files(data, path, [".npy", ".npz"])
    if len(found) > 1:
        raise SeesawError(f"data.path {shown(data.path)} holds {len(found)} arrays: set data.path to one of them")
    array, labelled = _open(found[0])
    classes, labels = (None, None) if labelled is None else _labels(labelled, array)
    if array.dtype.kind == "f":
        return _vectors(array, classes, labels)
    return _images(array, classes, labels)


def _vectors(array: Array, classes: list[str] | None, labels: np.ndarray | None) -> Stream:
    if len(array.shape) != 2 or array.shape[1] == 0:
        raise SeesawError(
            f"{array.name} is {array.dtype} {list(array.shape)}: float arrays are vectors [N, D]; for images save uint8, "
            "from values in [0, 1] by (x * 255).round().astype('uint8')"
        )

    def batches() -> Iterator[Batch]:
        start = 0
        for rows in _rows(array):
            values = rows.astype(np.float64)
            bad = np.argwhere(~np.isfinite(values))
            if len(bad):
                row, column = bad[0]
                raise SeesawError(f"{array.name} has {values[row, column]} in row {start + row}, column {column}: mend or remove the row")
            yield Batch(values, None if labels is None else labels[start : start + len(rows)])
            start += len(rows)

    return Stream("vector", (array.shape[1],), batches, total=array.shape[0], classes=classes, scaling="standard")


def _images(array: Array, classes: list[str] | None, labels: np.ndarray | None) -> Stream:
    if array.dtype != np.uint8 or len(array.shape) not in (3, 4) or 0 in array.shape[1:]:
        raise SeesawError(
            f"{array.name} is {array.dtype} {list(array.shape)}: uint8 images [N, H, W], [N, H, W, C], [N, C, H, W] or float vectors "
            "[N, D] are read; convert with .astype('uint8') or .astype('float32')"
        )
    last = len(array.shape) == 4 and _channels_last(array)
    shape = (1, *array.shape[1:]) if len(array.shape) == 3 else array.shape[1:]
    shape = (shape[2], shape[0], shape[1]) if last else shape

    def batches() -> Iterator[Batch]:
        start = 0
        for rows in _rows(array):
            images = rows.transpose(0, 3, 1, 2) if last else rows
            yield Batch(images.reshape(-1, *shape), None if labels is None else labels[start : start + len(rows)])
            start += len(rows)

    return Stream("image", shape, batches, total=array.shape[0], classes=classes)


def _channels_last(array: Array) -> bool:
    first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
    if first == last:
        trouble = "either end could be the channels" if first else "neither end has 1 or 3 channels"
        raise SeesawError(f"{array.name} is {list(array.shape)}, where {trouble}: save [N, C, H, W] or [N, H, W, C] with C 1 or 3")
    return last


def _open(path: Path) -> tuple[Array, Array | None]:
    """The items and, in an .npz that has them, the labels."""
    if path.suffix.lower() == ".npy":
        return _header(path, None), None
    with _guarded(path), zipfile.ZipFile(path) as archive:
        members = sorted(name.removesuffix(".npy") for name in archive.namelist())
    labels = [name for name in members if name in LABELS]
    arrays = [name for name in members if name not in LABELS]
    if len(arrays) != 1 or len(labels) > 1:
        raise SeesawError(
            f"{shown(path.name)} holds {shown(listing(members)) or 'nothing'}: one array of items is read, and one of labels "
            f"(named {listing(LABELS)})"
        )
    return _header(path, arrays[0]), _header(path, labels[0]) if labels else None


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, *BROKEN) as error:
        raise SeesawError(f"{shown(path.name)} is no readable NumPy file ({shown(str(error))}): save it again") from None


@contextmanager
def _bytes(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    if member is None:
        with path.open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(path) as archive, archive.open(f"{member}.npy") as entry:
            yield entry


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _header(path: Path, member: str | None) -> Array:
    with _guarded(path), _bytes(path, member) as file:
        shape, fortran, dtype = _read_header(file)
    array = Array(path, member, shape, dtype)
    if dtype.hasobject:
        raise SeesawError(f"{array.name} holds Python objects, which are not unpickled here: save plain numbers or text")
    if fortran and len(shape) > 1:
        raise SeesawError(f"{array.name} is stored column by column: save it again with np.ascontiguousarray")
    if dtype.itemsize * math.prod(shape[1:]) > LARGEST_ITEM:
        raise SeesawError(f"{array.name} promises items of {list(shape[1:])} {dtype}: at most {LARGEST_ITEM} bytes an item are read")
    return array


def _rows(array: Array) -> Iterator[np.ndarray]:
    """Some rows at a time; SeesawError when the file is shorter or longer than its header says."""
    row = array.dtype.itemsize * math.prod(array.shape[1:])
    with _guarded(array.path), _bytes(array.path, array.member) as file:
        _read_header(file)
        left = array.shape[0]
        while left:
            count = min(left, rows_per_batch(row))
            content = file.read(count * row)
            if len(content) < count * row:
                raise SeesawError(f"{array.name} is {left * row - len(content)} bytes shorter than its header says: save it again")
            yield np.frombuffer(content, array.dtype).reshape(count, *array.shape[1:])
            left -= count
        if file.read(1):
            raise SeesawError(f"{array.name} goes on after the {list(array.shape)} values of its header: save it again")


def _labels(labels: Array, array: Array) -> tuple[list[str], np.ndarray]:
    if labels.shape != array.shape[:1]:
        raise SeesawError(f"{labels.name} has shape {list(labels.shape)} for {array.shape[0]} items: one label an item is needed")
    if labels.dtype.kind not in "iubU" or labels.dtype.itemsize * labels.shape[0] > LARGEST_LABELS:
        raise SeesawError(f"{labels.name} is {labels.dtype}: labels are integers or text")
    return _paths.classes(np.concatenate([np.zeros(0, labels.dtype), *_rows(labels)]))
