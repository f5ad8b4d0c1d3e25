"""What a training shows while it lasts: one live table on a terminal, plain lines elsewhere and in CI, a status file where asked.

A status is plain JSON: `name, step, steps, rate, left, lanes`, each lane `seed, step, rate, left, d_loss, g_loss, auc, worry`.
`seesaw run -j` names a folder by SEESAW_STATUS and draws one table of all trainings from the files; SEESAW_QUIET silences lines and table.
"""

import json
import os
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from stages.draw.board import Board

LINE_SECONDS = 5.0
TABLE_SECONDS = 0.25
STATUS_SECONDS = 0.5
LOOK_BACK = 6  # reports behind a worry, so that one lucky batch worries nobody
LOSSES = ("d_loss", "g_loss")


class Progress:
    """Joins what the groups of lanes report; `seeds` of each group, where lanes are shown."""

    def __init__(
        self, name: str, steps: int, groups: int, quiet: bool = False, out: TextIO | None = None, seeds: Sequence[Sequence[int]] = ()
    ) -> None:
        self.name, self.steps, self.seeds = name, steps, seeds
        self.out = out or sys.stderr
        self.quiet = quiet or bool(os.environ.get("SEESAW_QUIET"))
        self.folder = os.environ.get("SEESAW_STATUS")
        self.seen: dict[int, dict[str, Any]] = {index: {"step": 0} for index in range(groups)}
        self.history: dict[int, deque[Mapping[str, Any]]] = {index: deque(maxlen=LOOK_BACK) for index in range(groups)}
        self.first: dict[int, tuple[float, int]] = {}  # moment and step of a group's first message
        self.last: dict[int, float] = {}  # moment of its last one
        self.shown_at = self.told_at = float("-inf")
        self.board: Board | None = None

    def show(self, group: int, message: Mapping[str, Any]) -> None:
        """Take one message of a worker; write when it is time."""
        self.seen[group] |= message
        if "lanes" in message:
            self.history[group].append(message["lanes"])
        now = time.monotonic()
        self.first.setdefault(group, (now, message["step"]))
        self.last[group] = now
        if message["event"] == "start" and message["step"] > 0 and not self.quiet:
            self._line(f"{self.name}: group {group} goes on from step {message['step']}")
        self._tell(now)
        self._draw(now)

    def close(self) -> None:
        """The last line, with the time it took."""
        if self.board is not None:
            self.board.close()
        self._tell(float("inf"))
        if self.first and not self.quiet:
            begun = min(moment for moment, _ in self.first.values())
            self._line(f"{self.name}: {self._step()}/{self.steps} steps in {time.monotonic() - begun:.1f} s{said(self.status())}")

    def status(self) -> dict[str, Any]:
        """Where it stands; `rate` in steps a second, `left` in seconds, None where they are not known yet."""
        steps, rates = self.steps, {group: self._rate(group) for group in self.seen}
        rate = sum(rates.values()) / len(rates)
        missing = sum(steps - seen["step"] for seen in self.seen.values()) / len(rates)
        lanes = [lane for group in range(len(self.seeds)) for lane in self._lanes(group, rates[group])]
        return {
            "name": self.name,
            "step": self._step(),
            "steps": steps,
            "rate": rate,
            "left": missing / rate if rate else None,
            "lanes": lanes,
        }

    def _lanes(self, group: int, rate: float) -> list[dict[str, Any]]:
        seen, step = self.seen[group], self.seen[group]["step"]
        left = (self.steps - step) / rate if rate else None
        shared = {"step": step, "rate": rate, "left": left}
        return [
            {
                "seed": seed,
                **shared,
                **{name: seen["lanes"][name][lane] if "lanes" in seen else None for name in (*LOSSES, "auc")},
                "worry": worry(seen.get("alive", {lane: True})[lane], [_of(lanes, lane) for lanes in self.history[group]]),
            }
            for lane, seed in enumerate(self.seeds[group])
        ]

    def _step(self) -> int:
        return min(seen["step"] for seen in self.seen.values())

    def _rate(self, group: int) -> float:
        begun, step = self.first.get(group, (0.0, 0))
        now = self.last.get(group, 0.0)
        return (self.seen[group]["step"] - step) / (now - begun) if now > begun else 0.0

    def _draw(self, now: float) -> None:
        """The table or a line, when it is time."""
        table = is_terminal(self.out)
        if self.quiet or now - self.shown_at < (TABLE_SECONDS if table else LINE_SECONDS):
            return
        self.shown_at = now
        if not table:
            self._line(line(self.status()))
            return
        if self.board is None:
            from stages.draw.board import Board

            self.board = Board(self.out)
        self.board.show([self.status()])

    def _tell(self, now: float) -> None:
        """The status file, where a folder for it is named."""
        if self.folder and now - self.told_at >= STATUS_SECONDS:
            self.told_at = now
            path = Path(self.folder) / f"{self.name}.json"
            draft = path.with_suffix(".draft")
            draft.write_text(json.dumps(self.status()), encoding="utf-8")
            draft.replace(path)

    def _line(self, text: str) -> None:
        self.out.write(text + "\n")
        self.out.flush()


