"""What a network file gives: how to build its two players."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class Network(NamedTuple):
    """`generator(lanes, shape, latent, player)` and `discriminator(lanes, shape, player)`; initial weights are set by `game.build`."""

    generator: Callable[..., nn.Module]
    discriminator: Callable[..., nn.Module]
