"""What stands between a sample and D's network while training: augmentation, then instance noise. None of it by default."""

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from stages.game.vocabulary import Draws

View = Callable[[Tensor], Tensor]  # data [L, B, ...] as D is shown it, same shape; each call draws anew


class Veil(Protocol):
    """One such thing; `state` is per lane and checkpointed."""

    state: dict[str, Tensor]

    def open(self, draws: Callable[[str], Draws], step: int) -> View:
        """The view of one substep; `draws(purpose)` gives its streams."""
        ...

    def observe(self, real_logits: Tensor) -> None:
        """Called once a D step with D's logits `[L, B]` of the real batch as it was shown."""
        ...


class InstanceNoise:
    """`instance_noise` σ: D sees x + σ_t ε, ε standard normal, on real and generated samples alike, in D's and in G's step::

        σ_t = σ max(0, 1 - t / (instance_noise_share N))          t generator steps done of N

    Every call of D draws new noise, at a penalty's own points too; input gradients are taken by x, before the noise. In the games' scale
    (images in [-1, 1]). Source: Sønderby et al. 2017, section 3.2; Arjovsky & Bottou 2017, section 3. On Dirac-GAN a constant σ has the
    eigenvalues -σ²/4 ± √(σ⁴/16 - ¼): critical at σ = √2 (Mescheder et al. 2018, section 3).
    """

    def __init__(self, std: float, last: float) -> None:
        self.std, self.last = std, last
        self.state: dict[str, Tensor] = {}

    def open(self, draws: Callable[[str], Draws], step: int) -> View:
        std = self.std * max(0.0, 1 - step / self.last)
        if std == 0:
            return unchanged
        stream = draws("instance_noise")
        return lambda x: x + std * stream.normal(*x.shape[1:])

    def observe(self, real_logits: Tensor) -> None:
        """Nothing depends on D's answers."""


def unchanged(x: Tensor) -> Tensor:
    """Data as it is."""
    return x


def view(veils: Sequence[Veil], draws: Callable[[str], Draws], step: int) -> View:
    """All veils of one substep, first to last."""
    shown: View = unchanged
    for veil in veils:
        shown = _after(shown, veil.open(draws, step))
    return shown


def _after(first: View, then: View) -> View:
    return lambda x: then(first(x))