def _of(lanes: Mapping[str, Sequence[Any]], lane: int) -> dict[str, Any]:
    """One lane's values of one report."""
    return {name: values[lane] for name, values in lanes.items()}


def is_terminal(out: TextIO) -> bool:
    """Whether a table can be redrawn there: a terminal that moves its cursor, and no CI job."""
    return out.isatty() and os.environ.get("TERM") != "dumb" and os.environ.get("CI", "") in ("", "0", "false")


def worry(alive: bool, recent: Sequence[Mapping[str, float | None]]) -> str:
    """What a lane's last reports give cause to watch, in three words; empty where nothing does. A glance: the verdict is diagnose's.

    `recent`: values of `d_loss, g_loss, auc, g_gradient_norm` of at most LOOK_BACK reports, None where not finite.
    """
    if not alive:
        return "not finite: frozen"
    if len(recent) < LOOK_BACK:
        return ""
    known = {name: [value for row in recent if (value := row[name]) is not None] for name in recent[0]}
    middle = {name: median(values) for name, values in known.items() if values}
    signs = {
        "losses explode": max(abs(middle.get(name, 0.0)) for name in LOSSES) > 1e4,
        "D tells all apart": middle.get("auc", 0.5) >= 0.99,
        "D is fooled": middle.get("auc", 0.5) <= 0.1,
        "G hardly moves": middle.get("g_gradient_norm", 1.0) < 1e-6,
    }
    return ", ".join(sign for sign, holds in signs.items() if holds)


def line(status: Mapping[str, Any]) -> str:
    """A status as one line."""
    left = f"{status['rate']:.1f} steps/s  {clock(status['left'])} left" if status["left"] is not None else "starting"
    return f"{status['name']}: step {status['step']}/{status['steps']}  {left}{said(status)}"


def said(status: Mapping[str, Any]) -> str:
    """Losses and AUC, means over the lanes that have them, and the lanes that worry."""
    lanes = status["lanes"]
    parts = []
    for label, name, form in (("D", "d_loss", "+.3f"), ("G", "g_loss", "+.3f"), ("AUC", "auc", ".2f")):
        known = [lane[name] for lane in lanes if lane[name] is not None]
        parts += [f"{label} {sum(known) / len(known):{form}}"] if known else []
    worried = worries(lanes)
    return "".join(f"  {part}" for part in parts) + (f"  [{worried}]" if worried else "")


def worries(lanes: Sequence[Mapping[str, Any]]) -> str:
    """Each worry with how many lanes have it: `3 of 8 lanes: D tells all apart`."""
    found = [lane["worry"] for lane in lanes if lane["worry"]]
    return "; ".join(f"{found.count(text)} of {len(lanes)} lanes: {text}" for text in dict.fromkeys(found))


def clock(seconds: float | None) -> str:
    """`42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
