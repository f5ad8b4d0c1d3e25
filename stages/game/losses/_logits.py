"""What losses in logits share: a softplus that is exact in every derivative, and cross entropy on top of it."""

import torch
from torch import Tensor

from stages.game.vocabulary import Logits


def below(x: Tensor) -> Tensor:
    """-|x|, with derivative +1 at zero (torch's abs has 0 there): an argument of exp that never overflows."""
    return torch.where(x > 0, -x, x)


def softplus(x: Logits) -> Logits:
    """log(1 + e^x) = -log σ(-x), elementwise, computed as max(0, x) + log(1 + e^-|x|).

    Value, slope σ(x) and curvature σ(x)σ(-x) keep full relative precision wherever they are representable. The ready-made
    forms do not: `torch.nn.functional.softplus` is a straight line above 20 (slope exactly 1, curvature 0), and the
    curvature of `logsigmoid` is computed from 1 - σ, which is 0 in float32 from 17 on.
    """
    return torch.relu(x) + torch.log1p(torch.exp(below(x)))


def cross_entropy(logit: Logits, target: float) -> Logits:
    """Binary cross entropy with a soft target t, per sample: t softplus(-x) + (1 - t) softplus(x); slope σ(x) - t."""
    return target * softplus(-logit) + (1 - target) * softplus(logit)


def logistic_discriminator(real: Logits, fake: Logits) -> Logits:
    """-log σ(a) - log(1 - σ(b)), per sample."""
    return softplus(-real) + softplus(fake)
