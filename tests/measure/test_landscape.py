"""Spectra against dense Jacobians and Dirac-GAN's theory, the field against finite differences, paths against linear fields."""

import math

import numpy as np
import pytest
import torch
from games import part, variant

from stages.game import build
from stages.game.frozen import FrozenLane
from stages.game.spec import Player
from stages.measure import landscape
from stages.measure.landscape import Field, Losses, block_spectrum, path_angle, place, spectrum


def rng():
    return np.random.default_rng(0)


def linear_field(matrix, at):
    """v(w) = A w for any A: each player's loss is chosen so that its own gradient is its rows of A w, the other's weights held."""
    weights = [torch.tensor(at[:1], dtype=torch.float64, requires_grad=True), torch.tensor(at[1:], dtype=torch.float64, requires_grad=True)]
    a = torch.tensor(matrix, dtype=torch.float64)

    def losses():
        theta, psi = weights
        own = 0.5 * a[0, 0] * theta.square().sum() + (a[0, 1] * psi * theta).sum()
        against = 0.5 * a[1, 1] * psi.square().sum() + (a[1, 0] * theta * psi).sum()
        return Losses(own, against)

    return Field(weights[:1], weights[1:], losses)


def frozen(loss, penalty, network, seed=0, **arguments):
    """One lane with its initial weights, in float64."""
    chosen, player, shape = variant(loss, penalty, network=network), Player(network, 8, 1, "tanh", "none"), (2,)
    if network == "linear":
        shape = (1,)
    free = build.catalogue_part("constraint", part("constraint", "none"))
    lane = FrozenLane(
        build.generator(player, shape, 3, [seed], torch.float64),
        build.discriminator(player, shape, [seed], free, torch.float64),
        build.catalogue_part("loss", chosen.loss),
        build.catalogue_part("penalty", part("penalty", penalty, **arguments)),
        seed,
    )
    return lane, shape


def field_of(lane, real, noise):
    state = lane.settled(real, noise)
    return Field(list(lane.generator.parameters()), list(lane.discriminator.parameters()), lambda: Losses(*lane.losses(real, noise, state)))


def random_game(loss="non_saturating", penalty="none", **arguments):
    lane, shape = frozen(loss, penalty, "mlp", **arguments)
    numbers = torch.Generator().manual_seed(3)
    real = torch.randn(1, 6, *shape, generator=numbers, dtype=torch.float64)
    return field_of(lane, real, torch.randn(1, 6, 3, generator=numbers, dtype=torch.float64))


def dirac(loss, penalty="none", **arguments):
    """Dirac-GAN at its equilibrium θ = ψ = 0."""
    lane, shape = frozen(loss, penalty, "linear", **arguments)
    field = field_of(lane, torch.zeros(1, 4, *shape, dtype=torch.float64), torch.zeros(1, 4, 3, dtype=torch.float64))
    place(field, torch.zeros(2, dtype=torch.float64))
    return field


def values(field):
    """All eigenvalues of a two-parameter game, by imaginary part."""
    found = spectrum(field, 4, 1, rng())
    return sorted(found.largest.tolist(), key=lambda value: (value.imag, value.real))


@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
def test_dirac_gan_without_penalty_only_turns(loss):
    """Eigenvalues ±i f'(0) with f' = ½ (Mescheder et al. 2018, lemma 2.3); v points along the gradient, so J's real parts are ±0."""
    assert values(dirac(loss)) == pytest.approx([-0.5j, 0.5j])
    assert spectrum(dirac(loss), 4, 1, rng()).rotation == pytest.approx(1.0)


def test_wasserstein_dirac_gan_turns_at_one():
    assert values(dirac("wasserstein")) == pytest.approx([-1j, 1j])


