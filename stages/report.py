"""The node `report`: what the files say, on one page. It computes nothing but medians and ranges over lanes, for drawing.

Reads results/comparison.json and runs, records, scores, diagnostics and samples of every variant in it; writes
results/report/index.html and results/report/report.md.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.draw.page.html import render_html
from stages.draw.page.markdown import render_markdown
from stages.draw.page.material import Band, Incident, Layers, Material, VariantMaterial
from stages.draw.page.words import Words
from stages.errors import SeesawError
from stages.store import layout, records
from stages.store.config import Config
from stages.store.files import read_json, write_text
from stages.store.records import Records

REMEDY = "run `dvc repro`"
LAYERED = ("g_gradient_norm", "d_gradient_norm", "g_update_ratio", "d_update_ratio")
INCIDENTS = ("d_non_finite", "g_non_finite")
STEP = re.compile(r"step-(\d+)\.png")


def report(config: Config, root: Path = Path()) -> None:
    """Write the report in `config.report.language`. SeesawError where a file is missing or damaged."""
    comparison = read_json(root / layout.COMPARISON, REMEDY)
    ranked = [row["variant"] for row in comparison["ranking"]]
    left = [entry["variant"] for entry in comparison["excluded"]]
    unknown = sorted(set(config.variants) ^ {*ranked, *left})
    if unknown:
        raise SeesawError(f"{layout.COMPARISON} is of other variants than params.yaml ({', '.join(unknown)}): {REMEDY}")
    words = Words(config.report.language)
    material = Material(config.report.title or words("title"), comparison, [_variant(root, name) for name in ranked + left])
    write_text(root / layout.REPORT / "index.html", render_html(material, config.report.language))
    write_text(root / layout.REPORT / "report.md", render_markdown(material, config.report.language))


def _variant(root: Path, name: str) -> VariantMaterial:
    run, scores, diagnosis = (read_json(root / place(name), REMEDY) for place in (layout.run, layout.scores, layout.diagnostics))
    if "doubts" not in diagnosis:
        raise SeesawError(f"{layout.diagnostics(name)} is of an earlier version of this program: {REMEDY}")
    found = records.read(root / layout.records(name))
    whole = [measure for measure, layer in found.columns if not layer]
    return VariantMaterial(
        run=run,
        scores=scores,
        diagnosis=diagnosis,
        bands={measure: _band(found, measure) for measure in whole},
        layers={measure: _layers(found, measure) for measure in LAYERED},
        samples=_samples(root / layout.samples(name)),
        incidents={int(seed): found_first for lane, seed in enumerate(found.seeds) if (found_first := _incident(found, lane))},
    )


def _incident(found: Records, lane: int) -> Incident | None:
    """The first step at which one of a lane's gradients was not finite, and its layers."""
    counts = [
        (int(step), measure[0].upper(), layer, int(count))
        for measure in INCIDENTS
        for layer in found.layers(measure)
        for step, count in zip(found.steps_of(measure, layer), found.series(measure, layer)[:, lane], strict=True)
        if count > 0
    ]
    first = min((step for step, *_ in counts), default=None)
    return None if first is None else Incident(first, [(player, layer, count) for step, player, layer, count in counts if step == first])


def _samples(folder: Path) -> dict[int, bytes]:
    """The pictures by step; other files are not looked at."""
    found = {int(match[1]): path for path in folder.glob("*.png") if (match := STEP.fullmatch(path.name))}
    return {step: found[step].read_bytes() for step in sorted(found)}


def _band(found: Records, measure: str) -> Band:
    rows = [row[np.isfinite(row)] for row in found.series(measure)]
    return Band(
        steps=[int(step) for step in found.steps_of(measure)],
        median=_cells(rows, np.median),
        low=_cells(rows, np.min),
        high=_cells(rows, np.max),
    )


def _layers(found: Records, measure: str) -> Layers:
    names = found.layers(measure)
    values = [_cells([row[np.isfinite(row)] for row in found.series(measure, layer)], np.median) for layer in names]
    return Layers(names, [int(step) for step in found.steps_of(measure, names[0])] if names else [], values)


def _cells(rows: Sequence[np.ndarray], of: Any) -> list[float | None]:
    """One number a step; None where no lane is finite."""
    return [float(of(row)) if len(row) else None for row in rows]
