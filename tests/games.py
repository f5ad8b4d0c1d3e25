"""Small games for tests."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.spec import Part, Player, Rules, Variant
from stages.store import catalogue

SHAPES = {"mlp": (3,), "linear": (2,), "dcgan": (1, 8, 8), "resnet": (1, 8, 8)}
WEIGHTS: dict[str, dict[str, Any]] = {"weight": {"weight": 0.5}}
LOSSES, PENALTIES, CONSTRAINTS = (catalogue.names(kind) for kind in ("loss", "penalty", "constraint"))
EVERYTHING: list[dict[str, Any]] = (
    [{"loss": name} for name in LOSSES]
    + [{"penalty": name} for name in PENALTIES]
    + [{"constraint": name} for name in CONSTRAINTS]
    + [{"network": name, "generator_normalisation": "none"} for name in catalogue.names("network")]
    + [{"optimizer": name} for name in ("sgd", "adam", "rmsprop", "optimistic_sgd", "optimistic_adam", "optimistic_rmsprop")]
    + [{"critic_steps": 3}, {"generator_steps": 2}, {"order": "simultaneous"}, {"lazy_interval": 2, "penalty": "r1"}]
    + [{"method": "consensus", "penalty": penalty} for penalty in ("none", "lecam")]
    + [
        {"method": "extra_gradient", "order": "simultaneous", **other}
        for other in ({}, {"penalty": "lecam"}, {"constraint": "spectral_norm"})
    ]
    + [{"schedule": "linear"}, {"schedule": "cosine", "optimizer": "optimistic_adam"}, {"gradient_clip": 0.01}]
    + [{"instance_noise": 0.3, "instance_noise_share": share} for share in (0.4, 2.0)]
    + [{"balance": "adaptive", "balance_threshold": 0.51, "discriminator_lr": 0.1}, {"pack": 2}, {"minibatch_std": True}]
    + [{"network": "dcgan", "augment": name, "augment_target": 0.0} for name in ("diffaugment", "ada")]
    + [{"network": "dcgan", "augment": "ada", "augment_target": -0.5, "pack": 2, "instance_noise": 0.1, "penalty": "r1"}]
)


def part(kind: str, name: str, **given: Any) -> Part:
    """A part with its defaults, and a weight where it needs one."""
    known = catalogue.arguments(kind, name)
    filled = {key: (0.5 if default is ... else default) for key, (_, default) in known.items()}
    return Part(name, {**filled, **given})


def variant(
    loss: str = "non_saturating",
    penalty: str = "none",
    constraint: str = "none",
    network: str = "mlp",
    generator_normalisation: str = "batch",
    discriminator_normalisation: str = "none",
    minibatch_std: bool = False,
    **rules: Any,
) -> Variant:
    """A variant of width 4 with Adam at 1e-3."""
    return Variant(
        name="small",
        loss=part("loss", loss) if loss != "f_divergence" else part("loss", loss, divergence="jensen_shannon"),
        penalty=part("penalty", penalty),
        constraint=part("constraint", constraint),
        rules=Rules(**{"generator_lr": 1e-3, "discriminator_lr": 1e-3, **rules}),
        generator=Player(network, 4, 1, "relu", generator_normalisation),  # type: ignore[arg-type]
        discriminator=Player(network, 4, 1, "leaky_relu", discriminator_normalisation, minibatch_std),  # type: ignore[arg-type]
    )


def replaced(of: Variant, **changes: Any) -> Variant:
    """The variant with other parts."""
    return dataclasses.replace(of, **changes)


def game(of: Variant, seeds: list[int], steps: int = 100, dtype: torch.dtype = torch.float64, batch: int = 4) -> Game:
    """A game on data of the network's natural shape."""
    return Game(of, SHAPES[of.generator.network], 3, batch, steps, seeds, dtype)


def data(shape: tuple[int, ...], items: int = 50) -> Tensor:
    """Fixed data in [-1, 1]."""
    return torch.rand((items, *shape), generator=torch.Generator().manual_seed(7)) * 2 - 1


def batches(items: Tensor) -> Callable[[Tensor], Tensor]:
    """Indices to items."""
    return lambda indices: items[indices]


def play(one: Game, turns: int) -> Game:
    """So many turns on the fixed data."""
    items = data(one.shape)
    for _ in range(turns):
        play_turn(one, batches(items), len(items))
    return one
