"""The relativistic loss on pairs."""

from stages.game.losses._logits import softplus
from stages.game.vocabulary import GanLoss, Logits


def relativistic() -> GanLoss:
    """Relativistic pairing loss (RpGAN): is this real sample more real than that generated one?

    With a_i = D(x_i), b_i = D(G(z_i)), paired by their index in the batch, per pair, averaged over the batch by the step, no ½::

        L_D = softplus(-(a - b))   = -log σ(a - b)
        L_G = softplus(-(b - a))   = -log σ(b - a)

    Shapes: logits `[L, B]` to losses `[L, B]`; both batches have the same size. G reads real logits, from a fresh real batch.
    Only differences of D count: its mean level is free, a logit's sign means nothing.

    Optimum: D* = log p/q + constant. Range: any finite logit.

    Source: Jolicoeur-Martineau 2018 (RSGAN); Huang et al. 2024 (R3GAN) with `penalty: r1_r2`.

    Elsewhere:

    - R3GAN: identical, a fresh real batch for G included. Its `scores/real` curve is of a - b, not of a.
    - RelativisticGAN `loss_D 5`: identical.
    - StudioGAN, compare_gan, GAN_stability, StyleGAN: none.
    """

    def discriminator(real: Logits, fake: Logits) -> Logits:
        return softplus(fake - real)

    def generator(real: Logits, fake: Logits) -> Logits:
        return softplus(real - fake)

    return GanLoss(discriminator, generator, generator_reads_real=True)
