"""No penalty."""

from torch import Tensor

from stages.game.vocabulary import Critic, Draws, Penalty, State


def none() -> Penalty:
    """The absent penalty: zero for every sample, `[L, B]`, weight 0; D's loss is the adversarial loss alone."""

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        return real.new_zeros(real.shape[:2])

    return Penalty(value, weight=0.0)
