"""Schedules, clipping, balance, packing, minibatch spread, and the combinations that have no meaning."""

import math

import games
import pytest
import torch

from stages.game import build
from stages.game.combinations import data_mistakes
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.steps import apply_discriminator, discriminator_move, draw
from stages.game.streams import lane_draws

RIDING = [
    {"instance_noise": 0.3},
    {"balance": "adaptive", "balance_threshold": 0.6, "discriminator_lr": 0.05},
    {"pack": 2},
    {"minibatch_std": True},
    {"gradient_clip": 0.05},
    {"method": "consensus"},
    {"method": "extra_gradient", "order": "simultaneous"},
    {"network": "dcgan", "augment": "diffaugment"},
    {"network": "dcgan", "augment": "ada", "augment_target": 0.0, "augment_ramp": 0.1},
]


@pytest.mark.parametrize("choice", RIDING, ids=str)
def test_a_lane_among_others_equals_the_lane_alone(choice):
    alone = games.play(games.game(games.variant(**choice), [5], 30), 20)
    among = games.play(games.game(games.variant(**choice), [2, 5, 9], 30), 20)
    for own, rider in ((alone.generator, among.generator), (alone.discriminator, among.discriminator)):
        for mine, theirs in zip(own.parameters, rider.parameters, strict=True):
            torch.testing.assert_close(theirs[1], mine[0], rtol=1e-8, atol=1e-10)
    for name, tensor in alone.state().items():
        if name.startswith(("balance/", "veil/")):
            torch.testing.assert_close(among.state()[name][1], tensor[0], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("schedule", "factor"), [("linear", lambda t: 1 - t), ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2)])
def test_a_schedule_scales_every_step(schedule, factor):
    """On the bilinear game with sgd, alternating: ψ <- ψ - h_t θ, θ <- θ + h_t ψ."""
    of = games.variant(
        "wasserstein",
        network="linear",
        generator_normalisation="none",
        optimizer="sgd",
        schedule=schedule,
        generator_lr=0.1,
        discriminator_lr=0.2,
    )
    one, items = Game(of, (1,), 1, 2, 20, [0], torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    theta = psi = 1.0
    for step in range(20):
        play_turn(one, games.batches(items), 3)
        psi -= 0.2 * factor(step / 20) * theta
        theta += 0.1 * factor(step / 20) * psi
        assert (float(one.generator.vector), float(one.discriminator.vector)) == pytest.approx((theta, psi), rel=1e-12)


def test_a_clipped_gradient_has_the_largest_norm_allowed_and_its_own_direction():
    """With sgd of rate 1 the step is the clipped gradient; the recorded one is not clipped; lanes have their own norms."""
    free = games.game(games.variant(optimizer="sgd", discriminator_lr=1.0), [0, 1, 2])
    items = games.data(free.shape)
    move = discriminator_move(free, draw(free, games.batches(items), len(items), "discriminator", 0))
    norms = free.discriminator.lane_norms(move.gradient).norm(dim=0)
    bound = float(norms.sort().values[1])  # between the lanes' norms: one is left alone, one is cut
    one = games.game(games.variant(optimizer="sgd", discriminator_lr=1.0, gradient_clip=bound), [0, 1, 2])
    start = one.discriminator.vector.clone()
    apply_discriminator(one, move)
    taken = start - one.discriminator.vector
    torch.testing.assert_close(one.discriminator.lane_norms(taken).norm(dim=0), norms.clamp(max=bound))
    for piece, own in zip(one.discriminator.split(taken), one.discriminator.split(move.gradient), strict=True):
        factor = (bound / norms).clamp(max=1).view(-1, *[1] * (own.dim() - 1))
        torch.testing.assert_close(piece, own * factor, rtol=1e-10, atol=1e-14)


def test_no_clipping_happens_below_the_bound():
    free, wide = (games.play(games.game(games.variant(gradient_clip=bound), [0, 1]), 5) for bound in (0.0, 1e9))
    assert torch.equal(free.discriminator.vector, wide.discriminator.vector)


def test_d_rests_in_the_lanes_where_its_running_auc_is_too_high():
    """m starts at ½: with memory 0.5 an AUC of 1 lifts it to 0.75, 0.875, ...; 0 lowers it."""
    one = games.game(games.variant(balance="adaptive", balance_threshold=0.8, balance_memory=0.5, optimizer="sgd"), [0, 1])
    ahead, behind = torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0])
    real, fake = torch.stack([ahead, behind]).double(), torch.stack([behind, ahead]).double()
    expected = [[0.75, 0.25], [0.875, 0.125]]
    for running, moves in zip(expected, ([True, True], [False, True]), strict=True):
        one.balance.observe(real, fake)
        torch.testing.assert_close(one.balance.state["auc"], torch.tensor(running, dtype=torch.float64))
        assert one.balance.moving(one.alive).tolist() == moves


