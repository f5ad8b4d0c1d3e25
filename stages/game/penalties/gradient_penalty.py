"""The gradient penalty of WGAN-GP."""

from torch import Tensor

from stages.game.penalties._arguments import at_least_zero, one_of_the_sides
from stages.game.penalties._gradients import distance_to_target, input_gradients
from stages.game.vocabulary import Critic, Draws, Penalty, State


def gradient_penalty(*, weight: float, target: float = 1.0, sides: str = "two") -> Penalty:
    """Gradient penalty: D's input gradient should have norm `target` between real and generated data.

    Per sample, x̃ = G(z) (in training without a graph to G), u uniform on [0, 1), one per sample; the step adds weight times its batch
    mean to L_D, no ½::

        x̂ = u x + (1 - u) x̃
        P = (‖∇_x̂ D(x̂)‖ - target)²             sides: two
        P = max(0, ‖∇_x̂ D(x̂)‖ - target)²       sides: one

    The norm is the Euclidean one over every data dimension, per sample. It has no ε: at ∇D = 0, where it has a corner, its slope is
    taken as 0 (the least subgradient), so a critic that is exactly flat feels the value target² but no push. With target 0, P is the
    smooth ‖∇D‖². Shapes: data `[L, B, ...]` to penalties `[L, B]`. ValueError for a negative weight or target, or other sides.

    Source: Gulrajani et al. 2017, eq. 3 and algorithm 1 (weight 10, critic_steps 5); one-sided: its section 4, Petzka et al. 2018;
    target 0: Thanh-Tung et al. 2019. It rules out batch norm in D.

    Elsewhere (λ is weight, with no factor, where nothing else is said):

    - StudioGAN, mimicry: identical; StudioGAN leaves the graph to a frozen G.
    - compare_gan: sqrt(1e-4 + sum of squares), u on the generated side; TensorFlow-GAN: ε 1e-10, slope/target - 1: weight = λ/target².
    - GAN_stability `wgangp` (target 1) and `wgangp0` (target 0): weight = reg_param, no ½; its sqrt gives NaN at ∇D = 0.
    - mmgeneration: its default norm_mode `pixel` takes the norm over channels of each pixel; only HWC is this penalty.
    - torchgan: one u and one norm for the whole batch, and a separate Adam step for the penalty: no factor converts it.
    - WGAN-GP's own 2-D toys: weight 0.1.
    """
    at_least_zero("target", target)
    one_of_the_sides(sides)

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        u = rng.uniform(real.shape[1]).to(real)
        u = u.view(u.shape + (1,) * (real.dim() - 2))  # [L, B, 1, ...]
        between = u * real + (1 - u) * fake
        if not between.requires_grad:  # a graph to G, where there is one, is kept: measures of the landscape differentiate by θ
            between.requires_grad_()
        return distance_to_target(input_gradients(critic, between), target, sides)

    return Penalty(value, weight=at_least_zero("weight", weight), differentiates_input=True)