@pytest.mark.parametrize("weight", [0.25, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("penalty", ["r1", "r2"])
def test_dirac_gan_with_a_gradient_penalty_is_damped(penalty, weight):
    """λ = γ/2 ± √(γ²/4 − f'²): complex below the critical γ = 2f' = 1, real above; every real part is positive (theorem 4.1)."""
    field = dirac("non_saturating", penalty, weight=weight)
    root = complex(weight**2 / 4 - 0.25) ** 0.5
    expected = sorted([weight / 2 - root, weight / 2 + root], key=lambda value: (value.imag, value.real))
    assert np.array(values(field)) == pytest.approx(np.array(expected), abs=1e-7)  # at γ = 1 the root is double: error √ε
    assert spectrum(field, 4, 1, rng()).stable is True


def test_stability_is_told_from_the_signs():
    assert spectrum(linear_field([[1.0, 2.0], [-2.0, 1.0]], [0.0, 0.0]), 4, 1, rng()).stable is True
    assert spectrum(linear_field([[-0.1, 2.0], [-2.0, 0.0]], [0.0, 0.0]), 4, 1, rng()).stable is False


GAMES = [
    ("minimax", "none", {}),
    ("relativistic", "r1_r2", {"weight": 0.7}),
    ("wasserstein", "gradient_penalty", {"weight": 2.0}),
    ("hinge", "gradient_penalty", {"weight": 2.0, "sides": "one", "target": 0.2}),
    ("wasserstein", "dragan", {"weight": 2.0}),
    ("hinge", "lecam", {"weight": 0.3}),
]


@pytest.mark.parametrize(("loss", "penalty", "arguments"), GAMES)
def test_the_jacobian_is_the_field_s_derivative(loss, penalty, arguments):
    """Central differences of v along each weight; step 1e-5 leaves an error of about 1e-10 |v'''|."""
    field = random_game(loss, penalty, **arguments)
    product, size = field.jacobian()
    jacobian, at, step = landscape.dense(product, size), torch.cat([p.detach().reshape(-1) for p in field.parameters]), 1e-5
    for column in range(0, size, 7):
        away = torch.zeros(size, dtype=torch.float64)
        away[column] = step
        ahead, behind = (_value_at(field, at + sign * away) for sign in (1, -1))
        assert jacobian[:, column] == pytest.approx(((ahead - behind) / (2 * step)).numpy(), abs=1e-6)


def test_the_points_of_a_gradient_penalty_move_with_the_generator():
    """The block ∂(∇_ψ L_D)/∂θ holds the penalty's part: it differs from the bare loss's by far more than rounding."""
    blocks = []
    for penalty, arguments in (("none", {}), ("gradient_penalty", {"weight": 2.0})):
        field = random_game("wasserstein", penalty, **arguments)
        product, size = field.jacobian()
        generators = sum(p.numel() for p in field.generator)
        blocks.append(landscape.dense(product, size)[generators:, :generators])
    assert np.abs(blocks[1] - blocks[0]).max() > 1e-3


def _value_at(field, weights):
    place(field, weights)
    return field.value()


@pytest.mark.parametrize(("loss", "penalty", "arguments"), GAMES)
def test_the_field_is_each_player_s_own_gradient(loss, penalty, arguments):
    """∂L_G/∂θ and ∂L_D/∂ψ by central differences of the losses themselves."""
    field = random_game(loss, penalty, **arguments)
    value, at, step = field.value(), torch.cat([p.detach().reshape(-1) for p in field.parameters]), 1e-5
    generators = sum(p.numel() for p in field.generator)
    for index in range(0, len(at), 5):
        away = torch.zeros_like(at)
        away[index] = step
        slopes = []
        for sign in (1, -1):
            place(field, at + sign * away)
            losses = field.losses()
            slopes.append((losses.generator if index < generators else losses.discriminator).item())
        assert value[index].item() == pytest.approx((slopes[0] - slopes[1]) / (2 * step), abs=1e-7)


@pytest.fixture
def large(monkeypatch):
    """Small games are treated as large ones."""
    monkeypatch.setattr(landscape, "DENSE", 0)


def test_a_krylov_space_finds_what_the_dense_matrix_has(large):
    """Both ends, each within TOLERANCE of the largest magnitude times the eigenvalue's condition, far below 10 in this game."""
    field = random_game("non_saturating", "r1", weight=0.5)
    product, size = field.jacobian()
    every = np.linalg.eigvals(landscape.dense(product, size))
    found, scale = spectrum(field, 8, 60, rng()), np.abs(every).max()
    assert size > 60
    assert found.complete
    assert np.abs(found.largest) == pytest.approx(np.sort(np.abs(every))[::-1][: len(found.largest)], abs=1e-2 * scale)
    for value in (*found.largest, *found.smallest_real):
        assert np.abs(every - value).min() < 1e-2 * scale
    assert found.smallest_real.real.min() == pytest.approx(every.real.min(), abs=1e-2 * scale)


def test_too_small_a_krylov_space_says_that_it_is_incomplete(large):
    field = random_game("non_saturating", "r1", weight=0.5)
    product, size = field.jacobian()
    every = np.linalg.eigvals(landscape.dense(product, size))
    found = spectrum(field, 20, 12, rng())
    assert not found.complete
    assert found.stable is not True
    for value in (*found.largest, *found.smallest_real):  # what it gives are eigenvalues all the same
        assert np.abs(every - value).min() < 1e-2 * np.abs(every).max()


def test_an_invariant_space_gives_its_values_exactly():
    """A matrix with three distinct eigenvalues: the Krylov space of any start has three dimensions."""
    turn = np.linalg.qr(rng().standard_normal((30, 30)))[0]
    matrix = turn @ np.diag(np.repeat([1.0, -2.0, 5.0], 10)) @ turn.T
    values, converged = landscape.ritz(lambda u: matrix @ u, 30, 20, rng().standard_normal(30))
    assert sorted(values.real) == pytest.approx([-2.0, 1.0, 5.0])
    assert converged.all()


def random_scales(field):
    """A diagonal over three orders of magnitude, as Adam's."""
    return 10 ** rng().uniform(-3, 0, sum(p.numel() for p in field.parameters))


@pytest.mark.parametrize(("loss", "penalty", "arguments"), GAMES)
def test_a_preconditioned_spectrum_is_that_of_the_dense_product(loss, penalty, arguments, monkeypatch):
    """P J formed as it stands, not its similar form."""
    monkeypatch.setattr(landscape, "DENSE", 1000)
    field = random_game(loss, penalty, **arguments)
    scales = random_scales(field)
    product, size = field.jacobian()
    every = np.linalg.eigvals(scales[:, None] * landscape.dense(product, size))
    found = spectrum(field, 12, 1, rng(), scales)
    assert np.abs(found.largest) == pytest.approx(np.sort(np.abs(every))[::-1][:6], rel=1e-6)
    assert found.smallest_real.real == pytest.approx(np.sort(every.real)[:6], abs=1e-6 * np.abs(every).max())
    assert found.radius == pytest.approx(np.abs(1 - np.concatenate([found.largest, found.smallest_real])).max())


def test_a_krylov_space_finds_a_preconditioned_spectrum(large):
    field = random_game("non_saturating", "r1", weight=0.5)
    scales = random_scales(field)
    product, size = field.jacobian()
    every = np.linalg.eigvals(scales[:, None] * landscape.dense(product, size))
    found, scale = spectrum(field, 8, 60, rng(), scales), np.abs(every).max()
    assert found.complete
    assert np.abs(found.largest) == pytest.approx(np.sort(np.abs(every))[::-1][: len(found.largest)], abs=1e-2 * scale)
    assert found.smallest_real.real.min() == pytest.approx(every.real.min(), abs=1e-2 * scale)


@pytest.mark.parametrize("weight", [0.0, 0.6, 2.5])
def test_dirac_gan_preconditioned(weight):
    """P J = [[0, p f'], [−q f', q γ]]: λ = q γ/2 ± √(q² γ²/4 − p q f'²), f' = ½; with p = q = h it is h times the theory's."""
    field = dirac("non_saturating", "r1", weight=weight)
    for p, q in ((0.1, 0.1), (0.02, 0.5)):
        found = spectrum(field, 4, 1, rng(), np.array([p, q]))
        root = complex(q**2 * weight**2 / 4 - p * q / 4) ** 0.5
        expected = sorted([q * weight / 2 - root, q * weight / 2 + root], key=lambda value: (value.imag, value.real))
        assert np.array(sorted(found.largest, key=lambda value: (value.imag, value.real))) == pytest.approx(np.array(expected))


def test_the_radius_is_the_growth_of_a_simultaneous_step():
    """ω <- (I − P J) ω: without penalty each step grows by √(1 + p q f'²), as Mescheder et al. 2018 found for every rate."""
    found = spectrum(dirac("non_saturating"), 4, 1, rng(), np.array([0.2, 0.2]))
    assert found.radius == pytest.approx(math.sqrt(1 + 0.2**2 / 4))
    assert spectrum(dirac("non_saturating", "r1", weight=1.0), 4, 1, rng(), np.array([0.2, 0.2])).radius < 1


@pytest.mark.parametrize("bad", [0.0, -1.0, math.inf, math.nan])
def test_a_preconditioner_is_positive_and_finite(bad):
    with pytest.raises(ValueError, match="positive and finite"):
        spectrum(dirac("minimax"), 4, 1, rng(), np.array([1.0, bad]))


def test_a_spectrum_is_the_same_twice(large):
    one, two = (spectrum(random_game(), 8, 20, rng()) for _ in range(2))
    assert np.array_equal(one.largest, two.largest)
    assert np.array_equal(one.smallest_real, two.smallest_real)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_hessian_blocks_are_symmetric_and_found_from_both_ends(player, monkeypatch):
    field = random_game("minimax", "r1", weight=0.5)
    product, size = field.jacobian(player)
    hessian = landscape.dense(product, size)
    assert hessian == pytest.approx(hessian.T, abs=1e-12)
    every = np.linalg.eigvalsh(hessian)
    assert block_spectrum(field, player, 6, 1, rng()) == pytest.approx(np.concatenate([every[:3], every[-3:]]), abs=1e-12)
    monkeypatch.setattr(landscape, "DENSE", 0)
    found = block_spectrum(field, player, 6, 200, rng())
    assert found == pytest.approx(np.concatenate([every[:3], every[-3:]]), abs=1e-3 * np.abs(every).max())


def test_exact_zeros_of_a_scale_invariance_are_listed_apart():
    """D's loss reads the direction ψ/‖ψ‖ alone: at its best direction, moving along ψ changes nothing, and turning has curvature 2/‖ψ‖²."""
    theta = torch.tensor([0.0], dtype=torch.float64, requires_grad=True)
    psi = torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    field = Field([theta], [psi], lambda: Losses(theta.square().sum(), (psi / psi.norm() - target).square().sum()))
    found = spectrum(field, 8, 1, rng())
    assert found.largest.real == pytest.approx([2.0, 2 / 9, 2 / 9])
    assert found.smallest_real.real == pytest.approx([2 / 9, 2 / 9, 2.0])
    assert found.zeros == 2  # one in each list


def test_a_constant_field_has_no_spectrum():
    theta, psi = (torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = spectrum(Field([theta], [psi], lambda: Losses(theta.sum(), psi.sum())), 4, 1, rng())
    assert (len(found.largest), found.zeros, found.rotation) == (0, 4, None)


END, START = torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, -2.0], dtype=torch.float64)


def test_pure_attraction_switches_sign_at_the_end():
    """v(w) = w towards the end 0: v is parallel to start − end before the end and opposite after it."""
    path = path_angle(linear_field([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]), START, END)
    before, after = path.alphas < 1 - 1e-9, path.alphas > 1 + 1e-9
    assert path.cosine[before] == pytest.approx(1.0)
    assert path.cosine[after] == pytest.approx(-1.0)
    assert path.sign_switch
    assert path.rotation == pytest.approx(0.0, abs=1e-7)  # √(1 − cos²) of a rounding error of 1e-16 is 1e-8
    assert path.norm == pytest.approx(np.abs(1 - path.alphas) * math.sqrt(5))


def test_pure_rotation_has_no_cosine_and_no_switch():
    path = path_angle(linear_field([[0.0, 1.0], [-1.0, 0.0]], [0.0, 0.0]), START, END)
    away = np.abs(path.alphas - 1) > 1e-9
    assert path.cosine[away] == pytest.approx(0.0, abs=1e-12)
    assert not path.sign_switch
    assert path.rotation == pytest.approx(1.0)


def test_a_spiral_has_the_angle_of_its_parts():
    """J = a I + b (rotation): the angle to the path is atan(b/a) everywhere."""
    path = path_angle(linear_field([[3.0, 4.0], [-4.0, 3.0]], [0.0, 0.0]), START, END)
    assert path.cosine[path.alphas < 0.99] == pytest.approx(0.6)
    assert path.rotation == pytest.approx(0.8)


def test_the_path_leaves_the_weights_as_they_were():
    field = linear_field([[1.0, 0.0], [0.0, 1.0]], [0.25, -4.0])
    path_angle(field, START, END)
    assert [p.item() for p in field.parameters] == [0.25, -4.0]
