"""Everything that verdicts rest on, of every lane."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stages.diagnosis.case import Case
from stages.diagnosis.looks import Looks, Overfit, look_at_glimpses, look_at_snapshots, measured_standards, overfitting, train_features
from stages.diagnosis.probes import Probed, probe_lanes
from stages.diagnosis.story import MEASURES
from stages.measure.facts import Glimpse, Lane, Series, SnapshotQuality, Standards
from stages.measure.features import Encoded


@dataclass(frozen=True)
class Seen:
    """What verdicts rest on: `facts(lane, standards)` of each lane needs nothing else."""

    lanes: list[Lane]
    standards: Standards
    looks: Looks
    pool: Encoded  # train items
    overfit: Overfit | None
    probed: Probed


def what_was_seen(case: Case) -> Seen:
    """Every look, record and probe."""
    looks, pool = look_at_snapshots(case), train_features(case)
    measured = measured_standards(case, pool, looks.quality)
    overfit = overfitting(case)
    glimpses = look_at_glimpses(case)
    lanes = [lane_facts(case, index, looks.quality[index], glimpses[index], overfit) for index in range(len(case.run["seeds"]))]
    probed = probe_lanes(case, lanes, measured)
    lanes = [replace(lane, probe_auc=probed.final.get(index)) for index, lane in enumerate(lanes)]
    return Seen(lanes, measured, looks, pool, overfit, probed)


def lane_facts(case: Case, index: int, quality: Sequence[SnapshotQuality], glimpses: Sequence[Glimpse], overfit: Overfit | None) -> Lane:
    """One lane's looks and records."""
    entry = case.run["lanes"][index]
    known = case.records.steps <= entry["step"]
    series = {name: Series(case.records.steps[known], case.records.series(name)[known, index]) for name in MEASURES}
    lane = Lane(entry["seed"], entry["status"] == "finished", entry["step"], entry["reason"], quality, series, glimpses=glimpses)
    if overfit is None or not np.isfinite(overfit.auc[-1, index]):  # a dead lane's D may answer with no number
        return lane
    return replace(lane, overfit_auc=float(overfit.auc[-1, index]), overfit_counts=overfit.counts)
