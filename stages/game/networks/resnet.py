"""Residual players: every block's input also goes round it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.game.lanes import NORMALISATIONS, Activation, Conv2d, Linear, base, channels, group, halvings, logit_layer, ungroup
from stages.game.networks._network import Network
from stages.game.networks.mlp import MlpDiscriminator, MlpGenerator
from stages.game.spec import Player


def resnet() -> Network:
    """Residual connections: x + f(x) with f = (normalise, activate, weigh) twice, pre-activation (He et al. 2016; Miyato et al. 2018).

    Images: nearest-neighbour doubling in G, 2 x 2 mean pooling in D, a 1 x 1 convolution round the block where channels change,
    `depth` blocks a resolution, the first of which changes it. Vectors: `depth` residual blocks of `width` units between two linear layers.
    A normalisation is never the first thing that D does to its input.
    """
    return Network(resnet_generator, resnet_discriminator)


def resnet_generator(lanes: int, shape: tuple[int, ...], latent: int, player: Player) -> nn.Module:
    """The image or the vector form, by the data's shape."""
    kind = ResnetGenerator if len(shape) == 3 else ResidualMlpGenerator
    return kind(lanes, shape, latent, player)


def resnet_discriminator(lanes: int, shape: tuple[int, ...], player: Player) -> nn.Module:
    """The image or the vector form, by the data's shape."""
    kind = ResnetDiscriminator if len(shape) == 3 else ResidualMlpDiscriminator
    return kind(lanes, shape, player)


class Block(nn.Module):
    """One residual block on grouped images; `resize` is `up` (before the first convolution), `down` (after the second) or `same`."""

    def __init__(self, lanes: int, inputs: int, outputs: int, resize: str, player: Player) -> None:
        super().__init__()
        bias = player.normalisation != "batch"
        self.resize = resize
        self.before = nn.Sequential(NORMALISATIONS[player.normalisation](lanes, inputs), Activation(player.activation))
        self.first = Conv2d(lanes, inputs, outputs, 3, 1, 1, bias=bias)
        self.between = nn.Sequential(NORMALISATIONS[player.normalisation](lanes, outputs), Activation(player.activation))
        self.second = Conv2d(lanes, outputs, outputs, 3, 1, 1)
        self.round = Conv2d(lanes, inputs, outputs, 1, 1, 0, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        main, way_round = self.before(x), x
        if self.resize == "up":
            main, way_round = functional.interpolate(main, scale_factor=2), functional.interpolate(way_round, scale_factor=2)
        total = self.second(self.between(self.first(main))) + self.round(way_round)
        return functional.avg_pool2d(total, 2) if self.resize == "down" else total


class ResnetGenerator(nn.Module):
    """Noise `[L, B, latent]` to images `[L, B, C, H, W]` in [-1, 1]."""

    def __init__(self, lanes: int, shape: tuple[int, ...], latent: int, player: Player) -> None:
        super().__init__()
        self.lanes, self.shape = lanes, shape
        times = halvings(*shape[1:])
        self.start = (channels(player.width, times), *base(times, *shape[1:]))
        self.project = Linear(lanes, latent, self.start[0] * self.start[1] * self.start[2])
        blocks: list[nn.Module] = []
        for level in range(times, 0, -1):
            into = channels(player.width, level - 1)
            blocks.append(Block(lanes, channels(player.width, level), into, "up", player))
            blocks += [Block(lanes, into, into, "same", player) for _ in range(player.depth - 1)]
        blocks += [NORMALISATIONS[player.normalisation](lanes, player.width), Activation(player.activation)]
        self.blocks = nn.Sequential(*blocks)
        self.out = Conv2d(lanes, player.width, shape[0], 3, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = group(self.project(z).unflatten(2, self.start))
        x = self.out(self.blocks(x))
        return torch.tanh(ungroup(x, self.lanes)[..., : self.shape[1], : self.shape[2]])


class ResnetDiscriminator(nn.Module):
    """Images `[L, B, C, H, W]` to logits `[L, B]`."""

    def __init__(self, lanes: int, shape: tuple[int, ...], player: Player) -> None:
        super().__init__()
        self.lanes = lanes
        times = halvings(*shape[1:])
        self.enter = Conv2d(lanes, shape[0], player.width, 3, 1, 1)
        blocks: list[nn.Module] = []
        for level in range(1, times + 1):
            into = channels(player.width, level)
            blocks.append(Block(lanes, channels(player.width, level - 1), into, "down", player))
            blocks += [Block(lanes, into, into, "same", player) for _ in range(player.depth - 1)]
        self.blocks = nn.Sequential(*blocks, Activation(player.activation))
        self.out = logit_layer(lanes, channels(player.width, times) * (shape[1] >> times) * (shape[2] >> times), player.minibatch_std)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.enter(group(x)))
        return self.out(ungroup(x, self.lanes).flatten(2)).squeeze(2)


class ResidualHidden(nn.Module):
    """`[L, B, inputs]` to `[L, B, width]`: a linear layer, then `depth` blocks x + weigh(activate(normalise(x)))."""

    def __init__(self, lanes: int, inputs: int, player: Player) -> None:
        super().__init__()
        self.enter = Linear(lanes, inputs, player.width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                NORMALISATIONS[player.normalisation](lanes, player.width),
                Activation(player.activation),
                Linear(lanes, player.width, player.width),
            )
            for _ in range(player.depth)
        )
        self.leave = Activation(player.activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return self.leave(x)


class ResidualMlpGenerator(MlpGenerator):
    """The vector form of G: residual hidden layers."""

    def __init__(self, lanes: int, shape: tuple[int, ...], latent: int, player: Player) -> None:
        super().__init__(lanes, shape, latent, player)
        self.hidden = ResidualHidden(lanes, latent, player)  # type: ignore[assignment]


class ResidualMlpDiscriminator(MlpDiscriminator):
    """The vector form of D: residual hidden layers."""

    def __init__(self, lanes: int, shape: tuple[int, ...], player: Player) -> None:
        super().__init__(lanes, shape, player)
        self.hidden = ResidualHidden(lanes, shape[0], player)  # type: ignore[assignment]
