"""What glimpses show: a few samples, seen often, tell whether a game still gets better, goes round, stands still or was better for long.

Energy distances are taken over that of the lane's first glimpse, the untrained generator's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from stages.measure.fact import Fact

CALM = 0.05  # of the untrained generator's energy distance: turns below are not counted
NOTHING = 0.005  # and a fall below is not seen: with so few samples it is near the sampling error
CLOSE = 0.2  # of the untrained generator's energy distance: near the data
SWING = 3.0  # factor by which the energy distance changes before it is said to have turned
LEAST = 6  # glimpses after the first one, below which nothing is said
LATE, MIDDLE = 0.8, (0.5, 0.7)  # the last fifth of the run is compared with what came before the last three tenths
TREND = 0.65  # from here on time is correlated with
HALF = 0.5  # a reach below it makes no rounds: small jitter would make many
ROUND = 0.4  # and from here on turns and rounds are counted: the way out of the untrained state is over
NAMES = (
    *("late_energy", "energy_fall", "energy_trend", "on_gain", "on_trend", "energy_turns", "energy_relapse", "near_stretch"),
    *("share_reach", "share_rounds", "drift"),
)


@dataclass(frozen=True)
class Glimpse:
    """A few samples of one lane, seen often (`stages/game/glimpses.py`); `None` where a measure is not defined."""

    step: int
    energy: float | None  # energy distance of the average's samples to held-out items, in the feature space
    on: float | None  # share of them that lie where data lie
    shares: tuple[float, ...] | None  # of G's own samples, all of them, by the nearest mode or cell
    to_end: float | None  # how far these are from where they are at the run's end, root mean square, in spreads of the data
    radius: float | None = None  # root mean square of those last samples around the data's mean, in spreads


def course(glimpses: Sequence[Glimpse]) -> dict[str, Fact]:
    """The facts NAMES of one lane; all without a value where glimpses are too few or not all finite."""
    seen = [one for one in glimpses if one.energy is not None]
    count = Fact(len(seen[1:]), tuple(one.step for one in seen[1:]), f"{len(seen[1:])} glimpses of finite samples after the first one")
    if len(seen) <= LEAST:
        return {"glimpses": count, **dict.fromkeys(NAMES, Fact(None, (), f"{count.text}: {LEAST} are needed"))}
    if len(seen) < len(glimpses):
        return {"glimpses": count, **dict.fromkeys(NAMES, Fact(None, (), "some glimpses are not finite"))}
    return {"glimpses": count} | _energies(seen) | _on(seen) | _rounds(seen) | {"drift": _drift(seen)}


def _within(seen: Sequence[Glimpse], first: float, last: float = 1.0) -> list[Glimpse]:
    end = seen[-1].step
    return [one for one in seen if first * end <= one.step <= last * end]


def _steps(seen: Sequence[Glimpse]) -> tuple[int, ...]:
    return (seen[0].step, seen[-1].step)


def _number(value: float | None) -> float:
    if value is None:
        raise ValueError("a glimpse's measure is needed here")
    return value


def _median(seen: Sequence[Glimpse], value: Callable[[Glimpse], float | None]) -> float:
    return float(np.median([_number(value(one)) for one in seen]))


def _trend(seen: Sequence[Glimpse], value: Callable[[Glimpse], float | None]) -> float:
    """Rank correlation with time; 0 where nothing changes."""
    values = [_number(value(one)) for one in seen]
    return float(spearmanr(range(len(values)), values).statistic) if max(values) > min(values) else 0.0


def _energies(seen: Sequence[Glimpse]) -> dict[str, Fact]:
    start = max(_number(seen[0].energy), 1e-12)
    over = [max(_number(one.energy) / start, CALM) for one in seen]
    late, middle, last = _within(seen, LATE), _within(seen, *MIDDLE), _within(seen, TREND)
    now, before = _median(late, lambda one: one.energy) / start, _median(middle, lambda one: one.energy) / start
    trend = _trend(last, lambda one: one.energy)
    since = next(index for index, one in enumerate(seen) if one.step >= ROUND * seen[-1].step)
    there_and_back = turns(over[since:], SWING)
    lowest = min(float(np.median(over[i : i + 5])) for i in range(1, len(over) - 4)) if len(over) > 5 else min(over)
    rows = "".join("x" if value <= CLOSE else " " for value in over[1:]).split()
    stretch = max(map(len, rows), default=0) / (len(over) - 1)
    text = f"energy distance {now:.3g} of the untrained generator's in the last fifth, {before:.3g} in the middle"
    return {
        "late_energy": Fact(now, _steps(late), text),
        "energy_fall": Fact(1 - max(now, NOTHING) / max(before, NOTHING), _steps([*middle, *late]), text),
        "energy_trend": Fact(trend, _steps(last), f"rank correlation of the energy distance with time over the last third: {trend:.2f}"),
        "energy_turns": Fact(there_and_back, _steps(seen[since:]), f"the energy distance turned {there_and_back} times by a factor of 3"),
        "near_stretch": Fact(stretch, _steps(seen), f"samples were near the data for {stretch:.0%} of the run in a row"),
        "energy_relapse": Fact(max(now, CALM) / lowest, _steps(seen), f"{text}, {lowest:.3g} at its best (median of 5 glimpses)"),
    }


def _on(seen: Sequence[Glimpse]) -> dict[str, Fact]:
    late, middle, last = _within(seen, LATE), _within(seen, *MIDDLE), _within(seen, TREND)
    now, before = _median(late, lambda one: one.on), _median(middle, lambda one: one.on)
    trend = _trend(last, lambda one: one.on)
    text = f"{now:.0%} of the samples lie where data lie in the last fifth, {before:.0%} in the middle"
    return {
        "on_gain": Fact(now - before, _steps([*middle, *late]), text),
        "on_trend": Fact(trend, _steps(last), f"rank correlation of that share with time over the last third: {trend:.2f}"),
    }


def _rounds(seen: Sequence[Glimpse]) -> dict[str, Fact]:
    """Reach of the shares in total variation, and their path over twice that (once there and back is 1), or over twice HALF."""
    known = [one for one in _within(seen, ROUND) if one.shares is not None]
    points = np.array([one.shares for one in known])
    reach, path = span(points)
    value = path / (2 * max(reach, HALF))
    text = f"shares of the modes reach {reach:.2f} (1: all samples change mode) in {value:.1f} rounds"
    return {"share_reach": Fact(reach, _steps(known), text), "share_rounds": Fact(value, _steps(known), text)}


def _drift(seen: Sequence[Glimpse]) -> Fact:
    """How far samples were from their last place in the last three tenths: in spreads, or over the way they are off where that is more."""
    late = _within(seen, 0.7)
    radius = max(1.0, _number(seen[-1].radius))
    value = max(_number(one.to_end) for one in late) / radius
    return Fact(value, _steps(late), f"samples were {value:.3g} spreads from their last place at most in the last three tenths")


def span(points: np.ndarray) -> tuple[float, float]:
    """(reach, path) of shares `[T, k]` in total variation: between the two farthest moments, and from moment to moment."""
    reach = max(float(0.5 * np.abs(points - one).sum(1).max()) for one in points)
    return reach, float(0.5 * np.abs(np.diff(points, axis=0)).sum())


def turns(values: Sequence[float], factor: float) -> int:
    """How often a positive series turns after having changed by at least `factor` either way (a zigzag without the small moves)."""
    count, rising = 0, None
    low = high = values[0]
    for value in values[1:]:
        low, high = min(low, value), max(high, value)
        up, down = value >= factor * low, value <= high / factor
        if rising is not False and up and rising is None:
            rising, high = True, value
        elif rising is None and down:
            rising, low = False, value
        elif rising is True and down:
            count, rising, low = count + 1, False, value
        elif rising is False and up:
            count, rising, high = count + 1, True, value
    return count
