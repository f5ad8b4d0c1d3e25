"""Ranks over seeds: a lane that failed takes the worst rank, tied, so that dropping out is never rewarded."""

from typing import NamedTuple

import numpy as np
from scipy import stats

from stages.measure.intervals import Interval, wilson

BEST_SEEDS = 10  # below this many seeds the probability of being best has no interval worth printing


def seed_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks `[n, K]` within each seed (row), 1 is the smallest value; ties share their average rank; NaN (failed) ranks worst, tied."""
    values = np.asarray(values, np.float64)
    return stats.rankdata(np.where(np.isnan(values), np.inf, values), axis=1)


class Friedman(NamedTuple):
    """Mean ranks `[K]`, Friedman's p (None where undefined) and the critical difference of two mean ranks (Nemenyi)."""

    mean_ranks: np.ndarray
    p: float | None
    critical_difference: float | None


def friedman(values: np.ndarray, alpha: float) -> Friedman:
    """Friedman's test and Nemenyi's critical difference over `[n, K]` values, smaller is better (Demšar 2006, section 3.2.2).

    χ²_F = 12n / (K(K+1)) · (Σ R_k² − K(K+1)²/4), divided by the tie correction, against χ² with K − 1 degrees of freedom: an
    approximation that is good from about n > 10, K > 5 on. Two mean ranks differ where they are at least
    CD = q_α √(K(K+1) / 6n) apart, q_α = studentised range over √2. p is None below 3 variants, 2 seeds or where all ranks are tied.
    """
    ranks = seed_ranks(values)
    n, k = ranks.shape
    apart = float(stats.studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))) if k > 1 else None
    varied = k >= 3 and n >= 2 and bool((np.ptp(ranks, axis=1) > 0).any())
    p = float(stats.friedmanchisquare(*ranks.T).pvalue) if varied else None
    return Friedman(ranks.mean(axis=0), p, apart)


def cliques(mean_ranks: np.ndarray, critical_difference: float) -> list[list[int]]:
    """Maximal groups of variants (indices, best first) whose mean ranks lie less than the critical difference apart; none of one."""
    order = np.argsort(mean_ranks, kind="stable")
    groups: list[list[int]] = []
    for start, first in enumerate(order):
        group = [int(k) for k in order[start:] if mean_ranks[k] - mean_ranks[first] < critical_difference]
        if len(group) > 1 and not (groups and set(group) <= set(groups[-1])):
            groups.append(group)
    return groups


def best_chances(values: np.ndarray, confidence: float) -> list[Interval] | None:
    """Per variant, the chance of being best on a new seed: its share of the seeds it won, with Wilson's interval.

    Ties share a win; a seed on which all failed is nobody's. None below 10 seeds.
    """
    values = np.asarray(values, np.float64)
    if len(values) < BEST_SEEDS:
        return None
    filled = np.where(np.isnan(values), np.inf, values)
    won = (filled == filled.min(axis=1, keepdims=True)) & np.isfinite(filled)
    shares = won / np.maximum(won.sum(axis=1, keepdims=True), 1)
    return [wilson(float(share), len(values), confidence) for share in shares.sum(axis=0)]


def median_with_failures(values: np.ndarray) -> float | None:
    """Median where NaN (failed) counts as worse than every number; None when it falls on a failed lane or there is no value.

    With an even count the two middle values are averaged, so both have to exist.
    """
    filled = np.sort(np.where(np.isnan(values), np.inf, np.asarray(values, np.float64)))
    if not len(filled):
        return None
    middle = (filled[(len(filled) - 1) // 2] + filled[len(filled) // 2]) / 2
    return float(middle) if np.isfinite(middle) else None
