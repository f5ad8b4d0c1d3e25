"""Does a ranking hold when something that should not matter is changed? Orders under several conditions, and which swaps mean anything.

A condition is a matrix `[n, K]` of scores, seed by variant, smaller is better, NaN where a lane failed. Variants are ordered by mean rank
over the seeds. Two variants *swap* when their mean ranks are strictly ordered one way under the declared condition and the other way under
another one. A swap is a **change** where the paired test (step-down max-T over all pairs of the K variants, within a condition) separates
the two under the declared or under the other condition: then a conclusion does not carry over. It is **not separated** where the test
could have separated them and did not: their order was never shown. It is **not testable** where the seeds are too few for any conclusion.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from stages.measure import paired, ranks
from stages.measure.pairs import DRAW_SEED, conclusion, signed_differences

CHANGED, NOT_SEPARATED, NOT_TESTABLE = "changed", "not_separated", "not_testable"


@dataclass(frozen=True)
class Tested:
    """A paired test within one condition: whether `a` is `better`, `worse`, `undecided` or `not_testable` against `b`."""

    a: int
    b: int
    p: float
    smallest: float
    conclusion: str


@dataclass(frozen=True)
class Swap:
    """Two variants whose order under a condition is not the declared one: `before` was ahead of `after`."""

    condition: int
    before: int
    after: int
    kind: str


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Mean rank of each variant over the seeds `[K]`, 1 is best; failed lanes share the worst rank of their seed."""
    return np.asarray(ranks.seed_ranks(values).mean(axis=0))


def tested(values: np.ndarray, pairs: Sequence[tuple[int, int]], alpha: float) -> list[Tested]:
    """Each pair (a, b) of variants tested, p adjusted over these pairs."""
    if not pairs:
        return []
    moved = np.stack([signed_differences(values[:, a], values[:, b], higher=False) for a, b in pairs], axis=1)
    result = paired.max_t(moved, np.random.default_rng(DRAW_SEED))
    return [
        Tested(
            a,
            b,
            float(result.p[k]),
            float(result.smallest[k]),
            conclusion(float(moved[:, k].sum()), float(result.p[k]), float(result.smallest[k]), alpha),
        )
        for k, (a, b) in enumerate(pairs)
    ]


def swaps(conditions: Sequence[np.ndarray], alpha: float) -> list[Swap]:
    """Every pair that swaps under a condition, against the first (declared) one; by condition, then by declared rank."""
    orders = [mean_ranks(values) for values in conditions]
    pairs = list(combinations(range(conditions[0].shape[1]), 2))
    tests = [{(one.a, one.b): one for one in tested(values, pairs, alpha)} for values in conditions]
    found = []
    for index in range(1, len(conditions)):
        for a, b in pairs:
            gap, other = orders[0][a] - orders[0][b], orders[index][a] - orders[index][b]
            if gap * other < 0:
                before, after = (a, b) if gap < 0 else (b, a)
                found.append(Swap(index, before, after, _kind(tests[0][a, b], tests[index][a, b])))
    return sorted(found, key=lambda swap: (swap.condition, orders[0][swap.before], orders[0][swap.after], swap.before, swap.after))


def _kind(declared: Tested, other: Tested) -> str:
    words = {declared.conclusion, other.conclusion}
    if words & {"better", "worse"}:
        return CHANGED
    return NOT_TESTABLE if words == {"not_testable"} else NOT_SEPARATED


def verdict(found: Sequence[Swap]) -> str:
    """`stable`, `unstable` where a swap is a change, `not_testable` where there are swaps and none can be judged either way."""
    kinds = {swap.kind for swap in found}
    if CHANGED in kinds:
        return "unstable"
    return "not_testable" if NOT_TESTABLE in kinds else "stable"
