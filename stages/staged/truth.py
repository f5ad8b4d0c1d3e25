"""The oracle's word on a lane, from what the witness saw. It knows neither the configuration nor any measure of the rules.

Every question is answered yes, no or unclear: a quantity has two bounds, and between them the oracle does not know. The first question
that is not answered `no` decides: `yes` is the label, `unclear` leaves the lane out of the accuracy (it is counted and listed). Bounds
were set on the games of the split `tune`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

Lane = Mapping[str, Any]
UNCLEAR = None


@dataclass(frozen=True)
class Bounds:
    """`yes` at and beyond one bound, `no` at and beyond the other, in whichever direction they stand."""

    no: float
    yes: float

    def ask(self, value: float) -> bool | None:
        """Whether the value is beyond `yes` (True), beyond `no` (False), or between (None)."""
        sign = 1 if self.yes > self.no else -1
        return True if sign * (value - self.yes) >= 0 else False if sign * (value - self.no) <= 0 else UNCLEAR


ON = Bounds(0.45, 0.55)  # share of samples on the data, over what real items reach
FOUND = Bounds(0.45, 0.55)  # share of modes found, over what real items reach
NEAR = Bounds(0.30, 0.20)  # energy distance over the untrained generator's
STEADY = 4  # looks of the five around the run's end that agree with it
STRETCH = 4  # looks in a row that were good: it was no passing moment
RELAPSED = 0.25  # share of later looks, at most, that are good again after a collapse
PROGRESS = Bounds(0.80, 0.60)  # median energy at the end of the time after the run over that at the run's end
FALLING = -0.5  # rank correlation of energy with time, at most, in that time
STILL = 0.5  # rank correlation with time in the run's last three tenths: energy falling, or the share on the data rising
SWING = 3.0  # factor by which the energy distance changes before it is said to have turned
CALM = 0.05  # of the untrained generator's energy distance: what happens below is not looked at, it is near the sampling error
TURNS = Bounds(1, 3)  # such turns from the middle of the run to the end of the time after it
REACH = Bounds(0.15, 0.30)  # largest change of the modes' shares, of samples on the data alone
ROUNDS = Bounds(1.5, 2.0)  # path over twice the reach: 1 is once there and back
APART = Bounds(0.98, 0.99)  # AUC of the lane's own D on held-out items, mean of the last two looks at it
GONE = Bounds(3e-2, 1e-2)  # float64 gradient of G at the end over its largest up to a tenth of the run
STOPPED = Bounds(
    0.05, 0.02
)  # how far samples move in the time after the run, in spreads, or in energy distances where they are farther off
MOVING = Bounds(0.02, 0.05)  # the same, from the other side
GREW = Bounds(300, 1000)  # largest float64 gradient of a player over its early median
CHANCE = Bounds(0.65, 0.60)  # AUC of the own D: no better than chance
FRESH = Bounds(0.85, 0.90)  # AUC of the fresh D


SHORT = 200  # steps below which no cause is named, as the verdicts promise
ASKED_ALWAYS = ("healthy", "late_collapse", "undertrained")


@dataclass(frozen=True)
class Word:
    """The label (`None`: the oracle does not know) and why."""

    label: str | None
    why: str


def label(lane: Lane) -> Word:
    """The oracle's word on a lane of `oracle.json`."""
    if not lane["finite"]:
        return Word("non_finite", "weights, answers or samples overflow")
    for word, question in QUESTIONS.items():
        if lane["steps"] < SHORT and word not in ASKED_ALWAYS:
            continue
        answer, why = question(lane)
        if answer is None:
            return Word(None, f"{word}? unclear: {why}")
        if answer:
            return Word(word, why)
    return Word("undetermined", "bad, and no cause that the oracle knows")


def good(lane: Lane, look: Mapping[str, float] | None) -> bool | None:
    """Whether a look shows good samples: on the data, all about, near the truth."""
    if look is None:
        return False
    real, start = lane["real"], lane["looks"][0]
    answers = [ON.ask(look["on"] / real["on"]), FOUND.ask(look["found"] / real["found"]), NEAR.ask(look["energy"] / start["energy"])]
    return False if False in answers else UNCLEAR if None in answers else True


def _run(lane: Lane) -> int:
    """Index of the look at the run's end."""
    return (len(lane["looks"]) - 1) // 2


