"""Fully connected players, for vectors and for images flattened to vectors."""

import math

import torch
from torch import Tensor, nn

from stages.game.lanes import NORMALISATIONS, Activation, Linear, logit_layer
from stages.game.networks._network import Network
from stages.game.spec import Player


def mlp() -> Network:
    """`depth` hidden layers of `width` units, then a linear layer; images leave G through tanh in [-1, 1], vectors as they are.

    With G normalisation `batch` the layer before a batch norm carries no bias.
    """
    return Network(MlpGenerator, MlpDiscriminator)


class MlpGenerator(nn.Module):
    """Noise `[L, B, latent]` to samples `[L, B, *shape]`."""

    def __init__(self, lanes: int, shape: tuple[int, ...], latent: int, player: Player) -> None:
        super().__init__()
        self.shape = shape
        self.hidden = hidden_layers(lanes, latent, player)
        self.out = Linear(lanes, player.width, math.prod(shape))

    def forward(self, z: Tensor) -> Tensor:
        x = self.out(self.hidden(z))
        return torch.tanh(x).unflatten(2, self.shape) if len(self.shape) == 3 else x


class MlpDiscriminator(nn.Module):
    """Data `[L, B, *shape]` to logits `[L, B]`."""

    def __init__(self, lanes: int, shape: tuple[int, ...], player: Player) -> None:
        super().__init__()
        self.hidden = hidden_layers(lanes, math.prod(shape), player)
        self.out = logit_layer(lanes, player.width, player.minibatch_std)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.hidden(x.flatten(2))).squeeze(2)


def hidden_layers(lanes: int, inputs: int, player: Player) -> nn.Sequential:
    """`depth` times linear, normalisation, activation."""
    layers: list[nn.Module] = []
    for _ in range(player.depth):
        layers.append(Linear(lanes, inputs, player.width, bias=player.normalisation != "batch"))
        layers.append(NORMALISATIONS[player.normalisation](lanes, player.width))
        layers.append(Activation(player.activation))
        inputs = player.width
    return nn.Sequential(*layers)
