"""Every penalty of the catalogue: one contract that any new file meets by itself, closed forms, and the gradient that D receives."""

import importlib
import inspect
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stages.game.penalties._gradients import norm
from stages.game.vocabulary import Penalty
from stages.store import catalogue

LANES, BATCH, SHAPE = 3, 5, (1, 2, 3)
SIZE = math.prod(SHAPE)

# Settings beyond `weight`; every other required key of a penalty must stand here.
SETTINGS: dict[str, list[dict[str, float | str]]] = {
    "gradient_penalty": [{}, {"sides": "one"}, {"target": 0.0}],
    "dragan": [{}, {"sides": "one", "scale": 1.0}],
    "lecam": [{}, {"sides": "one"}],
}
CASES = [(name, setting) for name in catalogue.names("penalty") for setting in SETTINGS.get(name, [{}])]
EVERY = pytest.mark.parametrize(("name", "setting"), CASES, ids=[" ".join([n, *map(str, s.values())]) for n, s in CASES])


def build(name: str, weight: float = 1.0, **setting: float | str) -> Penalty:
    factory = getattr(importlib.import_module(f"stages.game.penalties.{name}"), name)
    return factory(**({} if name == "none" else {"weight": weight}), **setting)


class Streams:
    """Random numbers of each lane from its own seed."""

    def __init__(self, seed: int = 0, lanes: int = LANES, dtype: torch.dtype = torch.float64) -> None:
        self.dtype, self.generators = dtype, [torch.Generator().manual_seed(1000 * seed + lane) for lane in range(lanes)]

    def normal(self, *shape: int) -> Tensor:
        return torch.stack([torch.randn(*shape, generator=g, dtype=self.dtype) for g in self.generators])

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([torch.rand(*shape, generator=g, dtype=self.dtype) for g in self.generators])


