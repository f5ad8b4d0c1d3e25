"""The game min_θ max_ψ θψ (Wasserstein on Dirac-GAN): which methods grow, circle or converge, at their closed-form rates."""

import games
import numpy as np
import pytest
import torch

from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.optimizers import optimizer
from stages.game.spec import Rules

POINT = torch.zeros(5, 1, dtype=torch.float64)
J = np.array([[0.0, -1.0], [1.0, 0.0]])  # ∇L_G = -ψ, ∇L_D = θ: the pair of gradients is J (θ, ψ)


def path(h: float, steps: int, optimizer: str = "sgd", order: str = "simultaneous", **rules: object) -> np.ndarray:
    """(θ, ψ) after each turn from (1, 1)."""
    of = games.variant(
        "wasserstein",
        network="linear",
        generator_normalisation="none",
        optimizer=optimizer,
        order=order,
        generator_lr=h,
        discriminator_lr=h,
        **rules,
    )
    one, points = Game(of, (1,), 1, 2, steps, [0], torch.float64), [(1.0, 1.0)]
    for _ in range(steps):
        play_turn(one, games.batches(POINT), len(POINT))
        points.append((float(one.generator.vector), float(one.discriminator.vector)))
    return np.array(points)


def norms(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=1)


@pytest.mark.parametrize("h", [0.05, 0.3])
def test_simultaneous_sgd_grows(h):
    r = norms(path(h, 200))
    np.testing.assert_allclose(r[1:] / r[:-1], np.sqrt(1 + h**2), rtol=1e-12)


@pytest.mark.parametrize("h", [0.05, 0.3])
def test_alternating_sgd_stays_on_its_ellipse(h):
    """D moves first: θ² + ψ² - h θψ never changes."""
    theta, psi = path(h, 500, order="alternating").T
    np.testing.assert_allclose(theta**2 + psi**2 - h * theta * psi, 2 - h, rtol=1e-12)


@pytest.mark.parametrize("h", [0.05, 0.3, 0.9])
def test_extra_gradient_contracts_at_its_rate(h):
    r = norms(path(h, 200, method="extra_gradient"))
    np.testing.assert_allclose(r[1:] / r[:-1], np.sqrt(1 - h**2 + h**4), rtol=1e-10)
    assert r[-1] < r[0]


@pytest.mark.parametrize("h", [0.05, 0.3, 0.45])
def test_optimistic_sgd_follows_its_recursion_and_rate(h):
    """z <- z - 2hJz + hJz', the first step from z' = 0; the ratio of norms settles at √((1 + √(1 - 4h²)) / 2)."""
    found, before, now = path(h, 300, "optimistic_sgd"), np.zeros(2), np.ones(2)
    for point in found[1:]:
        now, before = now - 2 * h * J @ now + h * J @ before, now
        np.testing.assert_allclose(point, now, rtol=1e-9, atol=1e-13)
    r = norms(found)
    np.testing.assert_allclose(r[-1] / r[-2], np.sqrt((1 + np.sqrt(1 - 4 * h**2)) / 2), rtol=1e-9)
    assert r[-1] < r[0]


@pytest.mark.parametrize(("h", "converges"), [(0.57, True), (0.585, False)])
def test_optimistic_sgd_converges_below_one_over_root_three(h, converges):
    r = norms(path(h, 600, "optimistic_sgd"))
    assert (r[-1] < 1e-2 * r[100]) if converges else (r[-1] > 1e2 * r[100])


def adam_step(state: dict[str, np.ndarray], g: np.ndarray, h: float, beta1: float, beta2: float, epsilon: float) -> np.ndarray:
    """Kingma & Ba's d, written out; the state is moved."""
    state["t"] = state["t"] + 1
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    return h * (state["m"] / (1 - beta1 ** state["t"])) / (np.sqrt(state["v"] / (1 - beta2 ** state["t"])) + epsilon)


def rmsprop_step(state: dict[str, np.ndarray], g: np.ndarray, h: float, beta1: float, beta2: float, epsilon: float) -> np.ndarray:
    state["v"] = beta2 * state["v"] + (1 - beta2) * g**2
    return h * g / (np.sqrt(state["v"]) + epsilon)


STEPS = {"adam": adam_step, "rmsprop": rmsprop_step, "sgd": lambda state, g, h, *others: h * g}


@pytest.mark.parametrize("name", sorted(STEPS))
def test_optimistic_forms_equal_a_hand_written_reference(name):
    rules = Rules(optimizer=f"optimistic_{name}", beta1=0.5, beta2=0.9, epsilon=1e-6)
    gradients = torch.randn(60, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mine, theirs = torch.ones(5, dtype=torch.float64), np.ones(5)
    form, state, before = optimizer(mine, 0.1, rules), {"t": 0, "m": np.zeros(5), "v": np.zeros(5)}, np.zeros(5)
    for gradient in gradients:
        mine -= form.direction(gradient)
        step = STEPS[name](state, gradient.numpy(), 0.1, 0.5, 0.9, 1e-6)
        theirs, before = theirs - 2 * step + before, step
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_extra_forms_equal_a_hand_written_reference(name):
    """Gidel et al. 2019, algorithm 4: the averages take in both gradients, the second step starts where the first one did."""
    h, now, state = 0.05, np.ones(2), {"t": 0, "m": np.zeros(2), "v": np.zeros(2)}
    for point in path(h, 100, name, method="extra_gradient", beta2=0.9)[1:]:
        ahead = now - STEPS[name](state, J @ now, h, 0.5, 0.9, 1e-8)
        now = now - STEPS[name](state, J @ ahead, h, 0.5, 0.9, 1e-8)
        np.testing.assert_allclose(point, now, rtol=1e-12, atol=1e-13)