def test_a_resting_d_keeps_its_weights_and_the_others_move():
    one = games.game(games.variant(balance="adaptive", balance_threshold=0.9, balance_memory=0.999999), [0, 1])
    one.balance.state["auc"].copy_(torch.tensor([1.0, 0.5]))
    before = [parameter.clone() for parameter in one.discriminator.parameters]
    games.play(one, 3)
    assert all(torch.equal(old[0], new[0]) for old, new in zip(before, one.discriminator.parameters, strict=True))
    assert not any(torch.equal(old[1], new[1]) for old, new in zip(before, one.discriminator.parameters, strict=True))
    assert one.critic_step == 3


def test_balance_is_alive_in_a_real_game():
    """A strong D against a slow G crosses the threshold, rests, and so does less than without the rule."""
    moved = {}
    for balance in ("none", "adaptive"):
        of = games.variant(balance=balance, balance_threshold=0.6, discriminator_lr=0.05, generator_lr=1e-6, optimizer="sgd")
        one = games.game(of, [0], batch=16)
        start = one.discriminator.vector.clone()
        games.play(one, 40)
        moved[balance] = float((one.discriminator.vector - start).norm())
    assert 0 < moved["adaptive"] < moved["none"]


def test_a_packed_d_gives_one_logit_for_consecutive_samples():
    """D of a pack is D of the samples set side by side, and no lane or other pack enters."""
    one = games.game(games.variant(pack=2), [0, 1])
    x = games.data(one.shape, 12).double().view(2, 6, 3)
    logits = one.discriminator.module(x)
    assert logits.shape == (2, 3)
    plain = build.discriminator(one.variant.discriminator, (6,), [0, 1], one.objective.constraint, torch.float64)
    torch.testing.assert_close(logits, plain(torch.cat([x[:, 0::2], x[:, 1::2]], 2)))
    assert list(one.discriminator.module.state_dict()) == list(plain.state_dict())
    assert torch.equal(one.discriminator.module(x[:, :5]), logits[:, :2])
    assert one.discriminator.module(x[:, :1]).shape == (2, 0)


def test_a_pack_of_images_is_stacked_along_channels():
    one = games.game(games.variant(network="dcgan", pack=4), [0])
    assert one.discriminator.module(games.data(one.shape, 8).double().view(1, 8, 1, 8, 8)).shape == (1, 2)


def test_the_batchs_spread_is_the_appended_number():
    """Two lanes by hand: mean over features of √(Var + 1e-8)."""
    one = games.game(games.variant(minibatch_std=True), [0, 1])
    layer = one.discriminator.module.out
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for lane in range(2):
        spread = (x[lane].var(0, correction=0) + 1e-8).sqrt().mean()
        by_hand = torch.cat([x[lane], spread.expand(5, 1)], 1) @ layer.weight[lane] + layer.bias[lane]
        torch.testing.assert_close(layer(x)[lane], by_hand)


@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_spread_never_mixes_real_and_fake(network):
    """Logits of the real batch are those of a forward of its own."""
    one = games.game(games.variant(network=network, minibatch_std=True), [0, 1])
    items = games.data(one.shape)
    given = draw(one, games.batches(items), len(items), "discriminator", 0)
    torch.testing.assert_close(discriminator_move(one, given).real_logits, one.discriminator.module(given.real).detach())


