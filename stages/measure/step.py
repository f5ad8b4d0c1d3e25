"""What one training step shows, per lane: pure functions of logits, gradients and weights, none of which alters them."""

from collections.abc import Callable

import torch
from torch import Tensor

SEEN = 4096  # parameters of a lane, at most, behind a median over parameters


def auc(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """AUC = P(D(real) > D(fake)) + ½ P(D(real) = D(fake)) over all B x B pairs; logits `[L, B]` to `[L]`.

    Scale-free: any increasing change of the logits leaves it. NaN logits give NaN.
    """
    difference = real_logits[:, :, None] - fake_logits[:, None, :]  # [L, B, B]
    wins = (difference > 0).to(difference.dtype) + 0.5 * (difference == 0).to(difference.dtype)
    return torch.where(difference.isnan(), difference, wins).mean((1, 2))


def accuracy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """½ P(D(real) > 0) + ½ P(D(fake) < 0), a logit of 0 counting ½, `[L]`: only for losses in which a logit's sign is D's decision.

    NaN logits give NaN.
    """
    return (2 + _sign(real_logits).mean(1) - _sign(fake_logits).mean(1)) / 4


def _sign(logits: Tensor) -> Tensor:
    """-1, 0, 1, or NaN (of which torch's sign makes 0)."""
    return torch.where(logits.isnan(), logits, logits.sign())


def spread(logits: Tensor) -> Tensor:
    """Standard deviation over the batch (divisor B), `[L]`."""
    return logits.std(1, correction=0)


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


def ratios(updates: Tensor, weights: Tensor) -> Tensor:
    """‖Δθ‖ / ‖θ‖, θ before the update, from `norms` of both. Infinite or NaN where θ was 0 (a bias at its start)."""
    return updates / weights


def non_finite(vector: Tensor, lasts: Tensor, lanes: int) -> Tensor:
    """How many values of each piece `[L, ...]` are NaN or infinite in each lane, then in all together: `[P + 1, L]`, the whole first.

    `vector` holds piece after piece, `lasts` `[P L]` where each lane's part of a piece ends: a few passes whatever the number of layers.
    """
    until = (~vector.isfinite()).cumsum(0)[lasts]
    parts = until.diff(prepend=torch.zeros_like(until[:1])).view(-1, lanes)
    return torch.cat([parts.sum(0, keepdim=True), parts])


def typical_root(squares: list[Tensor], epsilon: float) -> Tensor:
    """Median over a lane's parameters of √v̂ / ε, from v̂ by piece `[L, ...]`; `[L]`.

    Far above 1: the optimiser divides the gradient's own size away, so that the gradient's scale does nothing. Near or below 1: ε rules,
    and the step shrinks with the gradient. Every n-th parameter counts, so that there are at most SEEN of them; of an even number the
    lower middle one is the median.
    """
    whole = torch.cat([piece.flatten(1) for piece in squares], 1)  # [L, P]
    return whole[:, :: -(-whole.shape[1] // SEEN)].median(1).values.sqrt() / epsilon


def movement(before: Tensor, after: Tensor, spread: float) -> Tensor:
    """Root mean square of G_t(z) - G_{t-1}(z) over a fixed z and all coordinates, relative to the data's standard deviation; `[L]`."""
    return (after - before).flatten(1).square().mean(1).sqrt() / spread
