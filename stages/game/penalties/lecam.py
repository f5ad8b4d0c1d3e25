"""The LeCam penalty for small data."""

from torch import Tensor

from stages.game.penalties._arguments import at_least_zero, one_of_the_sides
from stages.game.vocabulary import Critic, Draws, Logits, Penalty, State


def lecam(*, weight: float, decay: float = 0.99, sides: str = "two") -> Penalty:
    """LeCam: D's answers on one kind of data are tied to the running mean of its answers on the other kind.

    Per pair of samples (one index of the batch), a = D(x), b = D(G(z)), running means m_R and m_F of the lane's logits; the step adds
    weight times its batch mean to L_D, no ½::

        P = (a - m_F)² + (b - m_R)²                         sides: two (the paper)
        P = max(0, a - m_F)² + max(0, m_R - b)²             sides: one (the authors' code)

        m_R <- decay m_R + (1 - decay) mean a,   m_F <- decay m_F + (1 - decay) mean b,   both 0 at the start

    State: `real` and `fake`, one number per lane, moved once a D step after its losses, without a graph; the first steps
    therefore pull logits towards 0. Shapes: data `[L, B, ...]` to penalties `[L, B]`. Forward passes are the loss's own.
    ValueError for a negative weight, decay outside [0, 1), or other sides.

    Source: Tseng et al. 2021, the regularised objective of section 3 with exponential moving averages as its anchors; with the
    Wasserstein loss it is tied to the LeCam divergence.

    Elsewhere (λ is weight, with no factor):

    - google/lecam-gan: `sides: one`; its StyleGAN2 form moves the means before use and removes their bias towards 0;
      its BigGAN form starts after some iterations.
    - StudioGAN `lecam`: `sides: one`, starts after a set step.
    - compare_gan, GAN_stability, StyleGAN: none.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}: at least 0 and below 1 is needed")
    one_of_the_sides(sides)

    def value(critic: Critic, real: Tensor, fake: Tensor, rng: Draws, state: State) -> Tensor:
        above = critic(real) - state["fake"].unsqueeze(1)
        under = state["real"].unsqueeze(1) - critic(fake)
        if sides == "one":
            above, under = above.relu(), under.relu()
        return above.square() + under.square()

    def update(state: State, real_logits: Logits, fake_logits: Logits) -> State:
        return {"real": _moved(state["real"], real_logits), "fake": _moved(state["fake"], fake_logits)}

    def _moved(mean: Tensor, logits: Logits) -> Tensor:
        return decay * mean + (1 - decay) * logits.detach().mean(dim=1).to(mean)

    return Penalty(value, weight=at_least_zero("weight", weight), state={"real": 0.0, "fake": 0.0}, update=update)
