"""The node `diagnose@v`: what happened in a variant's games, and why. It reads run, records, snapshots and data; never the scores.

The work is done in `stages/diagnosis/`: case (what is read), looks (samples), probes, terrain (landscape), story (what the report draws).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.diagnosis.case import Case, read_case
from stages.diagnosis.looks import Overfit, diversity, look_at_snapshots, measured_standards, overfitting, train_features
from stages.diagnosis.probes import probe_lanes
from stages.diagnosis.story import MEASURES, story
from stages.diagnosis.terrain import read_landscape
from stages.measure import remedies
from stages.measure.classifier import one_thread
from stages.measure.facts import Fact, Lane, Series, SnapshotQuality, facts
from stages.measure.verdicts import Judgement, VariantJudgement, judge, judge_variant
from stages.store import layout
from stages.store.config import Config, read_yaml
from stages.store.files import write_json


def diagnose(config: Config, variant: str, root: Path = Path()) -> dict[str, Any]:
    """Judge every lane of a variant and the variant; write results/diagnostics/v.json (docs/formats.md) and return it."""
    config.variant(variant)
    with one_thread():
        case = read_case(config, variant, root)
        looks, pool = look_at_snapshots(case), train_features(case)
        quality, measured = looks.quality, measured_standards(case, pool, looks.quality)
        overfit = overfitting(case)
        lanes = [lane_facts(case, index, quality[index], overfit) for index in range(len(case.run["seeds"]))]
        probed = probe_lanes(case, lanes, measured)
        lanes = [replace(lane, probe_auc=probed.final.get(index)) for index, lane in enumerate(lanes)]
        found = [facts(lane, measured) for lane in lanes]
        terrain = read_landscape(case)
    judgements = [judge(known) for known in found]
    whole = judge_variant(judgements)
    result = {
        **_verdict(case, variant, root, lanes, found, judgements, whole),
        "story": story(case, quality, measured, overfit),
        "diversity": diversity(case, pool, looks),
        "landscape": terrain,
        "probe": probed.as_json,
    }
    write_json(root / layout.diagnostics(variant), result)
    return result


def lane_facts(case: Case, index: int, quality: Sequence[SnapshotQuality], overfit: Overfit | None) -> Lane:
    entry = case.run["lanes"][index]
    known = case.records.steps <= entry["step"]
    series = {name: Series(case.records.steps[known], case.records.series(name)[known, index]) for name in MEASURES}
    lane = Lane(entry["seed"], entry["status"] == "finished", entry["step"], entry["reason"], quality, series)
    if overfit is None or not np.isfinite(overfit.auc[-1, index]):  # a dead lane's D may answer with no number
        return lane
    return replace(lane, overfit_auc=float(overfit.auc[-1, index]), overfit_counts=overfit.counts)


def _verdict(
    case: Case,
    variant: str,
    root: Path,
    lanes: Sequence[Lane],
    found: Sequence[Mapping[str, Fact]],
    judgements: Sequence[Judgement],
    whole: VariantJudgement,
) -> dict[str, Any]:
    written = read_yaml(root / "params.yaml")["variants"][variant]
    entries = [
        {
            "seed": lane.seed,
            "verdict": one.verdict,
            "doubt": one.doubt,
            "flags": list(one.flags),
            "evidence": [item.as_json() for item in one.evidence],
            "remedies": remedies.fitting((one.verdict, *one.flags), _setting(case, known), variant, written),
        }
        for lane, known, one in zip(lanes, found, judgements, strict=True)
    ]
    return {
        "variant": variant,
        "fingerprint": case.run["fingerprint"],
        "verdict": whole.verdict,
        "doubt": whole.doubt,
        "flags": list(whole.flags),
        "counts": whole.counts,
        "lanes": entries,
    }


def _setting(case: Case, known: Mapping[str, Fact]) -> dict[str, Any]:
    """The resolved variant, the data's shape, and the step of the lane's best snapshot."""
    steps = known["best_over_good"].steps
    return {**case.run["config"], "shape": case.shape, "best_step": steps[0] if steps else None}
