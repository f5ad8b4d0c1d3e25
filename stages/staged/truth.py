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
HALF = Bounds(1.25, 0.80)  # labelled images: energy distance over that of real items which lack half of the classes
STEADY = 0.75  # share of the looks around the run's end that agree with it
STRETCH = Bounds(0.15, 0.20)  # longest row of good looks, as a share of the run: it was no passing moment
RELAPSED = Bounds(0.40, 0.25)  # share of later looks that are good again after a collapse
KEPT = Bounds(1.50, 1.20)  # median energy at the end of the time after the run over that at the run's end: what was gained is not lost
TREND = Bounds(0.35, 0.50)  # rank correlation with time in the run's last three tenths: energy falling, or the share on the data rising
FALL = Bounds(0.03, 0.10)  # and by how much: of the energy distance, ...
GAIN = Bounds(0.02, 0.05)  # ... or of all samples
LOSS = Bounds(0.10, 0.05)  # while the other one of the two does not get worse by so much
LEVEL = Bounds(1.05, 0.95)  # median energy at the end over the lowest of five looks in a row before: what was there before is no progress
HIGHER = Bounds(-0.02, 0.00)  # median share on the data at the end, less the highest of five looks in a row before
SWING = 3.0  # factor by which the energy distance changes before it is said to have turned
CALM = 0.05  # of the untrained generator's energy distance: what happens below is not looked at, it is near the sampling error
TURNS = Bounds(1, 2)  # such turns from two fifths of the run to its end
REACH = Bounds(0.30, 0.50)  # largest change of the modes' shares, each sample counted for its nearest mode
ROUNDS = Bounds(0.75, 1.25)  # path over twice the reach in that time: 1 is once there and back
ON_AND_ON = 1.5  # as many turns, or rounds, at least, once the time after the run is counted too
APART = Bounds(0.98, 0.99)  # AUC of the lane's own D on held-out items, median of the looks at the last three tenths
GONE = Bounds(3e-2, 1e-2)  # float64 gradient of G at the end over its largest up to a tenth of the run
STOPPED = Bounds(
    0.05, 0.02
)  # how far samples move in the last three tenths of the run, in spreads, or in energy distances where they are farther off
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
    """Whether a look shows good samples: on the data, all about, near the truth.

    An untrained generator of images is farther off than any wrong images: a fifth of its way says little. Half of the classes says more.
    """
    if look is None:
        return False
    real, start = lane["real"], lane["looks"][0]
    answers = [ON.ask(look["on"] / real["on"]), FOUND.ask(look["found"] / real["found"]), NEAR.ask(look["energy"] / start["energy"])]
    if lane.get("half") is not None:
        answers.append(HALF.ask(look["energy"] / lane["half"]))
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
    steady = float(np.mean([good(lane, look) is not False for look in _around(lane, 0.9, 1.1)]))
    return (True, why) if steady >= STEADY else (UNCLEAR, f"{why}, but {steady:.0%} of the looks around are good")


def _late_collapse(lane: Lane) -> tuple[bool | None, str]:
    before = [good(lane, look) is True for look in lane["looks"][: _run(lane)]]
    stretch = max((len(run) for run in "".join("x" if one else " " for one in before).split()), default=0) / _run(lane)
    now, after = (float(np.mean([good(lane, look) is True for look in _around(lane, *when)])) for when in ((0.9, 1.0), (1.0, 2.0)))
    why = f"good for {stretch:.0%} of the run before, in {now:.0%} of its last looks and {after:.0%} of the later ones"
    answers = [STRETCH.ask(stretch), RELAPSED.ask(now), RELAPSED.ask(after)]
    return (False if answers[0] is False else True if all(answers) else UNCLEAR), why


