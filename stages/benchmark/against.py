"""Lanes against a plain loop, over the same seeds, in turn."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from typing import Any

from stages.benchmark import cases, timing
from stages.benchmark.cases import Case
from stages.benchmark.tables import Section
from stages.store.processes import worker_environment

SEEDS, GROUP, WORKERS = 8, 4, 2
SHAPES = ((1, 28, 28), (1, 8, 8))
DEFAULT, BEST, LANES = "plain, default threads", "plain, two processes of one thread", "lanes, two workers of one thread"


class Player:
    """A process that plays on command."""

    def __init__(self, case: Case, threads: int) -> None:
        environment = worker_environment() if threads else _usual_environment()
        command = [sys.executable, "-m", "stages.benchmark.player", json.dumps(asdict(case)), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.answer: dict[str, Any] = {}

    def ask(self, which: str, turns: int) -> None:
        """Begin so many turns."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{which} {turns}\n")
        self.process.stdin.flush()

    def done(self) -> None:
        """Wait for them."""
        assert self.process.stdout is not None
        self.answer = json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def _usual_environment() -> dict[str, str]:
    """As a person's shell has it: nothing said about threads or memory."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "MALLOC_"))}


@contextmanager
def players(case: Case, threads: int, count: int) -> Iterator[list[Player]]:
    """So many of them, ended with the block."""
    with ExitStack() as stack:
        started = [Player(case, threads) for _ in range(count)]
        for player in started:
            stack.callback(player.close)
        yield started


def plain(seconds: float, device: str) -> Section:
    """The throughput of lanes as Seesaw plays them against a plain loop, as it stands and in its best form."""
    rows = [
        row
        for shape in SHAPES
        for penalty in cases.PENALTIES
        for row in _rows(Case(shape=shape, penalty=penalty, lanes=GROUP, device=device), 4 * seconds)
    ]
    if device == "cpu":
        rows.append({"game": "any, on a GPU", "penalty": "any", "form": "any"})
    return Section(
        "plain",
        "Against a plain loop",
        f"{SEEDS} seeds of dcgan, batch 64. The plain loop is torch.nn, one seed at a time, the same mathematics (a test holds it to a "
        f"lane's losses and gradients); lanes are {WORKERS} workers of {GROUP}. All three in turn; `lanes are` is their throughput over "
        "this form's, median over the rounds. Peak memory is that of all its processes.",
        ("game", "penalty", "form", "ms a step of all seeds", "images/s", "lanes are", "spread", "peak MiB"),
        rows,
    )


def _rows(case: Case, seconds: float) -> list[dict[str, Any]]:
    """The three forms of one game."""
    one = replace(case, lanes=1)
    with players(one, 0, 1) as default, players(one, 1, WORKERS) as best, players(case, 1, WORKERS) as lanes:
        forms = {LANES: lanes, DEFAULT: default, BEST: best}
        times = timing.in_turn({name: _work(name, some) for name, some in forms.items()}, seconds)
        peaks = {name: sum(player.answer["peak_mib"] for player in some) for name, some in forms.items()}
    return [_row(case, name, times, peaks[name]) for name in forms]


def _work(form: str, some: Sequence[Player]) -> timing.Work:
    """One turn of every seed: a group of lanes plays one turn, a plain loop one for each of its seeds."""
    which, turns = ("lanes", 1) if form == LANES else ("plain", SEEDS // len(some))

    def once() -> None:
        for player in some:
            player.ask(which, turns)
        for player in some:
            player.done()

    return once


def _row(case: Case, form: str, times: dict[str, timing.Times], peak: float) -> dict[str, Any]:
    seen = times[form]
    return {
        "game": case.label,
        "penalty": case.penalty,
        "form": form,
        "ms a step of all seeds": 1000 * seen.median,
        "images/s": SEEDS * case.batch / seen.median,
        "lanes are": f"{seen.against(times[LANES]):.2f}x",
        "spread": seen.spread,
        "peak MiB": peak,
    }
