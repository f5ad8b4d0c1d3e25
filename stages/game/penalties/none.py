"""No penalty."""

from torch import Tensor

from stages.game.vocabulary import Critic, Draws, Penalty, State


def none() -> Penalty:
    """The absent penalty: zero for every sample, weight 0; D's loss is the adversarial loss alone.

    Per sample::

        P = 0

    Shapes: data `[L, B, ...]` to penalties `[L, B]`. D is not called.

    Source: compare_gan's `no_penalty`, so that the step never asks whether there is one.
    """

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        return real.new_zeros(real.shape[:2])

    return Penalty(value, weight=0.0)
