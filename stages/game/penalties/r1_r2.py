"""R1 and R2 together."""

from torch import Tensor

from stages.game.penalties._arguments import at_least_zero
from stages.game.penalties._gradients import squared_norms
from stages.game.vocabulary import Critic, Draws, Penalty, State


def r1_r2(*, weight: float) -> Penalty:
    """R1 + R2: half the squared norms of D's input gradient at real and at generated data, added.

    Per pair of samples (one index of the batch), x̃ = G(z) without a graph to G; the step adds weight times its batch mean to L_D::

        P = ½ ‖∇_x D(x)‖² + ½ ‖∇_x̃ D(x̃)‖²

    Norms sum over every data dimension. Shapes: data `[L, B, ...]` to penalties `[L, B]`. Both batches are the loss's own, their
    forward passes are reused. ValueError for a negative weight.

    Source: Mescheder, Geiger & Nowozin 2018, eq. 9 + 10; Huang et al. 2024 (R3GAN) with `loss: relativistic`.

    Elsewhere:

    - R3GAN γ: weight = γ, every step; its schedule goes down (CIFAR-10: 0.05 to 0.005), ours is constant.
    - GAN_stability `reg_type: real_fake`: no ½: weight = 2 x reg_param; its log shows the fake half alone.
    - StudioGAN, compare_gan, StyleGAN: none.
    """

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        return 0.5 * (squared_norms(critic, real) + squared_norms(critic, fake))

    return Penalty(value, weight=at_least_zero("weight", weight), input_gradient=True, differentiates_input=True)
