"""`python -m stages.theory` draws the phase portraits of docs/theory.md: Dirac-GAN as this project's own code plays it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.draw.portraits import Panel, portrait
from stages.game.consensus import discriminator_consensus, generator_consensus
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.spec import Part, Player, Rules, Variant
from stages.game.steps import discriminator_move, draw, generator_move

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"
H = 0.2
STEPS = 300
AXIS = np.linspace(-2.2, 2.2, 18)
POINT = torch.zeros(1, 1, dtype=torch.float64)
NONE: Mapping[str, Any] = {}
MOVES = {"gradient": (discriminator_move, generator_move), "consensus": (discriminator_consensus, generator_consensus)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A game of the portraits: its title, its parts, its rules; sgd of rate H and alternating steps where nothing else is said."""

    title: str
    loss: str
    penalty: tuple[str, Mapping[str, Any]] = ("none", NONE)
    constraint: tuple[str, Mapping[str, Any]] = ("none", NONE)
    rules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch: int = 1

    def variant(self) -> Variant:
        """The variant with linear players."""
        given = {"optimizer": "sgd", "generator_lr": H, "discriminator_lr": H, **self.rules}
        line = Player("linear")
        return Variant(self.title, Part(self.loss, {}), Part(*self.penalty), Part(*self.constraint), Rules(**given), line, line)


LOOK_AHEAD = {"order": "simultaneous", "method": "extra_gradient"}
FIGURES = {
    "dirac-losses": [
        Case("minimax", "minimax"),
        Case("non-saturating", "non_saturating"),
        Case("Wasserstein", "wasserstein"),
        Case("Wasserstein, clip at 1", "wasserstein", constraint=("clip", {"bound": 1.0})),
    ],
    "dirac-orders": [
        Case("non-saturating, simultaneous", "non_saturating", rules={"order": "simultaneous"}),
        Case("alternating", "non_saturating"),
        Case("alternating, 5 D steps", "non_saturating", rules={"critic_steps": 5}),
        Case("simultaneous, 5 D steps", "non_saturating", rules={"critic_steps": 5, "order": "simultaneous"}),
    ],
    "dirac-remedies": [
        Case("non-saturating + R1, weight 1", "non_saturating", ("r1", {"weight": 1.0})),
        Case("Wasserstein + gradient penalty", "wasserstein", ("gradient_penalty", {"weight": 0.3})),
        Case("instance noise, σ = 0.7", "non_saturating", rules={"instance_noise": 0.7, "instance_noise_share": 1e6}, batch=256),
        Case("consensus, weight 1", "non_saturating", rules={"method": "consensus"}),
    ],
    "dirac-methods": [
        Case("Wasserstein, simultaneous sgd", "wasserstein", rules={"order": "simultaneous"}),
        Case("alternating sgd", "wasserstein"),
        Case("extra-gradient", "wasserstein", rules=LOOK_AHEAD),
        Case("optimistic sgd", "wasserstein", rules={"order": "simultaneous", "optimizer": "optimistic_sgd"}),
    ],
}


def field(case: Case, theta: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """The direction (-∂L_G/∂θ, -∂L_D/∂ψ) that the players' gradients give at n points, a lane for each: `[n, 2]`."""
    game = Game(case.variant(), (1,), 1, case.batch, STEPS, range(len(theta)), torch.float64)
    game.generator.vector.copy_(torch.from_numpy(theta))
    game.discriminator.vector.copy_(torch.from_numpy(psi))
    against, forward = MOVES.get(game.variant.rules.method, MOVES["gradient"])
    gradients = [
        move(game, draw(game, lambda indices: POINT[indices], 1, role, 0)).gradient
        for move, role in ((forward, "generator"), (against, "discriminator"))
    ]
    return -torch.stack(gradients, 1).numpy()


def path(case: Case, steps: int = STEPS) -> np.ndarray:
    """(θ, ψ) from (1, 1) on, after every turn: `[steps + 1, 2]`."""
    game, points = Game(case.variant(), (1,), 1, case.batch, steps, [0], torch.float64), [(1.0, 1.0)]
    for _ in range(steps):
        play_turn(game, lambda indices: POINT[indices], 1)
        points.append((float(game.generator.vector), float(game.discriminator.vector)))
    return np.array(points)


def panel(case: Case) -> Panel:
    """The case's portrait."""
    theta, psi = np.meshgrid(AXIS, AXIS)
    return Panel(case.title, AXIS, field(case, theta.ravel(), psi.ravel()).reshape(*theta.shape, 2), path(case))


def main() -> None:
    """Every figure, written anew."""
    torch.set_num_threads(1)
    for name, cases in FIGURES.items():
        portrait([panel(case) for case in cases], FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
