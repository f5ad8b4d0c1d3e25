"""What the report draws of a whole run: medians over lanes, step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.diagnosis.case import Case
from stages.diagnosis.looks import Overfit, sample_count
from stages.diagnosis.numbers import medians, number
from stages.measure.facts import SnapshotQuality, Standards
from stages.store import records

ROWS = 60  # steps, at most, in the story's heat maps
MEASURES = (
    *("d_loss", "g_loss", "d_penalty", "real_logit", "fake_logit", "auc", "saturation", "sample_movement"),
    *("d_gradient_norm", "g_gradient_norm", "d_update_ratio", "g_update_ratio"),
)
LAYERED = ("d_gradient_norm", "g_gradient_norm", "d_update_ratio", "g_update_ratio")


def story(case: Case, quality: Sequence[Sequence[SnapshotQuality]], measured: Standards, overfit: Overfit | None) -> dict[str, Any]:
    """What the report draws: medians over the lanes that are finite at that step, `null` where none is."""
    steps = case.records.steps
    rows = np.unique(np.linspace(0, len(steps) - 1, min(ROWS, len(steps))).round().astype(int))
    probed = next((table for table in case.records.tables if ("d_drive", "") in table.columns), None)
    return {"steps": steps.tolist(), **_table_medians(case.records.tables[0])} | {
        "probes": None if probed is None else {"steps": probed.steps.tolist(), **_table_medians(probed)},
        "layers": {name: _heat(case.records, name, rows) for name in LAYERED},
        "quality": _quality_story(case, quality, measured, overfit),
    }


def _table_medians(table: records.Table) -> dict[str, list[float | None]]:
    """Every whole-lane measure of measures taken at the same steps."""
    return {measure: medians(table.values[:, column]) for column, (measure, layer) in enumerate(table.columns) if not layer}


def _heat(known: records.Records, name: str, rows: np.ndarray) -> dict[str, Any]:
    layers = known.layers(name)
    columns = [medians(known.series(name, layer)[rows]) for layer in layers]
    return {"steps": known.steps[rows].tolist(), "layers": layers, "values": [list(row) for row in zip(*columns, strict=True)]}


def _quality_story(
    case: Case, quality: Sequence[Sequence[SnapshotQuality]], measured: Standards, overfit: Overfit | None
) -> dict[str, Any]:
    fields = ("distance", "precision", "coverage")
    by_lane = {name: [[number(getattr(one, name)) for one in looks] for looks in quality] for name in fields}
    tables = {name: medians(np.array([[np.nan if v is None else v for v in row] for row in by_lane[name]]).T) for name in fields}
    return {
        "steps": list(case.snapshots),
        **tables,
        "lanes": by_lane["distance"],
        "floor": number(measured.floor),
        "good": number(measured.good),
        "baseline": number(measured.baseline),
        "untrained": number(measured.untrained),
        "floor_precision": number(measured.floor_precision),
        "floor_coverage": number(measured.floor_coverage),
        "overfit_auc": None if overfit is None else medians(overfit.auc),
        "samples": sample_count(case),
        "reference": len(case.held),
        "held_out": "half of the train part" if case.held_is_train else "validation",
    }
