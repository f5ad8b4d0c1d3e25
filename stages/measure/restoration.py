"""Whether a branch of a stored game was restored: the rule, on single streams and then on all of them.

A stream is restored when both hold at the end of the horizon:

- **back**: of every way in which the lane's verdict can hold, one scale-free measure (TARGETS) stands on the good side of that rule's own
  threshold (`verdict_rules.py`); for verdicts without a measure of the game, the samples are good (`distance_over_good` below 1);
- **better**: its Fréchet distance is below that of "change nothing" on the same stream outside their spread, d₀ − d > 2 √(s₀² + s²), s the
  jackknife's standard errors, and by at least a tenth of what "change nothing" lacks to good, d₀ − good: 67.7 beside 69 is a difference,
  and no repair, where 8.4 is good. A stream of "change nothing" that died is worse than any that lives.

A branch is restored when at least three quarters of its streams are. Streams share batches and noise with those of "change nothing", so
that they are compared in pairs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from stages.measure.facts import Fact, SnapshotQuality
from stages.measure.verdict_rules import HEALTHY, RULES, Condition

SHARE = 0.75
SPREADS = 2.0  # standard errors of a difference: one in twenty by chance
WAY = 0.1  # of the distance that "change nothing" is from good
TARGETS: Mapping[str, tuple[str, ...]] = {
    "non_finite": ("finite",),
    "late_collapse": ("final_over_best",),
    "mode_collapse": ("coverage_over_floor",),
    "vanishing_gradient": ("auc_late", "movement_drop"),
    "exploding_gradient": ("d_gradient_growth", "g_gradient_growth"),
    "discriminator_wins": ("auc_late",),
    "generator_wins": ("auc_late",),
}
RULE = (
    "restored: at least 3 of 4 streams are back (the measure of the verdict on the good side of its threshold) "
    "and better than change_nothing on the same stream (outside two spreads, and by a tenth of the way to good); "
    "RESTORED in capitals: at least 3 of 4 are good, too"
)


@dataclass(frozen=True)
class Stream:
    """What one noise stream of a branch came to."""

    back: bool
    better: bool

    @property
    def restored(self) -> bool:
        """Both."""
        return self.back and self.better


def goals(verdict: str) -> tuple[tuple[Condition, ...], ...]:
    """What must hold for a lane of that verdict to be back: one condition of every group."""
    targets = TARGETS.get(verdict)
    if targets is None:
        return (tuple(condition for condition in HEALTHY if condition.measure == "distance_over_good"),)
    rule = next(rule for rule in RULES if rule.verdict == verdict)
    groups = [tuple(_turned(condition) for condition in way if condition.measure in targets) for way in rule.ways]
    return tuple(group for group in groups if group)


def _turned(condition: Condition) -> Condition:
    """The good side of a verdict's condition."""
    return replace(condition, relation="below" if condition.relation == "above" else "above")


def holds(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    """Whether the fact stands there; a fact without a value stands nowhere."""
    value = facts[condition.measure].value
    if value is None:
        return False
    return value >= condition.threshold if condition.relation == "above" else value < condition.threshold


def back(wanted: Sequence[Sequence[Condition]], facts: Mapping[str, Fact]) -> bool:
    """One condition of every group holds, and nothing was infinite or NaN."""
    alive = facts["finite"].value == 1.0
    return alive and all(any(holds(condition, facts) for condition in group) for group in wanted)


def better(one: SnapshotQuality, nothing: SnapshotQuality, good: float) -> bool:
    """Below the other distance by more than SPREADS of their spread and by WAY of its way to `good`; an unknown spread counts as 0."""
    if one.distance is None or not math.isfinite(one.distance):
        return False
    if nothing.distance is None or not math.isfinite(nothing.distance):
        return True
    gained = nothing.distance - one.distance
    return gained > SPREADS * math.hypot(one.spread or 0.0, nothing.spread or 0.0) and gained >= WAY * (nothing.distance - good)


def enough(count: int, streams: int) -> bool:
    """Whether so many of the streams are three quarters of them or more."""
    return count >= SHARE * streams


def restored(streams: Sequence[Stream]) -> bool:
    """At least three quarters of the streams are restored, each by both parts of the rule."""
    return bool(streams) and enough(sum(stream.restored for stream in streams), len(streams))
