"""The least-squares loss."""

from stages.game.vocabulary import GanLoss, Logits


def least_squares() -> GanLoss:
    """Least-squares loss (LSGAN), coded 0 and 1, with the paper's ½, on the raw output of D.

    With a = D(x), b = D(G(z)), per sample, averaged over the batch by the step::

        L_D = ½ (a - 1)² + ½ b²
        L_G = ½ (b - 1)²

    Shapes: logits `[L, B]` to losses `[L, B]`. ∂L_G/∂b = b - 1. D's border between real and fake is ½, not 0.
    A generator that gets no gradient at all shows as L_G near ½ (b = 0).

    Optimum: D* = p / (p + q). Range: |logit| up to 1e18 in float32.

    Source: Mao et al. 2017, eq. 2 with a = 0, b = c = 1 (eq. 9).

    Elsewhere:

    - StudioGAN, torchgan: identical.
    - compare_gan (both versions): this ½ form of d = σ(logit), so its gradients carry a factor σ(1 - σ) and saturate.
      Published numbers of "LSGAN" by Lucic et al. 2018 are of that form; there is no factor that converts it.
    - mmgeneration, RelativisticGAN: no ½: their gradients are twice ours (with plain SGD: our learning rate = 2 x theirs).
    - GAN_stability, StyleGAN: none.
    """

    def discriminator(real: Logits, fake: Logits) -> Logits:
        return 0.5 * (real - 1).square() + 0.5 * fake.square()

    def generator(real: Logits, fake: Logits) -> Logits:
        return 0.5 * (fake - 1).square()

    return GanLoss(discriminator, generator)
