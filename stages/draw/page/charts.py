"""Charts as plain data: the page's script draws each when it comes into view. Colours are roles, so that both themes fit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.draw.page.material import Band, Cells, VariantMaterial
from stages.draw.page.numbers import figure
from stages.draw.page.words import BAD, GOOD, GRAVITY, WORRYING, Words

STEPS = 160  # points of a curve at most
COLUMNS = 64  # columns of a heat map at most
HIDDEN = 30.0  # times smaller than the largest: not to be seen on a linear axis
FAINTEST = 1e-12  # of the largest: what is smaller still counts as zero
DASHES = {GOOD: "solid", WORRYING: "dash", BAD: "dot"}  # of a line, by how serious the verdict is


@dataclass(frozen=True)
class Panel:
    """One chart of the gradient story: its measures with their words and colour roles."""

    name: str
    series: Sequence[tuple[str, str, str]]  # measure, word, role
    log: bool = False
    share: bool = False  # the measure lies between 0 and 1
    free: bool = False  # zero is worth a line: signs tell
    wide: bool = False  # may span decades on both sides of zero: then a symmetric logarithmic axis (see `linear_below`)


PANELS = (
    Panel("losses", (("g_loss", "generator", "generator"), ("d_loss", "discriminator", "discriminator")), wide=True),
    Panel("gradients", (("g_gradient_norm", "generator", "generator"), ("d_gradient_norm", "discriminator", "discriminator")), log=True),
    Panel("logits", (("real_logit", "real", "discriminator"), ("fake_logit", "fake", "generator")), wide=True),
    Panel("separation", (("auc", "auc", "discriminator"),), share=True),
    Panel("saturation", (("saturation", "saturation", "generator"),), log=True),
    Panel("updates", (("g_update_ratio", "generator", "generator"), ("d_update_ratio", "discriminator", "discriminator")), log=True),
    Panel("movement", (("sample_movement", "movement", "generator"),), log=True),
    Panel("logit_spread", (("real_logit_spread", "real", "discriminator"), ("fake_logit_spread", "fake", "generator")), log=True),
    Panel("generalisation", (("overfit_auc", "overfit", "discriminator"), ("accuracy", "accuracy", "quality")), share=True),
    Panel(
        "optimiser",
        (("g_root_over_epsilon", "generator", "generator"), ("d_root_over_epsilon", "discriminator", "discriminator")),
        log=True,
    ),
)
PROBES = (
    Panel("driven_g", (("g_own_predicted", "own_g", "generator"), ("g_cross_predicted", "cross_d", "discriminator")), free=True, wide=True),
    Panel("driven_d", (("d_own_predicted", "own_d", "discriminator"), ("d_cross_predicted", "cross_g", "generator")), free=True, wide=True),
    Panel("drive", (("g_drive", "drive_g", "generator"), ("d_drive", "drive_d", "discriminator")), share=True),
    Panel("signal", (("g_snr", "generator", "generator"), ("d_snr", "discriminator", "discriminator")), wide=True),
    Panel("turning", (("g_turn_cosine", "generator", "generator"), ("d_turn_cosine", "discriminator", "discriminator"))),
    Panel(
        "terms",
        (
            ("d_real_gradient_norm", "real", "discriminator"),
            ("d_fake_gradient_norm", "fake", "generator"),
            ("d_penalty_gradient_norm", "penalty", "quality"),
        ),
        log=True,
    ),
    Panel(
        "term_angles",
        (
            ("d_real_fake_cosine", "real_fake", "discriminator"),
            ("d_real_penalty_cosine", "real_penalty", "quality"),
            ("d_fake_penalty_cosine", "fake_penalty", "generator"),
        ),
    ),
    Panel("dead", (("g_dead_units", "generator", "generator"), ("d_dead_units", "discriminator", "discriminator")), share=True),
)
HEATS = (
    ("generator", "g_gradient_norm"),
    ("discriminator", "d_gradient_norm"),
    ("generator_updates", "g_update_ratio"),
    ("discriminator_updates", "d_update_ratio"),
)
# where a piece of evidence is marked; what is not named here is about the samples
PLACES = {
    "finite": "losses",
    "g_loss_rise": "losses",
    "d_gradient_growth": "gradients",
    "g_gradient_growth": "gradients",
    "auc_late": "separation",
    "probe_auc": "separation",
    "saturation_late": "saturation",
    "overfit_auc": "logits",
    "overfit_over_error": "logits",
    "movement_drop": "movement",
}


def overview(variants: Sequence[VariantMaterial], comparison: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """The primary metric of every variant over steps, and over counted FLOPs of one lane."""
    compared = [variant for variant in variants if any(variant.name in view["medians"] for view in comparison["views"]["steps"])]
    series = []
    for index, variant in enumerate(compared):
        band = _scores(variant, comparison)
        flops = [rounded(step * variant.run["cost"]["flops"] / variant.run["steps"]) for step in band.steps]
        look = {"flops": flops, "dash": DASHES[GRAVITY.get(variant.diagnosis["verdict"], WORRYING)]}
        series.append(_series(band, variant.name, f"series-{index % 12}") | look)
    return {"kind": "lines", "series": series, "log": True, **_floor(comparison, words)}


def _scores(variant: VariantMaterial, comparison: Mapping[str, Any]) -> Band:
    """The primary metric of the averaged generator on the test part: the comparison's medians, and the range over lanes."""
    primary = comparison["primary"]
    rows = sorted((e["step"], e["lanes"]) for e in variant.scores["snapshots"] if (e["generator"], e["part"]) == ("ema", "test"))
    medians = {view["step"]: view["medians"].get(variant.name) for view in comparison["views"]["steps"]}
    cells = [sorted(v for lane in lanes if (v := _value(lane, primary)) is not None) for _, lanes in rows]
    steps = [step for step, _ in rows]
    return Band(steps, [medians.get(s) for s in steps], [c[0] if c else None for c in cells], [c[-1] if c else None for c in cells])


