"""The optimiser held still: what it says of a step against the step that was taken, and closed forms."""

import pytest
import torch
from games import batches, data, game, play, variant

from stages.game.fork import continuation
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.preconditioner import preconditioner
from stages.game.spec import Part, Player, Rules, Variant

PLAYERS = ("generator", "discriminator")


def weights(one, lane):
    """One lane's, `[1, ...]`."""
    return {player: {n: p[lane : lane + 1] for n, p in getattr(one, player).module.named_parameters()} for player in PLAYERS}


def held(one, lane, steps=100):
    return preconditioner(one.variant.rules, continuation(one), weights(one, lane), lane, steps)


def flat(one, lane):
    return torch.cat([p.detach()[lane].reshape(-1) for player in PLAYERS for p in getattr(one, player).parameters])


RULES = {
    "adam": {"optimizer": "adam", "beta1": 0.0},
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd"},
    "rates": {"optimizer": "adam", "beta1": 0.0, "generator_lr": 1e-4, "discriminator_lr": 4e-3},
    "linear": {"optimizer": "adam", "beta1": 0.0, "schedule": "linear"},
    "cosine": {"optimizer": "sgd", "schedule": "cosine"},
    "critic_steps": {"optimizer": "adam", "beta1": 0.0, "critic_steps": 3},
}


@pytest.mark.parametrize("name", RULES)
def test_without_momentum_the_last_step_was_p_times_its_gradient(name):
    """The average after a step is the one that the step itself divided by, so that Δω = −P g exactly, lane by lane."""
    one = play(game(variant(**RULES[name]), [0, 1]), 4)
    before, items = [flat(one, lane) for lane in range(2)], data(one.shape)
    turn = play_turn(one, batches(items), len(items))
    for lane in range(2):
        moves = (turn.generator, turn.discriminator)
        gradient = torch.cat(
            [
                piece[lane].reshape(-1)
                for move, player in zip(moves, PLAYERS, strict=True)
                for piece in getattr(one, player).split(move.gradient)
            ]
        )
        moved, generators = flat(one, lane) - before[lane], sum(p[lane].numel() for p in one.generator.parameters)
        told = -held(one, lane) * gradient
        rows = slice(0, generators) if name == "critic_steps" else slice(None)  # D's Δ is of three steps
        assert moved[rows].tolist() == pytest.approx(told[rows].tolist(), rel=1e-9, abs=1e-15)


def dirac(loss, at, optimizer):
    line = Player("linear")
    rules = Rules(optimizer=optimizer, generator_lr=0.1, discriminator_lr=0.1, order="simultaneous")
    none = Part("none", {})
    one = Game(Variant("dirac", Part(loss, {}), none, none, rules, line, line), (1,), 1, 1, 100, [0], torch.float64)
    one.generator.vector.copy_(torch.tensor(at[:1]))
    one.discriminator.vector.copy_(torch.tensor(at[1:]))
    point = torch.zeros(1, 1, dtype=torch.float64)
    play_turn(one, lambda indices: point[indices], 1)
    return one


def test_after_one_adam_step_p_is_the_rate_over_the_gradient():
    """v̂ = g² after one step: p = h / (|g| + ε). Wasserstein Dirac-GAN at (θ, ψ) has g = (−ψ, θ)."""
    found = held(dirac("wasserstein", (0.5, -2.0), "adam"), 0)
    assert found.tolist() == pytest.approx([0.1 / (2.0 + 1e-8), 0.1 / (0.5 + 1e-8)], rel=1e-12)


def test_the_optimistic_form_has_the_plain_one_s_p():
    plain, ahead = (held(dirac("wasserstein", (0.5, -2.0), name), 0) for name in ("adam", "optimistic_adam"))
    assert torch.equal(plain, ahead)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "optimistic_adam"])
def test_before_the_first_step_there_is_none(optimizer):
    assert held(game(variant(optimizer=optimizer), [0]), 0) is None


def test_sgd_needs_no_step():
    one = game(variant(optimizer="sgd", generator_lr=0.1, discriminator_lr=0.3), [0])
    found, generators = held(one, 0), sum(p[0].numel() for p in one.generator.parameters)
    assert torch.equal(found[:generators], torch.full((generators,), 0.1, dtype=torch.float64))
    assert torch.equal(found[generators:], torch.full((len(found) - generators,), 0.3, dtype=torch.float64))


def test_a_continuation_of_another_optimiser_is_refused():
    one, other = play(game(variant(optimizer="rmsprop"), [0]), 1), variant(optimizer="adam").rules
    with pytest.raises(KeyError, match="count"):
        preconditioner(other, continuation(one), weights(one, 0), 0, 100)
