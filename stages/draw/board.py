"""The live table on a terminal: trainings with their lanes, last lines of what runs beside. Drawn by rich (NO_COLOR is honoured)."""

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stages.draw.progress import clock, worries

COLUMNS = ("variant", "seed", "step", "steps/s", "left", "D loss", "G loss", "AUC", "worry")
MARGIN = 4  # lines of a terminal that the table leaves


class Board:
    """Redrawn in place until it is closed; then nothing of it stays."""

    def __init__(self, out: TextIO) -> None:
        self.console = Console(file=out)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.live.start()

    def show(self, statuses: Sequence[Mapping[str, Any]], tails: Mapping[str, Sequence[str]] | None = None, title: str = "") -> None:
        """The trainings, a row a lane where the terminal is high enough, and under them the last lines of each stage."""
        self.live.update(whole(statuses, tails or {}, title, self.console.size.height - MARGIN), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        self.live.stop()


def whole(statuses: Sequence[Mapping[str, Any]], tails: Mapping[str, Sequence[str]], title: str, height: int) -> RenderableType:
    """Title, table, tails, in at most `height` lines where that can be."""
    told = [f"{name} | {text}" for name, texts in tails.items() for text in texts]
    room = height - len(told) - bool(title) - 2
    parts: list[RenderableType] = [Text(title)] if title else []
    parts += [table(statuses, lanes=sum(1 + len(status["lanes"]) for status in statuses) <= room)] if statuses else []
    return Group(*parts, *(Text(text, style="dim", no_wrap=True, overflow="ellipsis") for text in told))


def table(statuses: Sequence[Mapping[str, Any]], lanes: bool = True) -> Table:
    """A row a variant and, below it, a row a lane."""
    drawn = Table(box=None, pad_edge=False)
    for index, name in enumerate(COLUMNS):
        drawn.add_column(name, justify="left" if index in (0, len(COLUMNS) - 1) else "right", no_wrap=True)
    for status in statuses:
        step, rate = f"{status['step']}/{status['steps']}", f"{status['rate']:.1f}"
        worried = "" if lanes else worries(status["lanes"])
        drawn.add_row(escape(status["name"]), "", step, rate, clock(status["left"]), *means(status["lanes"]), worried, style="bold")
        for lane in status["lanes"] if lanes else ():
            drawn.add_row(
                "", str(lane["seed"]), str(lane["step"]), f"{lane['rate']:.1f}", clock(lane["left"]), *numbers(lane), alarm(lane["worry"])
            )
    return drawn


def numbers(lane: Mapping[str, Any]) -> tuple[str, str, str]:
    """Losses and AUC of a lane; a dash where there is none."""
    forms = (("d_loss", "+.3f"), ("g_loss", "+.3f"), ("auc", ".2f"))
    first, second, third = ("-" if lane[name] is None else format(lane[name], form) for name, form in forms)
    return first, second, third


def means(lanes: Sequence[Mapping[str, Any]]) -> tuple[str, str, str]:
    """The same, as means over the lanes that have them."""
    known = {name: [lane[name] for lane in lanes if lane[name] is not None] for name in ("d_loss", "g_loss", "auc")}
    return numbers({name: sum(values) / len(values) if values else None for name, values in known.items()})


def alarm(text: str) -> Text:
    """A worry in the colour of one."""
    return Text(text, style="red" if text.startswith(("not finite", "losses")) else "yellow")
