"""Players rebuilt from a run's description and a snapshot's tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.game import build
from stages.game.spec import variant


@dataclass(frozen=True)
class Players:
    """The networks of every lane at one snapshot, in evaluation mode, without gradients unless asked."""

    generator: nn.Module
    ema: nn.Module
    discriminator: nn.Module


def players(run: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Players:
    """Networks of `results/runs/v.json` with the weights of one snapshot; all lanes in the order of `run["seeds"]`."""
    config = variant(run["config"])
    shape, latent, seeds = tuple(run["data"]["shape"]), run["config"]["latent"], run["seeds"]
    constraint = build.catalogue_part("constraint", config.constraint)
    side, other = (build.generator(config.generator, shape, latent, seeds) for _ in range(2))
    against = build.discriminator(config.discriminator, shape, seeds, constraint, pack=config.rules.pack)
    for role, module in (("generator", side), ("ema", other), ("discriminator", against)):
        own = {name.removeprefix(f"{role}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{role}/")}
        module.load_state_dict(own)
        module.eval()
    return Players(side, other, against)


@torch.no_grad()
def sample(network: nn.Module, noise: Tensor, chunk: int = 256) -> Tensor:
    """Samples `[L, n, ...]` of every lane from noise `[n, latent]` (the same for all) or `[L, n, latent]`, `chunk` at a time."""
    lanes = next(network.parameters()).shape[0]
    noise = noise.expand(lanes, *noise.shape) if noise.dim() == 2 else noise
    return torch.cat([network(piece) for piece in noise.split(chunk, 1)], 1)
