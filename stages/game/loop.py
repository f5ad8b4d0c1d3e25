"""The game played: one generator step with the discriminator steps that precede it, and what was seen meanwhile."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from stages.game.consensus import discriminator_consensus, generator_consensus
from stages.game.extra_gradient import extra_gradient
from stages.game.game import Game
from stages.game.steps import (
    Batches,
    Draw,
    Move,
    Turn,
    apply_discriminator,
    apply_generator,
    discriminator_move,
    draw,
    generator_move,
    note_finite,
)


class Moves(NamedTuple):
    """How each player's move is computed at the present weights."""

    discriminator: Callable[[Game, Draw], Move]
    generator: Callable[[Game, Draw], Move]


def play_turn(game: Game, batches: Batches, items: int) -> Turn:
    """One generator step (`rules.order`, `rules.method`): D's updates, then G's; or both from the same weights."""
    rules, held = game.variant.rules, game.penalty_state
    turn = TURNS[rules.method, rules.order](game, batches, items)
    game.keep_penalty_state(held)
    game.tape.do(game.count_step)
    game.average()
    return turn


def _alternating(moves: Moves, game: Game, batches: Batches, items: int) -> Turn:
    """For `critic_steps`: ψ <- ψ - d(∇L_D(ψ, θ)). For `generator_steps`: θ <- θ - d(∇L_G(ψ, θ)), ψ already moved."""
    for substep in range(game.variant.rules.critic_steps):
        game.objective.constraint.before_step(game.discriminator.module)
        against = moves.discriminator(game, draw(game, batches, items, "discriminator", substep))
        note_finite(game, against)
        apply_discriminator(game, against)
    for substep in range(game.variant.rules.generator_steps):
        forward = moves.generator(game, draw(game, batches, items, "generator", substep))
        note_finite(game, forward)
        apply_generator(game, forward)
    return Turn(against, forward)


def _simultaneous(moves: Moves, game: Game, batches: Batches, items: int) -> Turn:
    """Both gradients at the same (ψ, θ), then both move; earlier critic steps, if any, move D alone."""
    for substep in range(game.variant.rules.critic_steps):
        game.objective.constraint.before_step(game.discriminator.module)
        against = moves.discriminator(game, draw(game, batches, items, "discriminator", substep))
        note_finite(game, against)
        if substep < game.variant.rules.critic_steps - 1:
            apply_discriminator(game, against)
    forward = moves.generator(game, draw(game, batches, items, "generator", 0))
    note_finite(game, forward)
    apply_discriminator(game, against)
    apply_generator(game, forward)
    return Turn(against, forward)


PLAIN = Moves(discriminator_move, generator_move)
CONSENSUS = Moves(discriminator_consensus, generator_consensus)
TURNS: dict[tuple[str, str], Callable[[Game, Batches, int], Turn]] = {
    ("gradient", "alternating"): partial(_alternating, PLAIN),
    ("gradient", "simultaneous"): partial(_simultaneous, PLAIN),
    ("consensus", "alternating"): partial(_alternating, CONSENSUS),
    ("consensus", "simultaneous"): partial(_simultaneous, CONSENSUS),
    ("extra_gradient", "simultaneous"): extra_gradient,
}
