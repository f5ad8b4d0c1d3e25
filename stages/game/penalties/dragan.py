"""The gradient penalty of DRAGAN."""

from torch import Tensor

from stages.game.penalties._arguments import at_least_zero, one_of_the_sides
from stages.game.penalties._gradients import distance_to_target, input_gradients
from stages.game.vocabulary import Critic, Draws, Penalty, State


def dragan(*, weight: float, target: float = 1.0, scale: float = 0.5, sides: str = "two") -> Penalty:
    """DRAGAN: D's input gradient should have norm `target` around real data.

    Per sample; U uniform on [0, 1), one per coordinate, s the standard deviation of the lane's real batch over all its
    numbers (population form); the step adds weight times its batch mean to L_D, no ½::

        x̂ = x + scale s (2 U - 1)
        P = (‖∇_x̂ D(x̂)‖ - target)²             sides: two
        P = max(0, ‖∇_x̂ D(x̂)‖ - target)²       sides: one

    The noise is symmetric, of standard deviation scale s / √3, not clipped to the data's range. The norm is that of `gradient_penalty`.
    Shapes: data `[L, B, ...]` to penalties `[L, B]`. ValueError for a negative weight, target or scale, or other sides.

    Source: Kodali et al. 2017, section 3 (λ = 10, k = 1; there the noise is normal with a free variance c).

    Elsewhere (λ is weight, with no factor; the noise differs everywhere):

    - compare_gan: x + s (U - ½): ours with scale 0.5, then clipped to its data range [0, 1]; ε 1e-4 under the root.
    - StudioGAN: x + α ½ s U, α uniform per sample, s with n - 1: one-sided noise, always towards larger values.
    - torchgan: x + (1 - α) ½ s U, and one norm for the whole batch: no factor converts it.
    - GAN_stability, StyleGAN: none.
    """
    at_least_zero("target", target)
    at_least_zero("scale", scale)
    one_of_the_sides(sides)

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        data = real.detach()
        spread = data.flatten(start_dim=1).std(dim=1, correction=0)  # [L]
        spread = spread.view(-1, *(1,) * (data.dim() - 1))  # [L, 1, ...]
        noise = 2 * rng.uniform(*data.shape[1:]).to(data) - 1
        around = (data + scale * spread * noise).requires_grad_()
        return distance_to_target(input_gradients(critic, around), target, sides)

    return Penalty(value, weight=at_least_zero("weight", weight), differentiates_input=True)
