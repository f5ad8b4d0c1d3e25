"""R2: the gradient penalty on generated data."""

from torch import Tensor

from stages.game.penalties._arguments import at_least_zero
from stages.game.penalties._gradients import squared_norms
from stages.game.vocabulary import Critic, Draws, Penalty, State


def r2(*, weight: float) -> Penalty:
    """R2: half the squared norm of D's input gradient at generated data, so that `weight` is the paper's γ.

    Per sample, x̃ = G(z) without a graph to G; the step adds weight times its batch mean to L_D::

        P = ½ ‖∇_x̃ D(x̃)‖²          L_D + weight/2 E‖∇_x̃ D(x̃)‖²

    The norm sums over every data dimension. Shapes: data `[L, B, ...]` to penalties `[L, B]`. The generated batch is the D
    step's own, its forward pass is reused. ValueError for a negative weight.

    Source: Mescheder, Geiger & Nowozin 2018, eq. 10.

    Elsewhere:

    - GAN_stability `reg_type: fake`: no ½: weight = 2 x reg_param, on the same step's x̃.
    - R3GAN γ (half of `r1_r2`): weight = the same number.
    - StudioGAN, compare_gan, StyleGAN: none.
    """

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        return 0.5 * squared_norms(critic, fake)

    return Penalty(value, weight=at_least_zero("weight", weight), input_gradient=True, differentiates_input=True)
