"""The hinge loss."""

from torch import nn

from stages.game.vocabulary import GanLoss, Logits


def hinge() -> GanLoss:
    """Hinge loss: a margin for D, the raw critic for G.

    With a = D(x), b = D(G(z)), per sample, averaged over the batch by the step::

        L_D = max(0, 1 - a) + max(0, 1 + b)
        L_G = -b

    Shapes: logits `[L, B]` to losses `[L, B]`. ∂L_G/∂b = -1 always: saturation is not seen in logit space. D gets no gradient
    from samples outside the margin; at the margin itself (a = 1, b = -1) the slope is taken as 0.

    Optimum: D* = sign(p - q). Range: any finite logit.

    Source: Lim & Ye 2017 (Geometric GAN), eq. 9-10; Tran et al. 2017.

    Elsewhere:

    - StudioGAN, compare_gan, mimicry, mmgeneration: identical.
    - GAN_stability, torchgan, StyleGAN: none.
    """

    def discriminator(real: Logits, fake: Logits) -> Logits:
        return nn.functional.relu(1 - real) + nn.functional.relu(1 + fake)

    def generator(real: Logits, fake: Logits) -> Logits:
        return -fake

    return GanLoss(discriminator, generator, logistic=True)