def _undertrained(lane: Lane) -> tuple[bool | None, str]:
    """The samples still get better in the run's last three tenths, and what was gained is not lost again in the time after it."""
    now, how = _improves(lane)
    if now is not True:
        return now, how
    later = _around(lane, 1.8, 2.0)
    if None in later:
        return UNCLEAR, f"{how}; not finite later"
    share = _median(lane, "energy", 1.8, 2.0) / _median(lane, "energy", 0.9, 1.1)
    well = float(np.mean([good(lane, look) is True for look in later]))
    why = f"{how}; as long again: energy {share:.2f} of what it was, {well:.0%} of the last looks good"
    return (True if well >= STEADY or KEPT.ask(share) else UNCLEAR), why


def _improves(lane: Lane) -> tuple[bool | None, str]:
    """Energy falls, or the share on the data rises: steadily, and by an amount that counts."""
    looks = _around(lane, 0.7, 1.0)
    if None in _around(lane, 0.5, 1.0):
        return False, "not finite"
    fall = 1 - _median(lane, "energy", 0.9, 1.0) / _median(lane, "energy", 0.6, 0.75)
    gain = _median(lane, "on", 0.9, 1.0) - _median(lane, "on", 0.6, 0.75)
    level = _median(lane, "energy", 0.9, 1.0) / min(_medians(lane, "energy"))
    higher = _median(lane, "on", 0.9, 1.0) - max(_medians(lane, "on"))
    ways = [
        (TREND.ask(-_trend(looks, "energy")), FALL.ask(fall), LOSS.ask(-gain), LEVEL.ask(level)),
        (TREND.ask(_trend(looks, "on")), GAIN.ask(gain), LOSS.ask(-fall), HIGHER.ask(higher)),
    ]
    answers = [False if False in way else UNCLEAR if UNCLEAR in way else True for way in ways]
    why = f"energy fell by {fall:.0%} (rank trend {_trend(looks, 'energy'):.2f}), share on the data rose by {gain:.0%}"
    why += f"; energy {level:.2f} of its lowest before, share {higher:+.0%} from its highest"
    return (True if True in answers else UNCLEAR if UNCLEAR in answers else False), why


def _median(lane: Lane, measure: str, first: float, last: float) -> float:
    return float(np.median([look[measure] for look in _around(lane, first, last)]))


def _medians(lane: Lane, measure: str) -> list[float]:
    """Of five looks in a row, each, in the first seven tenths of the run; a moment that is not finite is left out."""
    values = [look[measure] for look in _around(lane, 0.0, 0.7) if look is not None]
    return [float(np.median(values[i : i + 5])) for i in range(max(1, len(values) - 4))]


def _trend(looks: Sequence[Mapping[str, Any]], measure: str) -> float:
    values = [look[measure] for look in looks]
    return float(spearmanr(range(len(values)), values).statistic) if max(values) > min(values) else 0.0


def _mode_collapse(lane: Lane) -> tuple[bool | None, str]:
    answer, why = _collapsed(lane, lane["end"])
    if answer is not True:
        return answer, why
    steady = float(np.mean([look is not None and _collapsed(lane, look)[0] is not False for look in _around(lane, 0.9, 1.1)]))
    return (True, why) if steady >= STEADY else (UNCLEAR, f"{why}, but so in {steady:.0%} of the looks around")


def _collapsed(lane: Lane, look: Mapping[str, float]) -> tuple[bool | None, str]:
    real = lane["real"]
    on, found = ON.ask(look["on"] / real["on"]), FOUND.ask(look["found"] / real["found"])
    why = f"on {look['on']:.2f}, found {look['found']:.2f}"
    if on is False or found is True:
        return False, why
    return (True if on and found is False else UNCLEAR), why


