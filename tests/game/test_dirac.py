"""Dirac-GAN through the project's own code: every update follows the equations of Mescheder et al. 2018 to the last digits."""

import math

import dirac_fields
import games
import numpy as np
import pytest
import torch

from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.spec import Variant

H = 0.2
RHYTHMS = [("simultaneous", 1), ("alternating", 1), ("simultaneous", 5), ("alternating", 5)]
PLAIN = [name for name, kind in dirac_fields.KINDS.items() if not kind.consensus]
POINT = torch.zeros(7, 1, dtype=torch.float64)


def variant(name: str, order: str = "alternating", critic_steps: int = 1, **rules: object) -> Variant:
    """The variant that plays a kind of `dirac_fields.KINDS` with sgd of rate H."""
    kind = dirac_fields.KINDS[name]
    given = {
        "order": order,
        "critic_steps": critic_steps,
        "optimizer": "sgd",
        "generator_lr": H,
        "discriminator_lr": H,
        "ema_half_life": 0.0,
    }
    of = games.variant(kind.loss, network="linear", generator_normalisation="none", **{**given, **rules})
    penalty = games.part("penalty", kind.penalty, **({} if kind.penalty == "none" else {"weight": kind.weight}))
    constraint = games.part("constraint", "none") if math.isinf(kind.clip) else games.part("constraint", "clip", bound=kind.clip)
    return games.replaced(of, penalty=penalty, constraint=constraint)


def game(of: Variant, theta: float = 1.0, psi: float = 1.0, steps: int = 500) -> Game:
    """Both players on a line, at (θ, ψ)."""
    one = Game(of, (1,), 1, 2, steps, [0], torch.float64)
    one.generator.vector.fill_(theta)
    one.discriminator.vector.fill_(psi)
    return one


def turn(one: Game) -> tuple[float, float]:
    """(θ, ψ) after one turn on the point mass."""
    play_turn(one, games.batches(POINT), len(POINT))
    return float(one.generator.vector), float(one.discriminator.vector)


def play(one: Game, steps: int) -> np.ndarray:
    """(θ, ψ) at the start and after each of so many turns."""
    start = (float(one.generator.vector), float(one.discriminator.vector))
    return np.array([start, *(turn(one) for _ in range(steps))])


def operator(of: Variant, e: float = 1e-5) -> np.ndarray:
    """The Jacobian of one turn at θ = ψ = 0, by central differences of turns."""
    columns = [(np.array(turn(game(of, *(e * unit)))) - np.array(turn(game(of, *(-e * unit))))) / (2 * e) for unit in np.eye(2)]
    return np.column_stack(columns)


def assert_follows(path: np.ndarray, expected: np.ndarray) -> None:
    """Equal to 1e-9 relative to the state's norm, at every step."""
    error = np.linalg.norm(path - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() < 1e-9, f"step {error.argmax()}: {path[error.argmax()]} instead of {expected[error.argmax()]}"


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize(("order", "critic_steps"), RHYTHMS)
def test_500_steps_follow_the_exact_trajectory(name, order, critic_steps):
    path = play(game(variant(name, order, critic_steps)), 500)
    expected = dirac_fields.trajectory(name, H, 500, order=order, critic_steps=critic_steps)
    if name == "gradient_penalty":
        assert np.abs(expected[:, 1]).min() > 1e-6, "the field jumps at ψ = 0: this path comes too near"
    assert_follows(path, expected)


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "gradient_penalty"])
@pytest.mark.parametrize(("order", "critic_steps"), RHYTHMS)
def test_the_update_operator_has_the_eigenvalues_of_theory(name, order, critic_steps):
    found = np.linalg.eigvals(operator(variant(name, order, critic_steps)))
    expected = np.linalg.eigvals(dirac_fields.operator_at_equilibrium(name, H, order, critic_steps))
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(expected), atol=2e-8)


def test_every_lane_follows_the_same_path():
    of = variant("r1")
    one = Game(of, (1,), 1, 2, 50, [3, 4, 5], torch.float64)
    for _ in range(50):
        play_turn(one, games.batches(POINT), len(POINT))
    expected = dirac_fields.trajectory("r1", H, 50)[-1]
    torch.testing.assert_close(one.generator.vector, torch.full((3,), expected[0], dtype=torch.float64), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(one.discriminator.vector, torch.full((3,), expected[1], dtype=torch.float64), rtol=1e-10, atol=1e-14)
