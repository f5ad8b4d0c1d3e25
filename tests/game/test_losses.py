"""Every loss of the catalogue: one contract that any new file meets by itself, and the mathematics that each paper states."""

import importlib
import inspect
import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from stages.game.losses._logits import softplus
from stages.game.losses.f_divergence import DIVERGENCES
from stages.game.vocabulary import GanLoss
from stages.store import catalogue

RANGE = {torch.float32: 80.0, torch.float64: 100.0}
EPS = {torch.float32: 2e-7, torch.float64: 1e-13}

# Settings beyond the defaults; a loss with required keys must have one here (the contract says so when it is missing).
SETTINGS: dict[str, list[dict[str, float | str]]] = {
    "label_smoothing": [{}, {"fake_target": 0.0}, {"generator_target": 0.9}],
    "f_divergence": [{"divergence": d, "generator": g} for d in DIVERGENCES for g in ("trick", "conjugate")],
}
CASES = [(name, setting) for name in catalogue.names("loss") for setting in SETTINGS.get(name, [{}])]
EVERY = pytest.mark.parametrize(("name", "setting"), CASES, ids=[" ".join([n, *map(str, s.values())]) for n, s in CASES])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def build(name: str, **setting: float | str) -> GanLoss:
    return getattr(importlib.import_module(f"stages.game.losses.{name}"), name)(**setting)


