"""The answer in three sentences: which objective, how sure, what fails and why. `**name**` marks a variant in bold."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.draw.page.numbers import chance, figure
from stages.draw.page.words import BAD, GOOD, GRAVITY, WORRYING, Words

NAMED_TIES = 4  # more than this are not listed by name


def answer(comparison: Mapping[str, Any], steps: int, words: Words) -> list[str]:
    """Three short paragraphs of plain text."""
    first = comparison["ranking"][0]
    return [_which(first, comparison, steps, words), _how_sure(first, comparison, words), _what_fails(comparison["ranking"], words)]


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


def _how_sure(first: Mapping[str, Any], comparison: Mapping[str, Any], words: Words) -> str:
    pair = next((pair for pair in comparison["paired"] if pair["variant"] == first["variant"]), None)
    said = [_baseline_leads(comparison, words) if pair is None else _against_baseline(pair, comparison, words)]
    groups: list[list[str]] = comparison["ranks"]["groups"]
    group = next((names for names in groups if first["variant"] in names), [])
    tied = [name for name in group if name != first["variant"]]
    if tied:
        rest = [] if len(tied) <= NAMED_TIES else [words("answer.more", count=len(tied) - NAMED_TIES)]
        said.append(words("answer.tied", others=words.listing(tied[:NAMED_TIES] + rest)))
    if first["doubt"]:
        said.append(words("answer.doubt", doubt=first["doubt"].rstrip(".")))
    return words("sentence.gap").join(said)


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


def _what_fails(ranking: Sequence[Mapping[str, Any]], words: Words) -> str:
    failing = [_fate(row, words) for row in ranking if gravity(row["verdict"]) == BAD]
    worrying = [_fate(row, words) for row in ranking if gravity(row["verdict"]) == WORRYING]
    said = [words("answer.fails_none")]
    if failing:
        said = [words("answer.fails", count=len(failing), variants=len(ranking), list=words.listing(failing))]
    if worrying:
        said.append(words("answer.worries", list=words.listing(worrying)))
    return words("sentence.gap").join(said)


def _fate(row: Mapping[str, Any], words: Words) -> str:
    lanes = f"{row['counts'].get(row['verdict'], 0)}/{row['lanes']}"
    return words("answer.fate", variant=row["variant"], verdict=words.named("verdict", row["verdict"]), lanes=lanes)
