"""The Wasserstein loss."""

from stages.game.vocabulary import GanLoss, Logits


def wasserstein() -> GanLoss:
    """Wasserstein loss: the critic's difference, which means a distance only while something keeps the critic Lipschitz.

    With a = D(x), b = D(G(z)), per sample, averaged over the batch by the step::

        L_D = b - a
        L_G = -b

    Shapes: logits `[L, B]` to losses `[L, B]`. -mean L_D estimates K times the Wasserstein-1 distance for a K-Lipschitz critic.
    Choose `constraint: clip`, `constraint: spectral_norm` or `penalty: gradient_penalty` with it. Alone, D has no optimum: it
    grows without end, which is a thing this project shows. A logit's sign means nothing.

    Range: any finite logit.

    Source: Arjovsky, Chintala & Bottou 2017, eq. 2-3 and algorithm 1.

    Elsewhere:

    - StudioGAN, compare_gan, mimicry, torchgan, mmgeneration: identical.
    - GAN_stability `wgan`: both signs turned (D minimises a - b, G minimises +b): the same game with D negated; its logged losses
      and D outputs are ours times -1.
    """

    def discriminator(real: Logits, fake: Logits) -> Logits:
        return fake - real

    def generator(real: Logits, fake: Logits) -> Logits:
        return -fake

    return GanLoss(discriminator, generator)
