"""A lane among others is the lane alone: the promise on which all paired comparison rests."""

import itertools

import games
import pytest
import torch

from stages.game.build import Flat
from stages.game.lanes import BatchNorm, Conv2d, ConvTranspose2d, LayerNorm, Linear, group, has_batch_statistics, ungroup
from stages.game.loop import play_turn
from stages.game.steps import discriminator_move, draw, generator_move
from stages.game.streams import lane_draws, stream
from stages.store import catalogue

NETWORKS = catalogue.names("network")
PENALTIES = catalogue.names("penalty")


def lane(player: Flat, index: int) -> list[torch.Tensor]:
    return [parameter[index] for parameter in player.parameters]


SLOW = ("resnet",)  # of these, with one penalty of each kind: none, on data, between data and samples
OVER_200 = [(n, p) for n in NETWORKS for p in PENALTIES if n not in SLOW or p in ("none", "r1_r2", "gradient_penalty")]


@pytest.mark.parametrize(("network", "penalty"), OVER_200)
def test_a_lane_among_others_equals_the_lane_alone_over_200_steps(network, penalty):
    """float64, 1e-8: grouped sums differ from single ones by rounding alone (1e-16 a step, grown by 200 Adam steps)."""
    of = games.variant("non_saturating", penalty, network=network, generator_normalisation="none" if network == "linear" else "batch")
    together = games.play(games.game(of, [5, 1], 200), 200)
    alone = games.play(games.game(of, [1], 200), 200)
    for role in ("generator", "discriminator"):
        for among, single in zip(lane(getattr(together, role), 1), lane(getattr(alone, role), 0), strict=True):
            torch.testing.assert_close(among, single, rtol=0, atol=1e-8)
    for among, single in zip(together.ema_buffers, alone.ema_buffers, strict=True):
        torch.testing.assert_close(among[1], single[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize("constraint", catalogue.names("constraint"))
@pytest.mark.parametrize("network", NETWORKS)
def test_constraints_keep_lanes_apart(network, constraint):
    of = games.variant("hinge", "none", constraint, network, generator_normalisation="none")
    together, alone = games.play(games.game(of, [5, 1]), 30), games.play(games.game(of, [1]), 30)
    for among, single in zip(lane(together.discriminator, 1), lane(alone.discriminator, 0), strict=True):
        torch.testing.assert_close(among, single, rtol=0, atol=1e-9)


@pytest.mark.parametrize("penalty", ["none", "r1_r2", "gradient_penalty"])
@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_one_steps_gradients_agree_in_float32(network, penalty):
    of = games.variant("relativistic", penalty, network=network)
    together = games.game(of, [5, 1, 9], dtype=torch.float32, batch=8)
    alone = games.game(of, [1], dtype=torch.float32, batch=8)
    items = games.data(together.shape)
    for move, player in ((discriminator_move, "discriminator"), (generator_move, "generator")):
        among = move(together, draw(together, games.batches(items), 50, player, 0))
        single = move(alone, draw(alone, games.batches(items), 50, player, 0))
        pieces = zip(getattr(together, player).split(among.gradient), getattr(alone, player).split(single.gradient), strict=True)
        for many, one in pieces:
            torch.testing.assert_close(many[1], one[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(among.loss[1], single.loss[0], rtol=1e-5, atol=1e-6)


def test_streams_depend_on_the_seed_alone():
    """Two variants, other lanes, other losses: the same batches, noise and initial weights, bit for bit."""
    one, other = games.game(games.variant("hinge"), [3, 4]), games.game(games.variant("wasserstein", "r1"), [8, 4, 3])
    items = games.data(one.shape)
    for player in ("discriminator", "generator"):
        first, second = (draw(g, games.batches(items), 50, player, 0) for g in (one, other))
        assert torch.equal(first.real[0], second.real[2])
        assert torch.equal(first.noise[1], second.noise[1])
    assert all(torch.equal(a[0], b[2]) for a, b in zip(one.generator.parameters, other.generator.parameters, strict=True))


def test_streams_differ_by_each_coordinate():
    base = torch.rand(4, generator=stream(0, "noise", 1, 0))
    for coordinates in ((1, "noise", 1, 0), (0, "batch", 1, 0), (0, "noise", 2, 0), (0, "noise", 1, 1)):
        assert not torch.equal(base, torch.rand(4, generator=stream(*coordinates)))


def test_draws_are_the_same_numbers_in_both_precisions():
    narrow = lane_draws([1, 2], "noise", 0, 0, torch.empty(0)).normal(5)
    wide = lane_draws([1, 2], "noise", 0, 0, torch.empty(0, dtype=torch.float64)).normal(5)
    assert narrow.dtype == torch.float32
    assert torch.equal(narrow.double(), wide)


def fill(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return layer.double()


def images(lanes=3, batch=2, channels=4, side=6):
    return torch.randn(lanes, batch, channels, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_conv2d_is_torchs_convolution_in_each_lane():
    layer, x = fill(Conv2d(3, 4, 5, 4, 2, 1)), images()
    grouped = ungroup(layer(group(x)), 3)
    for index in range(3):
        single = torch.nn.functional.conv2d(x[index], layer.weight[index], layer.bias[index], 2, 1)
        torch.testing.assert_close(grouped[index], single, rtol=1e-12, atol=1e-12)


def test_conv_transpose2d_is_torchs_in_each_lane():
    layer, x = fill(ConvTranspose2d(3, 4, 5, 4, 2, 1)), images()
    grouped = ungroup(layer(group(x)), 3)
    for index in range(3):
        single = torch.nn.functional.conv_transpose2d(x[index], layer.weight[index], layer.bias[index], 2, 1)
        torch.testing.assert_close(grouped[index], single, rtol=1e-12, atol=1e-12)


def test_linear_is_x_w_plus_b():
    layer = fill(Linear(3, 4, 2))
    x = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(layer(x), torch.einsum("lbi,lio->lbo", x, layer.weight) + layer.bias)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torchs_in_each_lane(training):
    layer, x = BatchNorm(3, 4).double().train(training), images()
    single = torch.nn.BatchNorm2d(4).double().train(training)
    torch.testing.assert_close(ungroup(layer(group(x)), 3)[1], single(x[1]))
    torch.testing.assert_close(layer.running_mean[1], single.running_mean)
    torch.testing.assert_close(layer.running_var[1], single.running_var)


def test_batch_norm_of_vectors_is_torchs_in_each_lane():
    layer, single = BatchNorm(3, 4).double(), torch.nn.BatchNorm1d(4).double()
    x = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(layer(x)[2], single(x[2]))
    torch.testing.assert_close(layer.running_var[2], single.running_var)


def test_layer_norm_never_mixes_samples():
    layer, x = LayerNorm(3, 4).double(), images()
    changed = x.clone()
    changed[:, 1] = 9.0
    before, after = (ungroup(layer(group(value)), 3) for value in (x, changed))
    assert torch.equal(before[:, 0], after[:, 0])
    torch.testing.assert_close(before[1, 0], torch.nn.functional.layer_norm(x[1, 0], x.shape[2:]))


def test_group_and_ungroup_are_inverse_and_pass_gradients():
    x = images().requires_grad_(True)
    assert torch.equal(ungroup(group(x), 3), x)
    assert torch.autograd.gradcheck(lambda value: ungroup(group(value), 2) ** 2, (images(2, 1, 2, 2).requires_grad_(True),))
    assert torch.autograd.gradgradcheck(lambda value: ungroup(group(value), 2) ** 3, (images(2, 1, 2, 2).requires_grad_(True),))


SIDES = [(8, 8), (9, 11), (16, 16), (28, 28), (30, 20), (32, 32), (64, 64), (128, 128)]


@pytest.mark.parametrize("side", SIDES, ids=str)
@pytest.mark.parametrize("network", ["dcgan", "resnet", "mlp"])
@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
def test_every_size_comes_out_as_it_went_in(network, side, normalisation):
    from stages.game import build
    from stages.game.constraints.none import none
    from stages.game.spec import Player

    shape = (3, *side)
    player = Player(network, 2, 1, "silu", normalisation)
    made = build.generator(player, shape, 5, [0, 1])(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)))
    assert made.shape == (2, 3, *shape)
    assert float(made.detach().abs().max()) <= 1.0
    assert build.discriminator(player, shape, [0, 1], none())(made).shape == (2, 3)


def test_no_bias_stands_before_a_batch_norm():
    from stages.game import build
    from stages.game.spec import Player

    for network in ("mlp", "dcgan"):
        module = build.generator(Player(network, 4, 2, "relu", "batch"), games.SHAPES[network], 3, [0])
        parts = [part for part in module.modules() if isinstance(part, (Linear, Conv2d, ConvTranspose2d, BatchNorm))]
        before = [first for first, then in itertools.pairwise(parts) if isinstance(then, BatchNorm)]
        assert [layer for layer in before if getattr(layer, "bias", None) is not None] in (
            [],
            [module.project] if network == "dcgan" else [],
        )


def test_batch_statistics_are_known():
    assert has_batch_statistics(games.game(games.variant(), [0]).generator.module)
    assert not has_batch_statistics(games.game(games.variant(), [0]).discriminator.module)


def test_a_lane_that_is_not_finite_is_frozen_and_the_others_go_on():
    """Lane 0's D weights become NaN at step 3; lane 1 equals the lane alone to the bit of rounding, lane 0 moves no more."""
    of = games.variant("hinge")
    both, alone = games.play(games.game(of, [0, 1]), 3), games.play(games.game(of, [1]), 3)
    with torch.no_grad():
        both.discriminator.parameters[0][0] = float("nan")
    frozen = [parameter[0].clone() for parameter in both.generator.parameters]
    items = games.data(both.shape)
    for one in (both, alone):
        for _ in range(5):
            play_turn(one, games.batches(items), 50)
    assert both.alive.tolist() == [False, True]
    assert both.died_at.tolist() == [4, 0]
    assert all(torch.equal(parameter[0], before) for parameter, before in zip(both.generator.parameters, frozen, strict=True))
    for among, single in zip(lane(both.generator, 1), lane(alone.generator, 0), strict=True):
        torch.testing.assert_close(among, single, rtol=0, atol=1e-10)
