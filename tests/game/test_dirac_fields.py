"""The reference trajectories of Dirac-GAN are themselves checked: against numerical derivatives, conserved quantities and known spectra."""

import math

import numpy as np
import pytest
from dirac_fields import (
    KINDS,
    Kind,
    consensus_gradient,
    continuous_eigenvalues,
    game_gradient,
    operator_at_equilibrium,
    step,
    trajectory,
)

H = 0.2
LINEAR = [name for name, kind in KINDS.items() if kind.penalty != "gradient_penalty"]


def losses(kind: Kind, theta: float, psi: float) -> tuple[float, float]:
    """(L_G, L_D + penalty) from their formulas, as functions of the logits 0 and θψ."""
    softplus = lambda v: float(np.logaddexp(0, v))  # noqa: E731
    t = theta * psi
    adversarial = {
        "minimax": (-softplus(t), softplus(0) + softplus(t)),
        "non_saturating": (softplus(-t), softplus(0) + softplus(t)),
        "wasserstein": (-t, t),
    }
    penalty = {"none": 0.0, "r1": psi**2 / 2, "r2": psi**2 / 2, "r1_r2": psi**2, "gradient_penalty": (abs(psi) - 1) ** 2}
    g, d = adversarial[kind.loss]
    return g, d + kind.weight * penalty[kind.penalty]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("point", [(1.0, 1.0), (-0.7, 0.4), (0.3, -2.0)])
def test_fields_are_the_derivatives_of_the_losses(name, point):
    kind, (theta, psi), e = KINDS[name], point, 1e-6
    by_theta = (losses(kind, theta + e, psi)[0] - losses(kind, theta - e, psi)[0]) / (2 * e)
    by_psi = (losses(kind, theta, psi + e)[1] - losses(kind, theta, psi - e)[1]) / (2 * e)
    np.testing.assert_allclose(game_gradient(kind, theta, psi), [by_theta, by_psi], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "wasserstein"])
def test_consensus_is_the_gradient_of_half_the_squared_field(name):
    kind, (theta, psi), e = KINDS[name], (0.6, -1.1), 1e-6
    energy = lambda a, b: float(np.sum(game_gradient(kind, a, b) ** 2)) / 2  # noqa: E731
    numeric = [
        (energy(theta + e, psi) - energy(theta - e, psi)) / (2 * e),
        (energy(theta, psi + e) - energy(theta, psi - e)) / (2 * e),
    ]
    np.testing.assert_allclose(consensus_gradient(kind, theta, psi), numeric, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize(("order", "critic_steps"), [("simultaneous", 1), ("alternating", 1), ("alternating", 5), ("simultaneous", 5)])
def test_operator_at_equilibrium_is_the_steps_jacobian(name, order, critic_steps):
    e = 1e-6
    columns = [
        (
            np.array(step(KINDS[name], H, *(e * unit), order, critic_steps))
            - np.array(step(KINDS[name], H, *(-e * unit), order, critic_steps))
        )
        / (2 * e)
        for unit in np.eye(2)
    ]
    np.testing.assert_allclose(np.column_stack(columns), operator_at_equilibrium(name, H, order, critic_steps), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("name", "expected"), [("minimax", 0.5j), ("non_saturating", 0.5j), ("wasserstein", 1j)])
def test_unregularised_flows_only_rotate(name, expected):
    """Mescheder et al. 2018, lemma 2.3: ±f'(0) i."""
    np.testing.assert_allclose(sorted(continuous_eigenvalues(name), key=lambda v: v.imag), [-expected, expected], atol=1e-15)


@pytest.mark.parametrize("gamma", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("penalty", ["r1", "r2"])
def test_r1_eigenvalues(penalty, gamma):
    """-γ/2 ± √(γ²/4 - f'(0)²), critical at γ = 2 f'(0) = 1; R1 + R2 doubles γ."""
    root = np.sqrt(complex(gamma**2 / 4 - 0.25))
    expected = np.sort_complex([-gamma / 2 - root, -gamma / 2 + root])
    # at critical damping the root is double, and computed eigenvalues are good to the square root of rounding
    np.testing.assert_allclose(np.sort_complex(continuous_eigenvalues(Kind("non_saturating", penalty, gamma))), expected, atol=1e-7)
    np.testing.assert_allclose(np.sort_complex(continuous_eigenvalues(Kind("non_saturating", "r1_r2", gamma / 2))), expected, atol=1e-7)


@pytest.mark.parametrize("name", ["consensus", "consensus_minimax"])
def test_consensus_eigenvalues(name):
    """-c f'(0)² ± i f'(0): consensus damps without slowing the rotation."""
    np.testing.assert_allclose(continuous_eigenvalues(name).real, -0.25, atol=1e-15)
    np.testing.assert_allclose(np.sort(continuous_eigenvalues(name).imag), [-0.5, 0.5], atol=1e-15)


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "wasserstein"])
def test_simultaneous_steps_always_grow_and_alternating_ones_keep_the_circle(name):
    """|λ|² = 1 + h² f'(0)² when simultaneous; exactly 1 when alternating, as long as h f'(0) √n_d <= 2."""
    f = 1.0 if name == "wasserstein" else 0.5
    for h in (0.01, 0.2, 1.0):
        np.testing.assert_allclose(np.abs(np.linalg.eigvals(operator_at_equilibrium(name, h))) ** 2, 1 + (h * f) ** 2, rtol=1e-14)
        for critic_steps in (1, 3):
            spectrum = np.abs(np.linalg.eigvals(operator_at_equilibrium(name, h, "alternating", critic_steps)))
            np.testing.assert_allclose(spectrum, 1.0, rtol=1e-14)
    beyond = np.abs(np.linalg.eigvals(operator_at_equilibrium(name, 2.1 / f, "alternating")))
    assert beyond.max() > 1


