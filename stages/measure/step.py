"""What one training step shows, per lane: pure functions of logits, gradients and weights, none of which alters them."""

from collections.abc import Callable

import torch
from torch import Tensor


def auc(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """AUC = P(D(real) > D(fake)) + ½ P(D(real) = D(fake)) over all B x B pairs; logits `[L, B]` to `[L]`.

    Scale-free: any increasing change of the logits leaves it. NaN logits give NaN.
    """
    difference = real_logits[:, :, None] - fake_logits[:, None, :]  # [L, B, B]
    wins = (difference > 0).to(difference.dtype) + 0.5 * (difference == 0).to(difference.dtype)
    return torch.where(difference.isnan(), difference, wins).mean((1, 2))


def saturation(generator_loss: Callable[[Tensor, Tensor], Tensor], real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean |∂L_G/∂b| over the batch, b = D(G(z)), `[L]`: 0 where the loss saturates; ≡ 1 for hinge and wasserstein."""
    logits = fake_logits.detach().requires_grad_(True)
    reference = logits if real_logits is fake_logits else real_logits.detach()
    (slope,) = torch.autograd.grad(generator_loss(reference, logits).sum(), logits)
    return slope.abs().mean(1)


def norms(pieces: list[Tensor]) -> Tensor:
    """L2 norm of each piece `[L, ...]` in each lane, then of all together: `[P + 1, L]`, the whole first."""
    parts = torch.stack([piece.flatten(1).norm(dim=1) for piece in pieces])
    return torch.cat([parts.norm(dim=0, keepdim=True), parts])


def movement(before: Tensor, after: Tensor, spread: float) -> Tensor:
    """Root mean square of G_t(z) - G_{t-1}(z) over a fixed z and all coordinates, relative to the data's standard deviation; `[L]`."""
    return (after - before).flatten(1).square().mean(1).sqrt() / spread
