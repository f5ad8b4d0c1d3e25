"""The optimiser of a snapshot held still: how far each weight moves there for a given gradient."""

from collections.abc import Mapping

import torch
from torch import Tensor

from stages.game.motion import FACTORS
from stages.game.spec import Rules

Named = Mapping[str, Tensor]


def preconditioner(rules: Rules, saved: Named, weights: Mapping[str, Named], lane: int, steps: int) -> Tensor | None:
    """The diagonal p > 0 of P for one lane, flat and in float64: a step is ω <- ω - P v.

    Each player's piece with its own learning rate lr, times the schedule's factor of the step that led to the snapshot::

        sgd       p = lr
        rmsprop   p = lr / (√v + ε)
        adam      p = lr / (√v̂ + ε),  v̂ = v / (1 - β2^t), bias-corrected as in the step itself

    v is the second average that the player's optimiser had reached after its t updates. What the optimiser does besides is left out:
    momentum (for a gradient that stays as it is, m̂ = g), gradient_clip, a resting D; for the optimistic forms, extra-gradient and consensus
    P is the plain form's. `saved` is the snapshot's continuation (`stages.game.fork.continuation`) of a run of so many `steps`; `weights`
    are that lane's of "generator" and "discriminator" by name, in the order wanted. `None` before the first step, where Adam's and
    RMSprop's averages are empty. KeyError where `saved` is of another game.
    """
    done, form = int(saved["step"][lane]), rules.optimizer.removeprefix("optimistic_")
    if done == 0 and form != "sgd":
        return None
    factor = FACTORS[rules.schedule](max(done - 1, 0) / steps) if rules.schedule != "constant" else 1.0
    pieces = []
    for player, lr in (("generator", rules.generator_lr), ("discriminator", rules.discriminator_lr)):
        correction = 1.0
        if form == "adam":
            correction = 1 - rules.beta2 ** int(saved[f"{player}_optimizer/count"][lane])
        for name, weight in weights[player].items():
            piece = torch.ones(weight.numel(), dtype=torch.float64)
            if form != "sgd":
                square = saved[f"{player}_optimizer/square/{name}"][lane].double().reshape(-1)
                piece /= (square / correction).sqrt() + rules.epsilon
            pieces.append(lr * factor * piece)
    return torch.cat(pieces)
