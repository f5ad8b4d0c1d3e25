"""Kernel distance: the unbiased squared maximum mean discrepancy with the cubic polynomial kernel (KID).

`k(x, y) = (x·y / d + 1)³`,  `MMD² = mean_{i≠j} k(xᵢ, xⱼ) + mean_{i≠j} k(yᵢ, yⱼ) − 2 mean_{i,j} k(xᵢ, yⱼ)`
(Bińkowski et al. 2018, section 4; Gretton et al. 2012, equation 3). Unbiased at every sample count, so it may be negative. All samples
enter at once; torch-fidelity and torchmetrics average 100 random subsets of 1,000, which has the same expectation and more noise, and
refuse fewer than 1,000 samples. The kernel's fixed scale supposes features of variance about 1.
"""

import torch
from torch import Tensor

BLOCK = 1 << 18  # numbers held at a time, at least 64 rows of them


def kernel_mean(x: Tensor, y: Tensor) -> float:
    """Mean of k over all pairs of `x` `[n, d]` and `y` `[m, d]`."""
    return _kernel_sum(x, y) / (x.shape[0] * y.shape[0])


def kernel_mean_within(x: Tensor) -> float:
    """Mean of k over all ordered pairs of different members of `x` `[n, d]`; ValueError for fewer than 2."""
    n = x.shape[0]
    if n < 2:
        raise ValueError(f"{n} samples: at least 2 are needed")
    own = ((x.double().square().sum(1) / x.shape[1] + 1.0) ** 3).sum().item()
    return (_kernel_sum(x, x) - own) / (n * (n - 1))


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD between two sets of features, symmetric, in no unit."""
    return kernel_mean_within(x) + kernel_mean_within(y) - 2.0 * kernel_mean(x, y)


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    right, one = y.double().T, torch.ones((), dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64)
    for part in x.split(max(64, BLOCK // max(1, y.shape[0]))):
        total += torch.addmm(one, part.double(), right, alpha=1.0 / y.shape[1]).pow_(3).sum()
    return total.item()
