"""A fresh D learns by every objective of the catalogue, as the game's own D would, and tells L_G as the game's G sees it."""

import pytest
import torch
from games import SHAPES, data, game, part, replaced, variant

from stages.game.fresh import fresh
from stages.game.spec import Rules
from stages.game.steps import discriminator_move, draw, generator_move
from stages.measure.probe import Form, Material, probe
from stages.store import catalogue

LEARNING = Rules(optimizer="sgd", discriminator_lr=1e-2)
EVERY = [
    *({"loss": name} for name in catalogue.names("loss")),
    *({"penalty": name} for name in catalogue.names("penalty")),
    *({"constraint": name} for name in catalogue.names("constraint")),
    {"pack": 2, "penalty": "r1"},
    {"network": "dcgan", "loss": "relativistic", "penalty": "gradient_penalty", "constraint": "spectral_norm"},
    {"discriminator_normalisation": "batch"},
    {"minibatch_std": True},
    {"instance_noise": 0.5, "balance": "adaptive", "lazy_interval": 4, "penalty": "r1"},
]
IDS = [" ".join(map(str, case.values())) for case in EVERY]


def batch(of, seed, lanes=2, count=4):
    shape = SHAPES[of.generator.network]
    return torch.rand(lanes, count, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("case", EVERY, ids=IDS)
def test_the_probe_runs_for_every_objective(case):
    """Finite points, and a D that has moved; the state of a penalty moves with it."""
    of = variant(**case)
    one, critic = game(of, [0, 1], dtype=torch.float32), fresh(of, SHAPES[of.generator.network], [0, 1], LEARNING)
    before, state = critic.player.vector.clone(), dict(critic.state)
    form = Form(critic.player.module, critic.update, {"generator": critic.generator_loss})
    noise = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(5))
    material = Material(lambda t: batch(of, t), lambda t: noise[:, :4] + t, batch(of, 99, count=4), noise)
    (points,) = probe(one.generator.module, [form], material, 3)
    assert [point.step for point in points] == [0, 3]
    assert torch.tensor([point.norms["generator"] for point in points]).isfinite().all()
    assert all(0 <= value <= 1 for point in points for value in point.auc)
    assert not torch.equal(critic.player.vector, before)
    assert all(not torch.equal(critic.state[name], value) for name, value in state.items())


# instance noise is left out of a fresh D, and penalties that draw have streams of their own
DRAWING = ("gradient_penalty", "dragan")
PLAIN = [case for case in EVERY if "instance_noise" not in case and case.get("penalty") not in DRAWING]


@pytest.mark.parametrize("case", PLAIN, ids=[" ".join(map(str, case.values())) for case in PLAIN])
def test_one_update_is_the_game_s_own(case):
    """On the same weights, batch and draws, sgd moves the fresh D by the game's gradient."""
    of = variant(**case)
    one = game(of, [0, 1])
    items = data(one.shape)
    given = draw(one, lambda indices: items[indices], len(items), "discriminator", 0)
    critic = fresh(of, one.shape, [0, 1], LEARNING, torch.float64)
    before = critic.player.vector.clone()
    with torch.no_grad():
        fake = one.generator.module(given.noise)
    one.objective.constraint.before_step(one.discriminator.module)
    critic.update(given.real, fake, 1)
    move = discriminator_move(one, given)
    expected = before - 1e-2 * move.gradient
    if case.get("constraint") == "clip":
        expected = expected.clamp(-0.01, 0.01)
    assert critic.player.vector.tolist() == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("loss", catalogue.names("loss"))
def test_l_g_is_the_game_s(loss):
    of = variant(loss=loss)
    one = game(of, [0, 1])
    items = data(one.shape)
    given = draw(one, lambda indices: items[indices], len(items), "generator", 0)
    move = generator_move(one, given)
    critic = fresh(of, one.shape, [0, 1], LEARNING)
    assert critic.generator_loss(move.real_logits, move.fake_logits).mean(1).tolist() == pytest.approx(move.loss.tolist())


def test_unequal_counts_are_paired_as_far_as_they_go():
    critic = fresh(variant(loss="relativistic"), (3,), [0], LEARNING)
    a, b = torch.randn(1, 5), torch.randn(1, 9)
    assert torch.equal(critic.generator_loss(a, b), critic.generator_loss(a, b[:, :5]))


def test_the_variant_is_left_as_it_is():
    of = replaced(variant(), penalty=part("penalty", "lecam"))
    critic = fresh(of, (3,), [0, 1, 2], LEARNING)
    assert {name: tuple(value.shape) for name, value in critic.state.items()} == {"real": (3,), "fake": (3,)}
