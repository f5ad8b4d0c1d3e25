"""What verdicts rest on: single numbers of one lane, each with the steps it was read at and a sentence.

A fact that cannot be had is `None` with its reason, never a stand-in number. Ratios make them comparable between variants: a distance is
taken over the threshold of good samples, precision and coverage over what real data reach against real data, a gradient over its own
early median. Windows: `early` is the first tenth of the records (at least 5), `late` the last quarter.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stages.measure.course import Glimpse as Glimpse
from stages.measure.course import course
from stages.measure.fact import Fact as Fact
from stages.measure.verdict_rules import GOOD_BASELINES, GOOD_FLOORS, GOOD_SHARE

QUALITY = (
    *("distance_over_good", "precision_over_floor", "coverage_over_floor", "density_over_floor"),
    *(
        "best_over_good",
        "good_in_a_row",
        "best_precision_over_floor",
        "best_coverage_over_floor",
        "final_over_best",
        "loss_of_quality_over_spread",
        "beyond_good_over_spread",
    ),
)


@dataclass(frozen=True)
class Series:
    """A recorded measure of one lane: `values[i]` at `steps[i]`, non-finite values included."""

    steps: np.ndarray
    values: np.ndarray

    def early(self) -> np.ndarray:
        """Finite values of the first tenth, at least 5 records."""
        return _finite(self.values[: max(5, len(self.values) // 10)])

    def late(self) -> np.ndarray:
        """Finite values of the last quarter of the steps."""
        return _finite(self.values[self._in_late()])

    def late_steps(self) -> tuple[int, ...]:
        """First and last step of the last quarter."""
        late = self.steps[self._in_late()]
        return (int(late[0]), int(late[-1]))

    def _in_late(self) -> np.ndarray:
        return self.steps > 0.75 * self.steps.max(initial=0)  # a lane that died before the first record has none


@dataclass(frozen=True)
class SnapshotQuality:
    """How good one lane's samples are at one snapshot; `None` where a measure is not defined."""

    step: int
    distance: float | None  # Fréchet, lower is better
    spread: float | None  # standard deviation of `distance` over draws of the same size
    precision: float | None
    coverage: float | None
    density: float | None = None
    shares: tuple[float, ...] | None = None  # of the data's modes (or k-means cells) among the raw generator's samples
    finite: bool = True
    gap: float | None = None  # median distance of a sample to its nearest real item
    gap_spread: float | None = None  # standard error of `gap`


@dataclass(frozen=True)
class Standards:
    """What the data themselves reach: real against real at equal counts, a baseline model, the untrained generator."""

    floor: float
    floor_precision: float | None
    floor_coverage: float | None
    baseline: float | None
    untrained: float | None
    floor_density: float | None = None
    floor_gap: float | None = None
    untrained_counts: bool = True  # whether a tenth of `untrained` may be what is good: not for images

    @property
    def good(self) -> float:
        """A distance below this is good: the largest of 3 floors, the baseline model's, and (vectors) a tenth of the untrained generator's.

        Images are not given that tenth: in a space of random features an untrained generator is so far off that pictures blurred to blobs
        stand below it (docs/verdicts.md). Vectors need it: the floor of a single point, or of tight modes in the plane, is almost zero.
        """
        terms = [GOOD_FLOORS * self.floor]
        terms += [GOOD_BASELINES * self.baseline] if self.baseline is not None else []
        terms += [GOOD_SHARE * self.untrained] if self.untrained is not None and self.untrained_counts else []
        return max(terms)


@dataclass(frozen=True)
class Lane:
    """Everything seen of one lane."""

    seed: int
    finite: bool
    steps: int  # generator steps done
    reason: str | None
    quality: Sequence[SnapshotQuality]
    records: Mapping[str, Series] = field(default_factory=dict)
    probe_auc: float | None = None
    overfit_auc: float | None = None
    overfit_counts: tuple[int, int] = (0, 0)
    glimpses: Sequence[Glimpse] = ()


