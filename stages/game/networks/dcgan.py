"""Strided convolutions (DCGAN)."""

import torch
from torch import Tensor, nn

from stages.game.lanes import (
    NORMALISATIONS,
    Activation,
    Conv2d,
    ConvTranspose2d,
    Linear,
    base,
    channels,
    group,
    halvings,
    logit_layer,
    ungroup,
)
from stages.game.networks._network import Network
from stages.game.spec import Player


def dcgan() -> Network:
    """Transposed convolutions up, strided convolutions down, kernels 4, stride 2 (Radford et al. 2016).

    The side is halved to a base of 4..7 pixels, at least twice; after the first halving there are `width` channels, twice as many after
    each further one, up to 8 x width. As in the paper no normalisation stands at D's first layer or G's last; unlike it, D's last and G's
    first layer are linear layers on the base, and each player's normalisation is a parameter.
    """
    return Network(DcganGenerator, DcganDiscriminator)


class DcganGenerator(nn.Module):
    """Noise `[L, B, latent]` to images `[L, B, C, H, W]` in [-1, 1]."""

    def __init__(self, lanes: int, shape: tuple[int, ...], latent: int, player: Player) -> None:
        super().__init__()
        self.lanes, self.shape = lanes, shape
        times, norm = halvings(*shape[1:]), NORMALISATIONS[player.normalisation]
        bias = player.normalisation != "batch"
        self.start = (channels(player.width, times), *base(times, *shape[1:]))
        self.project = Linear(lanes, latent, self.start[0] * self.start[1] * self.start[2])
        layers: list[nn.Module] = [norm(lanes, self.start[0]), Activation(player.activation)]
        for level in range(times, 1, -1):
            into = channels(player.width, level - 1)
            layers.append(ConvTranspose2d(lanes, channels(player.width, level), into, 4, 2, 1, bias=bias))
            layers += [norm(lanes, into), Activation(player.activation)]
        self.up = nn.Sequential(*layers)
        self.out = ConvTranspose2d(lanes, player.width, shape[0], 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = group(self.project(z).unflatten(2, self.start))  # [B, L*C, h, w]
        x = self.out(self.up(x))
        return torch.tanh(ungroup(x, self.lanes)[..., : self.shape[1], : self.shape[2]])


class DcganDiscriminator(nn.Module):
    """Images `[L, B, C, H, W]` to logits `[L, B]`."""

    def __init__(self, lanes: int, shape: tuple[int, ...], player: Player) -> None:
        super().__init__()
        self.lanes = lanes
        times, norm = halvings(*shape[1:]), NORMALISATIONS[player.normalisation]
        layers: list[nn.Module] = [Conv2d(lanes, shape[0], player.width, 4, 2, 1), Activation(player.activation)]
        for level in range(2, times + 1):
            into = channels(player.width, level)
            layers.append(Conv2d(lanes, channels(player.width, level - 1), into, 4, 2, 1, bias=player.normalisation != "batch"))
            layers += [norm(lanes, into), Activation(player.activation)]
        self.down = nn.Sequential(*layers)
        self.out = logit_layer(lanes, channels(player.width, times) * (shape[1] >> times) * (shape[2] >> times), player.minibatch_std)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(group(x))
        return self.out(ungroup(x, self.lanes).flatten(2)).squeeze(2)
