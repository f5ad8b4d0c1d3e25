"""The relativistic average loss."""

from stages.game.losses._logits import logistic_discriminator
from stages.game.vocabulary import GanLoss, Logits


def relativistic_average() -> GanLoss:
    """Relativistic average loss (RaSGAN): is this real sample more real than generated ones are on average, and the reverse?

    With a = D(x), b = D(G(z)), means over the lane's own batch, per sample, averaged over the batch by the step, no ½::

        L_D = softplus(-(a - mean b)) + softplus(b - mean a)
        L_G = softplus(-(b - mean a)) + softplus(a - mean b)

    Shapes: logits `[L, B]` to losses `[L, B]`. The means carry gradient. G reads real logits, from a fresh real batch.
    Samples of a batch are coupled through the means; lanes are not. The batch mean inside softplus makes the loss depend
    on B (a bias of order 1/B). A logit's sign means nothing.

    Range: any finite logit.

    Source: Jolicoeur-Martineau 2018 (RaSGAN, algorithm 2).

    Elsewhere:

    - RelativisticGAN `loss_D 6`: ½ of both: its gradients are half of ours (with plain SGD: our learning rate = ½ x theirs).
    - TensorFlow-GAN: no ½, identical.
    - StudioGAN, compare_gan, GAN_stability, StyleGAN: none.
    """

    def discriminator(real: Logits, fake: Logits) -> Logits:
        return logistic_discriminator(real - _mean(fake), fake - _mean(real))

    def generator(real: Logits, fake: Logits) -> Logits:
        return discriminator(fake, real)

    return GanLoss(discriminator, generator, generator_reads_real=True)


def _mean(logits: Logits) -> Logits:
    return logits.mean(dim=1, keepdim=True)
