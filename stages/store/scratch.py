"""Work in progress: one folder a fingerprint under a file lock, one sub-folder a group of lanes, atomic checkpoints.

The folder's name holds the fingerprint, the torch version and the kind of device, because only then are the bits the same.
A checkpoint is a file of named tensors and, beside it, the records since the one before; it counts once its own name stands, so a kill
at any moment leaves the previous one valid. The two newest are kept. Every file carries its digest and is read before a run goes on: where
one is damaged, the newest checkpoint from before that file's step is taken, or the beginning, and the steps between are played again.
"""

import hashlib
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from stages.errors import SeesawError
from stages.store import layout, places, tensors
from stages.store.files import read_json_or
from stages.store.records import Block, load_blocks, save_blocks

KEPT = 2
ENDING = 10.0  # seconds in which what is left of a killed run has saved its work and ended


def folder(scratch: Path, fingerprint: str, torch_version: str, device: str) -> Path:
    """Where this result is made."""
    return scratch / f"{fingerprint[:32]}-{torch_version}-{device}"


@contextmanager
def held(place: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """The lock on a folder, waited for at most so many seconds; SeesawError when another process holds it."""
    place.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise SeesawError(f"{what} is being made by another process (it holds {place / 'lock'}): wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def remove(place: Path) -> None:
    """Drop a scratch folder that is no longer needed."""
    if place.exists():
        shutil.rmtree(place)


class Checkpoints:
    """The checkpoints of one group."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def save(self, step: int, state: Mapping[str, np.ndarray], blocks: Mapping[str, Block]) -> None:
        """Records (by table) first, then the state: a state on disk vouches for every record before it."""
        if blocks:
            save_blocks(self._records(step), blocks)
        tensors.seal(self._state(step), state)
        for old in self._steps()[:-KEPT]:
            self._state(old).unlink(missing_ok=True)

    def latest(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """The newest checkpoint that is whole with all that lies before it, and its step; what comes after it is dropped."""
        damaged = self.first_damage()
        for step in reversed(self._steps()):
            state = _sound(self._state(step)) if step < damaged else None
            if state is not None:
                self._drop_after(step)
                return step, state
            self._state(step).unlink()
        self._drop_after(-1)
        return None

    def first_damage(self) -> float:
        """The step of the first file beside the states that cannot be read as it was written; infinity where all are whole."""
        return min((_step_of(path) for path in self._beside() if not _readable(path)), default=math.inf)

    def damaged_states(self) -> list[Path]:
        """States that cannot be read as they were written."""
        return [path for path in map(self._state, self._steps()) if _sound(path) is None]

    def _beside(self) -> list[Path]:
        """Records, snapshots and what goes with them."""
        named = [path for suffix in ("npz", "safetensors") for path in self.place.glob(f"[!.]*-[0-9]*.{suffix}")]
        return sorted(path for path in named if not path.name.startswith("state-"))

    def _drop_after(self, step: int) -> None:
        for path in self._beside():
            if _step_of(path) > step:
                path.unlink()

    def blocks(self) -> dict[str, Block]:
        """Every record so far, by table, each in order."""
        saved = [load_blocks(path) for path in sorted(self.place.glob("records-*.npz"))]
        tables = dict.fromkeys(table for blocks in saved for table in blocks)
        return {table: Block.join([blocks[table] for blocks in saved if table in blocks]) for table in tables}

    def snapshot(self, step: int) -> Path:
        """Where the snapshot of a step is kept until the run is whole."""
        return self.place / f"snapshot-{step:08d}.safetensors"

    def continuation(self, step: int) -> Path:
        """Where what a game needs to go on from that snapshot is kept."""
        return self.place / f"continuation-{step:08d}.safetensors"

    def glimpse(self, step: int) -> Path:
        """Where the few samples that are looked at at that step are kept."""
        return self.place / f"glimpse-{step:08d}.safetensors"

    def glimpses(self) -> list[tuple[int, Path]]:
        """All of them, with their steps."""
        return [(_step_of(path), path) for path in sorted(self.place.glob("glimpse-*.safetensors"))]

    def final(self, step: int) -> dict[str, np.ndarray]:
        """The state at the end of the run."""
        return tensors.read(self._state(step))

    def _steps(self) -> list[int]:
        return sorted(_step_of(path) for path in self.place.glob("state-*.safetensors"))

    def _state(self, step: int) -> Path:
        return self.place / f"state-{step:08d}.safetensors"

    def _records(self, step: int) -> Path:
        return self.place / f"records-{step:08d}.npz"


def _step_of(path: Path) -> int:
    return int(path.stem.rsplit("-", 1)[1])


def _readable(path: Path) -> bool:
    try:
        load_blocks(path) if path.suffix == ".npz" else tensors.read(path)
    except SeesawError:
        return False
    return True


def _sound(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of a file; None when it is damaged."""
    try:
        return tensors.read(path)
    except SeesawError:
        return None


def sweep(root: Path) -> list[Path]:
    """Remove scratch folders that are no longer needed, and name them: dvc.lock records the run file that was made from them.

    Until dvc.lock holds that file's md5, dvc may still delete the outputs (it was killed in between), and the completed scratch gives them
    back without training. A held folder stays, and so does one whose fingerprint is no result's.
    """
    lock = root / "dvc.lock"
    recorded = lock.read_text(encoding="utf-8") if lock.exists() else ""
    runs = sorted((root / layout.RESULTS / "runs").glob("*.json"))
    outputs = {str(read_json_or(path, {}).get("fingerprint"))[:32]: path for path in runs}
    gone = []
    for place in sorted(places.scratch(root).glob("*")):
        run = outputs.get(place.name[:32])
        if run is not None and _md5(run) in recorded and _removed(place):
            gone.append(place)
    return gone


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _removed(place: Path) -> bool:
    """Whether the folder could be removed: nobody makes it again."""
    lock = FileLock(place / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    shutil.rmtree(place)
    lock.release()
    return True
