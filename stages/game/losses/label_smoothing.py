"""Cross entropy with smoothed labels."""

import math

from stages.game.losses._logits import cross_entropy
from stages.game.vocabulary import GanLoss, Logits


def label_smoothing(*, real_target: float = 0.9, fake_target: float = 0.1, generator_target: float = 1.0) -> GanLoss:
    """Label smoothing: cross entropy against soft targets; non-saturating G.

    With a = D(x), b = D(G(z)), BCE(x, t) = t softplus(-x) + (1 - t) softplus(x), per sample, averaged over the batch by the step, no ½::

        L_D = BCE(a, real_target) + BCE(b, fake_target)
        L_G = BCE(b, generator_target)

    Shapes: logits `[L, B]` to losses `[L, B]`. Two-sided: 0.9 and 0.1 (the default). One-sided: `real_target: 0.9, fake_target: 0`.
    ∂L_G/∂b = σ(b) - generator_target. At 1.0 G is `non_saturating`; below it, G's gradient changes sign at b = log(t/(1 - t))
    (2.197 for 0.9): G is then pushed back wherever D believes it too much.

    Optimum: σ(D*) = (real_target p + fake_target q) / (p + q). Two-sided, it lies between the targets: logits are bounded by
    ±2.197. One-sided, it is 0.9 p / (p + q), and a logit of 0 is no longer the border between real and fake.
    Range: any finite logit. ValueError unless 0 <= fake_target < real_target <= 1 and 0 < generator_target <= 1.

    Source: Salimans et al. 2016, section 3.4 (both forms, and why one-sided); Goodfellow 2016 (tutorial), section 4.2.

    Elsewhere:

    - torchgan: one-sided, target 1 - ε for real data only: `real_target` = 1 - ε, `fake_target` = 0.
    - TensorFlow: `label_smoothing` = ε maps y to y (1 - ε) + ε/2, two-sided: `real_target` = 1 - ε/2, `fake_target` = ε/2;
      TensorFlow-GAN's default 0.25 on the real part alone is 0.875.
    - mmgeneration: `real_label_val` 0.9 also moves G's target: `generator_target` = 0.9.
    - StudioGAN, compare_gan, GAN_stability, StyleGAN: none.
    """
    if not 0 <= fake_target < real_target <= 1:
        raise ValueError(f"real_target {real_target} and fake_target {fake_target}: 0 <= fake_target < real_target <= 1 is needed")
    if not 0 < generator_target <= 1:
        raise ValueError(f"generator_target is {generator_target}: above 0 and at most 1 is needed")

    def discriminator(real: Logits, fake: Logits) -> Logits:
        return cross_entropy(real, real_target) + cross_entropy(fake, fake_target)

    def generator(real: Logits, fake: Logits) -> Logits:
        return cross_entropy(fake, generator_target)

    return GanLoss(discriminator, generator, logistic=math.isclose(real_target + fake_target, 1.0))