def rounds(points: np.ndarray, least: float = 0.0) -> tuple[float, float]:
    """(reach, rounds) of shares `[T, k]` in total variation: between the two farthest moments, and the path's length over twice that.

    `least` is a reach that is known already: rounds are never counted by a shorter one.
    """
    steps = 0.5 * np.abs(np.diff(points, axis=0)).sum(1)
    reach = max(least, *(float(0.5 * np.abs(points - one).sum(1).max()) for one in points))
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
    """Energy, or the modes' shares, go there and back within the run, and go on so after it."""
    run, on = _around(lane, 0.4, 1.0), _around(lane, 0.4, 2.0)
    if None in run:
        return False, "not finite"
    floor = CALM * lane["looks"][0]["energy"]
    seen, more = (turns([max(look["energy"], floor) for look in looks if look is not None], SWING) for looks in (run, on))
    reach, around = rounds(np.array([look["nearest"] for look in run]))
    _, further = rounds(np.array([look["nearest"] for look in on if look is not None]), reach)
    answers = [TURNS.ask(seen), _both(REACH.ask(reach), ROUNDS.ask(around))]
    why = f"energy turned {seen} times ({more} with the time after), shares reach {reach:.2f} in {around:.1f} rounds ({further:.1f})"
    if True not in answers:
        return (UNCLEAR if UNCLEAR in answers else False), why
    goes_on = (answers[0] is True and more >= ON_AND_ON * seen) or (answers[1] is True and further >= ON_AND_ON * around)
    return (True if goes_on else UNCLEAR), why


def _both(one: bool | None, other: bool | None) -> bool | None:
    return False if False in (one, other) else UNCLEAR if UNCLEAR in (one, other) else True


def _norms(lane: Lane, player: str) -> tuple[list[float], list[float]] | None:
    """A player's float64 gradients up to a tenth of the run, and later. None where one overflows."""
    seen = [(one["step"], one[player]) for one in lane["gradients"]]
    if any(value is None for _, value in seen):
        return None
    first = 0.1 * lane["steps"]
    return [value for step, value in seen if step <= first], [value for step, value in seen if step > first]


def _own(lane: Lane) -> float | None:
    """AUC of the lane's own D on held-out items, median of the looks at the last three tenths of the run."""
    seen = [one["auc"] for one in lane["gradients"] if one["step"] >= 0.69 * lane["steps"]]
    return None if None in seen else float(np.median(seen))


def _apart(lane: Lane) -> tuple[bool | None, str]:
    own = _own(lane)
    return (UNCLEAR if own is None else APART.ask(own)), f"own D's AUC {_number(own)}"


def _moved(lane: Lane) -> tuple[float, float]:
    """How far samples go in the last three tenths of the run, and in the time after it, over what they have to go."""
    end = _run(lane)
    late = max(np.inf if one is None else float(one) for one in lane["to_end"][round(0.7 * end) : end])
    later = np.inf if lane["moved"] is None else lane["moved"]
    way = max(1.0, lane["end"]["energy"] / 2)
    return late / way, later / way


def _vanishing(lane: Lane) -> tuple[bool | None, str]:
    apart, why = _apart(lane)
    norms = _norms(lane, "generator")
    if apart is False or norms is None:
        return False, why
    early, after = norms
    share = after[-1] / max(early) if max(early) > 0 else 0.0
    late, later = _moved(lane)
    answers = [apart, GONE.ask(share), STOPPED.ask(late), STOPPED.ask(later) or UNCLEAR]
    why = f"{why}, G's gradient {share:.2g} of its early one, samples moved {late:.3g}, later {later:.3g}"
    return (False if False in answers else UNCLEAR if None in answers else True), why


def _exploding(lane: Lane) -> tuple[bool | None, str]:
    answers, words = [], []
    for player in ("generator", "discriminator"):
        norms = _norms(lane, player)
        early = [] if norms is None else [value for value in norms[0] if value > 0]  # a hinge that is satisfied has none
        growth = np.inf if norms is None else max(norms[1]) / float(np.median(early)) if early else 0.0
        answers.append(GREW.ask(growth))
        words.append(f"{player}'s gradient grew {growth:.3g}-fold")
    return (True if True in answers else UNCLEAR if None in answers else False), ", ".join(words)


def _discriminator_wins(lane: Lane) -> tuple[bool | None, str]:
    apart, why = _apart(lane)
    if apart is False:
        return False, why
    late, later = _moved(lane)
    answers = [apart, MOVING.ask(late), MOVING.ask(later) or UNCLEAR]
    return (False if False in answers else UNCLEAR if None in answers else True), f"{why}, samples moved {late:.3g}, later {later:.3g}"


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
