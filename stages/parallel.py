"""`seesaw run -j N`: stages that do not wait for one another, side by side, each by a dvc of its own; one table of all of them.

What fails takes only what waits for it along; everything else is made. Only stages that dvc calls stale, and those that wait for them, are
called at all. The machine's processors are shared: a stage gets `workers() / stages at work` of them by SEESAW_WORKERS.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from stages.draw.progress import is_terminal
from stages.errors import SeesawError
from stages.store import pipeline, processes

LOGS = Path(".seesaw") / "logs"
LOOK_SECONDS = 0.25
TAIL = 3  # lines of each stage's log under the table
PATIENCE = 120.0  # seconds for stages that were asked to stop: a checkpoint, and an end
ADVICE = (
    "To track the changes with git",
    "git add ",
    "To enable auto staging",
    "dvc config core.autostage",
    "Use `dvc push`",
)  # dvc's, each time
AGAIN = "the same command goes on from there"


@dataclass
class Schedule:
    """Which stages may begin: those whose parents are done. `parents` holds the stages that are needed, and only those."""

    parents: Mapping[str, set[str]]
    begun: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def ready(self) -> list[str]:
        """Stages that may begin now, in the pipeline's order."""
        return [name for name, needs in self.parents.items() if name not in self.begun and needs <= self.done]

    def end(self, name: str, well: bool) -> None:
        """A stage has ended."""
        (self.done if well else self.failed).add(name)

    def never(self) -> list[str]:
        """Stages that will not begin, because something they wait for failed."""
        return [name for name in self.parents if name not in self.begun]


def needed(parents: Mapping[str, set[str]], stale: set[str], targets: Sequence[str]) -> dict[str, set[str]]:
    """The stages that may have to be made, each with those of its parents that may: stale ones and descendants, within the targets."""
    within = pipeline.ancestors(parents, chosen(parents, targets)) if targets else set(parents)
    names = pipeline.descendants(parents, stale & within) & within
    return {name: needs & names for name, needs in parents.items() if name in names}


def chosen(parents: Mapping[str, set[str]], targets: Sequence[str]) -> set[str]:
    """Targets as stages; `train` stands for every `train@...`. SeesawError for a name that is no stage."""
    found = {target: {name for name in parents if name == target or name.startswith(f"{target}@")} for target in targets}
    unknown = [target for target, names in found.items() if not names]
    if unknown:
        raise SeesawError(f"no stage is called {', '.join(unknown)}: with -j, name stages of dvc.yaml ({', '.join(parents)})")
    return set().union(*found.values())


def side_by_side(root: Path, targets: Sequence[str], slots: int, quiet: bool = False, out: TextIO | None = None) -> list[str]:
    """Make what is stale, `slots` stages at once; what failed, one line a stage (empty: all went well). SeesawError after Ctrl-C."""
    with only_one(root / LOGS):
        return _made(root, targets, slots, screen(out or sys.stderr, quiet))


