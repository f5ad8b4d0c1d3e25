"""The gate: may a challenger take the champion's place? Scores in, a decision out.

Every array is `[lanes, draws]`: one score of each lane's samples from each draw of noise, the draws shared by both sides. A lane without a
score is a row of NaN and counts as failed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Scores = Mapping[str, np.ndarray]  # metric to [lanes, draws]
PRIMARY = "frechet"
SHARES = {"recall": 1.0, "coverage": 1.0, "memorisation": -1.0}  # guards, and the sign under which more is better


@dataclass(frozen=True)
class Rule:
    """What the gate asks for (`gate` in params.yaml)."""

    min_effect: float  # the least reduction of the primary metric that the interval must exceed
    margin: float  # how much of a share (recall, coverage, memorisation) may be lost
    floor_factor: float  # without a champion: the score stays below that many floors
    alpha: float  # 1 - alpha is the interval's confidence


@dataclass(frozen=True)
class Effect:
    """How much lower the challenger's primary metric is, as a share of the champion's, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Guard:
    """One thing that must not get worse; a value is None where it cannot be measured, and then nothing is asked of it."""

    name: str
    champion: float | None
    challenger: float | None
    passed: bool
    text: str


@dataclass(frozen=True)
class Judgement:
    """Whether the challenger takes the place, and why, in one line."""

    promoted: bool
    reason: str
    effect: Effect | None
    guards: tuple[Guard, ...]