def _around(lane: Lane, first: float, last: float) -> list[Any]:
    """Looks from `first` to `last`, as shares of the run (2: the end of the time after it)."""
    end = _run(lane)
    return list(lane["looks"][round(first * end) : round(last * end) + 1])


def _healthy(lane: Lane) -> tuple[bool | None, str]:
    answer = good(lane, lane["end"])
    end = lane["end"]
    why = f"on {end['on']:.2f}, found {end['found']:.2f}, energy {end['energy']:.3g} of {lane['looks'][0]['energy']:.3g}"
    if answer is not True:
        return answer, why
    steady = sum(good(lane, look) is not False for look in _around(lane, 0.9, 1.1))
    return (True, why) if steady >= STEADY else (UNCLEAR, f"{why}, but {steady} of 5 looks around are good")


def _late_collapse(lane: Lane) -> tuple[bool | None, str]:
    before = [good(lane, look) is True for look in lane["looks"][: _run(lane)]]
    stretch = max((len(run) for run in "".join("x" if one else " " for one in before).split()), default=0)
    after = float(np.mean([good(lane, look) is True for look in _around(lane, 1.0, 2.0)]))
    why = f"{stretch} good looks in a row before, {after:.0%} of the later ones good"
    if stretch < STRETCH:
        return (False if stretch < STRETCH - 1 else UNCLEAR), why
    return (True if after <= RELAPSED else UNCLEAR), why


def _undertrained(lane: Lane) -> tuple[bool | None, str]:
    """The samples still get better at the run's end, and playing on makes them good or much better."""
    later, now = _around(lane, 1.0, 2.0), _around(lane, 0.7, 1.0)
    if None in later or None in now:
        return False, "not finite later"
    share = _median_energy(lane, 1.8, 2.0) / _median_energy(lane, 0.9, 1.1)
    trend, well = _trend(later, "energy"), sum(good(lane, look) is True for look in _around(lane, 1.8, 2.0))
    improving = _trend(now, "energy") <= -STILL or _trend(now, "on") >= STILL
    why = f"as long again: energy {share:.2f} of what it was, rank trend {trend:.2f}, {well} of 5 last looks good"
    answer = True if well >= STEADY else PROGRESS.ask(share)
    if answer is True and well < STEADY and trend > FALLING:
        answer = UNCLEAR
    if answer is True and not improving:
        return UNCLEAR, f"{why}, though the run's end shows no progress"
    return (answer if improving or answer is not UNCLEAR else False), why


def _median_energy(lane: Lane, first: float, last: float) -> float:
    return float(np.median([look["energy"] for look in _around(lane, first, last)]))


def _trend(looks: Sequence[Mapping[str, Any]], measure: str) -> float:
    values = [look[measure] for look in looks]
    return float(spearmanr(range(len(values)), values).statistic) if max(values) > min(values) else 0.0


def _mode_collapse(lane: Lane) -> tuple[bool | None, str]:
    end, real = lane["end"], lane["real"]
    on, found = ON.ask(end["on"] / real["on"]), FOUND.ask(end["found"] / real["found"])
    why = f"on {end['on']:.2f}, found {end['found']:.2f}"
    if on is False or found is True:
        return False, why
    return (True if on and found is False else UNCLEAR), why


