"""Is the comparison right as often as it says? Two arms that are equal by construction, compared over and over."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.measure.intervals import wilson
from stages.measure.pairs import against_baseline

EFFECTS = (0.5, 1.0, 1.5, 2.0)  # planted shifts, in standard deviations of a seed's difference
CONFIDENCE = 0.95  # of the intervals about the rates found here
LUCK = 1.1  # a single seed that looks better by this factor is what a lucky seed sells


def calibration(one: np.ndarray, two: np.ndarray, alpha: float) -> dict[str, Any]:
    """Rates over K groups of n paired lanes, scores `[K, n]` of two equal arms (above 0, lower is better).

    - `false_claims`, `false_better`: share of groups in which `compare` calls the second arm better or worse; better
    - `false_unpaired`: the same by Welch's test at the same level, which forgets the pairs
    - `coverage`: share of groups whose interval of the ratio holds 1, its true value
    - `power`: share called better when the second arm's scores are multiplied by exp(−effect · s), s the standard deviation of a seed's
      log-difference over all groups; `ratio` is that factor
    - `lucky_seeds`: share of single seeds that look better or worse by 10% or more, though nothing differs

    Every rate is (value, low, high), Wilson's 95% interval over the groups. ValueError for other shapes or scores.
    """
    if one.shape != two.shape or one.ndim != 2 or not (np.isfinite([one, two]).all() and min(one.min(), two.min()) > 0):
        raise ValueError(f"scores of shape {one.shape} and {two.shape}: finite positive ones [groups, lanes] of equal shape are needed")
    pairs = compare_groups(one, two, alpha)
    words = [pair["conclusion"] for pair in pairs]
    logs = np.log(two) - np.log(one)
    spread = float(np.sqrt(logs.var(axis=1, ddof=1).mean()))
    return {
        "groups": len(one),
        "seeds": one.shape[1],
        "alpha": alpha,
        "spread": spread,
        "correlation": float(np.corrcoef(np.log(one).ravel(), np.log(two).ravel())[0, 1]),
        "false_claims": rate([word in ("better", "worse") for word in words]),
        "false_better": rate([word == "better" for word in words]),
        "false_unpaired": rate([pair["p_unpaired"] is not None and pair["p_unpaired"] <= alpha for pair in pairs]),
        "coverage": rate([pair["low"] <= 0 <= pair["high"] for pair in pairs]),
        "power": [_power(one, two, effect, spread, alpha) for effect in EFFECTS],
        "lucky_seeds": rate((np.abs(logs) >= np.log(LUCK)).ravel().tolist()),
    }


def compare_groups(one: np.ndarray, two: np.ndarray, alpha: float) -> list[dict[str, Any]]:
    """The comparison's own entry of each group, the first arm being the baseline."""
    return [against_baseline({"two": b}, a, "one", alpha, higher=False)[0] for a, b in zip(one, two, strict=True)]


def _power(one: np.ndarray, two: np.ndarray, effect: float, spread: float, alpha: float) -> dict[str, Any]:
    ratio = float(np.exp(-effect * spread))
    found = [pair["conclusion"] == "better" for pair in compare_groups(one, two * ratio, alpha)]
    return {"effect": effect, "ratio": ratio, "better": rate(found)}


def rate(found: Sequence[bool]) -> list[float]:
    """Share of true ones, with the ends of Wilson's interval."""
    return list(wilson(sum(found), len(found), CONFIDENCE))
