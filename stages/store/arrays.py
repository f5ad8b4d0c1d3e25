"""The prepared data (docs/formats.md): a growing .npy file to write it, memory maps to read it."""

import hashlib
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap  # as np.load with a memory map, but of .npy alone

from stages.errors import SeesawError
from stages.store import layout
from stages.store.files import read_json

PARTS = ("train", "validation", "test")
BROKEN = (ValueError, EOFError, OSError, SyntaxError, TokenError)  # what NumPy raises on a file that is no array: its header is Python
REMEDY = "run `dvc repro prepare`"
CHUNK_BYTES = 1 << 24


class ArrayWriter:
    """A .npy file that grows by rows; closed, it is byte for byte what np.save would have written of the whole."""

    def __init__(self, path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape, self.count = np.dtype(dtype), shape, 0
        self.file = path.open("wb")
        self._header()

    def append(self, rows: np.ndarray) -> None:
        """Adds `[n, *shape]` rows; another shape raises ValueError."""
        if rows.shape[1:] != self.shape:
            raise ValueError(f"rows of {rows.shape[1:]} in an array of {self.shape}")
        self.file.write(np.ascontiguousarray(rows, self.dtype).tobytes())
        self.count += len(rows)

    def _header(self) -> None:
        # NumPy pads the header so that the number of rows can be written later in the same place
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.count, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)

    def __enter__(self) -> "ArrayWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self.file:
            self.file.seek(0)
            self._header()


def chunked(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array's rows, about 16 MiB at a time. A mapped file's are read, so that its pages do not gather in this process."""
    size = array[:1].nbytes
    rows = max(1, CHUNK_BYTES // max(1, size))
    for start in range(0, len(array), rows):
        some = array[start : start + rows]
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.flags.c_contiguous:
            some = np.fromfile(array.filename, array.dtype, some.size, offset=array.offset + start * size).reshape(some.shape)
        yield some


def rewrite(path: Path, dtype: Any, shape: tuple[int, ...], change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Puts `change(rows)` in the place of every row of a .npy file, some rows at a time."""
    changed = path.with_name(f".{path.name}.changed")
    with ArrayWriter(changed, dtype, shape) as writer:
        for rows in chunked(np.load(path, mmap_mode="r", allow_pickle=False)):
            writer.append(change(rows))
    changed.replace(path)


def digest(folder: Path) -> str:
    """sha256 over names, dtypes, shapes and bytes of the arrays and labels of a prepared folder, in the order of PARTS."""
    total = hashlib.sha256()
    for name in (f"{part}{suffix}" for part in PARTS for suffix in ("", "_labels")):
        path = folder / f"{name}.npy"
        if path.exists():
            try:
                array = open_memmap(path, mode="r")
            except BROKEN as error:
                raise SeesawError(f"{layout.PREPARED / path.name} is damaged ({error}): remove it and {REMEDY}") from None
            total.update(f"{name} {array.dtype.str} {list(array.shape)}\n".encode())
            for rows in chunked(array):
                total.update(np.ascontiguousarray(rows).data)
    return total.hexdigest()


def read_card(root: Path = Path()) -> dict[str, Any]:
    """The card of the prepared data; SeesawError when there is none."""
    card: dict[str, Any] = read_json(root / layout.CARD, REMEDY)
    return card


def verify(root: Path = Path()) -> None:
    """SeesawError unless the arrays and labels have the digest that the card gives."""
    if digest(root / layout.PREPARED) != read_card(root)["digest"]:
        raise SeesawError(f"{layout.PREPARED} differs from its card: remove it and {REMEDY}")


def checked_card(root: Path = Path()) -> dict[str, Any]:
    """The card, once the arrays have its digest; a side project that was given only some of the parts is taken at its card's word."""
    if all((root / layout.PREPARED / f"{part}.npy").exists() for part in PARTS):
        verify(root)
    return read_card(root)


def part(name: str, root: Path = Path()) -> np.ndarray:
    """Items of a part (`train`, `validation`, `test`), memory-mapped and read-only: `uint8 [N, C, H, W]` or `float32 [N, D]`."""
    return _load(root, name, name)


def labels(name: str, root: Path = Path()) -> np.ndarray | None:
    """`int64 [N]` labels of a part, or None where the data have none."""
    return None if read_card(root)["labels"] is None else _load(root, f"{name}_labels", name)


def _load(root: Path, file: str, name: str) -> np.ndarray:
    if name not in PARTS:
        raise ValueError(f"part {name!r}: there are {PARTS}")
    path = root / layout.PREPARED / f"{file}.npy"
    try:
        array: np.ndarray = open_memmap(path, mode="r")
    except FileNotFoundError:
        raise SeesawError(f"{layout.PREPARED / path.name} is missing: {REMEDY}") from None
    except BROKEN as error:
        raise SeesawError(f"{layout.PREPARED / path.name} is damaged ({error}): remove it and {REMEDY}") from None
    expected = read_card(root)["counts"][name]
    if len(array) != expected:
        raise SeesawError(f"{layout.PREPARED / path.name} has {len(array)} rows and its card says {expected}: remove it and {REMEDY}")
    return array


def to_model_scale(array: np.ndarray) -> np.ndarray:
    """What the games see, float32: `x / 127.5 - 1` for uint8 images, vectors unchanged."""
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(127.5) - np.float32(1)
    return np.asarray(array, dtype=np.float32)
