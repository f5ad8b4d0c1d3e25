"""The optimal-discriminator probe: fresh discriminators are trained against a frozen G, and G's gradient is watched as they improve.

Arjovsky & Bottou 2017, figure 2 and theorem 2.4: as D approaches its optimum, ‖∇_θ E log(1 − D(G(z)))‖ decays by orders of magnitude,
while with −log D(G(z)) it does not. Shapes as in the game: L lanes, every parameter `[L, ...]`; a lane never sees another's numbers.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

REACHED = 0.99  # AUC from which D counts as near its optimum
POINTS = (0, 10, 25, 50, 100, 200, 300, 600, 1000, 2000, 4000)


@dataclass(frozen=True)
class Form:
    """A fresh D, how it learns, and what G would minimise against it.

    `update(real, fake, step)` moves `discriminator` once. `losses` take logits `[L, N]` of real and `[L, M]` of generated samples to L_G,
    per sample. AUC does not depend on the scale of D's answers, so that it says for any loss how near to its optimum D is.
    """

    discriminator: nn.Module
    update: Callable[[Tensor, Tensor, int], None]
    losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]]


@dataclass(frozen=True)
class ProbePoint:
    """State of a form after `step` updates of the fresh D; lists have one number a lane."""

    step: int
    auc: list[float]
    norms: Mapping[str, list[float]]  # ‖∇_θ mean L_G‖ by loss


@dataclass(frozen=True)
class Material:
    """What the probe is fed: real data and noise by D step, and a held-out pair for the AUC and G's gradient."""

    real: Callable[[int], Tensor]  # step to [L, B, ...]
    noise: Callable[[int], Tensor]  # step to [L, B, latent]
    held_real: Tensor  # [L, N, ...], never trained on
    held_noise: Tensor  # [L, M, latent]


def bare(discriminator: nn.Module, move: Callable[[Sequence[Tensor]], None], together: bool = False) -> Form:
    """The article's form: L_D = softplus(−a) + softplus(b), that is BCE, no penalty, no constraint; both of Goodfellow's L_G on logits.

    saturating: log(1 − σ(b)) = −softplus(b); non_saturating: −log σ(b) = softplus(−b). `move` takes the gradients of D's parameters (sum
    of the lanes' mean losses, so each lane's are its own) and moves them; `together` lets D see both batches in one forward, which is
    cheaper and the same for a D that does not mix samples.
    """

    def update(real: Tensor, fake: Tensor, step: int) -> None:
        a, b = discriminator(torch.cat([real, fake], 1)).chunk(2, 1) if together else (discriminator(x) for x in (real, fake))
        loss = softplus(-a).mean(1) + softplus(b).mean(1)  # [L]
        move(torch.autograd.grad(loss.sum(), list(discriminator.parameters())))

    return Form(discriminator, update, {"saturating": lambda a, b: -softplus(b), "non_saturating": lambda a, b: softplus(-b)})


def probe(generator: nn.Module, forms: Sequence[Form], material: Material, steps: int) -> list[list[ProbePoint]]:
    """Train every form's D for `steps` on the same samples of the same frozen G; points are taken at POINTS up to `steps`.

    G is in evaluation mode. Gradients of G are computed in float64 on logits: through probabilities in float32 the floor would be
    rounding. One list a form.
    """
    marks = {point for point in POINTS if point < steps} | {steps}
    watch = Watch(generator, material)
    points = [[watch.look(form, 0)] for form in forms]
    for step in range(1, steps + 1):
        with torch.no_grad():
            fake, real = generator(material.noise(step)), material.real(step)
        for form, seen in zip(forms, points, strict=True):
            form.discriminator.train()
            form.update(real, fake, step)
            if step in marks:
                seen.append(watch.look(form, step))
    return points


class Watch:
    """G held in float64 with its held-out samples and their graph, which every look at every form shares."""

    def __init__(self, generator: nn.Module, material: Material) -> None:
        player = copy.deepcopy(generator).double().eval()
        self.parameters = [parameter.requires_grad_(True) for parameter in player.parameters()]
        self.real, self.fake = material.held_real.double(), player(material.held_noise.double())

    def look(self, form: Form, step: int) -> ProbePoint:
        """AUC on the held-out pair, and the norm of G's gradient for each of the form's losses, per lane, in float64."""
        judge, samples = copy.deepcopy(form.discriminator).double().eval(), self.fake.detach().requires_grad_(True)
        with torch.no_grad():
            real = judge(self.real)  # [L, N]
        fake = judge(samples)  # [L, M]
        norms = {name: self._norms(loss(real, fake).mean(1).sum(), samples) for name, loss in form.losses.items()}
        return ProbePoint(step, auc(real, fake.detach()).tolist(), norms)

    def _norms(self, loss: Tensor, samples: Tensor) -> list[float]:
        """∂L/∂x at the samples, then back through G: `[L]`."""
        (pull,) = torch.autograd.grad(loss, samples, retain_graph=True)
        gradients = torch.autograd.grad((self.fake * pull).sum(), self.parameters, retain_graph=True)
        norms: list[float] = torch.cat([gradient.flatten(1) for gradient in gradients], 1).norm(dim=1).tolist()
        return norms


def auc(high: Tensor, low: Tensor) -> Tensor:
    """P(high > low) over all pairs of a lane, ties counting ½: `[L, N]` and `[L, M]` to `[L]` (Mann-Whitney U over N M).

    By ranks, in float64; NaN where a logit is not finite.
    """
    finite = high.isfinite().all(1) & low.isfinite().all(1)
    order = low.sort(dim=1).values.contiguous()
    below = torch.searchsorted(order, high.contiguous(), right=False)
    not_above = torch.searchsorted(order, high.contiguous(), right=True)
    share = (below + not_above).double().mean(1) / (2 * low.shape[1])
    return torch.where(finite, share, torch.nan)


def decay(points: Sequence[ProbePoint], lane: int, loss: str) -> float | None:
    """Orders of magnitude from a gradient's largest point to its last; `None` where D did not reach AUC .99, or one is not finite."""
    if not points[-1].auc[lane] >= REACHED:
        return None
    norms = torch.tensor([point.norms[loss][lane] for point in points], dtype=torch.float64)
    fall = (norms.max().log10() - norms[-1].log10()).item()
    return fall if math.isfinite(fall) else None
