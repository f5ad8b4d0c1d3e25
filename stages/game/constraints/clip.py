"""Weight clipping."""

import torch
from torch import nn

from stages.game.vocabulary import Constraint


def clip(*, bound: float = 0.01) -> Constraint:
    """Weight clipping: after each D update every parameter of D is clamped to [-bound, bound] (biases and norm scales included).

    Source: Arjovsky et al. 2017 (WGAN), algorithm 1, c = 0.01. StudioGAN clamps after the step as here; torchgan clamps before it, so
    that weights leave the box; compare_gan does not force the order. Errors: ValueError unless bound > 0.
    """
    if bound <= 0:
        raise ValueError(f"clip's bound is {bound}: a number above 0 is needed")

    def clamp(discriminator: nn.Module) -> None:
        with torch.no_grad():
            torch._foreach_clamp_min_(list(discriminator.parameters()), -bound)
            torch._foreach_clamp_max_(list(discriminator.parameters()), bound)

    return Constraint(clamp, _nothing, clamp)


def _nothing(discriminator: nn.Module) -> None:
    """Nothing is to be done before the step."""
