"""Sliced Wasserstein distance for vectors.

`SW₂ = (mean_u W₂²(u·x, u·y))^½` over directions u drawn evenly from the unit sphere (Bonneel et al. 2015; Rabin et al. 2011).
W₂ of one dimension is exact, by sorting, for unequal counts too. In units of the vectors.
"""

import torch
from torch import Tensor

DIRECTIONS = 128


def directions(dimensions: int, generator: torch.Generator, count: int = DIRECTIONS) -> Tensor:
    """`count` unit vectors `[d, count]`, evenly spread; in one dimension the distance is exact with any of them."""
    lines = torch.randn(dimensions, count if dimensions > 1 else 1, generator=generator, dtype=torch.float64)
    return lines / lines.norm(dim=0)


def projected(x: Tensor, lines: Tensor) -> Tensor:
    """Coordinates of samples `[n, d]` along each line, sorted: `[lines, n]`."""
    return (lines.T @ x.double().T).sort(1).values


def sliced_wasserstein(x: Tensor, y: Tensor) -> float:
    """SW₂ between two sets that are given by their sorted projections on the same lines, `[s, n]` and `[s, m]` (`projected`)."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[0] != y.shape[0]:
        raise ValueError(f"projections of shape {tuple(x.shape)} and {tuple(y.shape)}: [s, n] and [s, m] are needed")
    return squared_wasserstein(x, y).mean().sqrt().item()


def squared_wasserstein(x: Tensor, y: Tensor) -> Tensor:
    """W₂² of each row's sorted values, `[s, n]` and `[s, m]` to `[s]`: `∫ (Fₓ⁻¹(q) − F_y⁻¹(q))² dq`, exact."""
    n, m = x.shape[1], y.shape[1]
    if n == m:
        return (x - y).square().mean(1)
    # both quantile functions are constant between neighbouring multiples of 1/n and 1/m: count in units of 1/(n m), which are whole
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()
    starts = torch.cat([ends.new_zeros(1), ends[:-1]])
    weights = (ends - starts).double() / (n * m)
    return (weights * (x[:, starts // m] - y[:, starts // n]).square()).sum(1)
