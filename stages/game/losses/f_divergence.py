"""Losses that minimise an f-divergence through its variational bound."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stages.game.losses._logits import below, softplus
from stages.game.vocabulary import GanLoss, Logits

LOG_2 = 0.6931471805599453


class Witness(NamedTuple):
    """One divergence in the logit v: the output activation T(v), and the conjugate at it, f*(T(v))."""

    activation: Callable[[Tensor], Tensor]
    conjugate: Callable[[Tensor], Tensor]


def _half_tanh(v: Tensor) -> Tensor:
    """½ tanh(v) = ½ - u / (1 + u), u = e^(-2v), mirrored for v <= 0: keeps the slope where torch's tanh rounds it to 0."""
    u = torch.exp(2 * below(v))
    tail = u / (1 + u)
    return torch.where(v > 0, 0.5 - tail, tail - 0.5)


DIVERGENCES = {
    "kl": Witness(lambda v: v, lambda v: torch.exp(v - 1)),
    "reverse_kl": Witness(lambda v: -torch.exp(-v), lambda v: v - 1),
    "pearson_chi2": Witness(lambda v: v, lambda v: 0.25 * v.square() + v),
    "squared_hellinger": Witness(lambda v: -torch.expm1(-v), torch.expm1),
    "jensen_shannon": Witness(lambda v: LOG_2 - softplus(-v), lambda v: softplus(v) - LOG_2),
    "total_variation": Witness(_half_tanh, _half_tanh),
}
GENERATORS = ("trick", "conjugate")


def f_divergence(*, divergence: str, generator: str = "trick") -> GanLoss:
    """f-GAN: D tightens a lower bound of D_f(p || q), G lowers it (`conjugate`, theory) or takes the practical `trick`.

    With a = D(x), b = D(G(z)), output activation T and convex conjugate f*, per sample, averaged over the batch by the step::

        L_D = -T(a) + f*(T(b))
        L_G = -f*(T(b))           generator: conjugate
        L_G = -T(b)               generator: trick

    -mean L_D is a lower bound of D_f(p || q) = E_q f(p/q), tight where T = f'(p/q), that is at the logit D*::

        divergence         D_f(p || q)                              T(v)               f*(T(v))             D*
        kl                 E_p log p/q                              v                  e^(v - 1)            1 + log p/q
        reverse_kl         E_q log q/p                              -e^(-v)            v - 1                log p/q
        pearson_chi2       ∫ (p - q)² / q                           v                  v²/4 + v             2 (p/q - 1)
        squared_hellinger  ∫ (√p - √q)²                             1 - e^(-v)         e^v - 1              ½ log p/q
        jensen_shannon     E_p log 2p/(p+q) + E_q log 2q/(p+q)      log 2 - sp(-v)     sp(v) - log 2        log p/q
        total_variation    ½ ∫ |p - q|                              ½ tanh v           ½ tanh v             ±∞

    (sp is softplus; jensen_shannon is twice the usual JS.) Shapes: logits `[L, B]` to losses `[L, B]`.

    Range: finite, with its gradient, at |logit| <= 80 in float32 and <= 100 in float64; kl, reverse_kl and squared_hellinger
    overflow at 88.7 and 709. Their exponential gradients explode long before: that is theirs, and nothing here tames it.
    total_variation saturates by design: T' = ½ / cosh² v is 8e-18 at |v| = 20, so D's and G's gradients both vanish where D is sure.
    With kl a logit's sign is no decision (the border is 1). With the trick, G's stationary points are those of the theory only where
    D is optimal and f''(1) > 0. Minimax is jensen_shannon with `conjugate` (up to the constant log 2), non_saturating with `trick`.
    ValueError for an unknown divergence or generator form.

    Source: Nowozin, Cseke & Tomioka 2016: eq. 4-7, tables 1, 2 and 6 (divergence, activation, conjugate), section 3.2 (trick).

    Elsewhere:

    - Codes that take -e^v for reverse_kl or 1 - e^v for squared_hellinger use a falling activation: their logit is ours negated.
    - torchgan, StudioGAN, compare_gan, GAN_stability, StyleGAN: none.
    """
    if divergence not in DIVERGENCES:
        raise ValueError(f"divergence is {divergence!r}: allowed are {', '.join(DIVERGENCES)}")
    if generator not in GENERATORS:
        raise ValueError(f"generator is {generator!r}: allowed are {', '.join(GENERATORS)}")
    activation, conjugate = DIVERGENCES[divergence]
    lowered = conjugate if generator == "conjugate" else activation

    def discriminator_loss(real: Logits, fake: Logits) -> Logits:
        return conjugate(fake) - activation(real)

    def generator_loss(real: Logits, fake: Logits) -> Logits:
        return -lowered(fake)

    return GanLoss(discriminator_loss, generator_loss, logistic=divergence != "kl")
