"""Kills of a real `dvc repro`, one at a time: a tiny project is rewound to before a node, started, killed, and started again.

The next `dvc repro` must end by itself, with every output but the executions bit for bit that of an undisturbed run. Nodes after the
killed one come back from DVC's run cache, which finds them only when what they read has the undisturbed run's digests.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import projects
import psutil
import yaml

from stages.store import guardian

PARAMS = projects.TINY.replace("steps: 20", "steps: 300").replace("seeds: 2", "seeds: 4").replace("items: 600", "items: 300")
CHECKPOINT_SECONDS = 0.1
ENDS_WITHIN = 120.0  # seconds in which what is left of a killed run must have ended, on a busy machine
STARTS = re.compile(r"Running stage '([^']+)'")
TRAIN_ONLY = ("checkpoint",)
WAYS = ("group", "dvc", "worker", "terminate", "terminate group", "checkpoint", "placing")
SHELLS = ("/bin/sh", "/bin/bash")


@dataclass(frozen=True)
class Kill:
    """What is killed, how and when: `moment` is a share of the time that the node took undisturbed."""

    node: str
    way: str
    moment: float
    shell: str
    workers: int
    at_once: bool  # the next run starts while the killed one's processes may still be ending


@dataclass
class Outcome:
    """What came of one kill; `trouble` is empty where nothing was lost."""

    kill: Kill
    landed: bool = True  # false: the run had ended before the moment came
    trouble: str = ""
    mended: str = ""  # the command that `seesaw doctor` named and that was needed
    by_itself: list[str] = field(default_factory=list)  # what the killed dvc's guardian mended
    unsaved: float | None = None  # seconds since the newest checkpoint
    ending: float = 0.0  # seconds until the last process of the killed run had ended
    half_written: bool = False  # a file was cut off while it was written
    resumed: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Template:
    """An undisturbed run: its folder, its outputs' digests, its lock file, when each node ran."""

    folder: Path
    digests: Mapping[str, str]
    lock: Mapping[str, Any]
    seconds: Mapping[str, float]


def template(folder: Path, params: str = PARAMS) -> Template:
    """Make the project and run it once, undisturbed."""
    made = projects.project(folder, params)
    begun: dict[str, float] = {}
    said = []
    with _repro(made, "/bin/sh", 2) as process:
        for line in process.stdout or ():
            said.append(line)
            for name in STARTS.findall(line):
                begun[name] = time.monotonic()
    if process.returncode != 0:
        raise RuntimeError(f"the undisturbed run failed: {''.join(said)[-2000:]}")
    return finished(made, begun, time.monotonic())


