"""The optimal-discriminator probe: a fresh D is trained against a frozen G, and G's gradient is watched as D improves.

Arjovsky & Bottou 2017, figure 2 and theorem 2.4: as D approaches its optimum, ‖∇_θ E log(1 − D(G(z)))‖ decays by orders of magnitude,
while with −log D(G(z)) it does not. Shapes as in the game: L lanes, every parameter `[L, ...]`; a lane never sees another's numbers.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

REACHED = 0.99  # AUC from which D counts as near its optimum
POINTS = (0, 10, 25, 50, 100, 200, 300, 600, 1000, 2000, 4000)


@dataclass(frozen=True)
class ProbePoint:
    """State of the probe after `step` updates of the fresh D; lists have one number a lane."""

    step: int
    auc: list[float]
    saturating: list[float]  # ‖∇_θ mean log(1 − σ(b))‖
    non_saturating: list[float]  # ‖∇_θ mean −log σ(b)‖


@dataclass(frozen=True)
class Material:
    """What the probe is fed: real data and noise by D step, and a held-out pair for the AUC and G's gradient."""

    real: Callable[[int], Tensor]  # step to [L, B, ...]
    noise: Callable[[int], Tensor]  # step to [L, B, latent]
    held_real: Tensor  # [L, N, ...], never trained on
    held_noise: Tensor  # [L, M, latent]


def probe(
    generator: nn.Module, discriminator: nn.Module, move: Callable[[Sequence[Tensor]], None], material: Material, steps: int
) -> list[ProbePoint]:
    """Train `discriminator` for `steps` with L_D = softplus(−a) + softplus(b): BCE, no penalty, no constraint.

    `move` takes the gradients of D's parameters (sum of the lanes' mean losses, so each lane's are its own) and moves them. G stays
    frozen in evaluation mode. Points are taken at POINTS up to `steps`. Gradients of G are computed in float64 on logits:
    log(1 − σ(b)) = −softplus(b) and −log σ(b) = softplus(−b); through probabilities in float32 the floor would be rounding.
    """
    marks = {point for point in POINTS if point < steps} | {steps}
    points = [measure_probe(generator, discriminator, material, 0)]
    for step in range(1, steps + 1):
        with torch.no_grad():
            fake = generator(material.noise(step))
        discriminator.train()
        loss = softplus(-discriminator(material.real(step))).mean(1) + softplus(discriminator(fake)).mean(1)  # [L]
        move(torch.autograd.grad(loss.sum(), list(discriminator.parameters())))
        if step in marks:
            points.append(measure_probe(generator, discriminator, material, step))
    return points


def measure_probe(generator: nn.Module, discriminator: nn.Module, material: Material, step: int) -> ProbePoint:
    """AUC on the held-out pair, and the norm of G's gradient for both losses, per lane, in float64."""
    player, judge = copy.deepcopy(generator).double().eval(), copy.deepcopy(discriminator).double().eval()
    parameters = [parameter.requires_grad_(True) for parameter in player.parameters()]
    fake = judge(player(material.held_noise.double()))  # [L, M]
    with torch.no_grad():
        real = judge(material.held_real.double())  # [L, N]
    saturating = gradient_norms((-softplus(fake)).mean(1).sum(), parameters, retain=True)
    non_saturating = gradient_norms(softplus(-fake).mean(1).sum(), parameters, retain=False)
    return ProbePoint(step, auc(real, fake.detach()).tolist(), saturating.tolist(), non_saturating.tolist())


def gradient_norms(loss: Tensor, parameters: Sequence[Tensor], retain: bool) -> Tensor:
    """L2 norm of each lane's gradient over all parameters `[L, ...]`: `[L]`."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=retain)
    return torch.cat([gradient.flatten(1) for gradient in gradients], 1).norm(dim=1)


def auc(high: Tensor, low: Tensor) -> Tensor:
    """P(high > low) over all pairs of a lane, ties counting ½: `[L, N]` and `[L, M]` to `[L]` (Mann-Whitney U over N M).

    By ranks, in float64; exact for finite logits.
    """
    order = low.sort(dim=1).values.contiguous()
    below = torch.searchsorted(order, high.contiguous(), right=False)
    not_above = torch.searchsorted(order, high.contiguous(), right=True)
    return (below + not_above).double().mean(1) / (2 * low.shape[1])


def decay(points: Sequence[ProbePoint], lane: int) -> float | None:
    """Orders of magnitude from the saturating gradient's largest point to its last; `None` where D did not reach AUC .99 (REACHED)."""
    if points[-1].auc[lane] < REACHED:
        return None
    norms = torch.tensor([point.saturating[lane] for point in points], dtype=torch.float64)
    return (norms.max().log10() - norms[-1].log10()).item()
