"""Dirac-GAN through the project's own code: every update follows the equations of Mescheder et al. 2018 to the last digits."""

import math

import dirac_fields
import games
import numpy as np
import pytest
import torch

from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.losses.non_saturating import non_saturating
from stages.game.spec import Variant
from stages.game.streams import lane_draws

H = 0.2
RHYTHMS = [("simultaneous", 1), ("alternating", 1), ("simultaneous", 5), ("alternating", 5)]
KINDS = list(dirac_fields.KINDS)
POINT = torch.zeros(7, 1, dtype=torch.float64)


def variant(name: str, order: str = "alternating", critic_steps: int = 1, **rules: object) -> Variant:
    """The variant that plays a kind of `dirac_fields.KINDS` with sgd of rate H."""
    kind = dirac_fields.KINDS[name]
    given = {"order": order, "critic_steps": critic_steps, "optimizer": "sgd", "generator_lr": H, "discriminator_lr": H}
    if kind.consensus:
        given |= {"method": "consensus", "consensus_weight": kind.consensus}
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


FOLLOWED = [(*rhythm, name) for rhythm in RHYTHMS for name in KINDS if (rhythm[1], name) != (5, "consensus_minimax")]  # slow, and said once


@pytest.mark.parametrize(("order", "critic_steps", "name"), FOLLOWED)
def test_500_steps_follow_the_exact_trajectory(name, order, critic_steps):
    path = play(game(variant(name, order, critic_steps)), 500)
    expected = dirac_fields.trajectory(name, H, 500, order=order, critic_steps=critic_steps)
    if name == "gradient_penalty":
        assert np.abs(expected[:, 1]).min() > 1e-6, "the field jumps at ψ = 0: this path comes too near"
    assert_follows(path, expected)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "gradient_penalty"])
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


def test_consensus_stays_in_a_saturated_corner():
    """Minimax from (1, 1) with 5 D steps runs to where σ(θψ) vanishes, and ‖v‖ with it: consensus is content there."""
    path = play(game(variant("consensus_minimax", critic_steps=5)), 100)
    assert np.linalg.norm(path[-1]) > 1


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("order", dirac_fields.ORDERS)
def test_instance_noise_replays_the_pipelines_own_draws(order, share):
    """Logits ψ ε and ψ (θ + ε'): the fields are means over the draws, taken from the named streams and stepped in numpy."""
    std, steps = 0.8, 500
    of = variant("non_saturating", order, instance_noise=std, instance_noise_share=share)
    path = play(game(of, steps=steps), steps)
    expected = [np.array([1.0, 1.0])]
    like = torch.zeros((), dtype=torch.float64)
    for t in range(steps):
        now = std * max(0.0, 1 - t / (share * steps))
        against = lane_draws([0], "discriminator/instance_noise", t, 0, like)
        on_real, on_fake = (now * against.normal(2, 1).numpy().ravel() for _ in range(2))
        in_g = now * lane_draws([0], "generator/instance_noise", t, 0, like).normal(2, 1).numpy().ravel()
        theta, psi = expected[-1]
        on_d = np.mean([-e * dirac_fields.sigma(-psi * e) for e in on_real])
        on_d += np.mean([(theta + e) * dirac_fields.sigma(psi * (theta + e)) for e in on_fake])
        moved = psi - H * on_d
        answered = psi if order == "simultaneous" else moved
        theta += H * np.mean([answered * dirac_fields.sigma(-answered * (theta + e)) for e in in_g])
        expected.append(np.array([theta, moved]))
    assert_follows(path, np.array(expected))


@pytest.mark.parametrize("std", [0.5, math.sqrt(2), 2.0])
def test_instance_noise_has_the_eigenvalues_of_theory(std):
    """The project's loss under Gauss-Hermite nodes: -σ²/4 ± √(σ⁴/16 - ¼), critical at σ = √2 (Mescheder et al. 2018)."""
    loss = non_saturating()
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(40))
    weights = weights / weights.sum()

    def field(state: torch.Tensor) -> torch.Tensor:
        theta, psi = state
        real, fake = psi * std * nodes, psi * (theta + std * nodes)
        by_theta = torch.autograd.grad((weights * loss.generator(fake, fake)).sum(), theta, create_graph=True)[0]
        by_psi = torch.autograd.grad((weights * loss.discriminator(real, fake)).sum(), psi, create_graph=True)[0]
        return -torch.stack([by_theta, by_psi])

    state = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    found = np.linalg.eigvals(torch.autograd.functional.jacobian(field, state).numpy())
    root = np.sqrt(complex(std**4 / 16 - 0.25))
    np.testing.assert_allclose(np.sort_complex(found), np.sort_complex([-(std**2) / 4 - root, -(std**2) / 4 + root]), atol=1e-7)
