"""What the branches came to: each stream's facts by the diagnosis's own rules, each branch against `change_nothing`."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.forks.plan import Branch, Plan
from stages.measure import restoration
from stages.measure.facts import Fact, Lane, Series, SnapshotQuality, Standards, facts
from stages.measure.verdicts import healthy
from stages.store import layout, records

MEASURES = ("auc", "sample_movement", "d_gradient_norm", "g_gradient_norm")
QUALITY = ("distance", "spread", "precision", "coverage")


@dataclass(frozen=True)
class Told:
    """One stream, read back."""

    seed: int
    died_at: int | None
    looks: list[SnapshotQuality]
    known: dict[str, Fact]
    raw: Mapping[str, Any]


def judge(plan: Plan, played: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The document: what every branch came to against `change_nothing`, and which one is named."""
    past = _past(plan)
    told = [[_told(plan, past, stream) for stream in one["streams"]] for one in played]
    entries = [
        _entry(plan, branch, one["kept"], streams, told[0], past.standards.good)
        for branch, one, streams in zip(plan.branches, played, told, strict=True)
    ]
    winner = min(
        (entry for entry in entries if entry["restored"]),
        key=lambda entry: (not restoration.enough(entry["healthy"], len(entry["streams"])), entry["after"]["distance"]),
        default=None,
    )
    quality = plan.diagnosis["story"]["quality"]
    wanted = restoration.goals(plan.verdict)
    return {
        "variant": plan.run["variant"],
        "fingerprint": plan.run["fingerprint"],
        "seed": plan.seed,
        "step": plan.step,
        "horizon": plan.horizon,
        "streams": plan.streams,
        "verdict": plan.verdict,
        "optimizer": plan.branches[0].variant.rules.optimizer,
        "rule": restoration.RULE,
        "goals": [[{"measure": c.measure, "side": c.relation, "threshold": c.threshold} for c in group] for group in wanted],
        "good": quality["good"],
        "floor": quality["floor"],
        "before": _before(past, told[0][0]),
        "branches": entries,
        "winner": winner and {"name": winner["name"], "command": winner["command"]},
        "unforkable": list(plan.unforkable),
        "left_out": list(plan.left_out),
    }


@dataclass(frozen=True)
class Past:
    """The lane until the fork: its early records, and the distances of its snapshots."""

    early: dict[str, list[float]]
    looks: list[SnapshotQuality]
    standards: Standards
    last: dict[str, float | None]  # median of each measure over the last quarter before the fork


def _past(plan: Plan) -> Past:
    known = records.read(plan.root / layout.records(plan.run["variant"]))
    until = known.steps <= plan.step
    series = {name: Series(known.steps[until], known.series(name)[until, plan.lane]) for name in MEASURES}
    quality = plan.diagnosis["story"]["quality"]
    pairs = zip(quality["steps"], quality["lanes"][plan.lane], strict=True)
    looks = [SnapshotQuality(step, distance, None, None, None) for step, distance in pairs if step < plan.step]
    return Past(
        {name: one.early().tolist() for name, one in series.items()},
        looks,
        Standards(
            quality["floor"],
            quality["floor_precision"],
            quality["floor_coverage"],
            quality["baseline"],
            quality["untrained"],
            untrained_counts=plan.run["data"]["kind"] == "vector",
        ),
        {name: float(np.median(one.late())) if one.late().size else None for name, one in series.items()},
    )


def _told(plan: Plan, past: Past, stream: Mapping[str, Any]) -> Told:
    """A stream's facts: windows are of the horizon, `early` of the lane's own beginning, `best` of its whole life."""
    died = None if stream["died_at"] is None else stream["died_at"] - plan.step  # steps after the fork, as all else
    looks = [_look(one, died) for one in stream["looks"]]
    series = {}
    for name in MEASURES:
        early = past.early[name]
        values = [*early, *(np.nan if value is None else value for value in stream["records"][name])]
        series[name] = Series(np.array([*range(-len(early), 0), *stream["steps"]]), np.array(values, float))
    lane = Lane(stream["seed"], died is None, died or plan.horizon, "a loss was not finite", looks, series)
    known = facts(lane, past.standards)
    moved = [dataclasses.replace(one, step=one.step + plan.step) for one in looks]
    whole = facts(dataclasses.replace(lane, quality=[*past.looks, *moved]), past.standards)
    return Told(stream["seed"], stream["died_at"], looks, known | {"final_over_best": whole["final_over_best"]}, stream)


