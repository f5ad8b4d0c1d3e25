"""Which modes a generator found: for known mixtures by distance, for labelled data by a classifier.

For mixtures a sample is *high quality* when it lies within 3 standard deviations of its nearest centre (Mahalanobis), and only such a
sample counts for a mode (Srivastava et al. 2017, VEEGAN; Lin et al. 2018, PacGAN). For labelled data every sample counts for the class that
the classifier names, as those papers count stacked MNIST.
"""

import torch
from scipy.special import bdtrc
from torch import Tensor

REACH = 3.0  # standard deviations: the rule of both papers
ENOUGH = 20  # samples a mode needs under the strict rule; the papers' rule is 1


def nearest_mode(samples: Tensor, centres: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mode of each sample `[n]` (−1 where it is not of high quality) and whether it is of high quality `[n]`.

    `samples` `[n, d]`, `centres` `[k, d]`, `std` a scalar or `[d]`; distance to the nearest centre at most 3 standard deviations. Exactly
    at equal distance the earlier centre wins.
    """
    scaled, targets = samples.double() / std, centres.double() / std
    distance, mode = torch.cdist(scaled, targets, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    good = distance <= REACH
    return torch.where(good, mode, -1), good


def modes_found(modes: Tensor, count: int, at_least: int = 1) -> int:
    """How many of `count` modes have at least `at_least` samples; −1 counts for none."""
    return int((torch.bincount(modes[modes >= 0], minlength=count) >= at_least).sum())


def reverse_kl(modes: Tensor, weights: Tensor) -> float | None:
    """`KL(p ‖ w) = Σ_k p_k log(p_k / w_k)` in nats, p the shares of the counted samples' modes, `weights` `[k]` those of the real data.

    0 log 0 is 0. None where no sample counts, or where a mode was found that the real data never show (the divergence is infinite).
    A finite sample of the real distribution itself scores about (k − 1)/(2n), not 0: read it beside its floor.
    """
    counts = torch.bincount(modes[modes >= 0], minlength=weights.shape[0]).double()
    if counts.sum() == 0 or bool(((counts > 0) & (weights <= 0)).any()):
        return None
    shares, target = counts / counts.sum(), weights.double() / weights.double().sum()
    seen = shares > 0
    return max(0.0, (shares[seen] * (shares[seen] / target[seen]).log()).sum().item())


def modes_expected(weights: Tensor, n: int, at_least: int = 1) -> float:
    """Expected number of modes with at least `at_least` of n samples of the real distribution: `Σ_k P(Binomial(n, w_k) ≥ at_least)`."""
    if n < at_least:
        return 0.0
    shares = weights.double() / weights.double().sum()
    return float(bdtrc(at_least - 1, n, shares.numpy()).sum())
