"""Files that are whole or absent: written beside their place, flushed, renamed. JSON without NaN, digests, folders."""

import glob
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import SeesawError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed when it does not.

    SeesawError when the disk is full, the folder may not be written to, or the like; what stood at `path` before stands still.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error.strerror or str(error)) from error


def _sweep(path: Path) -> None:
    """Remove what a killed process was writing for that place: its folder may be a dependency, in which a file more would count."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        writer = left.name.split(".")[-2]
        if writer.isdigit() and not _lives(int(writer)):
            left.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    """Whether a process of that number runs on this machine, whosever it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def unwritable(path: Path, why: str) -> SeesawError:
    """The error for a file that could not be written."""
    return SeesawError(f"{path} cannot be written ({why}): free space or mend permissions, then run the same command again")


def write_text(path: Path, text: str) -> None:
    """`text` at `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`value` as canonical JSON: sorted keys, two spaces, a newline. NaN and infinities raise ValueError: say `null` and why."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file; SeesawError with the remedy when it is missing or broken."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SeesawError(f"{path} is missing: {remedy}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SeesawError(f"{path} is damaged ({error}): {remedy}") from None


def read_json_or(path: Path, otherwise: Any) -> Any:
    """The content of a JSON file that can be made again at no cost; `otherwise` where it is missing or broken."""
    try:
        return read_json(path, "")
    except SeesawError:
        return otherwise


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """sha256 of a value's canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
