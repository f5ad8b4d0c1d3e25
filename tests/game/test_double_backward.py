"""Penalties on input gradients through every kind of network: the gradient by D's weights against finite differences."""

import dataclasses

import games
import pytest
import torch

from stages.game.consensus import consensus
from stages.game.steps import discriminator_move, draw, generator_move
from stages.store import catalogue

E = 1e-6
SMOOTH = {"dcgan": "tanh", "mlp": "tanh", "resnet": "silu", "linear": "tanh"}


def smooth_game(network: str, penalty: str, **rules: object) -> games.Game:
    """Two lanes in float64 whose activations have derivatives everywhere, so that finite differences mean something."""
    of = games.variant("non_saturating", penalty, network=network, generator_normalisation="none", **rules)
    of = games.replaced(of, discriminator=dataclasses.replace(of.discriminator, activation=SMOOTH[network]))
    of = games.replaced(of, generator=dataclasses.replace(of.generator, activation=SMOOTH[network]))
    return games.game(of, [0, 1])


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1_r2", "gradient_penalty", "dragan"])
@pytest.mark.parametrize("network", catalogue.names("network"))
def test_the_gradient_of_ds_move_is_that_of_its_value(network, penalty):
    one, items = smooth_game(network, penalty), games.data(games.SHAPES[network])
    deal = lambda: draw(one, games.batches(items), len(items), "discriminator", 0)  # noqa: E731
    gradient = discriminator_move(one, deal()).gradient
    way = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sums = []
    for sign in (E, -E):
        one.discriminator.vector.add_(sign * way)
        move = discriminator_move(one, deal())
        sums.append(float((move.loss + move.penalty).sum()))
        one.discriminator.vector.sub_(sign * way)
    assert float(gradient @ way) == pytest.approx((sums[0] - sums[1]) / (2 * E), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("loss", ["non_saturating", "relativistic", "least_squares"])
@pytest.mark.parametrize("network", catalogue.names("network"))
def test_consensus_is_the_gradient_of_half_the_squared_field(network, loss):
    one, items = smooth_game(network, "none", method="consensus", consensus_weight=0.7), games.data(games.SHAPES[network])
    one.objective = dataclasses.replace(one.objective, loss=games.game(games.variant(loss), [0]).objective.loss)
    given = draw(one, games.batches(items), len(items), "discriminator", 0)

    def energy() -> float:
        v = [discriminator_move(one, given.again()).gradient, generator_move(one, given.again()).gradient]
        return float(sum(piece.square().sum() for piece in v)) / 2

    for player in (one.discriminator, one.generator):
        pull = consensus(one, given.again(), player)
        way = torch.randn(pull.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        ends = []
        for sign in (E, -E):
            player.vector.add_(sign * way)
            ends.append(energy())
            player.vector.sub_(sign * way)
        assert float(pull @ way) == pytest.approx(0.7 * (ends[0] - ends[1]) / (2 * E), rel=1e-5, abs=1e-8)
