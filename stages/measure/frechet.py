"""Fréchet distance between two sets of features, each seen as a Gaussian, and its extrapolation to infinitely many samples.

`d² = ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½` (Heusel et al. 2017, equation 6; Dowson & Landau 1982), covariances with n − 1.

With `Σᵢ = RᵢᵀRᵢ` the last trace is the sum of the singular values of `R₁R₂ᵀ`. No matrix root is taken, nothing is added to a diagonal,
no imaginary part is dropped, and it holds for fewer samples than dimensions, where libraries that take `sqrtm(Σ₁Σ₂)` fall back to adding
1e-6 to the diagonal (clean-fid, pytorch-fid). torchmetrics and torch-fidelity sum `Re √eigenvalues(Σ₁Σ₂)`: equal in exact arithmetic;
theirs loses digits where eigenvalues are near 0, since the root of a rounding error of 1e-16 is 1e-8.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 4096  # rows that enter one QR step


class Moments(NamedTuple):
    """What the Fréchet distance knows of a set: the mean `[d]` and a factor `R [min(n, d), d]` with `RᵀR` the covariance (n − 1)."""

    mean: Tensor
    factor: Tensor

    @property
    def trace(self) -> Tensor:
        """Total variance."""
        return self.factor.square().sum()


def moments(x: Tensor) -> Moments:
    """Mean and covariance factor of features `[n, d]` in float64, block by block; ValueError for fewer than 2 samples."""
    if x.ndim != 2 or x.shape[0] < 2:
        raise ValueError(f"features of shape {tuple(x.shape)}: [n, d] with n at least 2 are needed")
    mean = x.sum(0, dtype=torch.float64) / x.shape[0]
    factor = torch.empty(0, x.shape[1], dtype=torch.float64)
    for part in x.split(BLOCK):
        factor = torch.linalg.qr(torch.cat([factor, part.double() - mean]), mode="r").R
    return Moments(mean, factor / (x.shape[0] - 1) ** 0.5)


def frechet(one: Moments, two: Moments) -> float:
    """Squared Fréchet distance, at least 0, in squared units of the features.

    Equal moments give 0 up to rounding (about 1e-15 of the trace).
    """
    overlap = torch.linalg.svdvals(one.factor @ two.factor.T).sum()
    distance = (one.mean - two.mean).square().sum() + one.trace + two.trace - 2.0 * overlap
    return max(0.0, distance.item())


def frechet_infinity(
    reals: Sequence[Moments], pool: Tensor, smallest: int, generator: torch.Generator, points: int = 15
) -> tuple[float, float]:
    """Distance extrapolated to infinitely many samples of `pool` `[N, d]`, mean over `reals`, and its standard error.

    Intercept of the least-squares line through (1/Nᵢ, distance of Nᵢ samples) (Chong & Forsyth 2020). `points` sizes are
    spread evenly from `smallest` to the whole pool (the paper: 15 from 5,000 to 50,000), each a fresh random subset without replacement.
    It removes the bias that comes from the number of *generated* samples and no other: the reference stays finite, so the result is
    still biased upwards; it may be slightly negative. The paper's Sobol noise is not used. The error is that of the line's intercept,
    which takes the subsets for independent: they overlap, so it is a lower bound. ValueError when fewer than 3 sizes fit.
    """
    total = pool.shape[0]
    sizes = torch.linspace(smallest, total, points, dtype=torch.float64).round().long().unique().tolist()
    if smallest < 2 or smallest >= total or len(sizes) < 3:
        raise ValueError(f"sizes {sizes} for a pool of {total}: at least 3 different sizes from 2 on are needed")
    subsets = [moments(pool[torch.randperm(total, generator=generator)[:size]]) for size in sizes]
    values = [[frechet(real, subset) for real in reals] for subset in subsets]
    return intercept(1.0 / torch.tensor(sizes, dtype=torch.float64), torch.tensor(values, dtype=torch.float64).mean(1))


def intercept(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Value at 0 of the least-squares line through (x, y), and its standard error (residuals with n − 2)."""
    centre, square = x.mean(), (x - x.mean()).square().sum()
    slope = ((x - centre) * y).sum() / square
    value = y.mean() - slope * centre
    variance = (y - value - slope * x).square().sum() / (len(x) - 2)
    return value.item(), (variance * (1.0 / len(x) + centre.square() / square)).sqrt().item()