def test_instance_noise_fades_linearly_and_is_gone_after_its_share():
    one = games.game(games.variant(instance_noise=0.5, instance_noise_share=0.4), [0, 1], steps=100)
    x = torch.zeros(2, 4, 3, dtype=torch.float64)
    for step, std in ((0, 0.5), (10, 0.375), (40, 0.0), (90, 0.0)):
        one.step = step
        shown = draw(one, games.batches(games.data(one.shape)), 50, "generator", 0).see(x)
        numbers = lane_draws([0, 1], "generator/instance_noise", step, 0, one.like).normal(4, 3)
        torch.testing.assert_close(shown, std * numbers)


REFUSED = [
    ({"method": "extra_gradient"}, "extra_gradient with order alternating"),
    ({"method": "extra_gradient", "order": "simultaneous", "critic_steps": 5}, "critic_steps 5"),
    ({"method": "extra_gradient", "order": "simultaneous", "generator_steps": 2}, "generator_steps 2"),
    ({"method": "extra_gradient", "order": "simultaneous", "optimizer": "optimistic_adam"}, "use adam"),
    ({"order": "simultaneous", "generator_steps": 2}, "order simultaneous with critic_steps 1, generator_steps 2"),
    ({"method": "consensus", "order": "simultaneous", "generator_steps": 2}, "order simultaneous with"),
    ({"penalty": "r1", "minibatch_std": True}, "minibatch_std in the discriminator with penalty r1"),
    ({"penalty": "gradient_penalty", "minibatch_std": True}, "minibatch_std in the discriminator"),
    ({"penalty": "r1", "discriminator_normalisation": "batch"}, "batch norm in the discriminator"),
    ({"loss": "wasserstein", "augment": "ada"}, "augment ada with loss wasserstein"),
]


@pytest.mark.parametrize(("choice", "message"), REFUSED, ids=str)
def test_a_combination_without_meaning_is_one_clear_line(choice, message):
    with pytest.raises(ValueError, match=message) as caught:
        build.objective(games.variant(**choice))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"augment": "diffaugment"}, r"images; the data's shape is \[3\]"),
        ({"pack": 3}, "pack 3 does not divide the batch of 4"),
        ({"network": "linear", "minibatch_std": True, "generator_normalisation": "none"}, "network linear"),
    ],
)
def test_what_the_data_forbids_is_one_clear_line(choice, message):
    with pytest.raises(ValueError, match=message):
        games.game(games.variant(**choice), [0])


def test_default_rules_make_no_mistake_with_any_data():
    assert not list(data_mistakes(games.variant(), (3,), 5)) + list(data_mistakes(games.variant(network="dcgan"), (1, 8, 8), 7))


def test_extra_gradient_moves_running_statistics_once():
    """Batch norm's running mean after a turn is that of one D forward and one G forward of G, not of two each."""
    running = {}
    for method in ("gradient", "extra_gradient"):
        one = games.play(games.game(games.variant("non_saturating", order="simultaneous", method=method, penalty="lecam"), [0]), 1)
        running[method] = {
            k: v.clone() for k, v in one.state().items() if "buffer/" in k or k.startswith("penalty/") or k.endswith("critic_step")
        }
    for name, tensor in running["gradient"].items():
        if not name.startswith("ema_buffer"):
            torch.testing.assert_close(running["extra_gradient"][name], tensor)


def test_spectral_vectors_are_iterated_once_a_turn_under_extra_gradient():
    vectors = []
    for method in ("gradient", "extra_gradient"):
        one = games.play(games.game(games.variant("hinge", constraint="spectral_norm", order="simultaneous", method=method), [0]), 1)
        vectors.append([buffer.clone() for buffer in one.discriminator.module.buffers()])
    assert len(vectors[0]) > 0
    assert all(torch.equal(a, b) for a, b in zip(*vectors, strict=True))