def facts(lane: Lane, standards: Standards) -> dict[str, Fact]:
    """Every fact of a lane by name."""
    found = {"finite": _finite_fact(lane), **_length(lane)}
    found |= _quality(lane, standards) | _improvement(lane) | _gap(lane) | _records(lane.records)
    found |= _probe(lane) | _overfit(lane) | course(lane.glimpses)
    return found


def _finite_fact(lane: Lane) -> Fact:
    bad = [q.step for q in lane.quality if not q.finite]
    if not lane.finite:
        return Fact(0.0, (lane.steps,), f"not finite at step {lane.steps}: {lane.reason}")
    if bad:
        return Fact(0.0, (bad[0],), f"the samples of snapshot {bad[0]} are not finite")
    return Fact(1.0, (lane.steps,), "every loss, weight and sample is finite")


def _length(lane: Lane) -> dict[str, Fact]:
    after = [q.step for q in lane.quality if q.step > 0]
    return {
        "steps_done": Fact(lane.steps, (lane.steps,), f"{lane.steps} generator steps were done"),
        "snapshots": Fact(len(after), tuple(after), f"{len(after)} snapshots after step 0"),
    }


def _measured(lane: Lane) -> list[SnapshotQuality]:
    return [q for q in lane.quality if q.step > 0 and q.distance is not None]


def _quality(lane: Lane, standards: Standards) -> dict[str, Fact]:
    """The final samples against the standards, and the best against the final."""
    measured = _measured(lane)
    if not measured:
        return dict.fromkeys(QUALITY, Fact(None, (), "no snapshot after step 0 has a distance"))
    final, best = measured[-1], min(measured, key=lambda q: (q.distance, q.step))
    at = (final.step,)
    return {
        "distance_over_good": Fact(
            _ratio(final.distance, standards.good), at, f"the final distance {final.distance:.4g} over {standards.good:.4g}, which is good"
        ),
        "beyond_good_over_spread": _beyond(final, standards),
        "best_over_good": Fact(
            _ratio(best.distance, standards.good),
            (best.step,),
            f"the best distance {best.distance:.4g} over {standards.good:.4g}, which is good",
        ),
        "precision_over_floor": _over_floor("precision", final.precision, standards.floor_precision, at),
        "coverage_over_floor": _over_floor("coverage", final.coverage, standards.floor_coverage, at),
        "density_over_floor": _over_floor("density", final.density, standards.floor_density, at),
        "good_in_a_row": _in_a_row(measured, standards),
        "best_precision_over_floor": _over_floor("precision", best.precision, standards.floor_precision, (best.step,)),
        "best_coverage_over_floor": _over_floor("coverage", best.coverage, standards.floor_coverage, (best.step,)),
    } | _loss_of_quality(best, final, standards)


def _beyond(final: SnapshotQuality, standards: Standards) -> Fact:
    if final.spread is None:
        return Fact(None, (final.step,), "the spread of the distance is not known")
    value = _ratio(_number(final.distance) - standards.good, final.spread)
    return Fact(value, (final.step,), f"distance {final.distance:.4g} where {standards.good:.4g} is good and the spread {final.spread:.4g}")


def _in_a_row(measured: Sequence[SnapshotQuality], standards: Standards) -> Fact:
    """The longest row of snapshots within twice what is good: one alone may be a moment in passing."""
    near = [_number(q.distance) < 2 * standards.good for q in measured]
    rows = [(len(list(group)), one) for one, group in itertools.groupby(near)]
    value = max((length for length, one in rows if one), default=0)
    return Fact(value, tuple(q.step for q, one in zip(measured, near, strict=True) if one), f"{value} snapshots in a row were nearly good")


def _over_floor(name: str, value: float | None, floor: float | None, steps: tuple[int, ...]) -> Fact:
    if value is None or not floor:
        return Fact(None, steps, f"{name} is not defined on these data")
    return Fact(value / floor, steps, f"{name} {value:.3f} over {floor:.3f}, which real data reach against real data")


