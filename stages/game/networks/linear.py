"""The players of Dirac-GAN: a point and a slope."""

import torch
from torch import Tensor, nn

from stages.game.lanes import Linear
from stages.game.networks._network import Network
from stages.game.spec import Player


def linear() -> Network:
    """G is the point θ whatever the noise, D(x) = ψᵀx without bias (Mescheder et al. 2018, section 2); for vectors only."""
    return Network(Point, Slope)


class Point(nn.Module):
    """G(z) = θ for every z: noise `[L, B, latent]` to `[L, B, D]`; θ starts at 1 in every coordinate."""

    def __init__(self, lanes: int, shape: tuple[int, ...], latent: int, player: Player) -> None:
        super().__init__()
        _vectors_only(shape)
        self.point = nn.Parameter(torch.ones(lanes, 1, shape[0]))

    def forward(self, z: Tensor) -> Tensor:
        return self.point.repeat(1, z.shape[1], 1)  # samples of their own: a view would move with θ


class Slope(nn.Module):
    """D(x) = ψᵀx: data `[L, B, D]` to logits `[L, B]`; ψ starts at 1 in every coordinate."""

    def __init__(self, lanes: int, shape: tuple[int, ...], player: Player) -> None:
        super().__init__()
        _vectors_only(shape)
        slope = Linear(lanes, shape[0], 1, bias=False)
        slope.starts_at_one = True
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return self.slope(x).squeeze(2)


def _vectors_only(shape: tuple[int, ...]) -> None:
    if len(shape) != 1:
        raise ValueError(f"network linear plays on vectors; the data's shape is {list(shape)}: choose mlp, dcgan or resnet")
