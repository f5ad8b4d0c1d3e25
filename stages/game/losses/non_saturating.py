"""The non-saturating loss."""

from stages.game.losses._logits import logistic_discriminator, softplus
from stages.game.vocabulary import GanLoss, Logits


def non_saturating() -> GanLoss:
    """Non-saturating loss: D as in `minimax`, G maximises log σ(b) instead.

    With a = D(x), b = D(G(z)), per sample, averaged over the batch by the step, no ½::

        L_D = softplus(-a) + softplus(b)   = -log σ(a) - log(1 - σ(b))
        L_G = softplus(-b)                 = -log σ(b)

    Shapes: logits `[L, B]` to losses `[L, B]`. ∂L_G/∂b = -(1 - σ(b)) = -σ(-b): near -1 where D is sure, and e^-b where G wins.

    Optimum: D* = log p/q. Range: any finite logit.

    Source: Goodfellow et al. 2014, section 3 (the remark after eq. 1).

    Elsewhere:

    - StudioGAN `vanilla` and `logistic`, compare_gan `non_saturating`, StyleGAN 1-3, GAN_stability `standard`: identical, no ½.
    - mimicry `ns_loss_gen` = -log(σ(b) + 1e-8): its gradient dies where D is sure (0.17 of the true one at b = -20, 9e-6 at -30).
    - TensorFlow-GAN `modified_*`: label smoothing 0.25 by default, which is `real_target` 0.875 here.
    """

    def generator(real: Logits, fake: Logits) -> Logits:
        return softplus(-fake)

    return GanLoss(logistic_discriminator, generator, logistic=True)