def finished(folder: Path, begun: Mapping[str, float], ended: float) -> Template:
    """A template of a project whose `dvc repro` has ended; `begun` says when each node started."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    starts = [*begun.values(), ended]
    seconds = {name: later - start for (name, start), later in zip(begun.items(), starts[1:], strict=True)}
    return Template(folder, projects.digests(folder), lock, seconds)


def draw(rng: random.Random, whole: Template, node: str) -> Kill:
    """A kill of that node in a way that fits it, at a random moment."""
    ways = [way for way in WAYS if node.startswith("train") or way not in TRAIN_ONLY]
    weights = [3 if way in ("checkpoint", "placing") else 2 for way in ways]
    way = rng.choices(ways, weights)[0]
    return Kill(node, way, rng.uniform(0.0, 1.0), rng.choice(SHELLS), rng.choice((1, 2)), rng.random() < 0.5)


def survive(whole: Template, kill: Kill, folder: Path) -> Outcome:
    """One kill in a copy of the project at `folder`, and the run after it."""
    shutil.copytree(whole.folder, folder, symlinks=True)
    rewind(folder, whole.lock, kill.node)
    outcome = Outcome(kill)
    with _repro(folder, kill.shell, kill.workers) as process:
        _await_node(process, kill.node)
        outcome.landed = AT[kill.way](folder, kill, whole, process)
        killed = time.time()
        outcome.unsaved, outcome.half_written = _unsaved(folder, kill, killed), bool(_half_written(folder))
        saved = _newest_steps(folder)
    if not kill.at_once:
        outcome.ending = _until_nobody_lives(folder)
    _run_again(whole, kill, folder, outcome, saved)
    return outcome


def _run_again(whole: Template, kill: Kill, folder: Path, outcome: Outcome, saved: Mapping[str, int]) -> None:
    """The next run, with the other number of workers; what it left is compared."""
    code, said = _to_the_end(folder, kill)
    if code != 0 and _doctors_remedy(folder, outcome):
        code, said = _to_the_end(folder, kill)
    if code != 0:
        outcome.trouble = f"the next dvc repro ended with {code}: {' | '.join(said.strip().splitlines()[-4:])}"
        return
    outcome.ending = max(outcome.ending, _until_nobody_lives(folder))
    outcome.by_itself = [line for line in _mended(folder) if "cut off" in line or "empty" in line]
    different = _different(whole.digests, projects.digests(folder))
    outcome.resumed = [int(step) for step in re.findall(r"goes on from step (\d+)", said)]
    if different:
        outcome.trouble = f"outputs differ from the undisturbed run's: {', '.join(different[:5])}"
    elif kill.node.startswith("train") and saved and "train" in "".join(STARTS.findall(said)):
        lost = [group for group, step in saved.items() if step and not any(now >= step for now in outcome.resumed)]
        outcome.trouble = f"a checkpoint was not used: {lost}" if lost else ""


def _to_the_end(folder: Path, kill: Kill) -> tuple[int, str]:
    with _repro(folder, kill.shell, 3 - kill.workers) as process:
        said = process.communicate()[0]
    return process.returncode, said


def _doctors_remedy(folder: Path, outcome: Outcome) -> bool:
    """Run what `seesaw doctor` names for a file that dvc itself left half written; false where it names nothing."""
    said = projects.seesaw(folder, "doctor", expect=None).stdout
    found = re.search(r"-> seesaw (doctor --mend)", said)
    if not found:
        return False
    outcome.mended = f"seesaw {found[1]}"
    projects.seesaw(folder, *found[1].split(), expect=None)
    return True


def rewind(folder: Path, lock: Mapping[str, Any], node: str) -> None:
    """The project as it was before that node ran: without its outputs, its cached results and what came after it."""
    stages = list(lock["stages"])
    kept = stages[: stages.index(node)]
    (folder / "dvc.lock").write_text(yaml.safe_dump({**lock, "stages": {name: lock["stages"][name] for name in kept}}, sort_keys=False))
    for name in stages[stages.index(node) :]:
        for out in lock["stages"][name].get("outs", []):
            _remove(folder / out["path"])
    for out in lock["stages"][node].get("outs", []):
        _forget(folder / ".dvc/cache/files/md5", out["md5"])
    for path in list((folder / ".dvc/cache/runs").rglob("*")):
        if path.is_file() and yaml.safe_load(path.read_text())["cmd"] == lock["stages"][node]["cmd"]:
            _remove(path.parent)  # with the folder of its key: dvc fails on an empty one
    _remove(folder / ".seesaw/scratch")


def _forget(cache: Path, md5: str) -> None:
    """Drop an object from DVC's cache; a folder's list only, since its files may be other outputs' too."""
    (cache / md5[:2] / md5[2:]).unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _repro(folder: Path, shell: str, workers: int) -> subprocess.Popen[str]:
    """`dvc repro` in a session of its own, both its streams in one."""
    environment = projects.environment(
        SHELL=shell,
        SEESAW_WORKERS=str(workers),
        SEESAW_CHECKPOINT_SECONDS=str(CHECKPOINT_SECONDS),
        DVC_SITE_CACHE_DIR=str(folder.parent / "site"),
        PYTHONUNBUFFERED="1",
    )
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _await_node(process: subprocess.Popen[str], node: str) -> None:
    """Until dvc says that it runs the node; what it says later is read and dropped by nobody: a pipe holds it."""
    for line in process.stdout or ():
        if node in STARTS.findall(line):
            return
    raise RuntimeError(f"dvc ended without running {node}")


# --- the ways -------------------------------------------------------------------------------------------------------------------


def _at_moment(whole: Template, kill: Kill) -> None:
    time.sleep(kill.moment * whole.seconds.get(kill.node, 4.0))


def _all(folder: Path, kill: Kill, whole: Template, process: subprocess.Popen[str], number: int = signal.SIGKILL) -> bool:
    """Every process of the session at once."""
    _at_moment(whole, kill)
    return _signal(living(folder), number)


def _dvc(folder: Path, kill: Kill, whole: Template, process: subprocess.Popen[str], number: int = signal.SIGKILL) -> bool:
    """dvc alone."""
    _at_moment(whole, kill)
    return _signal([psutil.Process(process.pid)] if process.poll() is None else [], number)


