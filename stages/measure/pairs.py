"""Variants against a baseline on the same seeds: the test, the interval and the sentence of each pair.

Scores are per lane, NaN where a lane has none. What is assumed: docs/statistics.md.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from stages.measure import intervals, paired

DRAW_SEED = 0  # of random sign flips, drawn only above 14 seeds


def against_baseline(others: Mapping[str, np.ndarray], baseline: np.ndarray, name: str, alpha: float, higher: bool) -> list[dict[str, Any]]:
    """Every variant's lanes `[n]` against the baseline's `[n]` (called `name`), p adjusted over the whole family.

    `higher` says that a higher score is better. Each entry is one of comparison.json's `paired` (docs/formats.md).
    """
    if not others:
        return []
    tested = np.stack([signed_differences(values, baseline, higher) for values in others.values()], axis=1)
    result = paired.max_t(tested, np.random.default_rng(DRAW_SEED))
    pairs = []
    for k, (variant, values) in enumerate(others.items()):
        pair = {"variant": variant, "against": name} | _pair(values, baseline, alpha, tested[:, k], result, k)
        pairs.append(pair | {"text": _sentence(pair, alpha)})
    return pairs


def signed_differences(a: np.ndarray, b: np.ndarray, higher: bool) -> np.ndarray:
    """What the permutation test flips, one number a seed, negative where `a` is better: log-ratios where every lane has a score above 0.

    Otherwise signed ranks: a seed on which one of the two failed is the largest difference of all, one on which both failed is 0.
    """
    sign = -1.0 if higher else 1.0
    if _on_log_scale(a, b):
        return np.asarray(sign * np.log(a / b))
    worst_a, worst_b = np.isnan(a), np.isnan(b)
    gap = np.where(worst_a, np.inf, np.where(worst_b, -np.inf, sign * (a - b)))
    return paired.signed_ranks(np.where(worst_a & worst_b, 0.0, gap))


def _on_log_scale(a: np.ndarray, b: np.ndarray) -> bool:
    both = np.concatenate([a, b])
    return bool(np.isfinite(both).all() and (both > 0).all())


def _pair(values: np.ndarray, baseline: np.ndarray, alpha: float, tested: np.ndarray, result: paired.MaxT, k: int) -> dict[str, Any]:
    both = np.isfinite(values) & np.isfinite(baseline) & (values > 0) & (baseline > 0)
    logs, base = np.log(values[both]), np.log(baseline[both])
    ratio = intervals.student(logs - base, 1 - alpha) if both.sum() > 1 else None
    p, smallest = float(result.p[k]), float(result.smallest[k])
    return {
        "n": len(tested),
        "survivors": int(both.sum()),
        "informative": int((tested != 0).sum()),
        "log_ratio": ratio and ratio.value,
        "low": ratio and ratio.low,
        "high": ratio and ratio.high,
        "test": "log_ratio" if _on_log_scale(values, baseline) else "signed_rank",
        "p_adjusted": p,
        "p_smallest": smallest,
        "p_unpaired": paired.welch(logs, base),
        "correlation": paired.correlation(logs, base),
        "conclusion": conclusion(float(tested.sum()), p, smallest, alpha),
    }


def conclusion(direction: float, p: float, smallest: float, alpha: float) -> str:
    """`not_testable`, `undecided`, `better` or `worse`: never "no difference", which no test here can show."""
    if smallest > alpha:
        return "not_testable"
    if p > alpha:
        return "undecided"
    return "better" if direction < 0 else "worse"


def _sentence(pair: Mapping[str, Any], alpha: float) -> str:
    measured = "no seed pair to measure a ratio on"
    if pair["log_ratio"] is not None:
        middle, low, high = (f"×{np.exp(pair[key]):.3g}" for key in ("log_ratio", "low", "high"))
        left_out = f", survivors of {pair['survivors']} seeds only" if pair["survivors"] < pair["n"] else ""
        measured = f"{middle} ({100 * (1 - alpha):g}% interval {low} to {high}{left_out})"
    if pair["conclusion"] == "not_testable":
        return (
            f"{pair['variant']}: not testable with {pair['informative']} seeds, at least {paired.seeds_needed(alpha)} needed "
            f"(smallest attainable p {pair['p_smallest']:.3g} is above {alpha:g}); measured {measured}"
        )
    word = {"better": "better than", "worse": "worse than", "undecided": "not shown to differ from"}[pair["conclusion"]]
    chance = f"adjusted p {pair['p_adjusted']:.3g} (smallest {pair['p_smallest']:.3g})"
    return f"{pair['variant']} is {word} {pair['against']}: {measured}, {chance}"
