"""The image files of a folder or of a .zip: which there are, and their bytes. Nothing outside of it is ever opened."""

import heapq
import os
import stat
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Protocol, overload

from stages.errors import SeesawError
from stages.store.datasets import _paths
from stages.store.datasets._stream import shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


class Listing(Protocol):
    """Image files by sorted name (`/` between folders), and how many other files were passed over."""

    names: Sequence[str]
    ignored: int


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


class Folder:
    """Image files below a folder; hidden ones, links to folders and other suffixes are passed over.

    A link that leads out of the folder, a pipe or a device named like an image raises SeesawError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ignored = 0
        self.names: Sequence[str] = Names(self._found())

    def _found(self) -> Iterator[str]:
        """Every image's name, folder by folder; whatever else there is is counted."""
        pending = [""]
        while pending:
            above = pending.pop()
            for entry in _entries(self.folder / above):
                name, hidden = above + entry.name, entry.name.startswith(".")
                if entry.is_symlink():
                    _paths.inside(self.folder / name, self.folder)
                if _is_folder(entry):
                    passed = hidden or entry.is_symlink()
                    pending += [] if passed else [f"{name}/"]
                else:
                    passed = hidden or not _is_image(entry.name)
                self.ignored += passed
                if not passed and not _is_folder(entry):
                    yield _regular(entry, name)

    def read(self, index: int, largest: int) -> bytes:
        """The bytes of one file; OSError when it cannot be read or is larger than `largest`."""
        path = self.folder / self.names[index]
        _check_size(path.stat().st_size, largest)
        return path.read_bytes()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise SeesawError(f"folder {shown(folder.name)} cannot be read ({error.strerror}): mend its permissions") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False too for a link in a circle."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _regular(entry: os.DirEntry[str], name: str) -> str:
    """The name, where it is a file's (or a link's that leads nowhere: it is no readable image)."""
    if not entry.is_file() and Path(entry.path).exists():
        raise SeesawError(f"{shown(name)} is a pipe, device or folder with the name of an image: remove it")
    return name


class Names(Sequence[str]):
    """Names in the order of their characters, packed: a few bytes more each than it is long, where Python's own take a hundred.

    Sorted in runs and merged, so that never more than a run of them is unpacked.
    """

    RUN = 1 << 14

    def __init__(self, names: Iterable[str]) -> None:
        rest, runs = iter(names), []
        while run := sorted(islice(rest, self.RUN)):
            runs.append(_packed(run))
        self._text, self._ends = runs[0] if len(runs) == 1 else _packed(heapq.merge(*(_unpacked(*run) for run in runs)))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        return _name(self._text[self._ends[at - 1] if at else 0 : self._ends[at]])

    def __iter__(self) -> Iterator[str]:
        return _unpacked(self._text, self._ends)


def _packed(names: Iterable[str]) -> tuple[bytearray, "array[int]"]:
    """All in one, and where each ends."""
    text, ends = bytearray(), array("Q")
    for name in names:
        text += name.encode("utf-8", "surrogateescape")
        ends.append(len(text))
    return text, ends


def _unpacked(text: bytearray, ends: "array[int]") -> Iterator[str]:
    start = 0
    for end in ends:
        yield _name(text[start:end])
        start = end


def _name(text: bytearray) -> str:
    return text.decode("utf-8", "surrogateescape")


class Archive:
    """Image files of a .zip, read in place. An entry with an absolute name, with `..`, a link or a password raises SeesawError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise SeesawError(f"{shown(path.name)} is no readable .zip file ({shown(str(error))}): fetch it again") from None
        for entry in entries:
            self._check(entry)
        taken = [entry for entry in entries if self._visible(entry.filename) and _is_image(entry.filename)]
        self.entries = sorted(taken, key=lambda entry: (entry.filename, entry.header_offset))
        self.names: Sequence[str] = [entry.filename for entry in self.entries]
        self.ignored = len(entries) - len(taken)

    def _check(self, entry: zipfile.ZipInfo) -> None:
        name, where = entry.filename, f"{shown(self.path.name)}: entry {shown(entry.filename)}"
        if name.startswith("/") or ".." in name.split("/") or "\\" in name or ":" in name.split("/")[0]:
            raise SeesawError(f"{where} leads out of the archive: make the .zip again without it")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise SeesawError(f"{where} is a link: make the .zip again with the file itself")
        if entry.flag_bits & 1:
            raise SeesawError(f"{where} has a password: make the .zip again without one")

    @staticmethod
    def _visible(name: str) -> bool:
        return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))

    def read(self, index: int, largest: int) -> bytes:
        """The bytes of one entry, its checksum verified; OSError when it is damaged or larger than `largest`."""
        entry = self.entries[index]
        _check_size(entry.file_size, largest)
        try:
            return self.archive.read(entry)
        except zipfile.BadZipFile as error:
            raise OSError(str(error)) from error

    def __enter__(self) -> "Archive":
        self.archive = zipfile.ZipFile(self.path)
        return self

    def __exit__(self, *error: object) -> None:
        self.archive.close()


def _check_size(size: int, largest: int) -> None:
    if size > largest:
        raise OSError(f"{size} bytes; at most {largest} are read")
