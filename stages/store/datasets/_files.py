"""The image files of a folder or of a .zip: which there are, and their bytes. Nothing outside of it is ever opened."""

import os
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from stages.errors import SeesawError
from stages.store.datasets import _paths
from stages.store.datasets._stream import shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


class Listing(Protocol):
    """Image files by sorted name (`/` between folders), and how many other files were passed over."""

    names: list[str]
    ignored: int


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


class Folder:
    """Image files below a folder; hidden ones, links to folders and other suffixes are passed over.

    A link that leads out of the folder, a pipe or a device named like an image raises SeesawError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        self.ignored = 0
        for place, folders, files in os.walk(folder, onerror=_unreadable):
            here = Path(place)
            for name in folders:
                _paths.inside(here / name, folder)
            links = [name for name in folders if name.startswith(".") or (here / name).is_symlink()]
            folders[:] = [name for name in folders if name not in links]
            self.ignored += len(links) + sum(not self._take(here / name) for name in files)
        self.names.sort()

    def _take(self, path: Path) -> bool:
        if path.name.startswith(".") or not _is_image(path.name):
            return False
        _paths.inside(path, self.folder)
        name = path.relative_to(self.folder).as_posix()
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise SeesawError(f"{shown(name)} is a pipe, device or folder with the name of an image: remove it")
        self.names.append(name)
        return True

    def read(self, index: int, largest: int) -> bytes:
        """The bytes of one file; OSError when it cannot be read or is larger than `largest`."""
        path = self.folder / self.names[index]
        _check_size(path.stat().st_size, largest)
        return path.read_bytes()

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, *error: object) -> None:
        pass


def _unreadable(error: OSError) -> None:
    raise SeesawError(f"folder {shown(Path(error.filename).name)} cannot be read ({error.strerror}): mend its permissions")


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
        self.names = [entry.filename for entry in self.entries]
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
