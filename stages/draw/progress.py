"""The live line of a variant in training: step, rate, ETA, losses; on a terminal it is redrawn, elsewhere a line every few seconds."""

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

LINE_SECONDS = 5.0


class Progress:
    """Joins what the groups report; the slowest group's step is shown."""

    def __init__(self, name: str, steps: int, groups: int, quiet: bool = False, out: TextIO | None = None) -> None:
        self.name, self.steps, self.quiet = name, steps, quiet
        self.out = out or sys.stderr
        self.seen: dict[int, dict[str, Any]] = {index: {"step": 0} for index in range(groups)}
        self.first: tuple[float, int] | None = None
        self.last = 0.0
        self.terminal = self.out.isatty()

    def show(self, group: int, message: Mapping[str, Any]) -> None:
        """Take one message of a worker; write when it is time."""
        self.seen[group] |= message
        now, step = time.monotonic(), self._step()
        if self.first is None:
            self.first = (now, step)
        if message["event"] == "start" and message["step"] > 0:
            self._write(f"{self.name}: group {group} goes on from step {message['step']}\n")
        if not self.quiet and now - self.last >= (0.2 if self.terminal else LINE_SECONDS):
            self.last = now
            self._write(f"\r\x1b[2K{self._line(now, step)}" if self.terminal else f"{self._line(now, step)}\n")

    def close(self) -> None:
        """The last line, with the time it took."""
        if self.first is None or self.quiet:
            return
        start = "\r\x1b[2K" if self.terminal else ""
        self._write(f"{start}{self.name}: {self._step()}/{self.steps} steps in {time.monotonic() - self.first[0]:.1f} s{self._losses()}\n")

    def _step(self) -> int:
        return min(seen["step"] for seen in self.seen.values())

    def _line(self, now: float, step: int) -> str:
        since, begun = self.first or (now, step)
        rate = (step - begun) / (now - since) if now > since else 0.0
        left = f"{(self.steps - step) / rate:.0f} s left" if rate > 0 else "starting"
        return f"{self.name}: step {step}/{self.steps}  {rate:.1f} steps/s  {left}{self._losses()}"

    def _losses(self) -> str:
        known = [seen for seen in self.seen.values() if "g_loss" in seen]
        if not known:
            return ""
        mean = {key: sum(seen[key] for seen in known) / len(known) for key in ("d_loss", "g_loss")}
        alive = sum(seen["alive"] for seen in known)
        return f"  D {mean['d_loss']:+.3f}  G {mean['g_loss']:+.3f}  {alive} lanes alive"

    def _write(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()
