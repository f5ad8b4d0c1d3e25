"""Players from their specification: built, given each lane's own initial weights, laid out flat."""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.game import packing
from stages.game.combinations import combination_mistakes
from stages.game.lanes import Weighted, has_batch_statistics
from stages.game.spec import Part, Player, Rules, Variant, network_for
from stages.game.streams import stream
from stages.game.vocabulary import Constraint, GanLoss, Penalty

FOLDERS = {"loss": "losses", "penalty": "penalties", "constraint": "constraints", "network": "networks"}


def catalogue_part(kind: str, part: Part) -> Any:
    """The part built by its factory: the function named like its file. ValueError when its arguments are refused."""
    module = importlib.import_module(f"stages.game.{FOLDERS[kind]}.{part.name}")
    return getattr(module, part.name)(**part.arguments)


@dataclass(frozen=True)
class Objective:
    """The mathematics of a variant."""

    loss: GanLoss
    penalty: Penalty
    constraint: Constraint
    rules: Rules


def objective(variant: Variant) -> Objective:
    """Loss, penalty and constraint built; ValueError where the combination has no meaning."""
    built = Objective(
        catalogue_part("loss", variant.loss),
        catalogue_part("penalty", variant.penalty),
        catalogue_part("constraint", variant.constraint),
        variant.rules,
    )
    for mistake in combination_mistakes(variant, built.loss, built.penalty):
        raise ValueError(mistake)
    return built


def generator(player: Player, shape: tuple[int, ...], latent: int, seeds: Sequence[int], dtype: torch.dtype = torch.float32) -> nn.Module:
    """G of all lanes with each lane's initial weights."""
    network = catalogue_part("network", Part(network_for(player, shape), {}))
    return initialise(network.generator(len(seeds), shape, latent, player).to(dtype), "generator", seeds)


def discriminator(
    player: Player, shape: tuple[int, ...], seeds: Sequence[int], constraint: Constraint, dtype: torch.dtype = torch.float32, pack: int = 1
) -> nn.Module:
    """D of all lanes with each lane's initial weights and its constraint attached; one logit for each `pack` samples."""
    network = catalogue_part("network", Part(network_for(player, shape), {}))
    seen = packing.stacked_shape(shape, pack)
    built = initialise(network.discriminator(len(seeds), seen, player).to(dtype), "discriminator", seeds)
    constraint.attach(built)
    packing.attach(built, pack)
    return built


@torch.no_grad()
def initialise(module: nn.Module, role: str, seeds: Sequence[int]) -> nn.Module:
    """Normal initial weights of variance 2 / fan_in (1 / fan_in in the layer `out`), zero biases (He et al. 2015).

    A lane's weights depend on (seed, role, layer name, shape) alone, so that two variants with a layer in common start it alike.
    """
    for name, layer in module.named_modules():
        if not isinstance(layer, Weighted):
            continue
        if layer.starts_at_one:
            layer.weight.fill_(1.0)
            continue
        shape = tuple(layer.weight.shape[1:])
        std = math.sqrt((1.0 if name == "out" else 2.0) / layer.fan_in)
        for lane, seed in enumerate(seeds):
            numbers = torch.randn(shape, generator=stream(seed, f"weights/{role}/{name}/{shape}"))
            layer.weight[lane] = numbers.to(layer.weight.dtype) * std
    return module


class Flat:
    """A player's parameters as views of one vector, so that optimiser, average and clamp are a few passes over it.

    `vector` holds parameter after parameter, each `[L, ...]` contiguous; writing to it moves the network.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names = [name for name, _ in module.named_parameters()]
        self.parameters = [parameter for _, parameter in module.named_parameters()]
        self.lanes = self.parameters[0].shape[0]
        self.mixes_samples = has_batch_statistics(module)
        self.vector = torch.cat([parameter.detach().reshape(-1) for parameter in self.parameters])
        sizes = torch.tensor([parameter.numel() // self.lanes for parameter in self.parameters for _ in range(self.lanes)])
        self.lasts = (sizes.cumsum(0) - 1).to(self.vector.device)  # [P L], where each lane's part of a parameter ends
        offset = 0
        for parameter in self.parameters:
            parameter.data = self.vector[offset : offset + parameter.numel()].view(parameter.shape)
            offset += parameter.numel()

    def gather(self, gradients: Sequence[Tensor]) -> Tensor:
        """Gradients laid out like `vector`."""
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    def split(self, vector: Tensor) -> list[Tensor]:
        """A vector laid out like `vector`, as views shaped like the parameters."""
        pieces = vector.split([parameter.numel() for parameter in self.parameters])
        return [piece.view(parameter.shape) for piece, parameter in zip(pieces, self.parameters, strict=True)]

    def lane_mask(self, lanes: Tensor) -> Tensor:
        """A boolean per lane `[L]` spread over `vector`."""
        return self.spread(lanes)

    def spread(self, lanes: Tensor) -> Tensor:
        """A number per lane `[L]` spread over `vector`."""
        return torch.cat([lanes.repeat_interleave(parameter.numel() // self.lanes) for parameter in self.parameters])

    def lane_norms(self, vector: Tensor) -> Tensor:
        """L2 norm of each parameter's piece of `vector` in each lane, `[P, L]`."""
        return torch.stack([piece.flatten(1).norm(dim=1) for piece in self.split(vector)])
