"""index.html: one file with its styles, script, data and pictures inside; it loads nothing and needs no network."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from plotly.offline import get_plotlyjs

from stages.draw.page import charts, figures, pictures
from stages.draw.page.answer import answer, first_doubt, gravity, reasons
from stages.draw.page.driven import driven
from stages.draw.page.material import Material, VariantMaterial
from stages.draw.page.numbers import DASH, chance, figure, quantity, share
from stages.draw.page.sentences import doubts, ended, evidence, excluded
from stages.draw.page.words import Words

HERE = Path(__file__).parent
LANGUAGES = {"en": "en", "zh": "zh-Hans"}
SECONDARY = ("precision", "recall", "coverage", "modes")


def render_html(material: Material, language: str) -> str:
    """The whole page as text; the same material gives the same text."""
    words = Words(language)
    drawn = pictures.embedded({variant.name: variant.samples for variant in material.variants})
    doubt = first_doubt(material.comparison, material.variants, words)
    said = answer(material.comparison, _steps(material), words, reasons(material.variants, words), doubt)
    sections = [_section(variant, material, drawn[variant.name], words) for variant in material.variants]
    overview = charts.overview(material.variants, material.comparison, words)
    data = {
        "charts": {"overview": overview} | {key: chart for section in sections for key, chart in section["data"].items()},
        "samples": {name: [{"step": step, "src": uri} for step, uri in steps.items()] for name, steps in drawn.items()},
        "alts": {v.name: [_alt(v, step, words) for step in sorted(v.samples)] for v in material.variants},
        "words": {key: words(key) for key in ("samples.play", "samples.pause", "variant.copy", "variant.copied", "chart.step")},
    }
    return (
        _environment(words)
        .get_template("template.html")
        .render(
            lang=LANGUAGES[language],
            title=material.title,
            subtitle=_subtitle(material, words),
            answer=[_strong(text) for text in said],
            comparison=material.comparison,
            metric=words.named("metric", material.comparison["primary"]),
            confidence=f"{100 * (1 - material.comparison['alpha']):g}",
            excluded=[(e["variant"], excluded(e, material.comparison["baseline"], words)) for e in material.comparison["excluded"]],
            rows=_rows(material, words),
            columns=[name for name in SECONDARY if any(row[name] is not None for row in material.comparison["ranking"])],
            pairs=[_pair(pair, words) for pair in material.comparison["paired"]],
            marks=figures.intervals(material.comparison["ranking"], material.comparison["floors"].get(material.comparison["primary"])),
            critical=figures.critical_difference(material.comparison),
            overview=overview,
            sections=sections,
            notes=_notes(material, words),
            wall=[section["wall"] for section in sections if section["wall"]],
            data=_json(data),
            style=Markup((HERE / "style.css").read_text(encoding="utf-8")),  # noqa: S704
            script=Markup((HERE / "page.js").read_text(encoding="utf-8")),  # noqa: S704
            plotly=Markup(get_plotlyjs()),  # noqa: S704
        )
    )


def _environment(words: Words) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(t=words, figure=figure, share=share, chance=chance, quantity=quantity, gravity=gravity)
    environment.globals["doubt"] = lambda judged: doubts(judged["doubts"], words)
    environment.globals["flags"] = lambda names: words.listing([words.named("flag", name) for name in names])
    return environment


def _json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no character in it can end the element or open a comment."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))  # noqa: S704


def _strong(text: str) -> Markup:
    """Escaped text with `**name**` in bold."""
    parts = str(escape(text)).split("**")
    return Markup("".join(f"<strong>{part}</strong>" if i % 2 else part for i, part in enumerate(parts)))  # noqa: S704


def _steps(material: Material) -> int:
    return int(material.comparison["views"]["steps"][-1]["step"])


def _subtitle(material: Material, words: Words) -> str:
    data = material.variants[0].run["data"]
    shape = " × ".join(str(side) for side in data["shape"])
    kind = words(f"data.{data['kind']}", shape=shape)
    return words("subtitle", variants=len(material.variants), seeds=len(material.comparison["seeds"]), steps=_steps(material), data=kind)


def _rows(material: Material, words: Words) -> list[dict[str, Any]]:
    """The ranking with what the table adds: the pair against the baseline, the cost beside the baseline's, where the values come from."""
    comparison, origin = material.comparison, {variant.name: variant.tuning(words) for variant in material.variants}
    pairs = {pair["variant"]: pair for pair in comparison["paired"]}
    doubt = {variant.name: doubts(variant.diagnosis["doubts"], words) for variant in material.variants}
    base = next(row["flops"] for row in comparison["ranking"] if row["variant"] == comparison["baseline"])
    return [
        row
        | {"pair": _pair(pairs[row["variant"]], words) if row["variant"] in pairs else None}
        | {"cost_ratio": row["flops"] / base, "tuning": origin[row["variant"]], "doubt": doubt[row["variant"]]}
        for row in comparison["ranking"]
    ]


def _pair(pair: Mapping[str, Any], words: Words) -> dict[str, Any]:
    ends = {
        key: None if pair[name] is None else math.exp(pair[name]) for key, name in (("ratio", "log_ratio"), ("from", "low"), ("to", "high"))
    }
    title = words(
        "conclusion.title",
        p=chance(pair["p_adjusted"]),
        smallest=chance(pair["p_smallest"]),
        unpaired=chance(pair["p_unpaired"]),
        correlation=share(pair["correlation"]),
    )
    return {**pair, **ends, "title": title}


def _notes(material: Material, words: Words) -> list[str]:
    comparison = material.comparison
    names = [note["name"] for note in comparison["notes"]] + (["excluded"] if comparison["excluded"] else [])
    names += [] if material.equally_tuned else ["tuned_unequally"]
    return [words(f"note.{name}", needed=comparison["seeds_needed"], alpha=f"{comparison['alpha']:g}") for name in names]


def _section(variant: VariantMaterial, material: Material, drawn: Mapping[int, str], words: Words) -> dict[str, Any]:
    """Everything the template needs of one variant."""
    comparison, name = material.comparison, variant.name
    row = next((row for row in comparison["ranking"] if row["variant"] == name), None)
    quality, story, heats = charts.quality(variant, comparison, words), charts.story(variant, words), charts.heats(variant)
    terrain, probes = charts.landscape(variant, words), charts.probes(variant, words)
    drawings = {"quality": quality, **story, **terrain, **probes, **{f"heat_{player}": chart for player, chart in heats.items()}}
    plane = charts.field(variant)
    if plane is not None:
        drawings["field"] = plane
    last = max(variant.samples, default=None)
    wall = None
    if last is not None:
        wall = {"name": name, "src": drawn[last], "alt": _alt(variant, last, words), "size": _size(variant.samples[last]),
                "steps": sorted(variant.samples), "kind": variant.run["data"]["kind"], "verdict": variant.diagnosis["verdict"]}  # fmt: skip
    return {
        "name": name,
        "row": row,
        "run": variant.run,
        "objective": _objective(variant.run["config"]),
        "diagnosis": variant.diagnosis,
        "lead": _told_lane(charts.lead_lane(variant.diagnosis), variant, words),
        "others": [
            _told_lane(lane, variant, words) for lane in variant.diagnosis["lanes"] if lane["verdict"] != variant.diagnosis["verdict"]
        ],
        "remedies": _remedies(variant.diagnosis["lanes"]),
        "ended": [
            {**lane, "reason": ended(variant.incidents.get(lane["seed"]), words)}
            for lane in variant.run["lanes"]
            if lane["status"] != "finished"
        ],
        "quality": {"key": f"{name}.quality", "alt": _chart_alt(words("variant.quality"), name, quality, words)},
        "story": _figures(story, name, words),
        "landscape": _figures(terrain, name, words),
        "probes": _figures(probes, name, words),
        "driven": driven(variant, words),
        "heats": [
            {"key": f"{name}.heat_{player}", "player": player, "rows": len(chart["y"]), "alt": _heat_alt(player, name, chart, words)}
            for player, chart in heats.items()
        ],
        "field": None if plane is None else _plane(plane, name, words),
        "wall": wall,
        "data": {f"{name}.{key}": chart for key, chart in drawings.items()},
    }


