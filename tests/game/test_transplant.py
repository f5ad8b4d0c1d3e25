"""A stored game under other rules: what is kept is kept bit for bit, the rest starts anew; every remedy plays on or says why not."""

import dataclasses

import pytest
import torch
from games import batches, data, game, part, play, replaced, variant

from stages.game.combinations import data_mistakes
from stages.game.fork import continuation, resume
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.spec import Player
from stages.game.transplant import Delayed, kept, transplant
from stages.game.views import InstanceNoise
from stages.measure.remedies import REMEDIES, applied
from stages.store.config import parse

BASE = variant()
WIDER = Player("mlp", 8, 1, "leaky_relu", "none")


def with_rules(of, **rules):
    return replaced(of, rules=dataclasses.replace(of.rules, **rules))


def forked(of, other, turns=5, seeds=(0, 1), steps=100):
    left = play(game(of, list(seeds), steps), turns)
    branch = game(other, list(seeds), steps)
    return left, branch, transplant(left, branch)


@pytest.mark.parametrize(
    "of",
    [
        variant(),
        variant(balance="adaptive", instance_noise=0.3),
        variant(penalty="lecam"),
        variant(constraint="spectral_norm", loss="hinge"),
        variant(optimizer="optimistic_rmsprop", schedule="linear", gradient_clip=1.0),
        variant(network="dcgan", augment="ada"),
    ],
)
def test_under_equal_rules_it_is_the_same_game(of):
    left, branch, what = forked(of, of)
    assert all(dataclasses.astuple(what))
    play(left, 3), play(branch, 3)
    assert all(torch.equal(tensor, branch.state()[name]) for name, tensor in left.state().items())
    assert branch.step == 8


def test_a_fork_at_n_is_the_game_that_went_on_to_2n():
    """What `seesaw remedy` does: snapshot and continuation taken up in more lanes than there were, the first with the lane's own seed."""
    whole = play(game(BASE, [0, 1]), 10)
    half = play(game(BASE, [0, 1]), 5)
    left, branch = game(BASE, [1, 77, 78]), game(BASE, [1, 77, 78])
    resume(left, half.snapshot(), continuation(half), [1, 1, 1])
    transplant(left, branch)
    play(branch, 5)
    for name, tensor in whole.snapshot().items():
        torch.testing.assert_close(branch.snapshot()[name][0], tensor[1], rtol=1e-9, atol=1e-12)
        assert not name.endswith("weight") or not torch.equal(branch.snapshot()[name][0], branch.snapshot()[name][1])


