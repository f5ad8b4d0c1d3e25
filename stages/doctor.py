"""`seesaw doctor`: what is wrong with this checkout, and the command that mends it."""

import hashlib
import importlib.metadata
import json
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from stages.errors import SeesawError
from stages.store import arrays, layout, mending, places, scratch
from stages.store.config import read_config
from stages.store.files import read_json_or

LITTLE_SPACE, NO_SPACE = 1 << 30, 1 << 24
MEND = "seesaw doctor --mend"
HALF = re.compile(r"^\..+\.\d+\.[a-z0-9_]{8}$")  # what files.replacing writes to


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong (`grave`: work cannot go on) or worth knowing, and the command that mends it."""

    text: str
    remedy: str
    grave: bool = False


def doctor(root: Path, mend: bool = False) -> int:
    """Print every finding; 1 when one is grave, else 0. With `mend`, what a killed dvc left cut off is mended first."""
    for line in mending.mend(root) if mend else []:
        print(f"mended   {line}")
    findings = [finding for look in LOOKS for finding in look(root)]
    for finding in findings:
        print(f"{'error  ' if finding.grave else 'warning'}  {finding.text}\n         -> {finding.remedy}")
    if not findings:
        print("nothing is wrong here")
    return int(any(finding.grave for finding in findings))


def parameters(root: Path) -> Iterator[Finding]:
    """params.yaml and dvc.yaml can be read."""
    if not (root / "dvc.yaml").is_file():
        yield Finding(f"{root} has no dvc.yaml", "cd into the checkout", grave=True)
    try:
        read_config(root / "params.yaml")
    except SeesawError as error:
        yield Finding(str(error), "mend the key in params.yaml", grave=True)


def interpreter(root: Path) -> Iterator[Finding]:
    """The stages' `python` is this one, and dvc is beside it."""
    first = shutil.which("python")
    if first is None or Path(first).resolve() != Path(sys.executable).resolve() or Path(first).parent != Path(sys.executable).parent:
        yield Finding(f"`python` on PATH is {first}, this command runs {sys.executable}", f"source {Path(sys.executable).parent}/activate")
    if shutil.which("dvc") is None:
        yield Finding("`dvc` is not on PATH", f"source {Path(sys.executable).parent}/activate")


def pytorch(root: Path) -> Iterator[Finding]:
    """A CUDA build on a machine without a GPU costs gigabytes and start-up time."""
    import torch

    if torch.version.cuda is not None and not torch.cuda.is_available():
        yield Finding(
            f"PyTorch {torch.__version__} is a CUDA {torch.version.cuda} build and no GPU answers here",
            "pip install --force-reinstall torch from PyTorch's CPU index (README, 'Which PyTorch'), or mend the driver",
        )
    if os.environ.get("SEESAW_DEVICE") == "cuda" and not torch.cuda.is_available():
        yield Finding("SEESAW_DEVICE is cuda and no GPU answers", "unset SEESAW_DEVICE", grave=True)
    if "torchvision" in {distribution.name for distribution in importlib.metadata.distributions()}:
        yield Finding("torchvision is installed; Seesaw does not use it, and it pins another torch", "pip uninstall torchvision")


def prepared(root: Path) -> Iterator[Finding]:
    """The prepared arrays have the digest of their card."""
    if not (root / layout.CARD).exists():
        return
    try:
        arrays.verify(root)
    except SeesawError as error:
        yield Finding(str(error), f"rm -r {layout.PREPARED} && dvc repro prepare", grave=True)


def unfinished(root: Path) -> Iterator[Finding]:
    """Work in progress: who holds it, or that it waits to go on."""
    runs = sorted((root / layout.RESULTS / "runs").glob("*.json"))
    known = {path.stem: str(read_json_or(path, {}).get("fingerprint"))[:32] for path in runs}
    for place in sorted(places.scratch(root).glob("*")):
        if not (place / "lock").exists():
            continue
        try:
            with FileLock(place / "lock", timeout=0):
                done = place.name[:32] in known.values()
                text = (
                    "is finished; its scratch waits to be removed"
                    if done
                    else "stopped midway; the same variant goes on from its checkpoint"
                )
                remedy = "nothing: the next training removes it" if done else f"dvc repro, or rm -r {place} to forget it"
                yield Finding(f"{place.name[:12]}… {text}", remedy)
        except Timeout:
            yield Finding(f"{place.name[:12]}… is being trained by another process", "wait for it")


