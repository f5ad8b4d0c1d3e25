"""Finding the user's files; every mistake is one line that says what to do."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.errors import SeesawError
from stages.store.config import Data
from stages.store.datasets._stream import shown


def existing(data: Data, path: Path) -> Path:
    """`path`, when something is there."""
    if not path.exists():
        raise SeesawError(
            f"data.path {shown(data.path)} does not exist: put your files there or set data.path (data.source is {data.source})"
        )
    if not path.is_file() and not path.is_dir():
        raise SeesawError(f"data.path {shown(data.path)} is neither a file nor a folder: set data.path to one")
    if not os.access(path, os.R_OK):
        raise SeesawError(f"data.path {shown(data.path)} may not be read: mend its permissions")
    return path


def nothing(data: Data, wanted: str) -> SeesawError:
    """The error for a folder without what the source reads."""
    return SeesawError(
        f"data.path {shown(data.path)} holds no {wanted}: put your files there or set data.path (data.source is {data.source})"
    )


def files(data: Data, path: Path, suffixes: Sequence[str]) -> list[Path]:
    """The file itself, or the visible files of a folder with one of the suffixes, sorted by name; none is an error."""
    wanted = ", ".join(suffixes)
    if existing(data, path).is_file():
        if path.suffix.lower() not in suffixes:
            raise SeesawError(f"data.path {shown(data.path)} is no {data.source} file: {wanted} are read")
        return [path]
    found = sorted(
        entry for entry in path.iterdir() if entry.suffix.lower() in suffixes and not entry.name.startswith(".") and entry.is_file()
    )
    if not found:
        raise nothing(data, f"{wanted} file")
    for entry in found:
        inside(entry, path)
    return found


def inside(entry: Path, folder: Path) -> None:
    """SeesawError for a symbolic link that leads out of the folder."""
    if entry.is_symlink() and not entry.resolve().is_relative_to(folder.resolve()):
        raise SeesawError(
            f"{shown(str(entry.relative_to(folder)))} is a link that leads out of {shown(folder.name)}: "
            "put the file itself there, or set data.path to where it lies"
        )


def classes(labels: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Class names (the distinct values, sorted) and each label's index in them, `int64 [N]`."""
    values, indices = np.unique(labels, return_inverse=True)
    return [shown(str(value)) for value in values], indices.astype(np.int64)
