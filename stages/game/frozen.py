"""One lane of a snapshot held still in float64: its two losses as functions of both players' weights, for measures of the landscape.

Batch statistics are the running ones, spectral norm's vectors are those of the snapshot; neither is differentiated. A penalty's own state
(LeCam's averages) is what it settles to on the given batch, then held. A lazy penalty counts at its average strength. All else is exact:
the points that a penalty looks at move with G.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.game.build import catalogue_part
from stages.game.memo import Memo
from stages.game.restore import players
from stages.game.spec import variant
from stages.game.streams import lane_draws
from stages.game.vocabulary import GanLoss, Penalty

SETTLED = 1000  # updates of a penalty's state on one batch


@dataclass(frozen=True)
class FrozenLane:
    """Both players of one lane (every parameter `[1, ...]`, float64, evaluation mode) and the objective they play."""

    generator: nn.Module
    discriminator: nn.Module
    loss: GanLoss
    penalty: Penalty
    seed: int

    def losses(self, real: Tensor, noise: Tensor, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(L_G, L_D with its penalty) as scalars on data `[1, B, ...]` and noise `[1, B, latent]`; `state` is `settled`'s.

        Unlike in training, the fake batch keeps its graph to G in L_D too, and D its graph in L_G: the gradients ∇_θ L_G and ∇_ψ L_D
        are the same, and their derivatives by the other player's weights exist. Random penalties draw the same numbers at every call.
        """
        fake = self.generator(noise)
        if self.penalty.input_gradient:
            real = real.detach().requires_grad_(True)
        critic = Memo(self.discriminator)
        a, b = critic(real), critic(fake)
        loss = self.loss.discriminator(a, b).mean()
        draws = lane_draws([self.seed], "frozen/penalty", 0, 0, real)
        value = self.penalty.value(critic, real, fake, draws, state)
        other = a if self.loss.generator_reads_real else b
        return self.loss.generator(other, b).mean(), loss + self.penalty.weight * value.mean()

    @torch.no_grad()
    def settled(self, real: Tensor, noise: Tensor) -> Mapping[str, Tensor]:
        """The penalty's own state where it comes to rest on this batch."""
        state: Mapping[str, Tensor] = {name: torch.full((1,), value, dtype=torch.float64) for name, value in self.penalty.state.items()}
        if self.penalty.update is not None:
            a, b = self.discriminator(real), self.discriminator(self.generator(noise))
            for _ in range(SETTLED):
                state = self.penalty.update(state, a, b)
        return state


def frozen_lane(run: Mapping[str, Any], tensors: Mapping[str, Tensor], lane: int) -> FrozenLane:
    """Lane number `lane` of a snapshot of `results/runs/v.json`."""
    seed = run["seeds"][lane]
    own = players({**run, "seeds": [seed]}, {name: tensor[lane : lane + 1] for name, tensor in tensors.items()})
    config = variant(run["config"])
    loss, penalty = catalogue_part("loss", config.loss), catalogue_part("penalty", config.penalty)
    return FrozenLane(own.generator.double(), own.discriminator.double(), loss, penalty, seed)