class Remembering:
    """A critic that answers the same tensor object only once, as the game's does."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function, self.answers, self.calls = function, [], 0

    def __call__(self, x: Tensor) -> Tensor:
        for asked, answer in self.answers:
            if asked is x:
                return answer
        self.calls += 1
        self.answers.append((x, self.function(x)))
        return self.answers[-1][1]


def data(seed: int = 7, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    streams = Streams(seed)
    real, fake = (streams.normal(BATCH, *SHAPE).to(dtype) for _ in range(2))
    return real.requires_grad_(), (0.5 * fake + 1).requires_grad_()


def state_of(penalty: Penalty, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """A state that is not the initial one, the same for every call, different in every lane."""
    return {
        name: torch.arange(1, LANES + 1, dtype=dtype) * 0.3 * (-1) ** i + initial for i, (name, initial) in enumerate(penalty.state.items())
    }


def parameters(seed: int = 3, hidden: int = 4, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    streams = Streams(seed)
    shapes = [(SIZE, hidden), (1, hidden), (hidden, 1)]
    return [streams.normal(*shape).to(dtype).requires_grad_() for shape in shapes]


def mlp(first: Tensor, bias: Tensor, second: Tensor) -> Callable[[Tensor], Tensor]:
    """One small network a lane: [L, B, ...] to [L, B]; smooth, so that finite differences hold."""
    return lambda x: torch.baddbmm(bias, x.flatten(2), first).tanh().bmm(second).squeeze(-1)


def linear(w: Tensor) -> Callable[[Tensor], Tensor]:
    """w·x with w `[L, D]`: ∇ = w everywhere."""
    return lambda x: (x.flatten(2) * w[:, None]).sum(2)


def quadratic(a: Tensor) -> Callable[[Tensor], Tensor]:
    """½ xᵀAx with symmetric A `[L, D, D]`: ∇ = A x."""
    return lambda x: 0.5 * (x.flatten(2) * x.flatten(2).bmm(a)).sum(2)


def weights(scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
    return (scale * Streams(11).normal(SIZE)).to(dtype).requires_grad_()


def matrices() -> Tensor:
    a = Streams(12).normal(SIZE, SIZE)
    return a + a.mT


def value(penalty: Penalty, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, seed: int = 5) -> Tensor:
    return penalty.value(Remembering(critic), real, fake, Streams(seed, dtype=real.dtype), state_of(penalty, real.dtype))


# ---- the contract -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", catalogue.names("penalty"))
def test_factory_bears_the_files_name_and_requires_its_weight_by_keyword(name):
    factory = getattr(importlib.import_module(f"stages.game.penalties.{name}"), name)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in inspect.signature(factory).parameters.values())
    required = {key for key, (_, default) in catalogue.arguments("penalty", name).items() if default is ...}
    known = set() if name == "none" else {"weight"}
    assert known <= required
    assert all(required - known <= setting.keys() for setting in SETTINGS.get(name, [{}])), f"add settings to SETTINGS[{name!r}]"


@EVERY
def test_weight_is_carried_and_stays_out_of_the_value(name, setting):
    if name == "none":
        assert build(name).weight == 0
        return
    light, heavy = build(name, weight=0.5, **setting), build(name, weight=8.0, **setting)
    assert (light.weight, heavy.weight) == (0.5, 8.0)
    assert torch.equal(value(light, mlp(*parameters()), *data()), value(heavy, mlp(*parameters()), *data()))
    with pytest.raises(ValueError, match=r"weight is -1\.0: a number of at least 0"):
        build(name, weight=-1.0, **setting)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_shape_dtype_and_no_negative_values(name, setting, dtype):
    out = value(build(name, **setting), mlp(*parameters(dtype=dtype)), *data(dtype=dtype))
    assert out.shape == (LANES, BATCH)
    assert out.dtype == dtype
    assert (out >= 0).all()


@EVERY
def test_same_draws_same_value_and_nothing_is_left_behind(name, setting):
    (real, fake), weight = data(), parameters()
    copies = real.detach().clone(), fake.detach().clone()
    penalty = build(name, **setting)
    assert torch.equal(value(penalty, mlp(*weight), real, fake), value(penalty, mlp(*weight), real, fake))
    assert torch.equal(real, copies[0])
    assert torch.equal(fake, copies[1])
    assert all(x.grad is None for x in (real, fake, *weight))


@EVERY
def test_a_lane_sees_no_other_lane(name, setting):
    penalty, (real, fake), weight = build(name, **setting), data(), parameters()
    other_real, other_fake = ((x.detach() * torch.tensor([1.0, -2.0, 1.0]).view(-1, 1, 1, 1, 1)).requires_grad_() for x in (real, fake))
    other_weight = [torch.stack([w[0], 2 * w[1] + 1, w[2]]).detach().requires_grad_() for w in weight]
    one, two = value(penalty, mlp(*weight), real, fake), value(penalty, mlp(*other_weight), other_real, other_fake)
    assert torch.equal(one[[0, 2]], two[[0, 2]])
    assert name == "none" or not torch.equal(one[1], two[1])


@EVERY
def test_the_losss_own_forward_is_reused(name, setting):
    """After the loss asked for `real` and `fake`, a penalty on those points asks the network nothing; the others ask once, elsewhere."""
    real, fake = data()
    penalty, critic = build(name, **setting), Remembering(mlp(*parameters()))
    critic(real), critic(fake)
    penalty.value(critic, real, fake, Streams(5), state_of(penalty))
    assert critic.calls == (3 if name in ("gradient_penalty", "dragan") else 2)


@EVERY
def test_input_gradient_says_whether_the_data_must_require_grad(name, setting):
    penalty = build(name, **setting)
    real, fake = (x.detach() for x in data())
    if penalty.input_gradient:
        with pytest.raises(RuntimeError, match=r"does not require grad|have been used"):
            value(penalty, mlp(*parameters()), real, fake)
    else:
        assert value(penalty, mlp(*parameters()), real, fake).isfinite().all()


@EVERY
def test_gradient_that_d_receives_equals_finite_differences(name, setting):
    """Double backward: d/dparameters of weight x mean over B, summed over lanes, for a small network in each lane."""
    penalty, (real, fake) = build(name, weight=3.0, **setting), data()

    def term(*weight: Tensor) -> Tensor:
        return (penalty.weight * value(penalty, mlp(*weight), real, fake).mean(dim=1)).sum() + 0 * sum(w.sum() for w in weight)

    assert torch.autograd.gradcheck(term, parameters())


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_flat_critic_gives_finite_values_and_gradients(name, setting, dtype):
    """∇D = 0 exactly, where a norm has its corner."""
    w = torch.zeros(LANES, SIZE, dtype=dtype, requires_grad=True)
    out = value(build(name, **setting), linear(w), *data(dtype=dtype))
    assert out.isfinite().all()
    if out.requires_grad:
        (slope,) = torch.autograd.grad(out.sum(), w)
        assert slope.isfinite().all()


@EVERY
def test_state_is_declared_per_lane_and_moves_without_a_graph(name, setting):
    penalty = build(name, **setting)
    if not penalty.state:
        assert penalty.update is None
        return
    state = state_of(penalty)
    copies = {key: number.clone() for key, number in state.items()}
    logits = torch.randn(2, LANES, BATCH, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    moved = penalty.update(state, *logits)
    assert moved.keys() == penalty.state.keys()
    assert all(number.shape == (LANES,) and not number.requires_grad for number in moved.values())
    assert all(torch.equal(state[key], copies[key]) for key in state)
    other = penalty.update(state, *(logits * torch.tensor([1.0, 5.0, 1.0])[:, None]))
    assert all(torch.equal(moved[key][[0, 2]], other[key][[0, 2]]) and moved[key][1] != other[key][1] for key in moved)


# ---- closed forms -----------------------------------------------------------------------------------------------------------------

LINEAR = [
    ("r1", {}, lambda n: n**2 / 2),
    ("r2", {}, lambda n: n**2 / 2),
    ("r1_r2", {}, lambda n: n**2),
    ("gradient_penalty", {}, lambda n: (n - 1) ** 2),
    ("gradient_penalty", {"target": 2.5}, lambda n: (n - 2.5) ** 2),
    ("gradient_penalty", {"target": 0.0}, lambda n: n**2),
    ("gradient_penalty", {"sides": "one"}, lambda n: (n - 1).relu() ** 2),
    ("gradient_penalty", {"target": 0.0, "sides": "one"}, lambda n: n**2),
    ("dragan", {}, lambda n: (n - 1) ** 2),
    ("dragan", {"sides": "one"}, lambda n: (n - 1).relu() ** 2),
]


@pytest.mark.parametrize("scale", [0.1, 1.0], ids=["short", "long"])
@pytest.mark.parametrize(("name", "setting", "closed"), LINEAR, ids=[" ".join([n, *map(str, s.values())]) for n, s, _ in LINEAR])
def test_linear_critic(name, setting, closed, scale):
    """D(x) = w·x has ‖∇D‖ = ‖w‖ at every point; so has the penalty's gradient by w its closed form; on both sides of the targets."""
    w = weights(scale)
    out = value(build(name, **setting), linear(w), *data())
    expected = closed(w.square().sum(1).sqrt())[:, None].expand(LANES, BATCH)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=0.0)
    slopes = [torch.autograd.grad(term.sum(), w)[0] for term in (out, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-14)


def lengths(a: Tensor, x: Tensor) -> Tensor:
    return x.detach().flatten(2).bmm(a).square().sum(2).sqrt()


def test_quadratic_critic_r1_r2():
    """∇D(x) = A x, so each sample has its own penalty, ½‖A x‖², summed over the data's dimensions."""
    a, (real, fake) = matrices(), data()
    r1, r2, both = (value(build(name), quadratic(a), real, fake) for name in ("r1", "r2", "r1_r2"))
    torch.testing.assert_close(r1, lengths(a, real) ** 2 / 2, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(r2, lengths(a, fake) ** 2 / 2, rtol=1e-12, atol=0.0)
    torch.testing.assert_close(both, r1 + r2, rtol=1e-12, atol=0.0)


def test_quadratic_critic_gradient_penalty_between_real_and_generated():
    """One u per sample, shared by its coordinates, the real sample's share being u."""
    a, (real, fake) = matrices(), data()
    u = Streams(5).uniform(BATCH)[:, :, None, None, None]
    between = u * real + (1 - u) * fake
    out = value(build("gradient_penalty"), quadratic(a), real, fake, seed=5)
    torch.testing.assert_close(out, (lengths(a, between) - 1) ** 2, rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("setting", [{}, {"sides": "one", "target": 0.3}, {"target": 0.0}], ids=["two", "one", "zero"])
def test_gradient_penalty_is_bit_for_bit_that_of_a_leaf_between(setting):
    """Whether x̃ brings a graph to G or not, value and D's gradient are those of algorithm 1's x̂, cut loose; only the graph is kept."""
    penalty = build("gradient_penalty", **setting)
    cut = [x.detach() for x in data()]
    found = []
    for real, fake in (cut, data()):
        own = parameters()
        given = value(penalty, mlp(*own), real, fake)
        found.append([given, *torch.autograd.grad(given.sum(), own, retain_graph=True)])
    assert torch.autograd.grad(given.sum(), fake)[0].abs().max() > 0
    own, u = parameters(), Streams(5).uniform(BATCH).view(LANES, BATCH, 1, 1, 1)
    leaf = (u * cut[0] + (1 - u) * cut[1]).requires_grad_()
    (slope,) = torch.autograd.grad(mlp(*own)(leaf).sum(), leaf, create_graph=True)
    excess = norm(slope.flatten(2)) - setting.get("target", 1.0)
    given = {0.0: slope.flatten(2).square().sum(2)}.get(setting.get("target"), (excess.relu() if "sides" in setting else excess).square())
    found.append([given, *torch.autograd.grad(given.sum(), own)])
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def test_quadratic_critic_dragan_around_real_with_the_lanes_own_spread():
    a, (real, fake) = matrices(), data()
    noise = 2 * Streams(5).uniform(BATCH, *SHAPE) - 1
    spread = torch.stack([((lane - lane.mean()) ** 2).mean().sqrt() for lane in real.detach()])
    around = real + 0.5 * spread[:, None, None, None, None] * noise
    out = value(build("dragan"), quadratic(a), real, fake, seed=5)
    torch.testing.assert_close(out, (lengths(a, around) - 1) ** 2, rtol=1e-12, atol=0.0)


def test_none_is_zero_and_asks_nothing():
    critic = Remembering(mlp(*parameters()))
    out = build("none").value(critic, *data(), Streams(), {})
    assert torch.equal(out, torch.zeros(LANES, BATCH, dtype=torch.float64))
    assert critic.calls == 0


# ---- the norm ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("size", [1e-30, 1e-10, 1.0, 1e10, 1e30])
def test_norm_has_unit_slope_at_every_size(size, dtype):
    """No ε: also where squares under- and overflow (1e-60, 1e60 in float32), the value is ‖g‖ and the slope g/‖g‖."""
    g = (size * torch.tensor([[3.0, 0.0, -4.0], [1.0, 2.0, 2.0]], dtype=dtype)).requires_grad_()
    value = norm(g)
    (slope,) = torch.autograd.grad(value.sum(), g)
    eps = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(value.detach() / size, torch.tensor([5.0, 3.0], dtype=dtype), rtol=eps, atol=0.0)
    torch.testing.assert_close(slope, torch.tensor([[0.6, 0.0, -0.8], [1 / 3, 2 / 3, 2 / 3]], dtype=dtype), rtol=eps, atol=0.0)


def test_norm_at_zero_is_flat_and_does_not_disturb_its_neighbours():
    g = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(norm(g).sum(), g, create_graph=True)
    assert torch.equal(slope[0], torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(slope[1].detach(), torch.tensor([0.6, 0.8], dtype=torch.float64), rtol=1e-15, atol=0.0)
    (curvature,) = torch.autograd.grad(slope.sum(), g)
    assert curvature.isfinite().all()


def test_norm_is_differentiable_twice_like_the_euclidean_norm():
    g = Streams(2).normal(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(norm, g)
    assert torch.autograd.gradgradcheck(norm, g)


def test_zero_centred_penalty_is_smooth_at_a_flat_critic():
    """‖w‖² has curvature 2 at w = 0; a square of the cornered norm would show 0."""
    w = torch.zeros(LANES, SIZE, dtype=torch.float64, requires_grad=True)
    out = value(build("gradient_penalty", target=0.0), linear(w), *data())
    (slope,) = torch.autograd.grad(out.mean(dim=1).sum(), w, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), w)
    torch.testing.assert_close(curvature, torch.full_like(w, 2.0))


# ---- LeCam ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sides", ["two", "one"])
def test_lecam_ties_each_kind_to_the_others_mean(sides):
    (real, fake), w = data(), weights()
    a, b = linear(w)(real).tolist(), linear(w)(fake).tolist()
    means = {"real": torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64), "fake": torch.tensor([-0.2, 0.3, 1.0], dtype=torch.float64)}
    out = build("lecam", sides=sides).value(Remembering(linear(w)), real, fake, Streams(), means)
    keep = (lambda v: max(v, 0.0)) if sides == "one" else (lambda v: v)
    slow = [
        [keep(a[lane][i] - means["fake"][lane].item()) ** 2 + keep(means["real"][lane].item() - b[lane][i]) ** 2 for i in range(BATCH)]
        for lane in range(LANES)
    ]
    torch.testing.assert_close(out, torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=1e-15)


def test_lecam_means_are_exponential_from_zero():
    """After n steps with constant logits c the mean is c (1 - decay^n)."""
    penalty = build("lecam", decay=0.9)
    assert dict(penalty.state) == {"real": 0.0, "fake": 0.0}
    state = {key: torch.full((LANES,), start, dtype=torch.float64) for key, start in penalty.state.items()}
    constants = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)[:, None].expand(LANES, BATCH)
    for _ in range(7):
        state = penalty.update(state, constants, -constants)
    expected = constants[:, 0] * (1 - 0.9**7)
    torch.testing.assert_close(state["real"], expected, rtol=1e-14, atol=0.0)
    torch.testing.assert_close(state["fake"], -expected, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("gradient_penalty", {"sides": "both"}, "sides is 'both': allowed are two, one"),
        ("gradient_penalty", {"target": -1.0}, "target is -1.0: a number of at least 0"),
        ("dragan", {"scale": float("nan")}, "scale is nan: a number of at least 0"),
        ("lecam", {"decay": 1.0}, "decay is 1.0: at least 0 and below 1"),
        ("lecam", {"sides": "2"}, "sides is '2'"),
    ],
)
def test_a_bad_argument_says_what_is_allowed(name, setting, message):
    with pytest.raises(ValueError, match=message):
        build(name, **setting)