def logits(lanes: int, batch: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = (2 * torch.randn(lanes, batch, generator=generator, dtype=torch.float64) for _ in range(2))
    return real.to(dtype).requires_grad_(), fake.to(dtype).requires_grad_()


def slopes(part, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the summed loss by real and by fake logits; zero where one is not read."""
    grads = torch.autograd.grad(part(real, fake).sum(), (real, fake), allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(grads, (real, fake), strict=True))


def generator_slope(loss: GanLoss, at: Tensor) -> Tensor:
    fake = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss.generator(fake.detach(), fake).sum(), fake)
    return slope


# ---- the contract -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalogue.names("loss"))
def test_factory_bears_the_files_name_and_takes_keywords_only(name):
    required = {key for key, (_, default) in catalogue.arguments("loss", name).items() if default is ...}
    assert all(required <= setting.keys() for setting in SETTINGS.get(name, [{}])), (
        f"add settings of {sorted(required)} to SETTINGS[{name!r}]"
    )
    factory = getattr(importlib.import_module(f"stages.game.losses.{name}"), name)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in inspect.signature(factory).parameters.values())


@EVERY
@DTYPES
def test_shape_and_dtype_are_kept(name, setting, dtype):
    real, fake = logits(3, 5, dtype)
    for part in build(name, **setting)[:2]:
        out = part(real, fake)
        assert out.shape == (3, 5)
        assert out.dtype == dtype


@EVERY
@DTYPES
def test_value_and_gradient_are_finite_over_the_stated_range(name, setting, dtype):
    edge = RANGE[dtype]
    points = torch.tensor([-edge, -31.0, -1.0, 0.0, 1.0, 31.0, edge], dtype=dtype)
    real, fake = (x.clone().requires_grad_() for x in torch.cartesian_prod(points, points).T.unsqueeze(1))
    for part in build(name, **setting)[:2]:
        assert part(real, fake).isfinite().all()
        assert all(slope.isfinite().all() for slope in slopes(part, real, fake))


@EVERY
def test_autograd_equals_finite_differences_twice(name, setting):
    real, fake = logits(2, 3)
    for part in build(name, **setting)[:2]:
        assert torch.autograd.gradcheck(part, (real, fake))
        assert torch.autograd.gradgradcheck(lambda a, b, part=part: part(a, b) + 0 * (a + b).pow(3), (real, fake))


@EVERY
def test_signs_at_zero(name, setting):
    loss = build(name, **setting)
    zeros = [torch.zeros(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    d_real, d_fake = slopes(loss.discriminator, *zeros)
    _, g_fake = slopes(loss.generator, *zeros)
    assert (d_real <= 0).all()
    assert (d_fake >= 0).all()
    assert (g_fake <= 0).all()
    assert (d_real - d_fake < 0).all()
    assert (g_fake < 0).all()


@EVERY
def test_inputs_are_not_modified_and_the_answer_repeats(name, setting):
    real, fake = (x.detach() for x in logits(2, 4))
    copies = real.clone(), fake.clone()
    for part in build(name, **setting)[:2]:
        first, second = part(real, fake), part(real, fake)
        assert torch.equal(first, second)
        assert torch.equal(real, copies[0])
        assert torch.equal(fake, copies[1])
        assert (real._version, fake._version) == (0, 0)


@EVERY
def test_a_lane_sees_no_other_lane(name, setting):
    real, fake = logits(2, 4)
    moved = [torch.stack([x.detach()[0], 3 - 2 * x.detach()[1]]).requires_grad_() for x in (real, fake)]
    for part in build(name, **setting)[:2]:
        assert torch.equal(part(real, fake)[0], part(*moved)[0])
        assert not torch.equal(part(real, fake)[1], part(*moved)[1])
        for before, after in zip(slopes(part, real, fake), slopes(part, *moved), strict=True):
            assert torch.equal(before[0], after[0])


@EVERY
def test_generator_reads_real_logits_only_where_it_says_so(name, setting):
    loss = build(name, **setting)
    g_real, _ = slopes(loss.generator, *logits(2, 4))
    assert bool(g_real.any()) == loss.generator_reads_real


# ---- precision --------------------------------------------------------------------------------------------------------------------

PLACES = (-80.0, -30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0, 80.0)


def sigma(x: float) -> float:
    """σ(x) in float64, without losing either tail."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@DTYPES
@pytest.mark.parametrize("copies", [1, 9], ids=["scalar", "vectorised"])
def test_softplus_keeps_value_slope_and_curvature_in_both_tails(dtype, copies):
    x = torch.tensor(PLACES, dtype=dtype).repeat(copies).requires_grad_()
    value = softplus(x)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    expected = [
        [max(v, 0.0) + math.log1p(math.exp(-abs(v))) for v in PLACES],
        [sigma(v) for v in PLACES],
        [sigma(v) * sigma(-v) for v in PLACES],
    ]
    for got, want in zip((value, slope, curvature), expected, strict=True):
        wanted = torch.tensor(want, dtype=torch.float64).repeat(copies)
        torch.testing.assert_close(got.detach().double(), wanted, rtol=EPS[dtype], atol=0.0)


@DTYPES
def test_minimax_generator_gradient_vanishes_exactly_as_theory_says(dtype):
    """∂L_G/∂b = -σ(b): nothing hides it, nothing makes it."""
    at = torch.tensor([PLACES], dtype=dtype)
    expected = torch.tensor([[-sigma(v) for v in PLACES]], dtype=torch.float64)
    torch.testing.assert_close(generator_slope(build("minimax"), at).double(), expected, rtol=1e-6, atol=0.0)


@DTYPES
@pytest.mark.parametrize(
    ("name", "setting"), [("non_saturating", {}), ("label_smoothing", {}), ("f_divergence", {"divergence": "jensen_shannon"})]
)
def test_non_saturating_generator_gradient_never_vanishes_where_d_is_sure(name, setting, dtype):
    """∂L_G/∂b = -σ(-b), with its own tail e^-b kept where G wins."""
    at = torch.tensor([PLACES], dtype=dtype)
    expected = torch.tensor([[-sigma(-v) for v in PLACES]], dtype=torch.float64)
    torch.testing.assert_close(generator_slope(build(name, **setting), at).double(), expected, rtol=1e-6, atol=0.0)


@DTYPES
def test_total_variation_saturates_as_its_formula_does_and_no_faster(dtype):
    """∂(-½ tanh b)/∂b = -½ / cosh² b = -2 σ(2b) σ(-2b)."""
    places = [-40.0, -20.0, -10.0, -1.0, 0.0, 1.0, 10.0, 20.0, 40.0]
    slope = generator_slope(build("f_divergence", divergence="total_variation"), torch.tensor([places], dtype=dtype))
    expected = torch.tensor([[-2 * sigma(2 * v) * sigma(-2 * v) for v in places]], dtype=torch.float64)
    torch.testing.assert_close(slope.double(), expected, rtol=1e-6, atol=0.0)


def test_smoothed_generator_target_turns_the_gradient_at_its_logit():
    loss, turn = build("label_smoothing", generator_target=0.9), math.log(9)
    before, at, after = generator_slope(loss, torch.tensor([[turn - 1e-3, turn, turn + 1e-3]], dtype=torch.float64))[0]
    assert before < 0 < after
    assert abs(at) < 1e-15


# ---- formulas, written again with plain floats ------------------------------------------------------------------------------------


def log_sigma(v: float) -> float:
    return min(v, 0.0) - math.log1p(math.exp(-abs(v)))


FORMULAS = {
    "minimax": (lambda a, b: -log_sigma(a) - log_sigma(-b), lambda a, b: log_sigma(-b)),
    "non_saturating": (lambda a, b: -log_sigma(a) - log_sigma(-b), lambda a, b: -log_sigma(b)),
    "label_smoothing": (
        lambda a, b: -0.9 * log_sigma(a) - 0.1 * log_sigma(-a) - 0.1 * log_sigma(b) - 0.9 * log_sigma(-b),
        lambda a, b: -log_sigma(b),
    ),
    "least_squares": (lambda a, b: ((a - 1) ** 2 + b**2) / 2, lambda a, b: (b - 1) ** 2 / 2),
    "wasserstein": (lambda a, b: b - a, lambda a, b: -b),
    "hinge": (lambda a, b: max(0.0, 1 - a) + max(0.0, 1 + b), lambda a, b: -b),
    "relativistic": (lambda a, b: -log_sigma(a - b), lambda a, b: -log_sigma(b - a)),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formula(name):
    real, fake = (x.detach() for x in logits(2, 6))
    for part, formula in zip(build(name)[:2], FORMULAS[name], strict=True):
        slow = [[formula(a, b) for a, b in zip(ra, rb, strict=True)] for ra, rb in zip(real.tolist(), fake.tolist(), strict=True)]
        torch.testing.assert_close(part(real, fake), torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=1e-14)


def test_relativistic_average_compares_with_the_lanes_own_mean():
    real, fake = (x.detach() for x in logits(2, 6))
    loss = build("relativistic_average")
    for part, sign in ((loss.discriminator, 1), (loss.generator, -1)):
        slow = []
        for ra, rb in zip(real.tolist(), fake.tolist(), strict=True):
            mean_a, mean_b = sum(ra) / 6, sum(rb) / 6
            slow.append([-log_sigma(sign * (a - mean_b)) - log_sigma(sign * (mean_a - b)) for a, b in zip(ra, rb, strict=True)])
        torch.testing.assert_close(part(real, fake), torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=0.0)


# ---- optima: p = N(0, 1) and q = N(1, 1.5²) on a grid -------------------------------------------------------------------------------

GRID = torch.linspace(-3, 4, 57, dtype=torch.float64)
P = torch.exp(-(GRID**2) / 2)
Q = torch.exp(-((GRID - 1) ** 2) / 4.5) / 1.5
P, Q = P / P.sum(), Q / Q.sum()
RATIO = P / Q


def expected_slope(loss: GanLoss, v: Tensor) -> Tensor:
    """d/dv of p(x) [L_D's part in a] + q(x) [its part in b] at a = b = v, for every x of the grid."""
    real, fake = v.clone().requires_grad_(), v.clone().requires_grad_()
    d_real, d_fake = torch.autograd.grad(loss.discriminator(real[None], fake[None]).sum(), (real, fake))
    return P * d_real + Q * d_fake


def best_logit(loss: GanLoss) -> Tensor:
    """The logit of D's least expected loss at every x: bisection of the slope, which rises through zero there."""
    low, high = torch.full_like(GRID, -60.0), torch.full_like(GRID, 60.0)
    for _ in range(70):
        middle = (low + high) / 2
        rising = expected_slope(loss, middle) > 0
        low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
    return (low + high) / 2


def smoothed(real_target: float, fake_target: float) -> Tensor:
    return torch.logit((real_target * P + fake_target * Q) / (P + Q))


OPTIMA = [
    ("minimax", {}, RATIO.log()),
    ("non_saturating", {}, RATIO.log()),
    ("label_smoothing", {}, smoothed(0.9, 0.1)),
    ("label_smoothing", {"fake_target": 0.0}, smoothed(0.9, 0.0)),
    ("label_smoothing", {"real_target": 1.0, "fake_target": 0.0}, RATIO.log()),
    ("least_squares", {}, P / (P + Q)),
    ("hinge", {}, torch.sign(P - Q)),
    ("f_divergence", {"divergence": "kl"}, 1 + RATIO.log()),
    ("f_divergence", {"divergence": "reverse_kl"}, RATIO.log()),
    ("f_divergence", {"divergence": "pearson_chi2"}, 2 * (RATIO - 1)),
    ("f_divergence", {"divergence": "squared_hellinger"}, RATIO.log() / 2),
    ("f_divergence", {"divergence": "jensen_shannon"}, RATIO.log()),
]


@pytest.mark.parametrize(("name", "setting", "optimum"), OPTIMA, ids=[" ".join([n, *map(str, s.values())]) for n, s, _ in OPTIMA])
def test_optimal_discriminator_of_two_gaussians(name, setting, optimum):
    torch.testing.assert_close(best_logit(build(name, **setting)), optimum, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "setting"), [("wasserstein", {}), ("f_divergence", {"divergence": "total_variation"})])
@pytest.mark.parametrize("level", [-3.0, 0.0, 3.0])
def test_unbounded_optima_pull_every_logit_to_the_side_of_the_larger_density(name, setting, level):
    slope = expected_slope(build(name, **setting), torch.full_like(GRID, level))
    assert torch.equal(torch.sign(slope), torch.sign(Q - P))


def test_relativistic_optimum_is_the_log_ratio_up_to_a_constant():
    """Σ_ij p_i q_j L_D(c_i, c_j) over all pairs has its least value at c = log p/q + constant, and nowhere else."""
    loss = build("relativistic")

    def risk(c: Tensor) -> Tensor:
        real, fake = c[:, None].expand(57, 57), c[None, :].expand(57, 57)
        return (P[:, None] * Q[None, :] * loss.discriminator(real, fake)).sum()

    c = (RATIO.log() + 0.7).requires_grad_()
    (slope,) = torch.autograd.grad(risk(c), c)
    assert slope.abs().max() < 1e-15
    bump = torch.sin(GRID)
    assert risk(c + 0.01 * bump) > risk(c)
    assert risk(c - 0.01 * bump) > risk(c)


@EVERY
def test_a_logistic_logits_sign_is_the_decision(name, setting):
    """Where a loss says `logistic`, D's best logit is positive exactly where p > q."""
    loss = build(name, **setting)
    if loss.logistic:
        assert torch.equal(torch.sign(expected_slope(loss, torch.zeros_like(GRID))), torch.sign(Q - P))


# ---- f-divergences ----------------------------------------------------------------------------------------------------------------

GENERATOR_FUNCTIONS = {  # f of D_f(p || q) = E_q f(p/q)
    "kl": lambda u: u * math.log(u),
    "reverse_kl": lambda u: -math.log(u),
    "pearson_chi2": lambda u: (u - 1) ** 2,
    "squared_hellinger": lambda u: (math.sqrt(u) - 1) ** 2,
    "jensen_shannon": lambda u: u * math.log(u) - (u + 1) * math.log((u + 1) / 2),
    "total_variation": lambda u: abs(u - 1) / 2,
}


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_discriminators_bound_is_tight_at_the_witness(divergence):
    """-E L_D at the best logit equals D_f(p || q), computed from f alone."""
    loss = build("f_divergence", divergence=divergence)
    witness = 40 * torch.sign(P - Q) if divergence == "total_variation" else best_logit(loss)
    trick, conjugate = (build("f_divergence", divergence=divergence, generator=form).generator for form in ("trick", "conjugate"))
    activation, conjugated = -trick(witness[None], witness[None])[0], -conjugate(witness[None], witness[None])[0]
    bound = (P * activation - Q * conjugated).sum()
    expected = sum(qx * GENERATOR_FUNCTIONS[divergence](px / qx) for px, qx in zip(P.tolist(), Q.tolist(), strict=True))
    assert bound.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_conjugate_is_the_supremum_it_is_named_after(divergence):
    """f*(T(v)) = sup_u u T(v) - f(u), found numerically, and L_D is made of the two."""
    f = GENERATOR_FUNCTIONS[divergence]
    v = torch.tensor([[-1.5, -0.4, 0.3, 1.1]], dtype=torch.float64)
    activation = -build("f_divergence", divergence=divergence, generator="trick").generator(v, v)
    conjugate = -build("f_divergence", divergence=divergence, generator="conjugate").generator(v, v)
    for t, value in zip(activation[0].tolist(), conjugate[0].tolist(), strict=True):
        best = minimize_scalar(lambda s, t=t: f(math.exp(s)) - math.exp(s) * t, bounds=(-25, 6), method="bounded", options={"xatol": 1e-9})
        assert value == pytest.approx(-best.fun, abs=1e-7)
    both = build("f_divergence", divergence=divergence).discriminator(v, v.flip(1))
    torch.testing.assert_close(both, conjugate.flip(1) - activation, rtol=1e-14, atol=1e-14)


def test_jensen_shannon_is_minimax_and_its_trick_is_non_saturating():
    real, fake = logits(2, 6)
    for form, known in (("conjugate", "minimax"), ("trick", "non_saturating")):
        ours, theirs = build("f_divergence", divergence="jensen_shannon", generator=form), build(known)
        for part, other in zip(ours[:2], theirs[:2], strict=True):
            for slope, wanted in zip(slopes(part, real, fake), slopes(other, real, fake), strict=True):
                torch.testing.assert_close(slope, wanted, rtol=1e-14, atol=0.0)


# ---- errors -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("f_divergence", {"divergence": "js"}, "divergence is 'js': allowed are kl, reverse_kl, pearson_chi2"),
        ("f_divergence", {"divergence": "kl", "generator": "theory"}, "generator is 'theory': allowed are trick, conjugate"),
        ("label_smoothing", {"real_target": 0.1, "fake_target": 0.9}, "fake_target < real_target"),
        ("label_smoothing", {"real_target": 1.2}, "real_target <= 1"),
        ("label_smoothing", {"generator_target": 0.0}, "generator_target is 0.0: above 0"),
    ],
)
def test_a_bad_argument_says_what_is_allowed(name, setting, message):
    with pytest.raises(ValueError, match=message):
        build(name, **setting)
