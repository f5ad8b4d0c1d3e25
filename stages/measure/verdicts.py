"""The engine that reads the table of rules: facts of a lane in, a verdict with evidence and doubt out; then lanes into a variant."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.measure.doubts import Doubt, few_agree, lanes_doubt, near, nearly, sentence, too_short
from stages.measure.facts import Fact
from stages.measure.verdict_rules import CONTEXT, ENOUGH, FLAGS, HEALTHY, RULES, SEVERITY, UNDETERMINED, Condition, Rule


@dataclass(frozen=True)
class Evidence:
    """One measure beside its threshold; `relation` is where the value stands (`None`: evidence without a judge's say)."""

    measure: str
    value: float | None
    threshold: float | None
    relation: str | None
    steps: tuple[int, ...]
    text: str

    def as_json(self) -> dict[str, Any]:
        """The entry of diagnostics/v.json; an infinite ratio becomes null, and the text says so."""
        finite = self.value is None or math.isfinite(self.value)
        return {
            "measure": self.measure,
            "value": self.value if finite else None,
            "threshold": self.threshold,
            "relation": self.relation,
            "steps": list(self.steps),
            "text": self.text if finite else f"{self.text} (the ratio is infinite)",
        }


@dataclass(frozen=True)
class Judgement:
    """The verdict on one lane."""

    verdict: str
    doubts: tuple[Doubt, ...]
    flags: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @property
    def doubt(self) -> str | None:
        """The doubts in one sentence."""
        return sentence(self.doubts)


@dataclass(frozen=True)
class VariantJudgement:
    """The verdict on a variant, and how many lanes got which."""

    verdict: str
    doubts: tuple[Doubt, ...]
    flags: tuple[str, ...]
    counts: dict[str, int]

    @property
    def doubt(self) -> str | None:
        """The doubts in one sentence."""
        return sentence(self.doubts)


def judge(facts: Mapping[str, Fact]) -> Judgement:
    """The first rule of the table that holds, with its evidence; `undetermined` when none does.

    A rule with `needs_length` is not asked of a run shorter than ENOUGH; the doubt then says that the run is too short.
    """
    long_enough = all(_holds(condition, facts) for condition in ENOUGH)
    rules = [rule for rule in RULES if long_enough or not rule.needs_length]
    held = next(((i, way) for i, rule in enumerate(rules) if (way := _way(rule, facts)) is not None), None)
    flags = tuple(flag.verdict for flag in FLAGS if _way(flag, facts) is not None)
    if held is None:
        evidence = _against_healthy(facts) + _against_causes(rules, facts) + _context(facts)
        doubts = _doubts(UNDETERMINED, (), rules, facts, long_enough)
        return Judgement(UNDETERMINED, doubts, flags, _unique(evidence + _flag_evidence(facts)))
    index, way = held
    verdict = rules[index].verdict
    evidence = [_evidence(condition, facts) for condition in way if facts[condition.measure].value is not None]
    if verdict not in ("healthy", "non_finite"):
        evidence += _against_healthy(facts) + _context(facts)
    return Judgement(verdict, _doubts(verdict, way, rules[:index], facts, long_enough), flags, _unique(evidence + _flag_evidence(facts)))


def healthy(facts: Mapping[str, Fact]) -> bool:
    """Whether the samples pass as good, by the rule of `healthy`."""
    return all(_holds(condition, facts) for condition in HEALTHY)


def judge_variant(lanes: Sequence[Judgement]) -> VariantJudgement:
    """Healthy when more than half of the lanes are; else the commonest verdict among the others, ties going to the worse (SEVERITY).

    A flag is the variant's when at least half of the lanes carry it. Doubted: no more than two thirds of the lanes agree, or at least
    half of those that agree doubt.
    """
    if not lanes:
        raise ValueError("a variant without lanes cannot be judged")
    counts = Counter(lane.verdict for lane in lanes)
    others = [word for word in SEVERITY if counts[word] and word != "healthy"]
    verdict = "healthy" if 2 * counts["healthy"] > len(lanes) else max(others, key=lambda word: counts[word])
    flags = Counter(flag for lane in lanes for flag in lane.flags)
    kept = tuple(flag.verdict for flag in FLAGS if 2 * flags[flag.verdict] >= len(lanes))
    ordered = {word: counts[word] for word in sorted(counts, key=lambda word: (-counts[word], SEVERITY.index(word)))}
    return VariantJudgement(verdict, _variant_doubts(verdict, lanes), kept, ordered)


def _variant_doubts(verdict: str, lanes: Sequence[Judgement]) -> tuple[Doubt, ...]:
    agreeing = [lane for lane in lanes if lane.verdict == verdict]
    doubting = [lane for lane in agreeing if lane.doubts]
    found = [few_agree(verdict, len(agreeing), len(lanes))] if 3 * len(agreeing) <= 2 * len(lanes) else []
    if 2 * len(doubting) >= len(agreeing):
        counts = Counter(lane.doubt for lane in doubting)
        commonest = max(doubting, key=lambda lane: counts[lane.doubt])
        found.append(lanes_doubt(len(doubting), len(agreeing), commonest.doubts))
    return tuple(found)


def _holds(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    value = facts[condition.measure].value
    if value is None:
        return condition.optional
    return value >= condition.threshold if condition.relation == "above" else value < condition.threshold


def _near(condition: Condition, facts: Mapping[str, Fact]) -> bool:
    value = facts[condition.measure].value
    return value is not None and condition.band > 0 and abs(value - condition.threshold) <= condition.band


def _way(rule: Rule, facts: Mapping[str, Fact]) -> tuple[Condition, ...] | None:
    return next((way for way in rule.ways if all(_holds(condition, facts) for condition in way)), None)


def _evidence(condition: Condition, facts: Mapping[str, Fact]) -> Evidence:
    fact = facts[condition.measure]
    relation = None if fact.value is None else "above" if fact.value >= condition.threshold else "below"
    return Evidence(condition.measure, fact.value, condition.threshold, relation, fact.steps, fact.text)


def _against_healthy(facts: Mapping[str, Fact]) -> list[Evidence]:
    """Why the samples are not good."""
    return [_evidence(condition, facts) for condition in HEALTHY if not _holds(condition, facts)]


def _against_causes(rules: Sequence[Rule], facts: Mapping[str, Fact]) -> list[Evidence]:
    """What every cause lacks."""
    causes = [way for rule in rules if rule.needs_length for way in rule.ways]
    return [_evidence(condition, facts) for way in causes for condition in way if not _holds(condition, facts)]


def _context(facts: Mapping[str, Fact]) -> list[Evidence]:
    known = [(name, facts[name]) for name in CONTEXT if facts[name].value is not None]
    return [Evidence(name, fact.value, None, None, fact.steps, fact.text) for name, fact in known]


def _flag_evidence(facts: Mapping[str, Fact]) -> list[Evidence]:
    ways = [way for flag in FLAGS if (way := _way(flag, facts)) is not None]
    return [_evidence(condition, facts) for way in ways for condition in way]


def _unique(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """One entry a measure, the first one."""
    return tuple({item.measure: item for item in reversed(evidence)}[name] for name in dict.fromkeys(item.measure for item in evidence))


def _doubts(
    verdict: str, way: Sequence[Condition], earlier: Sequence[Rule], facts: Mapping[str, Fact], long_enough: bool
) -> tuple[Doubt, ...]:
    """Why the verdict is not certain: too short a run, a value near its threshold, an earlier rule that only just failed."""
    if verdict == "non_finite":
        return ()
    found = [] if long_enough else [too_short(*(_value(condition, facts) for condition in ENOUGH))]
    found += [near(condition, _value(condition, facts)) for condition in way if _near(condition, facts)]
    found += [doubt for rule in earlier if (doubt := _nearly(rule, facts))]
    return tuple(found)


def _nearly(rule: Rule, facts: Mapping[str, Fact]) -> Doubt | None:
    """What kept an earlier rule from holding, when that is only values near their thresholds."""
    for way in rule.ways:
        failing = [condition for condition in way if not _holds(condition, facts)]
        if all(_near(condition, facts) for condition in failing):
            return nearly(rule.verdict, [(condition, _value(condition, facts)) for condition in failing])
    return None


def _value(condition: Condition, facts: Mapping[str, Fact]) -> float:
    value = facts[condition.measure].value
    if value is None:
        raise ValueError(f"{condition.measure} has no value here")
    return value
