"""A second set of players that takes up a game's state, so that measures may move weights and draw batches without touching the game."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stages.game.game import Game
from stages.game.steps import Batches, Draw, Parts, discriminator_parts, draw, generator_parts

Pieces = list[Tensor]  # a gradient or an update, one piece a parameter, lane first


class Point(NamedTuple):
    """Both players' weights, flat."""

    discriminator: Tensor
    generator: Tensor


class Terms(NamedTuple):
    """D's gradient by the paths through which its loss depends on ψ; the three add up to it exactly, whatever the loss."""

    loss: Tensor  # [L], adversarial part and penalty
    real: Pieces  # (∂L/∂a) ∂a/∂ψ, a = D(x)
    fake: Pieces  # (∂L/∂b) ∂b/∂ψ, b = D(G(z))
    penalty: Pieces | None  # ∇_ψ of weight * mean penalty; None where the variant has none

    @property
    def whole(self) -> Pieces:
        """∇_ψ L_D."""
        both = [real + fake for real, fake in zip(self.real, self.fake, strict=True)]
        return both if self.penalty is None else [piece + more for piece, more in zip(both, self.penalty, strict=True)]


class Shadow:
    """The losses of a turn at any weights, on that turn's own batch, noise, penalty draws and views of D.

    All else is as when the turn began: the penalty's state, the augmentation's probability, and spectral norm's vectors as iterated before
    the turn's first D step. L_D contains the penalty at its average strength, every step: weight * mean, whatever `lazy_interval`.
    Forwards are training's (batch statistics of the batch).
    """

    def __init__(self, game: Game) -> None:
        self.twin = Game(
            game.variant, game.shape, game.latent, game.batch, game.steps, game.seeds, game.like.dtype, device=str(game.like.device)
        )
        self.penalised = self.twin.objective.penalty.weight > 0

    def take(self, game: Game) -> Point:
        """Take up the state in which a turn begins; the weights there."""
        self.twin.load_state({name: tensor.detach() for name, tensor in game.state().items()})
        self.twin.objective.constraint.before_step(self.twin.discriminator.module)
        return Point(self.twin.discriminator.vector.clone(), self.twin.generator.vector.clone())

    @torch.no_grad()
    def stand(self, point: Point) -> None:
        """Both players' weights there."""
        self.twin.discriminator.vector.copy_(point.discriminator)
        self.twin.generator.vector.copy_(point.generator)

    def draw(self, batches: Batches, items: int, player: str) -> Draw:
        """What the turn's first step of that player was played with."""
        return draw(self.twin, batches, items, player, 0)

    def more(self, batches: Batches, items: int, player: str, count: int) -> list[Draw]:
        """So many further draws, independent of the game's own and of each other."""
        return [draw(self.twin, batches, items, f"extra/{player}", index) for index in range(count)]

    def terms(self, given: Draw) -> Terms:
        """D's loss and its gradient by term. The split is by paths, since not every loss is a sum of a part in a and a part in b."""
        parts = self._discriminator(given, moving_generator=False, together=False)  # each kind's own backward costs half
        logits = [parts.real_logits.detach().requires_grad_(True), parts.fake_logits.detach().requires_grad_(True)]
        slopes = torch.autograd.grad(self.twin.objective.loss.discriminator(*logits).mean(1).sum(), logits)
        weights = self.twin.discriminator.parameters
        answers = (parts.real_logits, parts.fake_logits)
        real, fake = (
            list(torch.autograd.grad(answer, weights, slope, retain_graph=True, materialize_grads=True))
            for answer, slope in zip(answers, slopes, strict=True)
        )
        penalty = list(torch.autograd.grad(parts.penalty.sum(), weights, materialize_grads=True)) if self.penalised else None
        return Terms((parts.loss + parts.penalty).detach(), real, fake, penalty)

    def discriminator_gradient(self, given: Draw) -> Pieces:
        """∇_ψ L_D."""
        parts = self._discriminator(given, moving_generator=False)
        return list(torch.autograd.grad((parts.loss + parts.penalty).sum(), self.twin.discriminator.parameters))

    def discriminator_loss(self, given: Draw) -> Tensor:
        """L_D, `[L]`."""
        parts = self._discriminator(given, moving_generator=False)
        return (parts.loss + parts.penalty).detach()

    def discriminator_loss_by_generator(self, given: Draw) -> tuple[Tensor, Pieces]:
        """L_D and ∇_θ L_D, through the generated samples and the penalty's own points."""
        parts = self._discriminator(given, moving_generator=True)
        loss = parts.loss + parts.penalty
        return loss.detach(), _gradient(loss, self.twin.generator.parameters)

    def generator_loss(self, given: Draw) -> Tensor:
        """L_G, `[L]`."""
        with torch.no_grad():
            return generator_parts(self.twin, given).loss

    def generator_loss_by_discriminator(self, given: Draw) -> tuple[Tensor, Pieces]:
        """L_G and ∇_ψ L_G, through D's answers on both kinds of data."""
        loss = generator_parts(self.twin, given, through_real=True).loss
        return loss.detach(), _gradient(loss, self.twin.discriminator.parameters)

    def generator_gradient(self, given: Draw) -> tuple[Tensor, Pieces]:
        """L_G and ∇_θ L_G."""
        loss = generator_parts(self.twin, given).loss
        return loss.detach(), _gradient(loss, self.twin.generator.parameters)

    def _discriminator(self, given: Draw, moving_generator: bool, together: bool = True) -> Parts:
        with torch.set_grad_enabled(moving_generator):
            fake = self.twin.generator.module(given.noise)
        return discriminator_parts(self.twin, given, fake, int(self.penalised), together)


def _gradient(loss: Tensor, weights: Sequence[Tensor]) -> Pieces:
    return list(torch.autograd.grad(loss.sum(), weights, materialize_grads=True, allow_unused=True))