def _worker(folder: Path, kill: Kill, whole: Template, process: subprocess.Popen[str]) -> bool:
    """One worker of a training; of another node its only process. dvc then fails by itself."""
    _at_moment(whole, kill)
    found = [one for one in living(folder) if one.pid != process.pid]
    workers = [one for one in found if "stages.worker" in _command(one)]
    return _signal((workers or found)[:1], signal.SIGKILL)


def _checkpoint(folder: Path, kill: Kill, whole: Template, process: subprocess.Popen[str]) -> bool:
    """Everything, while a checkpoint is written: its temporary file stands beside the place it is for."""
    time.sleep(kill.moment * 0.5 * whole.seconds.get(kill.node, 4.0))
    while process.poll() is None:
        known = sorted((one.pid for one in living(folder)), reverse=True)  # workers first
        places = list(_groups(folder))
        for _ in range(300):
            if any(name.startswith(".state-") for place in places for name in os.listdir(place)):
                for pid in known:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return bool(known)
            time.sleep(0.0002)
    return False


def _placing(folder: Path, kill: Kill, whole: Template, process: subprocess.Popen[str]) -> bool:
    """dvc, after the node has ended and before dvc.lock says so."""
    before = _written(folder / "dvc.lock")
    while process.poll() is None and len(living(folder)) < 2:
        time.sleep(0.01)
    while process.poll() is None and len(living(folder)) > 1:
        time.sleep(0.002)
    time.sleep(kill.moment * 0.1)
    landed = _signal(living(folder), signal.SIGKILL)
    return landed and _written(folder / "dvc.lock") == before


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def _ended(way: Callable[..., bool]) -> Callable[..., bool]:
    return lambda folder, kill, whole, process: way(folder, kill, whole, process, signal.SIGTERM)


AT: dict[str, Callable[[Path, Kill, Template, subprocess.Popen[str]], bool]] = {
    "group": _all,
    "dvc": _dvc,
    "worker": _worker,
    "terminate": _ended(_dvc),
    "terminate group": _ended(_all),
    "checkpoint": _checkpoint,
    "placing": _placing,
}


# --- looking ---------------------------------------------------------------------------------------------------------------------


def living(folder: Path) -> list[psutil.Process]:
    """Processes that work in that folder. A guardian works in none, and is of no group with them."""
    return [process for process in _others() if _where(process) == folder]


def guardians(folder: Path) -> list[psutil.Process]:
    """Processes that wait for the end of a dvc in that folder."""
    return [process for process in _others() if "guardian.main()" in _command(process) and str(folder) in _command(process)]


def _others() -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _where(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd())
    except (psutil.Error, OSError):
        return None


def _mended(folder: Path) -> list[str]:
    told = folder / guardian.MENDED
    return told.read_text().splitlines() if told.exists() else []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _signal(processes: list[psutil.Process], number: int) -> bool:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
    return bool(processes)


def _until_nobody_lives(folder: Path) -> float:
    """Seconds until the last process of that folder, its guardian included, has ended by itself."""
    begun = time.monotonic()
    while left := [*living(folder), *guardians(folder)]:
        if time.monotonic() - begun > ENDS_WITHIN:
            raise RuntimeError(f"still alive: {[_command(one) for one in left]}")
        time.sleep(0.05)
    return time.monotonic() - begun


def _half_written(folder: Path) -> list[Path]:
    return [path for group in _groups(folder) for path in group.glob(".state-*")]


def _groups(folder: Path) -> Iterator[Path]:
    return (folder / ".seesaw/scratch").glob("*/group-*")


def _newest_steps(folder: Path) -> dict[str, int]:
    """The step of each group's newest checkpoint."""
    found = {}
    for group in _groups(folder):
        steps = [int(path.stem.rsplit("-", 1)[1]) for path in group.glob("state-*.safetensors")]
        found[group.name] = max(steps, default=0)
    return found


def _unsaved(folder: Path, kill: Kill, killed: float) -> float | None:
    """Seconds of training since the newest checkpoint, of the group that loses most; None where no group was in mid-training."""
    lost = []
    for group in _groups(folder):
        saved = [path.stat().st_mtime for path in [*group.glob("state-*.safetensors"), *group.glob("snapshot-00000000.safetensors")]]
        if saved and not list(group.glob("state-00000300.safetensors")):
            lost.append(killed - max(saved))
    return max(lost, default=None)


def _different(expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
