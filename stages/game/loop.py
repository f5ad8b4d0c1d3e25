"""The game played: one generator step with the discriminator steps that precede it, and what was seen meanwhile."""

from dataclasses import dataclass

from stages.game.game import Game
from stages.game.steps import (
    Batches,
    Move,
    apply_discriminator,
    apply_generator,
    discriminator_move,
    draw,
    generator_move,
    note_finite,
)


@dataclass(frozen=True)
class Turn:
    """The last move of each player in a generator step, as computed before the weights moved."""

    discriminator: Move
    generator: Move


def play_turn(game: Game, batches: Batches, items: int) -> Turn:
    """One generator step (`rules.order`): D's updates, then G's; or both from the same weights."""
    turn = _simultaneous(game, batches, items) if game.variant.rules.order == "simultaneous" else _alternating(game, batches, items)
    game.step += 1
    game.average()
    return turn


def _alternating(game: Game, batches: Batches, items: int) -> Turn:
    """For `critic_steps`: ψ <- ψ - d(∇L_D(ψ, θ)). For `generator_steps`: θ <- θ - d(∇L_G(ψ, θ)), ψ already moved."""
    for substep in range(game.variant.rules.critic_steps):
        game.objective.constraint.before_step(game.discriminator.module)
        against = discriminator_move(game, draw(game, batches, items, "discriminator", substep))
        note_finite(game, against)
        apply_discriminator(game, against)
    for substep in range(game.variant.rules.generator_steps):
        forward = generator_move(game, draw(game, batches, items, "generator", substep))
        note_finite(game, forward)
        apply_generator(game, forward)
    return Turn(against, forward)


def _simultaneous(game: Game, batches: Batches, items: int) -> Turn:
    """Both gradients at the same (ψ, θ), then both move; earlier critic steps, if any, move D alone."""
    for substep in range(game.variant.rules.critic_steps):
        game.objective.constraint.before_step(game.discriminator.module)
        against = discriminator_move(game, draw(game, batches, items, "discriminator", substep))
        note_finite(game, against)
        if substep < game.variant.rules.critic_steps - 1:
            apply_discriminator(game, against)
    forward = generator_move(game, draw(game, batches, items, "generator", 0))
    note_finite(game, forward)
    apply_discriminator(game, against)
    apply_generator(game, forward)
    return Turn(against, forward)
