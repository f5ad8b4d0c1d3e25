"""What gradients say about each other, per lane: inner products, cosines, signal against noise. Pure functions of pieces `[L, ...]`.

A gradient is a list of pieces, one a parameter, lane first; a lane's gradient is all its pieces together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Pieces = Sequence[Tensor]


def inner(one: Pieces, other: Pieces) -> Tensor:
    """⟨u, v⟩ over all of a lane's parameters, summed in float64; `[L]`."""
    return torch.stack([(u * v).flatten(1).sum(1, dtype=torch.float64) for u, v in zip(one, other, strict=True)]).sum(0)


def norm(pieces: Pieces) -> Tensor:
    """‖u‖, `[L]`."""
    return inner(pieces, pieces).sqrt()


def cosine(one: Pieces, other: Pieces) -> Tensor:
    """⟨u, v⟩ / (‖u‖ ‖v‖), `[L]`; NaN where either is zero: a direction that is not there has no angle."""
    return inner(one, other) / (norm(one) * norm(other))


def signal_to_noise(gradients: Sequence[Pieces]) -> Tensor:
    """Signal-to-noise ratio of a batch gradient, from K >= 2 of independent batches at the same weights; `[L]`::

        ḡ = mean g_k        tr S = Σ_k ‖g_k - ḡ‖² / (K - 1)        SNR = (‖ḡ‖² - tr S / K) / tr S

    Numerator and denominator are unbiased for ‖E g‖² and tr Cov(g); their ratio is so up to order 1/P in P independent parameters. Below 0:
    no signal is seen above the noise. 1/SNR is the simple noise scale of McCandlish et al. 2018 (section 2.2, eq. 2.9; the correction is
    their appendix A.1) in units of the batch. NaN where the batches' gradients are all equal. ValueError for fewer than two.
    """
    count = len(gradients)
    if count < 2:
        raise ValueError(f"signal_to_noise needs at least 2 batches, not {count}")
    mean = [torch.stack(pieces).mean(0) for pieces in zip(*gradients, strict=True)]
    apart = [[piece - middle for piece, middle in zip(pieces, mean, strict=True)] for pieces in gradients]
    noise = torch.stack([inner(pieces, pieces) for pieces in apart]).sum(0) / (count - 1)
    return (inner(mean, mean) - noise / count) / noise
