"""Two variants trained on the same seeds: paired differences, and a permutation test that holds over the whole family.

Lanes of one seed share initial weights, batches and noise wherever shapes agree, so that their difference is freed of what the seed alone
decides. Pairing is blocking: it is right whether or not the scores correlate, and gains where they do.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

EXACT_SEEDS = 14  # up to here all 2^n sign flips are enumerated
DRAWS = 20000  # random flips above
TIE = 1e-12  # flips that equal the observed value up to rounding count as reaching it


class MaxT(NamedTuple):
    """Adjusted two-sided p of each hypothesis, the smallest p each could have reached, and whether every flip was enumerated."""

    p: np.ndarray  # [K]
    smallest: np.ndarray  # [K]
    exact: bool


def max_t(differences: np.ndarray, rng: np.random.Generator | None = None) -> MaxT:
    """Step-down max-T over shared sign flips (Westfall and Young 1993, algorithm 4.1; Romano and Wolf 2005).

    `differences` is `[n, K]`: seed by hypothesis. Under the null of hypothesis k the n differences are symmetric about 0, so flipping the
    sign of a seed's whole row changes nothing; one flip serves all hypotheses and so keeps their dependence. The statistic is
    |Σ d| / √(Σ d²), an increasing function of |t| that stays finite when all differences agree. Hypotheses are ordered by it; p of the
    j-th is the share of flips whose maximum over hypotheses j, j+1, … reaches it, made non-decreasing along the order. The chance of any
    false rejection at level α is at most α. Up to 14 seeds all 2^n flips are used; above, 20000 seeded ones, p = (b + 1) / (B + 1).

    A hypothesis with m differences other than 0 cannot reach a p below 2^(1−m). ValueError for another shape, a value that is not finite,
    or more than 14 seeds without `rng`.
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 2 or 0 in d.shape or not np.isfinite(d).all():
        raise ValueError(f"differences have shape {list(d.shape)}: finite values [seeds, hypotheses] are needed")
    exact = len(d) <= EXACT_SEEDS
    flips = all_signs(len(d)) if exact else _random_signs(len(d), rng)
    norms = np.sqrt((d * d).sum(axis=0))
    scaled = np.divide(d, norms, out=np.zeros_like(d), where=norms > 0)
    observed, flipped = np.abs(scaled.sum(axis=0)), np.abs(flips @ scaled)  # [K], [B, K]
    smallest = np.array([smallest_p(int(m)) for m in (d != 0).sum(axis=0)])
    return MaxT(_step_down(observed, flipped, exact), smallest if exact else np.maximum(smallest, 1 / (len(flips) + 1)), exact)


def _step_down(observed: np.ndarray, flipped: np.ndarray, exact: bool) -> np.ndarray:
    order = np.argsort(-observed, kind="stable")
    # maximum over this hypothesis and all with a smaller statistic
    maxima = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
    reached = (maxima >= observed[order] - TIE).sum(axis=0)
    p = reached / len(flipped) if exact else (reached + 1) / (len(flipped) + 1)
    adjusted = np.empty(len(observed))
    adjusted[order] = np.maximum.accumulate(p)
    return adjusted


def all_signs(n: int) -> np.ndarray:
    """Every vector of n signs, `[2^n, n]`."""
    return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)


def _random_signs(n: int, rng: np.random.Generator | None) -> np.ndarray:
    if rng is None:
        raise ValueError(f"{n} seeds are more than {EXACT_SEEDS}: random flips need a generator")
    return rng.integers(0, 2, (DRAWS, n)) * 2.0 - 1.0


def smallest_p(n: int) -> float:
    """The smallest two-sided p that n sign flips can give: 2^(1−n), reached when all n differences have one sign; 1 for n = 0."""
    return min(1.0, 2.0 ** (1 - n))


def seeds_needed(alpha: float) -> int:
    """The fewest seeds whose smallest attainable p is at most alpha: the least n with 2^(1−n) ≤ alpha."""
    n = 1
    while smallest_p(n) > alpha:
        n += 1
    return n


def signed_ranks(differences: np.ndarray) -> np.ndarray:
    """Differences `[n]` replaced by sign × average rank of their size (Wilcoxon 1945); ±inf rank highest, tied; 0 stays 0.

    So a seed on which one variant failed counts as the largest difference of all, and needs no invented score.
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or np.isnan(d).any():
        raise ValueError("differences are a list without NaN")
    ranks = np.zeros(len(d))
    moved = d != 0
    ranks[moved] = stats.rankdata(np.abs(d[moved]))
    return np.sign(d) * ranks


def welch(a: np.ndarray, b: np.ndarray) -> float | None:
    """Two-sided p of Welch's unpaired t-test, which forgets the pairing; None where it is undefined (under 2 values, no spread)."""
    if min(len(a), len(b)) < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return None
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Pearson's correlation over the seeds: what pairing bought. Variance of a difference is (1 − r) times the unpaired one at equal
    spreads. None where it is undefined (under 3 pairs, no spread)."""
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])
