"""Extra-gradient: look one step ahead, then move from here with the gradients found there."""

import torch

from stages.game.game import Game
from stages.game.lanes import statistics_held
from stages.game.steps import (
    Batches,
    Move,
    Turn,
    apply_discriminator,
    apply_generator,
    discriminator_move,
    draw,
    generator_move,
    note_finite,
    shift_discriminator,
)


def extra_gradient(game: Game, batches: Batches, items: int) -> Turn:
    """`method: extra_gradient`: both players step to a look-ahead point, and the gradients found there move them from where they were::

        ω' = ω - d(v(ω)),   ω <- ω - d(v(ω'))              ω = (θ, ψ), v = (∇_θ L_G, ∇_ψ (L_D + penalty)), d the optimiser's step

    Simultaneous, one step each; the same batches, noise, penalty draws and views of D at both points. Spectral-norm vectors are iterated
    once, batch norm's running statistics and LeCam's averages move at the first point only, G's average moves once a turn. Adam and
    RMSprop take in both gradients, as in the paper's extra-Adam; D's weights are clipped at both points. A turn costs two: it counts as
    one generator step, its samples and operations as they run. Recorded losses and gradients are those at ω. With sgd of rate h on the
    bilinear game it contracts by √(1 - h² + h⁴) a step.

    Source: Korpelevich 1976; Gidel et al. 2019 (A variational inequality perspective on GANs), algorithms 3 and 4.
    """
    game.objective.constraint.before_step(game.discriminator.module)
    before = game.penalty_state
    here = _moves(game, batches, items)
    after = game.penalty_state
    with statistics_held(game.generator.module, game.discriminator.module):
        game.penalty_state = before
        there = _moves_ahead(game, here, batches, items)
    game.penalty_state = after
    apply_discriminator(game, there.discriminator)
    apply_generator(game, there.generator)
    return here


def _moves(game: Game, batches: Batches, items: int) -> Turn:
    """Both players' moves at the present weights; a lane with losses that are not finite dies."""
    moves: tuple[Move, Move] = (
        discriminator_move(game, draw(game, batches, items, "discriminator", 0)),
        generator_move(game, draw(game, batches, items, "generator", 0)),
    )
    note_finite(game, *moves)
    return Turn(*moves)


def _moves_ahead(game: Game, here: Turn, batches: Batches, items: int) -> Turn:
    """The moves one step ahead; the weights come back to where they were."""
    vectors = [player.vector for player in (game.generator, game.discriminator)]
    kept = [vector.clone() for vector in vectors]
    shift_discriminator(game, here.discriminator)
    apply_generator(game, here.generator)
    there = _moves(game, batches, items)
    with torch.no_grad():
        for vector, old in zip(vectors, kept, strict=True):
            vector.copy_(old)
    return there
