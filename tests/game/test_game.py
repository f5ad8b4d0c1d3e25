"""The game's state: resume is exact, the average is the stated one, a snapshot rebuilds the players."""

import dataclasses

import games
import pytest
import torch

from stages.game import build
from stages.game.restore import players, sample


@pytest.mark.parametrize("choice", games.EVERYTHING, ids=str)
def test_resume_is_exact(choice):
    """train(2N) == train(N) + resume(N), bit for bit, over the catalogue."""
    of = games.variant(**choice)
    whole = games.play(games.game(of, [0, 1], 8), 8)
    half = games.play(games.game(of, [0, 1], 8), 4)
    saved = {name: tensor.clone() for name, tensor in half.state().items()}
    resumed = games.game(of, [0, 1], 8)
    resumed.load_state(saved)
    games.play(resumed, 4)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name]), name


def test_a_checkpoint_of_another_game_is_refused():
    saved = games.game(games.variant(), [0, 1, 2]).state()
    with pytest.raises(ValueError, match="another game"):
        games.game(games.variant(), [0, 1]).load_state(saved)


def test_the_average_has_the_stated_half_life():
    """After step t the weight of the newest point is 1 - 2^(-1/h), h = min(half_life N, 0.05 t)."""
    one = games.game(games.variant(ema_half_life=0.1), [0], steps=1000)
    expected = one.ema.clone()
    for step in range(1, 31):
        games.play(one, 1)
        half_life = min(100.0, 0.05 * step)
        expected += (1 - 0.5 ** (1 / half_life)) * (one.generator.vector.detach() - expected)
        torch.testing.assert_close(one.ema, expected, rtol=1e-12, atol=1e-14)


def test_no_half_life_is_no_average():
    one = games.play(games.game(games.variant(ema_half_life=0.0), [0]), 5)
    assert torch.equal(one.ema, one.generator.vector)


@pytest.mark.parametrize("rules", [{}, {"pack": 2}, {"minibatch_std": True}], ids=str)
@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_a_snapshot_rebuilds_the_players(network, rules):
    of = games.variant("hinge", "none", "spectral_norm", network, **rules)
    one = games.play(games.game(of, [0, 1], dtype=torch.float32), 3)
    config = {**dataclasses.asdict(of), "latent": one.latent}
    rebuilt = players({"config": config, "data": {"shape": list(one.shape)}, "seeds": [0, 1]}, one.snapshot())
    noise = torch.randn(2, 6, one.latent, generator=torch.Generator().manual_seed(0))
    one.generator.module.eval()
    torch.testing.assert_close(sample(rebuilt.generator, noise, 4), one.generator.module(noise).detach())
    x = games.data(one.shape, 6).expand(2, 6, *one.shape)
    torch.testing.assert_close(rebuilt.discriminator(x), one.discriminator.module(x))


def test_critic_steps_are_played():
    one = games.play(games.game(games.variant(critic_steps=3), [0]), 4)
    assert (one.step, one.critic_step) == (4, 12)


def test_lazy_penalty_enters_every_ith_step_with_weight_i():
    """sgd on D with a penalty of weight w at interval 1, against interval 2: the first step adds twice the penalty, the second none."""
    from stages.game.steps import discriminator_move, draw

    items = games.data(games.SHAPES["mlp"])
    moves = {}
    for interval in (1, 2):
        one = games.game(games.variant("hinge", "r1", lazy_interval=interval), [0])
        moves[interval] = [discriminator_move(one, draw(one, games.batches(items), 50, "discriminator", 0))]
        one.critic_step = 1
        moves[interval].append(discriminator_move(one, draw(one, games.batches(items), 50, "discriminator", 0)))
    torch.testing.assert_close(moves[2][0].penalty, 2 * moves[1][0].penalty)
    assert float(moves[2][1].penalty) == 0.0
    assert float(moves[1][1].penalty) > 0.0


def test_simultaneous_moves_both_from_the_same_point():
    """One simultaneous sgd turn: G's gradient is at D's old weights; alternating has D's new ones."""
    turns = {}
    for order in ("simultaneous", "alternating"):
        one = games.game(games.variant("non_saturating", order=order, optimizer="sgd", discriminator_lr=0.5), [0])
        start = one.generator.vector.clone()
        games.play(one, 1)
        turns[order] = one.generator.vector - start
    reference = games.game(games.variant("non_saturating", optimizer="sgd", discriminator_lr=1e-300), [0])
    start = reference.generator.vector.clone()
    games.play(reference, 1)
    torch.testing.assert_close(turns["simultaneous"], reference.generator.vector - start, rtol=1e-9, atol=1e-15)
    assert not torch.allclose(turns["alternating"], turns["simultaneous"])


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1_r2", "gradient_penalty", "dragan"])
def test_batch_norm_in_d_with_an_input_gradient_is_refused(penalty):
    with pytest.raises(ValueError, match="batch norm in the discriminator"):
        build.objective(games.variant("hinge", penalty, discriminator_normalisation="batch"))


@pytest.mark.parametrize("penalty", ["none", "lecam"])
def test_batch_norm_in_d_plays_with_the_other_penalties(penalty):
    one = games.play(games.game(games.variant("hinge", penalty, discriminator_normalisation="batch"), [0, 1]), 3)
    assert one.alive.all()


def test_the_generators_step_leaves_d_and_the_discriminators_leaves_g():
    from stages.game.steps import apply_generator, draw, generator_move

    one = games.game(games.variant(), [0])
    before = one.discriminator.vector.clone()
    items = games.data(one.shape)
    apply_generator(one, generator_move(one, draw(one, games.batches(items), 50, "generator", 0)))
    assert torch.equal(one.discriminator.vector, before)
