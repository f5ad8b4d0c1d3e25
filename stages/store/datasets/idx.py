"""MNIST-style IDX files, gzipped or not (the format is at the foot of Yann LeCun's MNIST page).

Header: 0, 0, type (0x08: uint8), number of dimensions, then each dimension as a big-endian uint32; then the values, last axis fastest.
"""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from stages.errors import SeesawError
from stages.store.config import Data
from stages.store.datasets import _paths
from stages.store.datasets._stream import LARGEST_ITEM, Batch, Stream, rows_per_batch, shown

LARGEST_LABELS = 1 << 28  # labels are held in memory: a file that promises more is refused


class Pair(NamedTuple):
    """A file of images, its dimensions, and the labels file that belongs to it by name."""

    images: Path
    dimensions: tuple[int, ...]
    labels: Path | None


def items(data: Data, path: Path) -> Stream:
    """Every pair `...images-idx3...` / `...labels-idx1...` of a folder, pooled in order of name; or one file of images.

    A pair's plain file is preferred to its gzipped twin. Labels are kept when every file of images has them.
    """
    pairs = _pairs(data, path)
    shape = _common_shape(pairs)
    names, labels = _labels(pairs)

    def batches() -> Iterator[Batch]:
        start = 0
        for pair in pairs:
            for rows in _values(pair.images, pair.dimensions):
                part = None if labels is None else labels[start : start + len(rows)]
                yield Batch(rows.reshape(-1, *shape), part)
                start += len(rows)

    total = sum(pair.dimensions[0] for pair in pairs)
    return Stream("image", shape, batches, total=total, classes=names, notes=[f"idx: {shown(pair.images.name)}" for pair in pairs])


def _pairs(data: Data, path: Path) -> list[Pair]:
    if _paths.existing(data, path).is_file():
        return [Pair(path, _image_header(path), _partner(path))]
    found = sorted(entry for entry in path.iterdir() if re.search("images.*idx[34]", entry.name) and _wanted(entry, path))
    if not found:
        raise _paths.nothing(data, "IDX file (...images-idx3-ubyte, gzipped or not)")
    pairs = [Pair(entry, _image_header(entry), _partner(entry)) for entry in found]
    used = {_stem(pair.labels) for pair in pairs if pair.labels}
    for entry in sorted(path.iterdir()):
        if re.search("labels.*idx1", entry.name) and not entry.name.startswith(".") and _stem(entry) not in used:
            raise SeesawError(
                f"{shown(entry.name)} has no file of images beside it: add {shown(_other(entry.name, to='images'))} or remove it"
            )
    return pairs


def _wanted(entry: Path, folder: Path) -> bool:
    """A visible file, and not the gzipped twin of a plain one."""
    if entry.name.startswith(".") or not entry.is_file():
        return False
    _paths.inside(entry, folder)
    return entry.suffix != ".gz" or not entry.with_suffix("").is_file()


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz")


def _other(name: str, to: str) -> str:
    """The name of the file that belongs to this one: images and idx3 (or idx4) become labels and idx1, and back."""
    if to == "labels":
        return re.sub("idx[34]", "idx1", name.replace("images", "labels"))
    return name.replace("labels", "images").replace("idx1", "idx3")


def _partner(images: Path) -> Path | None:
    plain = images.with_name(_other(_stem(images), to="labels"))
    if plain.name == _stem(images):
        return None
    return next((path for path in (plain, plain.with_name(plain.name + ".gz")) if path.is_file()), None)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where it is gzipped (told by its first two bytes, not by its name)."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
    except (EOFError, zlib.error, OSError) as error:
        raise SeesawError(f"{shown(path.name)} is damaged ({error}): fetch it again") from None


def _header(path: Path) -> tuple[int, ...]:
    with _opened(path) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0":
            raise SeesawError(f"{shown(path.name)} is no IDX file: it begins with {magic.hex() or 'nothing'}, not with 0000 (magic number)")
        if magic[2] != 0x08:
            raise SeesawError(f"{shown(path.name)} holds values of IDX type 0x{magic[2]:02x}: only 0x08 (uint8) is read")
        sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise SeesawError(f"{shown(path.name)} ends within its header: fetch it again")
    return struct.unpack(f">{magic[3]}I", sizes)


def _image_header(path: Path) -> tuple[int, ...]:
    dimensions = _header(path)
    if len(dimensions) not in (3, 4) or 0 in dimensions[1:]:
        raise SeesawError(f"{shown(path.name)} has dimensions {list(dimensions)}: images need [N, H, W] or [N, C, H, W]")
    if math.prod(dimensions[1:]) > LARGEST_ITEM:
        raise SeesawError(f"{shown(path.name)} promises items of {list(dimensions[1:])}: at most {LARGEST_ITEM} bytes an item are read")
    return dimensions


def _common_shape(pairs: list[Pair]) -> tuple[int, ...]:
    first = pairs[0]
    for pair in pairs[1:]:
        if pair.dimensions[1:] != first.dimensions[1:]:
            raise SeesawError(
                f"{shown(pair.images.name)} has items of {list(pair.dimensions[1:])} and {shown(first.images.name)} of "
                f"{list(first.dimensions[1:])}: pooled files must agree"
            )
    channels = first.dimensions[1] if len(first.dimensions) == 4 else 1
    if channels not in (1, 3):
        raise SeesawError(f"{shown(first.images.name)} has {channels} channels ({list(first.dimensions)}): 1 or 3 are read")
    return (channels, *first.dimensions[-2:])


def _labels(pairs: list[Pair]) -> tuple[list[str] | None, np.ndarray | None]:
    """Class names and all labels, or None twice when no file of images has labels."""
    if all(pair.labels is None for pair in pairs):
        return None, None
    values = []
    for pair in pairs:
        if pair.labels is None:
            raise SeesawError(f"{shown(pair.images.name)} has no labels beside it, while other files have: add them or remove all labels")
        dimensions = _header(pair.labels)
        if len(dimensions) != 1 or dimensions[0] > LARGEST_LABELS:
            raise SeesawError(f"{shown(pair.labels.name)} has dimensions {list(dimensions)}: labels need [N]")
        if dimensions[0] != pair.dimensions[0]:
            raise SeesawError(
                f"{shown(pair.labels.name)} holds {dimensions[0]} labels and {shown(pair.images.name)} {pair.dimensions[0]} images: "
                "the counts must be equal"
            )
        values += list(_values(pair.labels, dimensions))
    names, labels = _paths.classes(np.concatenate(values) if values else np.zeros(0, np.uint8))
    return names, labels


def _values(path: Path, dimensions: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The file's values, some rows at a time; SeesawError when they end early or go on after the last."""
    row = math.prod(dimensions[1:])
    with _opened(path) as file:
        file.read(4 + 4 * len(dimensions))
        left = dimensions[0]
        while left:
            count = min(left, rows_per_batch(row))
            content = file.read(count * row)
            if len(content) < count * row:
                missing = left * row - len(content)
                raise SeesawError(
                    f"{shown(path.name)} is {missing} bytes shorter than its header says ({list(dimensions)}): fetch it again"
                )
            yield np.frombuffer(content, np.uint8).reshape(count, *dimensions[1:])
            left -= count
        if file.read(1):
            raise SeesawError(f"{shown(path.name)} goes on after the {list(dimensions)} values of its header: fetch it again")