def _look(one: Mapping[str, Any], died: int | None) -> SnapshotQuality:
    """A look as it was written; a stream that died has no samples from then on, though its weights stand still."""
    if died is not None and one["step"] >= died:
        return SnapshotQuality(one["step"], None, None, None, None, finite=False)
    return SnapshotQuality(**{**one, "shares": one["shares"] and tuple(one["shares"])})


def _entry(
    plan: Plan, branch: Branch, kept: Mapping[str, Any], streams: Sequence[Told], nothing: Sequence[Told], good: float
) -> dict[str, Any]:
    """One branch of the document."""
    wanted = restoration.goals(plan.verdict)
    verdicts = [
        restoration.Stream(restoration.back(wanted, one.known), restoration.better(one.looks[-1], other.looks[-1], good))
        for one, other in zip(streams, nothing, strict=True)
    ]
    rows = [_row(wanted, one, verdict) for one, verdict in zip(streams, verdicts, strict=True)]
    return {
        "name": branch.name,
        "why": branch.why,
        "changes": dict(branch.changes),
        "command": branch.command,
        "kept": {**kept, "generator": True},
        "streams": rows,
        "after": {key: _median([row[key] for row in rows]) for key in (*QUALITY, "auc", "sample_movement")},
        "back": sum(verdict.back for verdict in verdicts),
        "better": sum(verdict.better for verdict in verdicts),
        "healthy": sum(row["healthy"] for row in rows),
        "restored": restoration.restored(verdicts),
        "curves": {
            "record_steps": streams[0].raw["steps"],
            "auc": [[_number(value) for value in one.raw["records"]["auc"]] for one in streams],
            "look_steps": [one.step for one in streams[0].looks],
            "distance": [[_number(look.distance) for look in one.looks] for one in streams],
        },
    }


def _row(wanted: Sequence[Sequence[Any]], one: Told, verdict: restoration.Stream) -> dict[str, Any]:
    """One stream at the horizon."""
    last = one.looks[-1]
    judged = {condition.measure: _number(one.known[condition.measure].value) for group in wanted for condition in group}
    return {
        "seed": one.seed,
        "died_at": one.died_at,
        "back": verdict.back,
        "better": verdict.better,
        "healthy": healthy(one.known),
        "judged": judged,
        "auc": _number(one.known["auc_late"].value),
        "sample_movement": _late(one, "sample_movement"),
        **{key: _number(getattr(last, key)) for key in QUALITY},
    }


def _late(one: Told, measure: str) -> float | None:
    """Median over the last quarter of the horizon."""
    steps = one.raw["steps"]
    values = [v for step, v in zip(steps, one.raw["records"][measure], strict=True) if v is not None and step > 0.75 * steps[-1]]
    return _number(statistics.median(values)) if values else None


def _before(past: Past, first: Told) -> dict[str, Any]:
    """The lane at the fork."""
    here = first.looks[0]
    known = {key: _number(getattr(here, key)) for key in QUALITY}
    return {**known, "auc": _number(past.last["auc"]), "sample_movement": _number(past.last["sample_movement"])}


def _median(values: Sequence[float | None]) -> float | None:
    """Over the streams; None as soon as one has no value, so that a dead stream is not averaged away."""
    known = [value for value in values if value is not None]
    return _number(statistics.median(known)) if known and len(known) == len(values) else None


def _number(value: float | None) -> float | None:
    """Seven significant digits; a value that is not finite is null."""
    return float(f"{value:.7g}") if value is not None and np.isfinite(value) else None
