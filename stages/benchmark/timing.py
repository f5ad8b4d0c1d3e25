"""Times of things done in turn, A B C A B C: what disturbs the machine disturbs all of them alike, and medians pass over the rest."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Work = Callable[[], object]
ROUNDS = 3  # at least; the seconds given decide how many more
SHORTEST = 0.02  # seconds that one timing should last at least, so that the clock and the loop do not show


@dataclass(frozen=True)
class Times:
    """Seconds of one piece of work, one for each round, in the rounds' order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(Third quartile - first quartile) / median: how much the machine moved meanwhile."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / self.median

    def against(self, other: "Times") -> float:
        """Median over the rounds of this one's time by the other's in the same round."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))

    def beyond(self, other: "Times") -> float:
        """Median over the rounds of this one's seconds less the other's in the same round."""
        return statistics.median(mine - theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))


def in_turn(works: Mapping[str, Work], seconds: float, rounds: int = ROUNDS) -> dict[str, Times]:
    """Every work once unseen, then all of them in turn until `seconds` for each have passed, at least `rounds` times.

    Work shorter than SHORTEST is repeated within a timing; the times are of one repetition.
    """
    repeats = {name: _repeats(work) for name, work in works.items()}
    times: dict[str, list[float]] = {name: [] for name in works}
    end = time.perf_counter() + seconds * len(works)
    while len(next(iter(times.values()))) < rounds or time.perf_counter() < end:
        for name, work in works.items():
            times[name].append(_timed(work, repeats[name]))
    return {name: Times(tuple(seen)) for name, seen in times.items()}


def _repeats(work: Work) -> int:
    """How often to repeat it within one timing; it runs twice, since a first run also prepares (buffers, kernels, pages)."""
    work()
    return max(1, round(SHORTEST / max(_timed(work, 1), 1e-7)))


def _timed(work: Work, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats
