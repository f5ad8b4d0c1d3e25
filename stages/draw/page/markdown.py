"""report.md: the same answer for a CI summary: three paragraphs, one table, what fails and what to try, small pictures by relative link."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from stages.draw.page.answer import answer, first_doubt, gravity, reasons
from stages.draw.page.charts import lead_lane
from stages.draw.page.material import Material, VariantMaterial
from stages.draw.page.numbers import DASH, figure, quantity
from stages.draw.page.sentences import evidence
from stages.draw.page.words import GOOD, Words

MARKS = {"good": "✅", "worrying": "🟡", "bad": "❌"}
PICTURES = 4  # best ones shown


def render_markdown(material: Material, language: str) -> str:
    """The whole text; the same material gives the same text."""
    words = Words(language)
    steps = material.comparison["views"]["steps"][-1]["step"]
    doubt = first_doubt(material.comparison, material.variants, words)
    parts = [
        f"# {plain(material.title)}",
        *(_answer_text(text) for text in answer(material.comparison, steps, words, reasons(material.variants, words), doubt)),
        _ranking(material, words),
        _failing(material.variants, words),
        _pictures(material, words),
        words("md.full"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """Text whose Markdown and HTML characters stand for themselves, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", re.sub(r"\s", " ", text))


def _answer_text(text: str) -> str:
    return "".join(f"**{plain(part)}**" if i % 2 else plain(part) for i, part in enumerate(text.split("**")))


def _ranking(material: Material, words: Words) -> str:
    comparison, origin = material.comparison, {variant.name: variant.tuning(words) for variant in material.variants}
    head = [
        *(words(f"ranking.{key}") for key in ("rank", "variant", "verdict")),
        words.named("metric", comparison["primary"]),
        words("md.interval", confidence=f"{100 * (1 - comparison['alpha']):g}"),
        *(words(f"ranking.{key}") for key in ("floor", "baseline", "failed", "cost", "tuning")),
    ]
    conclusions = {pair["variant"]: words(pair["conclusion"]) for pair in comparison["paired"]}
    rows = [
        [
            str(row["rank"]),
            f"**{plain(row['variant'])}**",
            _badge(row["verdict"], words),
            figure(row["median"]),
            DASH if row["low"] is None else words("md.span", low=figure(row["low"]), high=figure(row["high"])),
            figure(row["floor_ratio"], 2),
            conclusions.get(row["variant"], words("ranking.baseline_word")),
            f"{row['failed']}/{row['lanes']}",
            quantity(row["flops"], "FLOP"),
            origin[row["variant"]],
        ]
        for row in comparison["ranking"]
    ]
    return _table(head, ["--:", ":--", ":--", "--:", ":--", "--:", ":--", "--:", "--:", ":--"], rows)


def _badge(verdict: str, words: Words) -> str:
    return f"{MARKS[gravity(verdict)]} {plain(words.named('verdict', verdict))}"


def _table(head: Sequence[str], lines: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, lines, *rows])


def _failing(variants: Sequence[VariantMaterial], words: Words) -> str:
    rows = [_failure(variant, words) for variant in variants if gravity(variant.diagnosis["verdict"]) != GOOD]
    if not rows:
        return ""
    head = [words("ranking.variant"), words("ranking.verdict"), words("md.why"), words("md.try")]
    return f"## {words('md.failing')}\n\n" + _table(head, [":--"] * 4, rows)


def _failure(variant: VariantMaterial, words: Words) -> list[str]:
    lane = lead_lane(variant.diagnosis)
    reason = plain(evidence(lane["evidence"][0], variant.diagnosis, words)) if lane["evidence"] else DASH
    command = "`` " + lane["remedies"][0]["command"].replace("|", "\\|") + " ``" if lane["remedies"] else DASH
    return [f"**{plain(variant.name)}**", _badge(variant.diagnosis["verdict"], words), reason, command]


def _pictures(material: Material, words: Words) -> str:
    shown = [variant for variant in material.variants if variant.samples][:PICTURES]
    if not shown:
        return ""
    cells = [f'<img src="../samples/{v.name}/step-{max(v.samples):06d}.png" width="200" alt="{v.name}">' for v in shown]
    table = _table([plain(v.name) for v in shown], [":-:"] * len(shown), [cells])
    return f"## {words('md.samples')}\n\n{table}"


@dataclass(frozen=True)
class Links:
    """Addresses of pages in MLflow: where the runs are compared, and each variant's run."""

    compare: str
    runs: Mapping[str, str]


def mlflow_links(server: str, experiment: str, runs: Mapping[str, str]) -> Links:
    """The pages of a tracking server (`https://…`) for variants' run ids; a name and password in its address are left out."""
    parts = urlsplit(server)
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    query = urlencode({"runs": json.dumps(list(runs.values())), "experiments": json.dumps([experiment])})
    own = {variant: f"{address}/#/experiments/{experiment}/runs/{run}" for variant, run in runs.items()}
    return Links(f"{address}/#/compare-runs?{query}", own)


def with_links(text: str, links: Links | None, samples: str) -> str:
    """report.md's text for another place: pictures from the folder `samples`; with links, every variant's name leads to its run.

    The report itself holds no link: it is an output, and must not depend on which server shows it.
    """
    moved = text.replace('src="../samples/', f'src="{samples}/')
    if links is None:
        return moved
    for variant, address in links.runs.items():
        moved = moved.replace(f"| **{plain(variant)}** |", f"| [**{plain(variant)}**]({address}) |")
    title, _, rest = moved.partition("\n\n")
    return f"{title}\n\n[MLflow ↗]({links.compare})\n\n{rest}"