def median_lane(scores: Mapping[int, float | None]) -> int | None:
    """The lane of median score (lower is better), the better of the two middle ones for an even count; None when it has no score.

    A lane without a score counts as worst. Ties go to the smaller lane. ValueError without a lane.
    """
    if not scores:
        raise ValueError("a lane is needed")
    order = sorted(scores, key=lambda lane: (math.inf if scores[lane] is None else scores[lane], lane))
    middle = order[(len(order) - 1) // 2]
    return None if scores[middle] is None else middle


def failed(scores: Scores) -> np.ndarray:
    """Which lanes have a draw without a primary score, `[lanes]`."""
    return np.asarray(~np.isfinite(scores[PRIMARY]).all(axis=1))


def effect(champion: np.ndarray, challenger: np.ndarray, alpha: float) -> Effect | None:
    """1 − exp(−d) with d = mean log champion − mean log challenger, over the lanes that live; None where no interval can be given.

    With A, B the logarithms `[lanes, draws]`: V = s²(lane means of A) / n_A + s²(lane means of B) / n_B + s²(D) / draws, where
    D = column means of A − column means of B holds what the shared noise does to the difference. The interval is d ± t √V with the
    degrees of freedom of Welch and Satterthwaite (Satterthwaite 1946). What lane and draw do together is in two of the terms, so the
    interval is rather too wide than too narrow. The test items are taken as given. None below 2 living lanes on a side, below 2 draws,
    or where a score is not above 0.
    """
    a, b = (side[np.isfinite(side).all(axis=1)] for side in (champion, challenger))
    if min(len(a), len(b), a.shape[1]) < 2 or min(a.min(), b.min()) <= 0:
        return None
    a, b = np.log(a), np.log(b)
    samples = [a.mean(axis=1), b.mean(axis=1), a.mean(axis=0) - b.mean(axis=0)]
    parts = np.array([sample.var(ddof=1) / len(sample) for sample in samples])
    d, total = float(a.mean() - b.mean()), float(parts.sum())
    half = 0.0
    if total > 0:
        freedom = total**2 / sum(part**2 / (len(sample) - 1) for part, sample in zip(parts, samples, strict=True))
        half = float(stats.t.ppf(1 - alpha / 2, freedom)) * math.sqrt(total)
    return Effect(*(1 - math.exp(-end) for end in (d, d - half, d + half)))


def against(champion: Scores, challenger: Scores, memorisation_floor: float | None, rule: Rule) -> Judgement:
    """Challenger against champion: promoted when the interval's low end is above `min_effect` and every guard holds."""
    found = effect(champion[PRIMARY], challenger[PRIMARY], rule.alpha)
    guards = (*share_guards(champion, challenger, memorisation_floor, rule.margin), lane_guard(champion, challenger))
    broken = [guard.text for guard in guards if not guard.passed]
    if found is None:
        return Judgement(False, "no interval: 2 living lanes on each side, 2 draws and scores above 0 are needed", None, guards)
    told = f"Fréchet distance lower by {found.value:.1%}, {1 - rule.alpha:.0%} interval {found.low:.1%} to {found.high:.1%}"
    if found.low <= rule.min_effect:
        return Judgement(False, f"{told}: the low end does not exceed gate.min_effect ({rule.min_effect:.1%})", found, guards)
    if broken:
        return Judgement(False, f"{told}, but {'; '.join(broken)}", found, guards)
    return Judgement(True, f"{told}: the low end exceeds gate.min_effect ({rule.min_effect:.1%}), and no guard regresses", found, guards)


def absolute(challenger: Scores, verdict: str, floor: float | None, rule: Rule) -> Judgement:
    """Without a champion: the verdict is `healthy` and the median over lanes lies below `floor_factor` floors (a failed lane is worst)."""
    score = median(challenger[PRIMARY])
    bound = None if floor is None else rule.floor_factor * floor
    passed = score is not None and bound is not None and score < bound
    told = "no score" if score is None else f"Fréchet distance {score:.4g}"
    limit = "there is no floor" if bound is None or floor is None else f"{rule.floor_factor:g} floors of {floor:.4g} are {bound:.4g}"
    guards = (
        Guard("verdict", None, None, verdict == "healthy", f"the verdict is {verdict}"),
        Guard("floor", bound, score, passed, f"{told}, {limit}"),
    )
    texts = "; ".join(guard.text for guard in guards)
    good = all(guard.passed for guard in guards)
    return Judgement(good, f"no champion to beat: {texts}" + ("" if good else ": not good enough"), None, guards)


def median(scores: np.ndarray) -> float | None:
    """Median over lanes of the mean over draws, a failed lane counting as worst; None when it falls on one."""
    value = float(np.median(np.where(np.isfinite(scores).all(axis=1), scores.mean(axis=1), math.inf)))
    return value if math.isfinite(value) else None


def share_guards(champion: Scores, challenger: Scores, memorisation_floor: float | None, margin: float) -> Sequence[Guard]:
    """Recall and coverage must not fall, memorisation above that of real items must not rise, by more than `margin`."""
    guards = []
    for name, sign in SHARES.items():
        before, now = mean_alive(champion, name), mean_alive(challenger, name)
        if before is None or now is None or (name == "memorisation" and memorisation_floor is None):
            guards.append(Guard(name, before, now, True, f"{name} is not measured here"))
            continue
        least = memorisation_floor if name == "memorisation" and memorisation_floor is not None else -math.inf
        loss = sign * (max(before, least) - max(now, least))
        word = "falls" if sign > 0 else "rises"
        guards.append(Guard(name, before, now, loss <= margin, f"{name} {word} from {before:.3f} to {now:.3f} (allowed: {margin:g})"))
    return guards


def lane_guard(champion: Scores, challenger: Scores) -> Guard:
    """The share of failed lanes must not rise."""
    before, now = (float(failed(side).mean()) for side in (champion, challenger))
    text = f"failed lanes rise from {before:.0%} to {now:.0%}" if now > before else f"failed lanes: {before:.0%}, now {now:.0%}"
    return Guard("failed_lanes", before, now, now <= before, text)


def mean_alive(scores: Scores, name: str) -> float | None:
    """Mean over living lanes and draws; None where there is none, or the metric has no value."""
    values = scores[name][~failed(scores)] if name in scores else np.empty(0)
    return float(values.mean()) if values.size and np.isfinite(values).all() else None
