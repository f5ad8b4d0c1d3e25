"""Why a verdict is not certain: data that a report can say in any language, and a sentence for terminals and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.measure.verdict_rules import ENOUGH, Condition

KINDS = ("too_short", "near", "nearly", "few_agree", "lanes_doubt")


@dataclass(frozen=True)
class Doubt:
    """One reason: its kind, the numbers and names behind it, and the English sentence."""

    kind: str
    values: Mapping[str, Any]
    text: str

    def as_json(self) -> dict[str, Any]:
        """The entry of `doubts` in diagnostics/v.json."""
        return {"kind": self.kind, **self.values}


def sentence(doubts: Sequence[Doubt]) -> str | None:
    """All of them in one sentence; `None` where there is no doubt."""
    return "; ".join(doubt.text for doubt in doubts) or None


def too_short(steps: float, snapshots: float) -> Doubt:
    """A run that is not asked for a cause."""
    steps_needed, snapshots_needed = (condition.threshold for condition in ENOUGH)
    asks = f"{steps_needed:g} steps and {snapshots_needed:g} snapshots are needed to name a cause"
    values = {"steps": steps, "snapshots": snapshots, "steps_needed": steps_needed, "snapshots_needed": snapshots_needed}
    text = f"too short a run to judge: {steps:g} steps, {snapshots:g} snapshots after step 0; {asks}"
    return Doubt("too_short", values, text)


def near(condition: Condition, value: float) -> Doubt:
    """A condition of the verdict's own that only just holds."""
    text = f"{condition.measure} {value:.3g} is near its threshold {condition.threshold:g}"
    return Doubt("near", _place(condition, value), text)


def nearly(verdict: str, missed: Sequence[tuple[Condition, float]]) -> Doubt:
    """An earlier rule that only just failed, by these conditions."""
    names = ", ".join(f"{condition.measure} {value:.3g} against {condition.threshold:g}" for condition, value in missed)
    values = {"verdict": verdict, "conditions": [_place(condition, value) for condition, value in missed]}
    return Doubt("nearly", values, f"nearly {verdict}: {names}")


def few_agree(verdict: str, agreeing: int, lanes: int) -> Doubt:
    """No more than two thirds of a variant's lanes share its verdict."""
    values = {"verdict": verdict, "agreeing": agreeing, "lanes": lanes}
    return Doubt("few_agree", values, f"only {agreeing} of {lanes} lanes are {verdict}")


def lanes_doubt(doubting: int, agreeing: int, commonest: Sequence[Doubt]) -> Doubt:
    """At least half of the lanes that share the verdict doubt it themselves, most often so."""
    values = {"doubting": doubting, "agreeing": agreeing, "doubts": [doubt.as_json() for doubt in commonest]}
    return Doubt("lanes_doubt", values, f"{doubting} of {agreeing} lanes doubt: {sentence(commonest)}")


def _place(condition: Condition, value: float) -> dict[str, Any]:
    return {"measure": condition.measure, "value": value, "threshold": condition.threshold}
