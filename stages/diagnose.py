"""The node `diagnose@v`: what happened in a variant's games, and why. It reads run, records, snapshots and data; never the scores.

The work is done in `stages/diagnosis/`: case (what is read), looks (samples), probes, seen (what verdicts rest on), terrain
(landscape), field (D over the plane), story (what the report draws).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.diagnosis.case import Case, read_case
from stages.diagnosis.field import field
from stages.diagnosis.looks import diversity
from stages.diagnosis.seen import what_was_seen
from stages.diagnosis.story import story
from stages.diagnosis.terrain import read_landscape
from stages.measure import remedies
from stages.measure.classifier import one_thread
from stages.measure.facts import Fact, Lane, facts
from stages.measure.verdicts import Judgement, VariantJudgement, judge, judge_variant
from stages.store import layout
from stages.store.config import Config, read_yaml
from stages.store.files import write_json


def diagnose(config: Config, variant: str, root: Path = Path()) -> dict[str, Any]:
    """Judge every lane of a variant and the variant; write results/diagnostics/v.json (docs/formats.md) and return it."""
    config.variant(variant)
    with one_thread():
        case = read_case(config, variant, root)
        seen = what_was_seen(case)
        found = [facts(lane, seen.standards) for lane in seen.lanes]
        terrain = read_landscape(case)
    judgements = [judge(known) for known in found]
    whole = judge_variant(judgements)
    result = {
        **_verdict(case, variant, root, seen.lanes, found, judgements, whole),
        "story": story(case, seen.looks.quality, seen.standards, seen.overfit),
        "diversity": diversity(case, seen.pool, seen.looks),
        "landscape": terrain,
        "field": field(case, [one.verdict for one in judgements].index(whole.verdict)),
        "probe": seen.probed.as_json,
    }
    write_json(root / layout.diagnostics(variant), result)
    return result


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
            "doubts": [doubt.as_json() for doubt in one.doubts],
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
        "doubts": [doubt.as_json() for doubt in whole.doubts],
        "flags": list(whole.flags),
        "counts": whole.counts,
        "lanes": entries,
    }


def _setting(case: Case, known: Mapping[str, Fact]) -> dict[str, Any]:
    """The resolved variant, the data's shape, and the step of the lane's best snapshot."""
    steps = known["best_over_good"].steps
    return {**case.run["config"], "shape": case.shape, "best_step": steps[0] if steps else None}