def _plane(plane: Mapping[str, Any], name: str, words: Words) -> dict[str, Any]:
    """D over the plane: what stands around the picture, and a sentence a snapshot."""
    shots, found = plane["snapshots"], [shot for shot in plane["snapshots"] if shot["reason"] is None]
    push = (
        {key: figure(shot["longest"]) for key, shot in (("start", found[0]), ("end", found[-1]))} if found else {"start": DASH, "end": DASH}
    )
    centre = "field.centre_zero" if all(shot["centre"] == 0 for shot in found) else "field.centre_middle"
    return {
        "key": f"{name}.field",
        "seed": plane["seed"],
        "steps": [shot["step"] for shot in shots],
        "reading": words("field.reading", centre=words(centre)),
        "told": [_told(shot, words) for shot in shots],
        "alt": words("field.alt", variant=name, first=shots[0]["step"], last=shots[-1]["step"], **push),
    }


def _told_lane(lane: Mapping[str, Any], variant: VariantMaterial, words: Words) -> dict[str, Any]:
    """A lane of the diagnosis, its evidence said in the reader's language."""
    return {**lane, "evidence": [{**item, "said": evidence(item, variant.diagnosis, words)} for item in lane["evidence"]]}


def _told(shot: Mapping[str, Any], words: Words) -> str:
    if shot["reason"] is not None:
        return words("field.none")
    return words("field.longest", longest=figure(shot["longest"]))


def _figures(drawn: Mapping[str, Mapping[str, Any]], variant: str, words: Words) -> list[dict[str, Any]]:
    """Small charts: key, title, legend and what a reader who cannot see them is told."""
    return [
        {
            "key": f"{variant}.{key}",
            "name": key,
            "series": chart["series"],
            "unit": _power(chart.get("linear_below")),
            "alt": _chart_alt(words(f"chart.{key}"), variant, chart, words),
        }
        for key, chart in drawn.items()
    ]


def _power(value: float | None) -> str | None:
    """A power of ten as text; None for none."""
    return None if value is None else f"{value:g}".replace("-", "−")


def _objective(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`(kind, text)` of the loss, and of penalty, constraint where there is one."""
    parts = []
    for kind in ("loss", "penalty", "constraint"):
        part = dict(config[kind])
        arguments = part.pop("arguments", None) or {key: value for key, value in part.items() if key != "name"}
        if kind == "loss" or part["name"] != "none":
            inner = ", ".join(f"{key} {value}" for key, value in sorted(arguments.items()))
            parts.append((kind, part["name"] + (f" ({inner})" if inner else "")))
    return parts


def _remedies(lanes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Remedies in the order in which lanes name them, each with the number of lanes it fits."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for lane in lanes:
        for remedy in lane["remedies"]:
            entry = found.setdefault((remedy["name"], remedy["command"]), {**remedy, "count": 0})
            entry["count"] += 1
    return sorted(found.values(), key=lambda remedy: -remedy["count"])


def _alt(variant: VariantMaterial, step: int, words: Words) -> str:
    key = "samples.alt_vector" if variant.run["data"]["kind"] == "vector" else "samples.alt"
    return words(key, variant=variant.name, step=step)


def _chart_alt(title: str, variant: str, chart: Mapping[str, Any], words: Words) -> str:
    return words("chart.alt", title=title, variant=variant, values=charts.final_values(chart, words))


def _heat_alt(player: str, variant: str, chart: Mapping[str, Any], words: Words) -> str:
    title = words(f"chart.heat_{player}")
    return words("chart.alt_heat", variant=variant, title=title, layers=len(chart["y"]), steps=len(chart["x"]))


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        return image.size