def beside(root: Path) -> Iterator[Finding]:
    """Side projects and studies of variants that params.yaml no longer names, or that are older than it."""
    for kind, remedy in (("side", "seesaw tune, seesaw compare --aa and --sensitivity"), ("tune", "seesaw tune")):
        folder = places.main_checkout(root) / ".seesaw" / kind
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        if not files or max(path.stat().st_mtime for path in files) >= (root / "params.yaml").stat().st_mtime:
            continue
        size = sum(path.stat().st_size for path in files) / 1e6
        yield Finding(f".seesaw/{kind} holds {size:.0f} MB from before params.yaml was changed ({remedy})", f"rm -r {folder}, or leave it")


def checkpoints(root: Path) -> Iterator[Finding]:
    """Files of an unfinished or finished training that are not as they were written; the next training replaces them by itself."""
    for place in sorted(places.scratch(root).glob("*/group-*")):
        found = scratch.Checkpoints(place)
        if found.damaged_states() or found.first_damage() < math.inf:
            yield Finding(
                f"a checkpoint in {place.relative_to(places.scratch(root))} is damaged; training goes on from one before it", "dvc repro"
            )


def made(root: Path) -> Iterator[Finding]:
    """Outputs that are not what dvc.lock records of them, or a dvc.lock that was cut off: dvc does not write it in one piece."""
    lock = root / "dvc.lock"
    recorded = mending.whole(lock.read_text(encoding="utf-8", errors="replace")) if lock.exists() else {"stages": {}}
    if recorded is None:
        yield Finding("dvc.lock cannot be read: dvc was killed while it wrote it", MEND, grave=True)
    for out in [out for stage in (recorded or {"stages": {}})["stages"].values() for out in stage.get("outs", [])]:
        path = root / out["path"]
        if path.exists() and _md5(path) != out["md5"]:
            yield Finding(f"{out['path']} is not what dvc.lock records: it was changed, or damaged", f"dvc checkout --force {out['path']}")


def _md5(path: Path) -> str:
    """As DVC gives it: of a file's bytes, or of the list of a folder's files."""
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    files = sorted((file.relative_to(path).parts, file) for file in path.rglob("*") if file.is_file())
    listed = [{"md5": _md5(file), "relpath": "/".join(parts)} for parts, file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def dvcs_own(root: Path) -> Iterator[Finding]:
    """What a kill in the middle of DVC's own writing leaves, and DVC does not mend."""
    lock = root / ".dvc" / "tmp" / "rwlock"
    if lock.exists() and mending.listed(lock) is None:
        yield Finding("dvc's list of who reads and writes is cut off: dvc was killed while it wrote it", MEND, grave=True)
    if mending.empty_runs(root):
        yield Finding("dvc's cache of runs has an empty entry, on which dvc fails", MEND, grave=True)


def half_written(root: Path) -> Iterator[Finding]:
    """What a kill left beside the place it was for: nothing reads it."""
    found = [path for base in (layout.RESULTS, places.scratch(root)) for path in (root / base).rglob(".*.*") if HALF.search(path.name)]
    found += sorted((root / layout.PREPARED).parent.glob(f".{layout.PREPARED.name}-*"))
    if found:
        shown = [shlex.quote(os.path.relpath(path, root)) for path in found]
        yield Finding(f"{len(found)} half-written files of a killed run lie about, harmless", f"rm -r {' '.join(shown[:5])}")


def writable(root: Path) -> Iterator[Finding]:
    """Folders that commands write to."""
    for name in (".", "results", "data", ".seesaw", ".dvc"):
        if (root / name).exists() and not os.access(root / name, os.W_OK):
            yield Finding(f"{name} may not be written to", f"chmod -R u+w {name}, or mount its disk for writing", grave=True)


def outputs(root: Path) -> Iterator[Finding]:
    """A variant whose outputs stand, and that params.yaml no longer names."""
    try:
        named = read_config(root / "params.yaml").variants
    except SeesawError:
        return
    for path in sorted((root / layout.RESULTS / "runs").glob("*.json")):
        if path.stem not in named:
            yield Finding(
                f"results of {path.stem} stand, and params.yaml has no such variant", f"rm -r results/*/{path.stem} results/*/{path.stem}.*"
            )


def space(root: Path) -> Iterator[Finding]:
    """Room for checkpoints and snapshots."""
    free = shutil.disk_usage(root).free
    if free < LITTLE_SPACE:
        yield Finding(f"{free / 1e6:.0f} MB are free on this disk", "dvc gc --workspace, or free some space", grave=free < NO_SPACE)


LOOKS = (
    parameters,
    interpreter,
    pytorch,
    prepared,
    unfinished,
    checkpoints,
    beside,
    made,
    dvcs_own,
    half_written,
    writable,
    outputs,
    space,
)
