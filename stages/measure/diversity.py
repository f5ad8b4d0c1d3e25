"""How varied samples are: how far apart they lie, and over how many modes they are spread."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from stages.measure.distances import blocks


def spacing(points: Tensor) -> float | None:
    """Median over points `[n, d]` of the Euclidean distance to the nearest other one; `None` for fewer than 2.

    Of samples over that of as many real items: 1 is as spread as real, towards 0 the samples draw together, 0 says that most have an exact
    copy; above 1 they lie wider apart than real items, as noise does. It falls with n as n^(−1/d), so that only equal counts compare.
    """
    if len(points) < 2:
        return None
    x, near = points.double(), torch.empty(len(points), dtype=torch.int64)
    for rows, block in blocks(x, x, x.mean(0), -1):
        here = torch.arange(rows.start, rows.stop)
        block[here - rows.start, here] = torch.inf
        near[rows] = block.argmin(1)
    return (x - x[near]).norm(dim=1).quantile(0.5).item()  # exact for the pair found: a copy is at 0


def effective_modes(shares: Sequence[float]) -> float | None:
    """exp(−Σ p log p) of the modes' shares, renormalised: k for k modes equally often, 1 for one alone; `None` where all are 0.

    The number of equally frequent modes of the same entropy (Hill 1973, N₁). `shares` leave out what lies in no mode.
    """
    total = math.fsum(shares)
    if total == 0:
        return None
    return math.exp(-math.fsum(p / total * math.log(p / total) for p in shares if p > 0))
