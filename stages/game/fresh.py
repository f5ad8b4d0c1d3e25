"""A discriminator that starts anew and learns by a variant's own loss, penalty and constraint, whoever makes the samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.game.build import Flat, catalogue_part, discriminator
from stages.game.memo import Memo
from stages.game.optimizers import Optimizer, optimizer
from stages.game.spec import Rules, Variant
from stages.game.streams import lane_draws
from stages.game.vocabulary import Constraint, GanLoss, Penalty


@dataclass
class Fresh:
    """D of every lane with its objective and what it keeps between updates (the optimiser's averages, the penalty's state)."""

    player: Flat
    loss: GanLoss
    penalty: Penalty
    constraint: Constraint
    motion: Optimizer
    seeds: Sequence[int]
    state: Mapping[str, Tensor]

    def update(self, real: Tensor, fake: Tensor, step: int) -> None:
        """One update on data and samples `[L, B, ...]`, as the game makes it: constraint before and after, penalty at every step."""
        module = self.player.module.train()
        self.constraint.before_step(module)
        real, fake = (x.detach().requires_grad_(self.penalty.input_gradient) for x in (real, fake))
        critic = Memo(module)
        apart = self.player.mixes_samples or self.penalty.input_gradient
        a, b = (critic(real), critic(fake)) if apart else critic.pair(real, fake)
        draws = lane_draws(self.seeds, "fresh/penalty", step, 0, real)
        penalty = self.penalty.value(critic, real, fake, draws, self.state)
        loss = self.loss.discriminator(a, b).mean(1) + self.penalty.weight * penalty.mean(1)  # [L]
        gradient = self.player.gather(torch.autograd.grad(loss.sum(), self.player.parameters))
        if self.penalty.update is not None:
            self.state = self.penalty.update(self.state, a.detach(), b.detach())
        with torch.no_grad():
            self.player.vector.sub_(self.motion.direction(gradient))
        self.constraint.after_step(module)

    def generator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The variant's L_G of logits `[L, N]` and `[L, M]`, per sample; relativistic forms pair the first of both."""
        if not self.loss.generator_reads_real:
            return self.loss.generator(fake, fake)
        count = min(real.shape[1], fake.shape[1])
        return self.loss.generator(real[:, :count], fake[:, :count])


def fresh(variant: Variant, shape: tuple[int, ...], seeds: Sequence[int], rules: Rules, dtype: torch.dtype = torch.float32) -> Fresh:
    """The variant's D (its network, pack and constraint) with new weights by seed, moved by the optimiser of `rules` at its D's rate.

    Left out of the variant's rules: instance noise, augmentation, consensus, balance; a lazy penalty counts at every step, unscaled.
    """
    loss, penalty = catalogue_part("loss", variant.loss), catalogue_part("penalty", variant.penalty)
    constraint = catalogue_part("constraint", variant.constraint)
    player = Flat(discriminator(variant.discriminator, shape, seeds, constraint, dtype, variant.rules.pack))
    state = {name: torch.full((len(seeds),), value, dtype=dtype) for name, value in penalty.state.items()}
    return Fresh(player, loss, penalty, constraint, optimizer(player.vector, rules.discriminator_lr, rules), seeds, state)
