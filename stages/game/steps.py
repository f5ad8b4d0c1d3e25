"""One move of each player, as the papers' algorithm boxes write it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from stages.game.build import Flat
from stages.game.game import Game
from stages.game.streams import LaneDraws, lane_draws, sent
from stages.game.views import View, view
from stages.game.vocabulary import Draws

Batches = Callable[[Tensor], Tensor]  # indices [L, B] to data [L, B, ...] in the games' scale


class MemoCritic:
    """D that answers once for each tensor object, as it is shown that tensor: the penalty reuses the loss's forward."""

    def __init__(self, game: Game, see: View, together: bool = True) -> None:
        self._module, self._see = game.discriminator.module, see
        self._answers: dict[int, tuple[Tensor, Tensor]] = {}
        # One forward over both batches saves a program; batch statistics must not mix them, and an input gradient wants one part only.
        self._together = together and not game.discriminator.mixes_samples and not game.objective.penalty.input_gradient

    def __call__(self, x: Tensor) -> Tensor:
        if id(x) not in self._answers:
            self._answers[id(x)] = (x, self._module(self._see(x)))
        return self._answers[id(x)][1]

    def pair(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of both batches, `[L, B]` each."""
        if self._together:
            logits = self._module(torch.cat([self._see(real), self._see(fake)], 1))
            self._answers = {id(x): (x, part) for x, part in zip((real, fake), logits.chunk(2, 1), strict=True)}
        return self(real), self(fake)


@dataclass(frozen=True)
class Move:
    """What one player's step computed, before the weights moved: per-lane parts and the flat gradient; nothing is altered or repaired."""

    loss: Tensor  # [L], the adversarial part
    penalty: Tensor  # [L], weight * mean penalty as it entered the sum (zero in G's move)
    real_logits: Tensor  # [L, B]
    fake_logits: Tensor  # [L, B]
    gradient: Tensor  # flat


@dataclass(frozen=True)
class Draw:
    """What one update is played with. `again()` gives the same draw once more: new tensors, streams at their start."""

    real: Tensor  # [L, B, ...]
    noise: Tensor  # [L, B, latent]
    penalty: Draws
    see: View  # how D is shown a sample
    again: Callable[[], "Draw"]


@dataclass(frozen=True)
class Turn:
    """The last move of each player in a generator step, as computed before the weights moved."""

    discriminator: Move
    generator: Move

    def kept(self) -> "Turn":
        """A copy, which the next turn does not overwrite."""
        moves = ({name: tensor.clone() for name, tensor in vars(move).items()} for move in (self.discriminator, self.generator))
        return Turn(*(Move(**parts) for parts in moves))


def draw(game: Game, batches: Batches, items: int, player: str, substep: int) -> Draw:
    """The batch, the noise and the penalty's stream of (step, player, substep); lane l's depend on its seed alone."""
    tape, like = game.tape, game.like

    def stream(purpose: str) -> LaneDraws:
        return lane_draws(game.seeds, f"{player}/{purpose}", game.step, substep, like)

    def batch() -> Tensor:
        return sent(batches(stream("batch").integers(items, game.batch)), like.device, like.dtype)

    noise = tape.tensor(lambda: stream(f"noise{game.salt}").normal(game.batch, game.latent))
    see = view(game.veils, lambda purpose: tape.draws(lambda: stream(purpose)), game.step)
    again = partial(draw, game, batches, items, player, substep)
    return Draw(tape.tensor(batch), noise, tape.draws(lambda: stream("penalty")), see, again)


class Parts(NamedTuple):
    """A player's loss by part with what D answered, all with their graphs."""

    loss: Tensor  # [L], the adversarial part
    penalty: Tensor  # [L], strength * weight * mean penalty; zero for G
    real_logits: Tensor  # [L, B]
    fake_logits: Tensor  # [L, B]


def discriminator_parts(game: Game, given: Draw, fake: Tensor, strength: int, together: bool = True) -> Parts:
    """mean L_D(D(x), D(fake)) and strength * weight * mean penalty; strength 0 leaves the penalty uncomputed."""
    objective = game.objective
    if objective.penalty.input_gradient:
        given.real.requires_grad_(True)
        fake.requires_grad_(True)
    critic = MemoCritic(game, given.see, together)
    real_logits, fake_logits = critic.pair(given.real, fake)
    loss = objective.loss.discriminator(real_logits, fake_logits).mean(1)  # [L]
    penalty = torch.zeros_like(loss)
    if strength:
        value = objective.penalty.value(critic, given.real, fake, given.penalty, game.penalty_state)
        penalty = strength * objective.penalty.weight * value.mean(1)
    return Parts(loss, penalty, real_logits, fake_logits)


def discriminator_move(game: Game, given: Draw) -> Move:
    """D's gradient: ∇_ψ Σ_lanes [ mean L_D(D(x), D(G(z))) + I weight mean penalty ], the penalty on every I-th D step."""
    objective, interval = game.objective, game.variant.rules.lazy_interval
    with torch.no_grad():
        fake = game.generator.module(given.noise)
    loss, penalty, real_logits, fake_logits = discriminator_parts(game, given, fake, interval * (game.critic_step % interval == 0))
    gradients = torch.autograd.grad((loss + penalty).sum(), game.discriminator.parameters)
    if objective.penalty.update is not None:
        game.penalty_state = objective.penalty.update(game.penalty_state, real_logits.detach(), fake_logits.detach())
    return Move(loss.detach(), penalty.detach(), real_logits.detach(), fake_logits.detach(), game.discriminator.gather(gradients))


def generator_parts(game: Game, given: Draw, through_real: bool = False) -> Parts:
    """mean L_G(D(x), D(G(z))); the real logits keep their graph to D only where asked."""
    objective = game.objective
    fake_logits = game.discriminator.module(given.see(game.generator.module(given.noise)))
    real_logits = fake_logits
    if objective.loss.generator_reads_real:
        with torch.set_grad_enabled(through_real):
            real_logits = game.discriminator.module(given.see(given.real))
    loss = objective.loss.generator(real_logits, fake_logits).mean(1)  # [L]
    return Parts(loss, torch.zeros_like(loss.detach()), real_logits, fake_logits)


def generator_move(game: Game, given: Draw) -> Move:
    """G's gradient: ∇_θ Σ_lanes mean L_G(D(x), D(G(z))); D's parameters get no gradient."""
    loss, nothing, real_logits, fake_logits = generator_parts(game, given)
    gradients = torch.autograd.grad(loss.sum(), game.generator.parameters)
    return Move(loss.detach(), nothing, real_logits.detach(), fake_logits.detach(), game.generator.gather(gradients))


@torch.no_grad()
def apply_discriminator(game: Game, move: Move) -> None:
    """ψ <- ψ - d where D does not rest, then the constraint; what watches D's answers takes them in."""
    game.balance.observe(move.real_logits, move.fake_logits)
    shift_discriminator(game, move)
    for veil in game.veils:
        veil.observe(move.real_logits)
    game.tape.do(game.count_critic_step)


@torch.no_grad()
def shift_discriminator(game: Game, move: Move) -> None:
    """ψ <- ψ - d and the constraint alone."""
    step = game.discriminator_optimizer.direction(move.gradient)
    game.discriminator.vector.sub_(_only(game, game.balance.moving(game.alive), step, game.discriminator))
    game.objective.constraint.after_step(game.discriminator.module)


@torch.no_grad()
def apply_generator(game: Game, move: Move) -> None:
    """θ <- θ - d."""
    step = game.generator_optimizer.direction(move.gradient)
    game.generator.vector.sub_(_only(game, game.alive, step, game.generator))


def _only(game: Game, lanes: Tensor, step: Tensor, player: Flat) -> Tensor:
    """The step of these lanes, zero for the others."""
    if game.tape.may_ask(lanes) and bool(lanes.all()):  # elsewhere asking would make the host wait for the device
        return step
    return torch.where(player.lane_mask(lanes), step, torch.zeros_like(step))


def note_finite(game: Game, *moves: Move) -> None:
    """Lanes whose losses are not finite die at this step; called before their weights move."""
    finite = torch.stack([move.loss + move.penalty for move in moves]).isfinite().all(0)
    now = game.tape.number(lambda: game.step + 1, game.died_at)
    game.died_at.copy_(torch.where(game.alive & ~finite, now, game.died_at))  # masked_fill would ask a GPU for the number
    game.alive &= finite