def quality(variant: VariantMaterial, comparison: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """The primary metric of one variant over its snapshots: median and range over lanes."""
    series = _series(_scores(variant, comparison), words.named("metric", comparison["primary"]), "quality")
    return {"kind": "lines", "series": [series], "log": True, "marks": _marks(variant, "quality"), **_floor(comparison, words)}


def story(variant: VariantMaterial, words: Words) -> dict[str, dict[str, Any]]:
    """The charts of the gradient story by name; a chart none of whose measures was recorded is left out."""
    return _panels(PANELS, variant, words)


def probes(variant: VariantMaterial, words: Words) -> dict[str, dict[str, Any]]:
    """What each player's updates did to both losses, and the other measures taken now and then."""
    return _panels(PROBES, variant, words)


def _panels(panels: Sequence[Panel], variant: VariantMaterial, words: Words) -> dict[str, dict[str, Any]]:
    charts: dict[str, dict[str, Any]] = {}
    for panel in panels:
        series = [_series(variant.bands[m], words(f"series.{word}"), role) for m, word, role in panel.series if m in variant.bands]
        if series:
            marks = _marks(variant, panel.name)
            charts[panel.name] = {"kind": "lines", "series": series, "log": panel.log, "share": panel.share, "marks": marks}
            if panel.free:
                charts[panel.name]["zero"] = True
            if panel.wide and (
                threshold := linear_below([one["median"] for one in series], [end for one in series for end in (one["low"], one["high"])])
            ):
                charts[panel.name]["linear_below"] = threshold
    return charts


def heats(variant: VariantMaterial) -> dict[str, dict[str, Any]]:
    """Gradient norms and relative updates per layer over the steps, by player."""
    charts = {}
    for name, measure in HEATS:
        layers = variant.layers.get(measure)
        if layers is not None and layers.names:
            kept = thinned(len(layers.steps), COLUMNS)
            values = [[rounded(row[i]) for i in kept] for row in layers.values]
            charts[name] = {"kind": "heat", "x": [layers.steps[i] for i in kept], "y": list(layers.names), "z": values}
    return charts


def field(variant: VariantMaterial) -> dict[str, Any] | None:
    """D over the plane at every snapshot, as the diagnosis holds it (numbers in text); None where there is none."""
    found = variant.diagnosis.get("field")
    return None if found is None else {"kind": "field", **found}


def landscape(variant: VariantMaterial, words: Words) -> dict[str, dict[str, Any]]:
    """Spectra of J and P J, the path from start to end, fresh discriminators, diversity; what was not measured is left out."""
    charts: dict[str, dict[str, Any]] = {}
    terrain, probe, spread = (variant.diagnosis.get(name) for name in ("landscape", "probe", "diversity"))
    if terrain and terrain["lanes"]:
        charts |= _terrain(terrain["lanes"][0], words)
    if probe and probe["bare"]["snapshots"]:
        bare = (("saturating", "generator"), ("non_saturating", "discriminator"))
        charts["probe"] = _probe(probe["bare"]["snapshots"][-1], bare, words)
        charts["probe_own"] = _probe(probe["own"]["snapshots"][-1], (("generator", "generator"),), words)
    if spread and spread["reason"] is None:
        charts["diversity"] = _diversity(spread, words)
    return charts


def linear_below(rows: Sequence[Cells], ends: Sequence[Cells] = ()) -> float | None:
    """The power of ten below which an axis is to be linear and above it logarithmic, to both sides; None where a linear one hides nothing.

    A linear axis hides a curve a fifth of whose values lie far below the largest of all (`ends`, a band's, included); there it turns.
    """
    known = [sorted(abs(value) for value in row if value) for row in rows if any(row)]
    if not known:
        return None
    largest = max(abs(value) for row in (*rows, *ends) for value in row if value)
    low = min(row[(len(row) - 1) // 5] for row in known)
    return 10.0 ** math.floor(math.log10(max(low, largest * FAINTEST))) if largest > HIDDEN * low else None


def _terrain(lane: Mapping[str, Any], words: Words) -> dict[str, dict[str, Any]]:
    plain = _spectra(lane["spectra"], words)
    charts: dict[str, dict[str, Any]] = {"spectrum": {"kind": "points", "series": plain, "across": words("axis.real")}}
    if threshold := linear_below([[math.hypot(x, y) for x, y in zip(one["x"], one["median"], strict=True)] for one in plain]):
        charts["spectrum"]["linear_below"] = threshold
    scaled = [{"step": one["step"], **one["preconditioned"]} for one in lane["spectra"] if one.get("preconditioned")]
    if scaled:
        charts["preconditioned"] = {"kind": "points", "series": _spectra(scaled, words), "disc": True, "across": words("axis.real")}
    path = lane["path"]
    cosine = {"name": words("series.cosine"), "role": "quality", "x": path["alphas"], "median": [rounded(v) for v in path["cosine"]]}
    return charts | {"path": {"kind": "lines", "series": [cosine], "log": False, "free": True, "across": words("axis.path")}}


def _spectra(found: Sequence[Mapping[str, Any]], words: Words) -> list[dict[str, Any]]:
    """The last snapshot in the generator's colour, an earlier one paler."""
    return [_eigenvalues(one, words, "generator" if i == len(found) - 1 else "series-11") for i, one in enumerate(found)]


def _eigenvalues(spectrum: Mapping[str, Any], words: Words, role: str) -> dict[str, Any]:
    """Eigenvalues of both searches as points of the complex plane, each with its conjugate, which a list may have cut off."""
    pairs = [(real, imag) for real, imag in (*spectrum["largest"], *spectrum["smallest_real"]) if real is not None]
    found = sorted({(rounded(real), rounded(sign * imag) or 0.0) for real, imag in pairs for sign in (1, -1)})
    x, y = [real for real, _ in found], [imag for _, imag in found]
    return {"name": words("series.at", step=spectrum["step"]), "role": role, "x": x, "median": y}


def _probe(snapshot: Mapping[str, Any], losses: Sequence[tuple[str, str]], words: Words) -> dict[str, Any]:
    """What a fresh D leaves of G's gradient while it learns, and on a scale of its own its AUC; medians and ranges over lanes."""
    steps = [point["step"] for point in snapshot["points"]]
    bands = {key: _over_lanes(steps, [point[key] for point in snapshot["points"]]) for key in (*(key for key, _ in losses), "auc")}
    name = "own_loss" if len(losses) == 1 else None
    series = [_series(bands[key], words(f"series.{name or key}"), role) for key, role in losses]
    fresh = {**_series(bands["auc"], words("series.fresh_auc"), "quality"), "right": True}
    return {"kind": "lines", "series": [*series, fresh], "log": True, "free": True, "across": words("axis.fresh")}


def _over_lanes(steps: Sequence[int], rows: Sequence[Sequence[float | None]]) -> Band:
    """Median and range of each row's finite cells."""
    cells = [sorted(value for value in row if value is not None) for row in rows]
    middle = [(c[(len(c) - 1) // 2] + c[len(c) // 2]) / 2 if c else None for c in cells]
    return Band(steps, middle, [c[0] if c else None for c in cells], [c[-1] if c else None for c in cells])


def _diversity(spread: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """Nearest-neighbour distances of the averaged and of the raw generator over the snapshots, and coverage."""
    tables = (("spacing_ema", "generator", spread["spacing"]["ema"]), ("spacing_raw", "discriminator", spread["spacing"]["raw"]),
              ("coverage", "quality", spread["coverage"]))  # fmt: skip
    series = [
        _series(_over_lanes(spread["steps"], list(zip(*lanes, strict=True))), words(f"series.{name}"), role) for name, role, lanes in tables
    ]
    series[1]["dash"] = "dash"  # where both generators agree, the first one is seen through it
    return {"kind": "lines", "series": series, "log": False}


def lead_lane(diagnosis: Mapping[str, Any]) -> Mapping[str, Any]:
    """The lane whose evidence stands for the variant: the first with the variant's verdict."""
    lanes = diagnosis["lanes"]
    return next((lane for lane in lanes if lane["verdict"] == diagnosis["verdict"]), lanes[0])


def final_values(chart: Mapping[str, Any], words: Words) -> str:
    """`generator 0.7, discriminator 1.3`: what a reader who cannot see the chart is told."""
    last = [(s["name"], next((v for v in reversed(s["median"]) if v is not None), None)) for s in chart["series"]]
    return words("list.comma").join(f"{name} {figure(value)}" for name, value in last)


def thinned(count: int, most: int) -> list[int]:
    """At most `most` evenly spread indices of `count`, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def rounded(value: float | None) -> float | None:
    """Four significant digits: what a pixel can show."""
    return None if value is None else float(f"{value:.4g}")


def _series(band: Band, name: str, role: str) -> dict[str, Any]:
    kept = thinned(len(band.steps), STEPS)
    spread = {
        "low": [rounded(min(part, default=None)) for part in _between(band.low, kept)],
        "high": [rounded(max(part, default=None)) for part in _between(band.high, kept)],
    }
    return {"name": name, "role": role, "x": [band.steps[i] for i in kept], "median": [rounded(band.median[i]) for i in kept], **spread}


def _between(cells: Sequence[float | None], kept: Sequence[int]) -> list[list[float]]:
    """The finite cells of each stretch that ends at a kept index, so that thinning hides no peak of the range."""
    starts = [-1, *kept[:-1]]
    return [[v for v in cells[start + 1 : end + 1] if v is not None] for start, end in zip(starts, kept, strict=True)]


def _marks(variant: VariantMaterial, chart: str) -> list[dict[str, Any]]:
    """Steps of the evidence that this chart shows, numbered as in the table of evidence; stretches that meet share one mark."""
    spans = sorted(
        (evidence["steps"][0], evidence["steps"][-1], number)
        for number, evidence in enumerate(lead_lane(variant.diagnosis)["evidence"], 1)
        if PLACES.get(evidence["measure"], "quality") == chart and evidence["steps"]
    )
    marks: list[dict[str, Any]] = []
    for start, end, number in spans:
        if marks and start <= marks[-1]["steps"][-1]:
            last = marks[-1]
            last["steps"] = sorted({last["steps"][0], max(end, last["steps"][-1])})
            last["numbers"].append(number)
        else:
            marks.append({"steps": sorted({start, end}), "numbers": [number]})
    return [{"steps": mark["steps"], "label": ", ".join(str(n) for n in sorted(mark["numbers"]))} for mark in marks]


def _floor(comparison: Mapping[str, Any], words: Words) -> dict[str, Any]:
    floor = comparison["floors"].get(comparison["primary"])
    return {} if floor is None else {"reference": {"value": rounded(floor), "name": words("chart.floor")}}


def _value(lane: Mapping[str, Any], metric: str) -> float | None:
    cell = (lane["metrics"] or {}).get(metric)
    return None if cell is None else cell["value"]
