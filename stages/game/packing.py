"""Several samples judged as one."""

import functools
from typing import Any

from torch import Tensor, nn


def packed(x: Tensor, pack: int) -> Tensor:
    """`pack` m: D judges m samples of a lane at once: `[L, B, C, ...]` to `[L, B/m, m C, ...]`, consecutive samples, one logit a pack.

    G is driven to make every m samples as varied as m real ones. What is left over of a batch that m does not divide is dropped (training
    batches are checked). Penalties on input gradients stay per sample, the gradient of a pack's logit by one of its samples: a pack's
    whole squared norm is m times their mean. Source: Lin et al. 2018 (PacGAN), section 3 (PacGAN-m; m = 2 to 4).
    """
    count = x.shape[1] // pack
    return x[:, : count * pack].unflatten(1, (count, pack)).flatten(2, 3)


def stacked_shape(shape: tuple[int, ...], pack: int) -> tuple[int, ...]:
    """The shape that D's network sees."""
    return (pack * shape[0], *shape[1:])


def attach(discriminator: nn.Module, pack: int) -> None:
    """Let D pack whatever it is given; its parameters' names stay."""
    if pack > 1:
        discriminator.register_forward_pre_hook(functools.partial(_pack_input, pack))


def _pack_input(pack: int, module: nn.Module, given: tuple[Any, ...]) -> tuple[Tensor]:
    return (packed(given[0], pack),)
