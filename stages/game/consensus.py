"""Consensus optimisation: both players are also pulled to where neither's gradient is large."""

from dataclasses import replace

import torch
from torch import Tensor

from stages.game.build import Flat
from stages.game.game import Game
from stages.game.lanes import statistics_held
from stages.game.steps import Draw, Move, discriminator_move, generator_move


def consensus(game: Game, given: Draw, player: Flat) -> Tensor:
    """`method: consensus`: each player's gradient gets consensus_weight times the gradient of half the squared norm of both, per lane::

        v = (∇_θ L_G, ∇_ψ L_D)             of the losses alone, without D's penalty
        θ: ∇_θ L_G + c ∇_θ ½‖v‖²           ψ: ∇_ψ (L_D + penalty) + c ∇_ψ ½‖v‖²           c = consensus_weight

    Computed in each player's own move at the weights it then sees, v's two halves on that move's real batch and noise, under the same
    views of D; any order and number of steps. It attracts every point where v = 0, saddle points and saturated corners included, so that
    it converges locally only. A minibatch's ½‖v‖² is biased: its mean is ½‖E v‖² + ½ tr Cov(v), so that the pull is also towards
    weights whose gradients vary little between batches, the more the smaller the batch.

    The term moves no state (running statistics, LeCam's averages) and differentiates twice through both players. Shapes: flat, like the
    player's vector. Source: Mescheder, Nowozin & Geiger 2017 (The numerics of GANs), section 4 (consensus optimization, its γ is our c).
    """
    objective, discriminator, generator = game.objective, game.discriminator, game.generator
    with statistics_held(discriminator.module, generator.module):
        fake = generator.module(given.noise)
        real_logits, fake_logits = discriminator.module(given.see(given.real)), discriminator.module(given.see(fake))
    reference = real_logits if objective.loss.generator_reads_real else fake_logits
    losses = (
        (objective.loss.generator(reference, fake_logits).mean(1).sum(), generator.parameters),
        (objective.loss.discriminator(real_logits, fake_logits).mean(1).sum(), discriminator.parameters),
    )
    field = [piece for loss, weights in losses for piece in torch.autograd.grad(loss, weights, create_graph=True)]
    energy = sum((piece.square().sum() for piece in field), start=torch.zeros_like(losses[0][0])) / 2
    pull = torch.autograd.grad(energy, player.parameters, materialize_grads=True)
    return game.variant.rules.consensus_weight * player.gather(pull)


def discriminator_consensus(game: Game, given: Draw) -> Move:
    """D's move with the pull."""
    move = discriminator_move(game, given)
    return replace(move, gradient=move.gradient + consensus(game, given.again(), game.discriminator))


def generator_consensus(game: Game, given: Draw) -> Move:
    """G's move with the pull."""
    move = generator_move(game, given)
    return replace(move, gradient=move.gradient + consensus(game, given.again(), game.generator))
