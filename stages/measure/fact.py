"""One number that verdicts rest on."""

from typing import NamedTuple


class Fact(NamedTuple):
    """A number, the steps behind it, and a sentence (the reason when there is no number)."""

    value: float | None
    steps: tuple[int, ...]
    text: str