@contextmanager
def only_one(logs: Path) -> Iterator[None]:
    """The logs are this command's; SeesawError, with the number of the process, when another `seesaw run -j` writes them."""
    logs.mkdir(parents=True, exist_ok=True)
    holder, lock = logs / "holder", FileLock(logs / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "just started"
        raise SeesawError(f"another `seesaw run -j` is at work here (process {who}): wait for it, or stop it") from None
    try:
        holder.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _made(root: Path, targets: Sequence[str], slots: int, shown: "Screen") -> list[str]:
    """The lines of `side_by_side`, by the one that holds the logs."""
    stale = pipeline.stale(root)
    if not stale:
        return []
    schedule = Schedule(needed(pipeline.graph(root), stale, targets))
    with tempfile.TemporaryDirectory() as status:
        work = Work(root, schedule, slots, root / LOGS, Path(status), shown)
        try:
            work.all()
        except KeyboardInterrupt:
            work.stop()
            raise SeesawError(f"stopped: what was finished is kept, trainings keep a checkpoint; {AGAIN}") from None
        finally:
            work.end()
    return [
        *(f"{name} failed: {root / LOGS / name}.log says why" for name in sorted(schedule.failed)),
        *(f"{name} was not begun: it waits for what failed" for name in schedule.never()),
    ]


@dataclass
class Work:
    """Stages under way."""

    root: Path
    schedule: Schedule
    slots: int
    logs: Path
    status: Path
    screen: "Screen"
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def all(self) -> None:
        """Begin what may begin, until nothing is left that can."""
        while True:
            ready = self.schedule.ready()
            for name in ready[: self.slots - len(self.running)]:
                self.begin(name, min(self.slots, len(self.running) + len(ready)))
            if not self.running:
                return
            time.sleep(LOOK_SECONDS)
            self.look()

    def begin(self, name: str, at_once: int) -> None:
        """One stage, with its share of the processors."""
        share = max(1, processes.workers() // at_once)
        self.schedule.begun.add(name)
        log = self.logs / f"{name}.log"
        more = {"SEESAW_WORKERS": str(share), "SEESAW_STATUS": str(self.status)}
        self.running[name] = pipeline.begin(self.root, name, log, **more)
        self.screen.begin(name, log)

    def look(self) -> None:
        """Take note of what ended, and show the rest."""
        for name, process in list(self.running.items()):
            if process.poll() is not None:
                del self.running[name]
                self.schedule.end(name, process.returncode == 0)
                self.screen.done(name, process.returncode == 0)
        counts = f"{len(self.schedule.done)} of {len(self.schedule.parents)} stages done, {len(self.schedule.failed)} failed"
        self.screen.show(self.statuses(), f"{counts}; running: {', '.join(self.running)}")

    def statuses(self) -> list[dict[str, Any]]:
        """What the trainings under way say of themselves."""
        names = [name.partition("@")[2] for name in self.running if name.startswith("train@")]
        paths = [self.status / f"{name}.json" for name in names]
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]

    def stop(self) -> None:
        """Ask every stage to stop, as Ctrl-C on a terminal does, and wait a while for it; a second Ctrl-C ends the wait."""
        for process in self.running.values():
            pipeline.interrupt(process)
        deadline = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < deadline and any(process.poll() is None for process in self.running.values()):
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            return

    def end(self) -> None:
        """Whatever happened, nothing is left running, and the terminal is given back."""
        self.screen.close()
        for process in self.running.values():
            if process.poll() is None:
                pipeline.interrupt(process, signal.SIGKILL)
            process.wait()


class Screen:
    """Where stages' logs go in plain lines: each with the name of its stage."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.logs: dict[str, Tail] = {}

    def begin(self, name: str, log: Path) -> None:
        """A stage has begun to write its log."""
        self.logs[name] = Tail(log)

    def done(self, name: str, well: bool) -> None:
        """A stage has ended: its last lines, and how it ended."""
        self._say(name, self.logs.pop(name).news())
        self._say(name, ["done" if well else "FAILED"])

    def show(self, statuses: Sequence[Mapping[str, Any]], title: str) -> None:
        """What is new in the logs."""
        for name, log in self.logs.items():
            self._say(name, log.news())

    def close(self) -> None:
        """Nothing is left open."""

    def _say(self, name: str, lines: Sequence[str]) -> None:
        self.out.write("".join(f"{name} | {line}\n" for line in lines))
        self.out.flush()


class Silent(Screen):
    """Only what fails is said."""

    def show(self, statuses: Sequence[Mapping[str, Any]], title: str) -> None:
        """Nothing."""

    def done(self, name: str, well: bool) -> None:
        """The log of what failed."""
        lines = self.logs.pop(name).news()
        self._say(name, [] if well else [*lines, "FAILED"])


class Terminal(Screen):
    """The live table of all trainings, and under it the last lines of each log."""

    def __init__(self, out: TextIO) -> None:
        from stages.draw.board import Board

        super().__init__(out)
        self.board = Board(out)
        self.tails: dict[str, list[str]] = {}

    def show(self, statuses: Sequence[Mapping[str, Any]], title: str) -> None:
        """Draw all anew."""
        for name, log in self.logs.items():
            self.tails[name] = [*self.tails.get(name, []), *log.news()][-TAIL:]
        self.board.show(statuses, self.tails, title)

    def done(self, name: str, well: bool) -> None:
        """One line stays above the table; of what failed, the end of its log."""
        lines = [*self.tails.pop(name, []), *self.logs.pop(name).news()]
        for line in [] if well else lines[-15:]:
            self.board.console.print(f"{name} | {line}", markup=False, highlight=False)
        self.board.console.print(f"{name}: {'done' if well else 'FAILED'}", markup=False, highlight=False)

    def close(self) -> None:
        """Give the terminal back."""
        self.board.close()


def screen(out: TextIO, quiet: bool) -> Screen:
    """The table on a terminal, lines elsewhere, neither when quiet."""
    if quiet:
        return Silent(out)
    return Terminal(out) if is_terminal(out) else Screen(out)


class Tail:
    """What is new in a growing file, in whole lines; what a progress bar wrote over counts as one line, its last."""

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.rest = path, 0, ""

    def news(self) -> list[str]:
        """Lines that were finished since the last look, empty ones left out."""
        with self.path.open("rb") as file:
            file.seek(self.at)
            piece = file.read()
        self.at += len(piece)
        *lines, self.rest = (self.rest + piece.decode(errors="replace")).split("\n")
        last = [line.rstrip("\r").rpartition("\r")[2].strip() for line in lines]
        return [line for line in last if line and not line.startswith(ADVICE)]
