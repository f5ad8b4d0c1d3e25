"""How well one lane is measured: never a resampling with replacement, which doubles points and biases every metric here."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BLOCKS = 10


def standard_error(values: Sequence[float]) -> float:
    """Standard error of the mean of independent values: `s / √m`, s with m − 1; ValueError for fewer than 2."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} values have no spread: at least 2 are needed")
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def without_blocks(n: int, count: int = BLOCKS) -> Iterator[Tensor]:
    """Indices of 0 … n−1 with one of `count` blocks left out at a time; block b holds every `count`-th index from b."""
    index = torch.arange(n)
    for block in range(min(count, n)):
        yield index[index % count != block]


def jackknife_error(values: Sequence[float]) -> float:
    """Delete-block jackknife standard error: `√((g − 1)/g Σ_b (θ_b − θ̄)²)` (Efron & Tibshirani 1993, equation 11.5; Shao & Wu 1989).

    `values` are the statistic with each of g blocks left out. A bias that all θ_b share cancels.
    """
    groups = len(values)
    if groups < 2:
        raise ValueError(f"{groups} blocks have no spread: at least 2 are needed")
    mean = math.fsum(values) / groups
    return math.sqrt((groups - 1) / groups * math.fsum((value - mean) ** 2 for value in values))