def rounds(points: np.ndarray) -> tuple[float, float]:
    """(reach, rounds) of a path `[T, d]`: the largest distance of two of its points, and its length over twice that."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    reach = max(float(np.linalg.norm(points - one, axis=1).max()) for one in points)
    return reach, float(steps.sum()) / (2 * reach) if reach > 0 else 0.0


def turns(values: Sequence[float], factor: float) -> int:
    """How often a positive series turns after having changed by at least `factor` either way (a zigzag without the small moves)."""
    count, direction, extreme = 0, 0, values[0]
    low = high = values[0]
    for value in values[1:]:
        if direction == 0:
            low, high = min(low, value), max(high, value)
            if value >= factor * low or value <= high / factor:
                direction, extreme = (1 if value >= factor * low else -1), value
        elif (value - extreme) * direction > 0:
            extreme = value
        elif (value <= extreme / factor) if direction > 0 else (value >= factor * extreme):
            count, direction, extreme = count + 1, -direction, value
    return count


def _oscillating(lane: Lane) -> tuple[bool | None, str]:
    looks = _around(lane, 0.5, 2.0)
    if None in looks:
        return False, "not finite later"
    floor = CALM * lane["looks"][0]["energy"]
    there_and_back = turns([max(look["energy"], floor) for look in looks], SWING)
    reach, around = rounds(np.array([look["shares"] for look in looks]) / np.sqrt(2))  # two modes that swap are 1 apart
    pair = (REACH.ask(reach), ROUNDS.ask(around))
    answers = (TURNS.ask(there_and_back), False if False in pair else UNCLEAR if None in pair else True)
    why = f"energy turned {there_and_back} times, shares reach {reach:.2f} in {around:.1f} rounds"
    return (True if True in answers else UNCLEAR if None in answers else False), why


def _norms(lane: Lane, player: str) -> tuple[list[float], list[float]] | None:
    """A player's float64 gradients up to a tenth of the run, and later. None where one overflows."""
    seen = [(one["step"], one[player]) for one in lane["gradients"]]
    if any(value is None for _, value in seen):
        return None
    first = 0.1 * lane["steps"]
    return [value for step, value in seen if step <= first], [value for step, value in seen if step > first]


def _own(lane: Lane) -> float | None:
    """AUC of the lane's own D on held-out items, mean of the last two looks."""
    seen = [one["auc"] for one in lane["gradients"][-2:]]
    return None if None in seen else float(np.mean(seen))


def _apart(lane: Lane) -> tuple[bool | None, str]:
    own = _own(lane)
    return (UNCLEAR if own is None else APART.ask(own)), f"own D's AUC {_number(own)}"


def _moved(lane: Lane) -> float | None:
    """How far samples go in the time after the run, over what they have to go: None where they become infinite."""
    moved: float | None = lane["moved"]
    return None if moved is None else moved / max(1.0, lane["end"]["energy"] / 2)


def _vanishing(lane: Lane) -> tuple[bool | None, str]:
    apart, why = _apart(lane)
    norms = _norms(lane, "generator")
    if apart is False or norms is None:
        return False, why
    early, late = norms
    share = late[-1] / max(early) if max(early) > 0 else 0.0
    moved = _moved(lane)
    answers = [apart, GONE.ask(share), False if moved is None else STOPPED.ask(moved)]
    why = f"{why}, G's gradient {share:.2g} of its early one, samples move {_number(moved)}"
    return (False if False in answers else UNCLEAR if None in answers else True), why


def _exploding(lane: Lane) -> tuple[bool | None, str]:
    answers, words = [], []
    for player in ("generator", "discriminator"):
        norms = _norms(lane, player)
        growth = np.inf if norms is None or not np.median(norms[0]) else max(norms[1]) / float(np.median(norms[0]))
        answers.append(GREW.ask(growth))
        words.append(f"{player}'s gradient grew {growth:.3g}-fold")
    return (True if True in answers else UNCLEAR if None in answers else False), ", ".join(words)


def _discriminator_wins(lane: Lane) -> tuple[bool | None, str]:
    apart, why = _apart(lane)
    if apart is False:
        return False, why
    moved = _moved(lane)
    answers = [apart, True if moved is None else MOVING.ask(moved)]
    return (False if False in answers else UNCLEAR if None in answers else True), f"{why}, samples move {_number(moved)}"


def _number(value: float | None) -> str:
    return "beyond numbers" if value is None else f"{value:.3g}"


def _generator_wins(lane: Lane) -> tuple[bool | None, str]:
    own, fresh = _own(lane), lane.get("fresh_auc")
    if own is None or fresh is None:
        return False, f"own D's AUC {_number(own)}"
    answers = [CHANCE.ask(own), FRESH.ask(fresh)]
    return (False if False in answers else UNCLEAR if None in answers else True), f"own D's AUC {own:.3f}, a fresh one's {fresh:.3f}"


QUESTIONS = {  # in the order of the rules: fate first, then cause
    "healthy": _healthy,
    "late_collapse": _late_collapse,
    "undertrained": _undertrained,
    "mode_collapse": _mode_collapse,
    "oscillating": _oscillating,
    "vanishing_gradient": _vanishing,
    "exploding_gradient": _exploding,
    "discriminator_wins": _discriminator_wins,
    "generator_wins": _generator_wins,
}
