"""How soon the command line answers: `seesaw --help` in fresh processes."""

import subprocess
import sys
from pathlib import Path

from stages.benchmark import timing
from stages.benchmark.tables import Section

ROUNDS, BOUND = 20, 0.3


def answer(seconds: float, device: str) -> Section:
    """`seesaw --help`, beside a Python that does nothing."""
    root = Path(__file__).resolve().parents[2]

    def asked(*words: str) -> timing.Work:
        return lambda: subprocess.run([sys.executable, *words], cwd=root, check=True, stdout=subprocess.DEVNULL)

    works = {"python -c pass": asked("-c", "pass"), "seesaw --help": asked("-m", "stages.cli", "--help")}
    times = timing.in_turn(works, 0.0, ROUNDS)
    rows = [{"command": name, "seconds": seen.median, "spread": seen.spread} for name, seen in times.items()]
    rows[1] |= {"bound": f"{BOUND} s", "within": times["seesaw --help"].median <= BOUND}
    rows[0] |= {"bound": "", "within": ""}
    return Section(
        "answer",
        "The command line's answer",
        f"Fresh processes in turn, {ROUNDS} of each.",
        ("command", "seconds", "bound", "within", "spread"),
        rows,
    )