def _loss_of_quality(best: SnapshotQuality, final: SnapshotQuality, standards: Standards) -> dict[str, Fact]:
    steps = (best.step, final.step)
    low, high = max(_number(best.distance), standards.floor), max(_number(final.distance), standards.floor)
    text = f"distance {_number(best.distance):.4g} at step {best.step}, {_number(final.distance):.4g} at step {final.step}"
    return {
        "final_over_best": Fact(_ratio(high, low), steps, f"{text}; neither counted below the floor {standards.floor:.4g}"),
        "loss_of_quality_over_spread": _over_spread(_number(final.distance) - _number(best.distance), best, final),
    }


def _over_spread(change: float, first: SnapshotQuality, second: SnapshotQuality) -> Fact:
    steps = (first.step, second.step)
    if first.spread is None or second.spread is None:
        return Fact(None, steps, "the spread of the distance is not known")
    spread = math.hypot(first.spread, second.spread)
    return Fact(_ratio(change, spread), steps, f"a change of {change:.4g} where two draws differ by {spread:.4g} (one standard deviation)")


def _improvement(lane: Lane) -> dict[str, Fact]:
    """From the last snapshot within three quarters of the run to the final one: as a share, in spreads, and in relapses."""
    measured = [q for q in lane.quality if q.distance is not None]
    earlier = [q for q in measured if q.step <= 0.75 * lane.steps]
    if not earlier or len(measured) < 2:
        names = ("improvement", "improvement_over_spread", "improvement_over_relapse")
        return dict.fromkeys(names, Fact(None, (), "too few snapshots to see the last quarter"))
    before, final = earlier[-1], measured[-1]
    steps, values = (before.step, final.step), [_number(q.distance) for q in measured]
    change = _number(before.distance) - values[-1]
    relapse = max(0.0, *(after - one for one, after in itertools.pairwise(values)))
    text = f"distance {_number(before.distance):.4g} at step {before.step}, {values[-1]:.4g} at step {final.step}"
    return {
        "improvement": Fact(_ratio(change, _number(before.distance)), steps, text),
        "improvement_over_spread": _over_spread(change, before, final),
        "improvement_over_relapse": Fact(
            _ratio(change, relapse), steps, f"{text}; the largest relapse between snapshots was {relapse:.4g}"
        ),
    }


def _gap(lane: Lane) -> dict[str, Fact]:
    """The median distance from a sample to its nearest real item: its fall over the last quarter, as a share and in spreads, and whether
    it was ever lower. Samples between tight modes creep up to them long after mean and covariance are right."""
    known = [(q.step, q.gap, q.gap_spread or 0.0) for q in lane.quality if q.step > 0 and q.gap is not None]
    earlier = [one for one in known if one[0] <= 0.75 * lane.steps]
    if not earlier or len(known) < 2:
        names = ("gap_fall", "gap_fall_over_spread", "gap_over_best")
        return dict.fromkeys(names, Fact(None, (), "too few snapshots to see the last quarter"))
    (step, before, first), (last, now, second) = earlier[-1], known[-1]
    text = f"half of the samples lie within {now:.3g} of a real item at step {last}, {before:.3g} at step {step}"
    return {
        "gap_fall": Fact(_ratio(before - now, before), (step, last), text),
        "gap_fall_over_spread": Fact(_ratio(before - now, math.hypot(first, second)), (step, last), text),
        "gap_over_best": Fact(_ratio(now, min(gap for _, gap, _ in known)), tuple(at for at, _, _ in known), text),
    }


def _records(records: Mapping[str, Series]) -> dict[str, Fact]:
    auc = _late_median(records, "auc")
    return {
        "auc_late": auc,
        "saturation_late": _late_median(records, "saturation"),
        "movement_drop": _drop(records, "sample_movement"),
        "d_gradient_growth": _growth(records, "d_gradient_norm"),
        "g_gradient_growth": _growth(records, "g_gradient_norm"),
        "g_loss_rise": _rise(records, "g_loss"),
    }


def _missing(measure: str) -> Fact:
    return Fact(None, (), f"{measure} has no finite record")


