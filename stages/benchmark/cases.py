"""What is played when a step is timed: the default players and rules, on generated data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stages.game.capture import Stepper, backend_of
from stages.game.cost import flops_per_step, zeros
from stages.game.game import Game
from stages.game.spec import Part, Player, Rules, Variant
from stages.game.steps import Batches

PENALTIES: dict[str, dict[str, Any]] = {
    "none": {},
    "r1": {"weight": 1.0},
    "gradient_penalty": {"weight": 10.0, "target": 1.0, "sides": "two"},
}
SHAPES = {"dcgan": (1, 28, 28), "resnet": (1, 8, 8), "mlp": (2,), "linear": (2,)}
LATENT, ITEMS, STEPS = 32, 4096, 1000


@dataclass(frozen=True)
class Case:
    """One game to time: network, data shape, penalty, lanes, batch, items of data, device."""

    network: str = "dcgan"
    shape: tuple[int, ...] = (1, 28, 28)
    penalty: str = "none"
    lanes: int = 4
    batch: int = 64
    items: int = ITEMS
    device: str = "cpu"
    turns: int = 1  # played in one timing

    @property
    def label(self) -> str:
        """`dcgan 1x28x28`."""
        return f"{self.network} {'x'.join(map(str, self.shape))}"


def variant(network: str, penalty: str) -> Variant:
    """Non-saturating with that penalty, players of width 16 as in the default params.yaml."""
    return Variant(
        name="bench",
        loss=Part("non_saturating", {}),
        penalty=Part(penalty, PENALTIES[penalty]),
        constraint=Part("none", {}),
        rules=Rules(generator_lr=2e-3, discriminator_lr=2e-3),
        generator=Player(network, 16, 2, "relu", "none" if network == "linear" else "batch"),
        discriminator=Player(network, 16, 2, "leaky_relu", "none"),
    )


def game(case: Case, dtype: torch.dtype = torch.float32) -> Game:
    """The game, before its first step; lane seeds from 0."""
    seeds = list(range(case.lanes))
    return Game(variant(case.network, case.penalty), case.shape, LATENT, case.batch, STEPS, seeds, dtype, case.device)


def items(case: Case) -> Tensor:
    """Generated data as `prepare` stores it: uint8 images, or float32 vectors; the same for equal cases."""
    generator = torch.Generator().manual_seed(0)
    if len(case.shape) == 3:
        return torch.randint(256, (case.items, *case.shape), generator=generator, dtype=torch.uint8).to(case.device)
    return torch.randn((case.items, *case.shape), generator=generator).to(case.device)


def batches(data: Tensor) -> Batches:
    """Indices `[L, B]` to data in the games' scale, as a worker gives them."""

    def take(indices: Tensor) -> Tensor:
        taken = data[indices.to(data.device)]
        return taken.float() / 127.5 - 1 if taken.dtype == torch.uint8 else taken

    return take


def stepper(played: Game, take: Batches, case: Case) -> Stepper:
    """What plays the game's turns, as in a worker: on a GPU they are recorded."""
    return Stepper(played, take, case.items, backend_of(case.device))


def turn(case: Case) -> Callable[[], None]:
    """A function that plays the case's turns, going on where it left, and waits for its device."""
    played = stepper(game(case), batches(items(case)), case)

    def once() -> None:
        for _ in range(case.turns):
            played.play()
        wait(case.device)

    return once


def wait(device: str) -> None:
    """Until the device has done what it was given; the CPU always has."""
    if device == "cuda":
        torch.cuda.synchronize()


def flops(case: Case) -> float:
    """Operations of one turn of all lanes: one lane's, counted, times the lanes."""
    one = replace(case, lanes=1, device="cpu")
    return flops_per_step(game(one), zeros(case.shape)) * case.lanes
