"""The answer in three short paragraphs: which objective, how sure, what fails and why. `**name**` marks a variant in bold."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.draw.page.charts import lead_lane
from stages.draw.page.material import VariantMaterial
from stages.draw.page.numbers import chance, figure, quantity
from stages.draw.page.sentences import doubts
from stages.draw.page.words import BAD, GOOD, GRAVITY, WORRYING, Words

NAMED_TIES = 4  # more than this are not listed by name
REASONS = 2  # pieces of evidence behind each failure


def answer(comparison: Mapping[str, Any], steps: int, words: Words, why: Mapping[str, str], doubt: str = "") -> list[str]:
    """Three short paragraphs of plain text; `why` gives the reason of a variant that fails, `doubt` that of the first one's verdict."""
    first = comparison["ranking"][0]
    how_sure = _how_sure(first, comparison, words, doubt)
    return [_which(first, comparison, steps, words), how_sure, _what_fails(comparison["ranking"], words, why)]


def reasons(variants: Sequence[VariantMaterial], words: Words) -> dict[str, str]:
    """By variant, the measures that decided its verdict, with their values: `Late AUC of D 1.00, Drop of sample movement 1,480`."""
    found = {}
    for variant in variants:
        decided = [item for item in lead_lane(variant.diagnosis)["evidence"] if item["threshold"] is not None][:REASONS]
        said = [f"{words.named('measure', item['measure'])} {figure(item['value'])}" for item in decided if item["value"] is not None]
        if said:
            found[variant.name] = words("list.comma").join(said)
    return found


def first_doubt(comparison: Mapping[str, Any], variants: Sequence[VariantMaterial], words: Words) -> str:
    """Why the verdict of the first in rank is in doubt; empty where it is not."""
    first = comparison["ranking"][0]["variant"]
    return next(doubts(variant.diagnosis["doubts"], words) for variant in variants if variant.name == first)


def gravity(verdict: str) -> str:
    """`good`, `worrying` or `bad`; a verdict that the table does not know is worrying."""
    return GRAVITY.get(verdict, WORRYING)


def _which(first: Mapping[str, Any], comparison: Mapping[str, Any], steps: int, words: Words) -> str:
    if first["median"] is None:
        return words("answer.first_failed", variant=first["variant"])
    floor = words("answer.floor", ratio=figure(first["floor_ratio"], 2)) if first["floor_ratio"] else ""
    metric = words.named("metric", comparison["primary"])
    said = [words("answer.first", variant=first["variant"], metric=metric, value=figure(first["median"]), steps=steps, floor=floor)]
    if gravity(first["verdict"]) != GOOD:
        said.append(words("answer.unhealthy", verdict=words.named("verdict", first["verdict"])))
    return words("sentence.gap").join(said)


def _how_sure(first: Mapping[str, Any], comparison: Mapping[str, Any], words: Words, doubt: str) -> str:
    pair = next((pair for pair in comparison["paired"] if pair["variant"] == first["variant"]), None)
    said = [_baseline_leads(comparison, words) if pair is None else _against_baseline(pair, comparison, words)]
    groups: list[list[str]] = comparison["ranks"]["groups"]
    group = next((names for names in groups if first["variant"] in names), [])
    tied = [name for name in group if name != first["variant"]]
    if tied:
        rest = [] if len(tied) <= NAMED_TIES else [words("answer.more", count=len(tied) - NAMED_TIES)]
        said.append(words("answer.tied", others=words.listing(tied[:NAMED_TIES] + rest)))
    if len(comparison["ranking"]) > 1:
        said.append(_at_equal_compute(first, comparison, words))
    if doubt:
        said.append(words("answer.doubt", doubt=doubt))
    return words("sentence.gap").join(said)


def _at_equal_compute(first: Mapping[str, Any], comparison: Mapping[str, Any], words: Words) -> str:
    view = comparison["views"]["compute"]
    rank = next((row["rank"] for row in view["ranking"] if row["variant"] == first["variant"]), None)
    key = "answer.compute_same" if rank == 1 else "answer.compute_other"
    return words(key, budget=quantity(view["budget"], "FLOP"), leader=view["ranking"][0]["variant"], rank=rank)


def _baseline_leads(comparison: Mapping[str, Any], words: Words) -> str:
    shown = [pair["conclusion"] for pair in comparison["paired"]]
    better, worse = shown.count("better"), shown.count("worse")
    if not shown:
        return words("answer.baseline_alone")
    key = "answer.baseline_mixed" if better else "answer.baseline_worse" if worse else "answer.baseline_none"
    return words(key, family=len(shown), better=better, worse=worse, alpha=f"{comparison['alpha']:g}")


def _against_baseline(pair: Mapping[str, Any], comparison: Mapping[str, Any], words: Words) -> str:
    ratio = ""
    if pair["log_ratio"] is not None:
        ends = {key: figure(math.exp(pair[name])) for key, name in (("ratio", "log_ratio"), ("low", "low"), ("high", "high"))}
        ratio = words("answer.ratio", confidence=f"{100 * (1 - comparison['alpha']):g}", **ends)
    evidence = words("answer.evidence", ratio=ratio, p=chance(pair["p_adjusted"]), family=len(comparison["paired"]), n=pair["n"])
    return words(
        f"answer.{pair['conclusion']}",
        baseline=pair["against"],
        evidence=evidence,
        informative=pair["informative"],
        needed=comparison["seeds_needed"],
    )


def _what_fails(ranking: Sequence[Mapping[str, Any]], words: Words, why: Mapping[str, str]) -> str:
    failing = [_fate(row, words, why) for row in ranking if gravity(row["verdict"]) == BAD]
    worrying = [_fate(row, words, {}) for row in ranking if gravity(row["verdict"]) == WORRYING]
    said = [words("answer.fails_none")]
    if failing:
        said = [words("answer.fails", count=len(failing), variants=len(ranking), list=words.listing(failing))]
    if worrying:
        said.append(words("answer.worries", list=words.listing(worrying)))
    return words("sentence.gap").join(said)


def _fate(row: Mapping[str, Any], words: Words, why: Mapping[str, str]) -> str:
    lanes = f"{row['counts'].get(row['verdict'], 0)}/{row['lanes']}"
    reason = words("answer.why", reason=why[row["variant"]]) if row["variant"] in why else ""
    return words("answer.fate", variant=row["variant"], verdict=words.named("verdict", row["verdict"]), lanes=lanes, why=reason)