def _late_median(records: Mapping[str, Series], measure: str) -> Fact:
    late = records[measure].late() if measure in records else np.empty(0)
    if not late.size:
        return _missing(measure)
    value = float(np.median(late))
    return Fact(value, records[measure].late_steps(), f"{measure} has the median {value:.4g} over the last quarter")


def _drop(records: Mapping[str, Series], measure: str) -> Fact:
    """Early peak over late median: a game that dies within its first tenth has a small early median already."""
    if measure not in records or not records[measure].late().size or not records[measure].early().size:
        return _missing(measure)
    series = records[measure]
    early, late = float(series.early().max()), float(np.median(series.late()))
    return Fact(_ratio(early, late), series.late_steps(), f"{measure} fell from {early:.3g} (early peak) to {late:.3g} (late median)")


def _growth(records: Mapping[str, Series], measure: str) -> Fact:
    """Largest running median of 5 records after the early window, over the early median."""
    if measure not in records or not records[measure].early().size:
        return _missing(measure)
    series = records[measure]
    known = series.early()[series.early() > 0]  # a hinge that is satisfied has none
    if not known.size:
        return Fact(None, (), f"{measure} is zero early: there is nothing to compare with")
    early = float(np.median(known))
    first = max(5, len(series.values) // 10)
    seen = np.isfinite(series.values[first:])
    rest, steps = series.values[first:][seen], series.steps[first:][seen]
    if len(rest) < 5:
        return Fact(None, (), f"{measure} has too few records to see growth")
    running = np.median(np.lib.stride_tricks.sliding_window_view(rest, 5), axis=1)
    peak = int(np.argmax(running))
    text = f"{measure} reached {running[peak]:.3g} (median of 5 records), {early:.3g} early"
    return Fact(_ratio(float(running[peak]), early), (int(steps[peak]), int(steps[peak + 4])), text)


def _rise(records: Mapping[str, Series], measure: str) -> Fact:
    """P(late > early) over all pairs of records: scale-free; 1 when every late value exceeds every early one."""
    if measure not in records or not records[measure].late().size or not records[measure].early().size:
        return _missing(measure)
    series = records[measure]
    value = float(np.mean(np.sign(series.late()[:, None] - series.early()[None, :]) / 2 + 0.5))
    return Fact(value, series.late_steps(), f"a late {measure} exceeds an early one in {value:.0%} of pairs")


def _probe(lane: Lane) -> dict[str, Fact]:
    if lane.probe_auc is None:
        return {"probe_auc": Fact(None, (), "no fresh discriminator was trained on this lane")}
    text = f"a fresh discriminator reaches AUC {lane.probe_auc:.3f} on the final samples"
    return {"probe_auc": Fact(lane.probe_auc, (lane.steps,), text)}


def _overfit(lane: Lane) -> dict[str, Fact]:
    """AUC of train-real over validation-real, and its excess over ½ in standard errors √((m+n+1)/(12 m n)) (Mann-Whitney, equal laws)."""
    if lane.overfit_auc is None:
        text = "there is no validation part, or D's answers on it are not finite" if lane.finite else "D's answers are not finite"
        return dict.fromkeys(("overfit_auc", "overfit_over_error"), Fact(None, (), text))
    m, n = lane.overfit_counts
    error = math.sqrt((m + n + 1) / (12 * m * n))
    text = f"D scores a training item above a validation item in {lane.overfit_auc:.1%} of pairs (standard error {error:.1%})"
    at = (lane.steps,)
    return {"overfit_auc": Fact(lane.overfit_auc, at, text), "overfit_over_error": Fact((lane.overfit_auc - 0.5) / error, at, text)}


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _number(value: float | None) -> float:
    if value is None:
        raise ValueError("a distance is needed here")
    return value


def _ratio(top: float | None, bottom: float) -> float:
    """top / bottom; x/0 is infinite with x's sign, 0/0 is 0."""
    number = _number(top)
    if bottom == 0:
        return math.copysign(math.inf, number) if number else 0.0
    return number / bottom
