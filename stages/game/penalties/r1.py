"""R1: the gradient penalty on real data."""

from torch import Tensor

from stages.game.penalties._arguments import at_least_zero
from stages.game.penalties._gradients import squared_norms
from stages.game.vocabulary import Critic, Draws, Penalty, State


def r1(*, weight: float) -> Penalty:
    """R1: half the squared norm of D's input gradient at real data, so that `weight` is the paper's γ.

    Per sample; the step adds weight times its batch mean to L_D::

        P = ½ ‖∇_x D(x)‖²           L_D + weight/2 E‖∇_x D(x)‖²

    The norm sums over every data dimension (pixels, not their mean). Shapes: data `[L, B, ...]` to penalties `[L, B]`. The real
    batch is the loss's own, its forward pass is reused. Strength depends on the data scale: doubling the scale of x asks for 4 x weight.
    In StyleGAN's experience γ grows fourfold with every doubling of the image side. ValueError for a negative weight.

    Source: Mescheder, Geiger & Nowozin 2018, eq. 9. On Dirac-GAN, weight 1 is critical damping for the logistic losses.

    Elsewhere:

    - GAN_stability `reg_param`: no ½: weight = 2 x reg_param; its default 10 is 20 here.
    - StudioGAN `r1_lambda`, StyleGAN 2-3 `gamma`, R3GAN γ (half of `r1_r2`): weight = the same number.
    - StyleGAN lazy form: every 16th step, gain 16, and Adam's lr x 16/17, betas to the power 16/17. Here `lazy_interval: 16`
      gives the gain, and leaves lr and betas as they are.
    - mmgeneration `loss_weight`: no ½: weight = 2 x loss_weight with norm_mode HWC; its default mode `pixel` averages over pixels:
      weight = 2 x loss_weight / (H W).
    - compare_gan: none.
    """

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        return 0.5 * squared_norms(critic, real)

    return Penalty(value, weight=at_least_zero("weight", weight), input_gradient=True, differentiates_input=True)
