"""The minimax (saturating) loss of the first GAN paper."""

from stages.game.losses._logits import logistic_discriminator, softplus
from stages.game.vocabulary import GanLoss, Logits


def minimax() -> GanLoss:
    """Minimax loss, saturating: G minimises exactly what D maximises.

    With a = D(x), b = D(G(z)), per sample, averaged over the batch by the step, no ½::

        L_D = softplus(-a) + softplus(b)   = -log σ(a) - log(1 - σ(b))
        L_G = -softplus(b)                 = +log(1 - σ(b))

    Shapes: logits `[L, B]` to losses `[L, B]`. ∂L_G/∂b = -σ(b): it vanishes like e^b where D is sure (-4.5e-5 at b = -10,
    -2.1e-9 at -20, -9.4e-14 at -30), and those are the values this code gives, in float32 too. L_G is at most 0 and has no lower bound.

    Optimum: D* = log p/q; then L_D = 2 log 2 - 2 JS(p, q). Range: any finite logit.

    Source: Goodfellow et al. 2014, eq. 1 and proposition 1.

    Elsewhere:

    - compare_gan: its first version's `GAN_MINMAX` is the same; the current one has no saturating loss.
    - StudioGAN `vanilla`: this D, but the non-saturating G.
    - mimicry `minimax_loss_gen`: the non-saturating loss in spite of its name.
    - TensorFlow-GAN: L_G carries a constant -0.3133 = -log(1 + 1/e), with the same gradients; L_D has `label_smoothing` 0.25 by default.
    - GAN_stability: `standard` with the non-saturating G.
    """

    def generator(real: Logits, fake: Logits) -> Logits:
        return -softplus(fake)

    return GanLoss(logistic_discriminator, generator, logistic=True)