def test_wasserstein_simultaneous_norm_grows_by_its_exact_factor():
    path = trajectory("wasserstein", H, 500, order="simultaneous")
    np.testing.assert_allclose(np.sum(path**2, axis=1), 2 * (1 + H**2) ** np.arange(501), rtol=1e-11)


def test_wasserstein_alternating_conserves_its_quadratic_form():
    """θ² + ψ² - h θψ, D before G: the invariant of the two shears."""
    theta, psi = trajectory("wasserstein", H, 500).T
    invariant = theta**2 + psi**2 - H * theta * psi
    np.testing.assert_allclose(invariant, invariant[0], rtol=1e-11)


def test_clip_holds_psi_in_its_box_from_the_first_step():
    path = trajectory("wasserstein_clip", H, 500, psi0=3.0, order="simultaneous")
    assert (np.abs(path[1:, 1]) <= 1.0).all()
    assert (np.abs(path[1:, 1]) == 1.0).any()
    assert np.ptp(path[-200:, 0]) > 0.5  # it goes on cycling: clipping bounds the game, it does not settle it


@pytest.mark.parametrize("name", ["r1", "r2", "r1_r2", "consensus", "consensus_minimax"])
@pytest.mark.parametrize(("order", "critic_steps"), [("simultaneous", 1), ("alternating", 1), ("alternating", 5)])
def test_damped_games_contract_at_the_rate_of_their_operator(name, order, critic_steps):
    """The log of the norm falls by log |λ|max a step near the equilibrium (the theory is local, so the path starts near)."""
    path = trajectory(name, H, 400, 0.3, 0.3, order=order, critic_steps=critic_steps)
    norms = np.log(np.hypot(*path.T))
    rate = math.log(np.abs(np.linalg.eigvals(operator_at_equilibrium(name, H, order, critic_steps))).max())
    assert (norms[380] - norms[180]) / 200 == pytest.approx(rate, abs=0.02)
    assert norms[-1] < -5


@pytest.mark.parametrize("name", ["minimax", "non_saturating", "wasserstein", "gradient_penalty"])
def test_undamped_games_do_not_arrive(name):
    path = trajectory(name, H, 500, order="simultaneous")
    assert np.hypot(*path[-100:].T).min() > 0.2


def test_simultaneous_generator_answers_the_discriminator_it_met():
    """By hand, h = ½ from (1, 1), Wasserstein: ψ: 1 - ½ = ½; θ: 1 + ½·1 (simultaneous) or 1 + ½·½ (alternating)."""
    assert step(KINDS["wasserstein"], 0.5, 1.0, 1.0, "simultaneous", 1) == (1.5, 0.5)
    assert step(KINDS["wasserstein"], 0.5, 1.0, 1.0, "alternating", 1) == (1.25, 0.5)
    assert step(KINDS["wasserstein"], 0.5, 1.0, 1.0, "alternating", 2) == (1.0, 0.0)
    assert step(KINDS["wasserstein"], 0.5, 1.0, 1.0, "simultaneous", 2) == (1.25, 0.0)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="order is 'both': allowed are simultaneous, alternating"):
        trajectory("minimax", H, 1, order="both")


def test_non_saturating_simultaneous_settles_on_a_circle_of_radius_root_2h():
    """The flow loses -t tanh(t/2) ≈ -r⁴/16 of ½r² a unit of time, Euler's step gains h f'(0)²/2 r² = h r²/8: they balance at r² = 2h."""
    h = 0.02
    theta, psi = trajectory("non_saturating", h, 60000, 0.3, 0.0, order="simultaneous").T
    late = (theta**2 + psi**2)[-5000:]
    assert late.mean() == pytest.approx(2 * h, rel=0.03)


def test_minimax_with_consensus_can_leave_for_where_both_gradients_vanish():
    """Consensus minimises ‖v‖², which saturation does too: from (1, 1) with five D steps a turn, θψ runs off to -∞, where σ(θψ) = 0."""
    path = trajectory("consensus_minimax", H, 500, order="alternating", critic_steps=5)
    theta, psi = path[-1]
    assert theta * psi < -3
    assert np.hypot(*game_gradient(KINDS["minimax"], theta, psi)) < 0.2
    near = trajectory("consensus_minimax", H, 500, 0.3, 0.3, order="alternating", critic_steps=5)
    assert np.hypot(*near[-1]) < 1e-9