CHANGES = {  # what changes: D, G's averages, D's averages
    "rate": (with_rules(BASE, generator_lr=1e-2), True, True, True),
    "rhythm": (with_rules(BASE, critic_steps=3), True, True, True),
    "momentum": (with_rules(BASE, beta1=0.0), True, True, True),
    "balance": (with_rules(BASE, balance="adaptive"), True, True, True),
    "average": (with_rules(BASE, ema_half_life=0.5), True, True, True),
    "loss": (replaced(BASE, loss=part("loss", "hinge")), True, False, False),
    "penalty": (replaced(BASE, penalty=part("penalty", "r1")), True, True, False),
    "clip": (replaced(BASE, constraint=part("constraint", "clip")), True, True, False),
    "lazy": (with_rules(BASE, lazy_interval=4), True, True, False),
    "noise": (with_rules(BASE, instance_noise=0.1), True, False, False),
    "optimizer": (with_rules(BASE, optimizer="rmsprop"), True, False, False),
    "capacity": (replaced(BASE, discriminator=WIDER), False, False, False),
    "activation": (replaced(BASE, discriminator=dataclasses.replace(BASE.discriminator, activation="silu")), False, False, False),
    "packing": (with_rules(BASE, pack=2), False, False, False),
    "spectral_norm": (replaced(BASE, constraint=part("constraint", "spectral_norm")), False, False, False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_kept_equals_and_what_is_not_starts_anew(name):
    other, same_d, generator_averages, discriminator_averages = CHANGES[name]
    fresh = game(other, [0, 1]).state()
    start = {key: tensor.clone() for key, tensor in fresh.items()}
    left, branch, what = forked(BASE, other)
    assert (what.discriminator, what.generator_averages, what.discriminator_averages) == (
        same_d,
        generator_averages,
        discriminator_averages,
    )
    before, after = left.state(), branch.state()
    for key in ("generator", "ema", "alive", "step", "critic_step"):
        assert torch.equal(before[key], after[key]), key
    assert torch.equal(after["discriminator"], before["discriminator"] if same_d else start["discriminator"])
    for role, held in (("generator", generator_averages), ("discriminator", discriminator_averages)):
        for key in [key for key in after if key.startswith(f"{role}_optimizer/")]:
            assert torch.equal(after[key], before[key] if held else torch.zeros_like(after[key])), key
    play(branch, 2)
    assert bool(branch.alive.all())


def test_the_state_of_balance_penalty_and_views_goes_on_only_under_the_same_rules():
    of = variant(penalty="lecam", balance="adaptive")
    left, branch, _ = forked(of, with_rules(of, generator_lr=1e-2))
    for name in ("balance/auc", "penalty/real", "penalty/fake"):
        assert torch.equal(branch.state()[name], left.state()[name])
    _, other, _ = forked(of, with_rules(of, balance_threshold=0.8))
    assert torch.equal(other.state()["balance/auc"], torch.full((2,), 0.5, dtype=torch.float64))


def test_noise_that_a_branch_adds_starts_at_its_full_strength_at_the_fork():
    """At the end of a run noise of the run's own clock would be zero."""
    left, branch, _ = forked(BASE, with_rules(BASE, instance_noise=0.5), turns=10, steps=10)
    (veil,) = branch.veils
    assert isinstance(veil, Delayed)

    class Ones:
        def normal(self, *shape):
            return torch.ones((2, *shape))

    x = torch.zeros(2, 4, 3)
    assert torch.equal(veil.open(lambda purpose: Ones(), branch.step)(x), torch.full_like(x, 0.5))
    torch.testing.assert_close(veil.open(lambda purpose: Ones(), branch.step + 5)(x), torch.full_like(x, 0.25))
    assert torch.equal(InstanceNoise(0.5, 10).open(lambda purpose: Ones(), left.step)(x), x)


def test_another_generator_is_refused():
    with pytest.raises(ValueError, match="another generator cannot go on"):
        kept(BASE, replaced(BASE, generator=dataclasses.replace(BASE.generator, width=9)))


PARAMS = {
    "data": {"source": "digits"},
    "train": {
        "seeds": 2,
        "steps": 40,
        "batch": 4,
        "latent": 3,
        "generator": {"network": "auto", "width": 4, "depth": 1, "normalisation": "batch"},
        "discriminator": {"network": "auto", "width": 4, "depth": 1},
        "rules": {"generator_lr": 1e-3, "discriminator_lr": 1e-3},
    },
    "compare": {"baseline": "plain"},
}
VARIANTS = {
    "plain": {"loss": {"name": "minimax"}},
    "strong": {
        "loss": {"name": "minimax"},
        "rules": {"critic_steps": 3, "generator_lr": 1e-4},
        "discriminator": {"network": "mlp", "width": 16},
    },
    "penalised": {"loss": {"name": "non_saturating"}, "penalty": {"name": "r1", "weight": 1.0}},
    "clipped": {"loss": {"name": "wasserstein"}, "constraint": {"name": "clip", "bound": 0.01}},
}


def filled(name):
    nothing = {"penalty": {"name": "none"}, "constraint": {"name": "none"}}
    return {**PARAMS, "variants": {key: {**nothing, **VARIANTS[key]} for key in ("plain", name)}}


def settings():
    """Every variant as remedies see it."""
    for name in VARIANTS:
        config = parse(filled(name))
        own = dataclasses.asdict(config.variant(name))
        yield name, {**own, "steps": 40, "batch": 4, "shape": (1, 8, 8), "best_step": 20}


@pytest.mark.parametrize("remedy", REMEDIES, ids=lambda remedy: remedy.name)
def test_every_remedy_plays_on_from_a_stored_game_or_says_why_not(remedy):
    fitting = [(name, setting) for name, setting in settings() if remedy.fits(setting)]
    assert fitting, "no small variant that this remedy fits"
    name, setting = fitting[0]
    changes = remedy.changes(setting)
    if remedy.unforkable:
        assert all(key.startswith("train.") for key in changes)
        return
    assert not any(key.startswith(("train.", "generator.")) for key in changes)
    of = parse(filled(name)).variant(name)
    other = parse(applied(changes, name, filled(name))).variant(name)
    assert other != of
    assert not list(data_mistakes(other, (1, 8, 8), 4))
    items = data((1, 8, 8))
    left, branch = (Game(each, (1, 8, 8), 3, 4, 40, [0, 1]) for each in (of, other))
    play_turn(left, batches(items), len(items))
    transplant(left, branch)
    for _ in range(2):
        play_turn(branch, batches(items), len(items))
    assert branch.step == 3
    assert bool(branch.alive.all())
    assert bool(branch.generator.vector.isfinite().all())
