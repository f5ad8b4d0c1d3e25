"""What a killed dvc leaves cut off, mended under dvc's own locks: dvc.lock, its list of readers and writers, its cache of runs.

DVC writes these in place, and refuses to start on what a kill in the middle of that leaves. Every node keeps a copy of dvc.lock before it
works, and starts a `guardian`, which calls `mend` when dvc ends; `seesaw run`, `retrain` and `doctor --mend` call it before dvc starts.
"""

import fcntl
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store.config import read_lock
from stages.store.files import write_text

KEPT = Path(".seesaw") / "kept"  # the copy of dvc.lock; what was cut off, moved aside
PATIENCE, LOOK_SECONDS = 3.0, 0.02  # dvc itself waits three seconds for a lock of its own
CONFLICT = "<<<<<<< "  # git's: a person is at work on it


def keep(root: Path) -> None:
    """Copy dvc.lock aside, unless some dvc may be writing it at this moment: the copy before stays then."""
    lock = root / "dvc.lock"
    with _alone(_own(root) / "lock", 0.0, shared=True) as free:
        if free and lock.exists():
            write_text(root / KEPT / "dvc.lock", lock.read_text(encoding="utf-8"))


def mend(root: Path, ended: int | None = None, patience: float = PATIENCE) -> list[str]:
    """Mend what a kill left, and say it, a line each; nothing is touched while another dvc holds the lock on it.

    `ended`: the number of a dvc that is known to have ended, even if nobody has taken note of its end yet.
    """
    lines = []
    with _alone(_own(root) / "rwlock.lock", patience) as free:
        lines += _readers(_own(root) / "rwlock", ended) if free else []
    with _alone(_own(root) / "lock", patience) as free:
        lines += [*_lock_file(root), *_runs(root)] if free else []
    return lines


def whole(text: str) -> Mapping[str, Any] | None:
    """The content of a dvc.lock as dvc writes it; None where it is cut off."""
    try:
        lock = read_lock(text)
        stages = list(lock["stages"].values())
        entries = [entry for stage in stages for key in ("deps", "outs") for entry in stage.get(key, [])]
        sound = all(isinstance(entry["path"], str) for entry in entries) and all("cmd" in stage for stage in stages)
        sound = sound and all(isinstance(out["md5"], str) for stage in stages for out in stage.get("outs", []))
        return lock if sound and text.endswith("\n") else None
    except (SeesawError, KeyError, TypeError, AttributeError):
        return None


def listed(path: Path) -> dict[str, Any] | None:
    """DVC's list of readers and writers: {read: {path: [{pid, cmd}]}, write: {path: {pid, cmd}}}; None where it is cut off."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for entry in _entries(found):
            int(entry["pid"]), str(entry["cmd"])
        return dict(found)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def empty_runs(root: Path) -> list[Path]:
    """Entries of dvc's cache of runs that hold nothing: dvc makes the folder first, and fails on one without a file."""
    return [path for path in sorted((root / ".dvc" / "cache" / "runs").glob("*/*")) if path.is_dir() and not any(path.iterdir())]


def _own(root: Path) -> Path:
    return root / ".dvc" / "tmp"


@contextmanager
def _alone(path: Path, patience: float, shared: bool = False) -> Iterator[bool]:
    """Whether nobody else holds that lock of dvc's (flock on the file) after so many seconds; it is held inside the block.

    With dvc's `core.hardlink_lock` a held lock is a second name of its holder's file, and a free one is no file.
    """
    if not path.exists():
        yield True
        return
    with path.open("r+") as file:
        deadline = time.monotonic() + patience
        while not (free := taken(file.fileno(), shared) and path.stat().st_nlink == 1) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        yield free


def taken(descriptor: int, shared: bool = False) -> bool:
    """Whether the lock on that open file (flock) could be had at once."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- readers and writers ---------------------------------------------------------------------------------------------------------


def _entries(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    readers = [entry for entries in found.get("read", {}).values() for entry in entries]
    return [*readers, *found.get("write", {}).values()]


def _readers(path: Path, ended: int | None) -> list[str]:
    if not path.exists():
        return []
    found = listed(path)
    if found is None:
        path.unlink()
        return ["dvc's list of readers and writers was cut off (dvc was killed while it wrote it): removed"]
    lives = {entry["pid"]: entry["pid"] != ended and _is_dvc(entry) for entry in _entries(found)}
    if all(lives.values()):
        return []
    reading = {name: [entry for entry in entries if lives[entry["pid"]]] for name, entries in found.get("read", {}).items()}
    writing = {name: entry for name, entry in found.get("write", {}).items() if lives[entry["pid"]]}
    write_text(path, json.dumps({"write": writing, "read": {name: entries for name, entries in reading.items() if entries}}))
    return ["dvc's list of readers and writers named processes that have ended: taken out"]


def _is_dvc(entry: Mapping[str, Any]) -> bool:
    """Whether the process that wrote itself down still runs: its number alone may have gone to another one since."""
    import psutil

    try:
        process = psutil.Process(entry["pid"])
        words = " ".join(process.cmdline())
        program = Path(entry["cmd"].split(" ")[0]).name
        return process.status() != psutil.STATUS_ZOMBIE and ("dvc" in words or program in words)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


# --- dvc.lock --------------------------------------------------------------------------------------------------------------------


def _lock_file(root: Path) -> list[str]:
    path = root / "dvc.lock"
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    if CONFLICT in text or whole(text) is not None:
        return []
    aside = root / KEPT / "dvc.lock.cut-off"
    write_text(aside, text)
    for origin, earlier in _earlier(root):
        if whole(earlier) is not None:
            write_text(path, earlier)
            return [f"dvc.lock was cut off (dvc was killed while it wrote it): put back {origin}; what it was is {aside.relative_to(root)}"]
    path.unlink()
    return [
        f"dvc.lock was cut off (dvc was killed while it wrote it): moved to {aside.relative_to(root)}; dvc's cache of runs has the results"
    ]


def _earlier(root: Path) -> Iterator[tuple[str, str]]:
    """Where a whole dvc.lock may be, the newest first. One that is too old costs no training: dvc's cache of runs has the results."""
    copy = root / KEPT / "dvc.lock"
    if copy.exists():
        yield "as the last node found it", copy.read_text(encoding="utf-8", errors="replace")
    shown = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=root, capture_output=True, text=True, check=False)
    yield "as it was committed", shown.stdout if shown.returncode == 0 else ""


def _runs(root: Path) -> list[str]:
    empty = empty_runs(root)
    for path in empty:
        path.rmdir()
    return [f"dvc's cache of runs had {len(empty)} empty entries, on which dvc fails: removed"] if empty else []
