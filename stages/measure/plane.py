"""D over the plane: what it answers at every point of two-dimensional data, and where it sends generated points.

For a generated point x of a batch, G's loss is ℓ_G(D(x)), or ℓ_G(a, D(x)) with real logits a for relativistic forms. Gradient descent moves
G's output, as far as G can, along −∇_x ℓ_G: the field that a generated point feels at x. Source: Goodfellow et al. 2014, figure 1, draws it
in one dimension; Mescheder et al. 2018, figure 1, for the Dirac-GAN.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]  # [1, P, 2] to [1, P]
ROOM = 0.25  # of the data's extent, on each side


def axes(real: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` evenly spaced places on each axis, over real points `[n, 2]` with room around; a point mass gets one unit on each side."""
    if real.ndim != 2 or real.shape[1] != 2 or not len(real) or count < 2:
        raise ValueError(f"real points have shape {list(real.shape)} and count is {count}: [n, 2], n at least 1 and 2 places are needed")
    low, high = real.min(axis=0).astype(np.float64), real.max(axis=0).astype(np.float64)
    room = np.where(high > low, ROOM * (high - low), 1.0)
    return np.linspace(low[0] - room[0], high[0] + room[0], count), np.linspace(low[1] - room[1], high[1] + room[1], count)


def grid(x: np.ndarray, y: np.ndarray) -> Tensor:
    """The points `[len(y) · len(x), 2]`, row by row from the first y."""
    across, up = np.meshgrid(x, y)
    return torch.from_numpy(np.stack([across.ravel(), up.ravel()], axis=1))


def pull(critic: Critic, generator_loss: Callable[[Tensor, Tensor], Tensor], points: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    """D's logits `[P]` at points `[P, 2]`, and −∇_x ℓ_G there, `[P, 2]`.

    `generator_loss` is per sample. `real`: real logits `[R]` where it reads them; the loss of a point is then its mean over them. With
    None the points' own logits stand in, as in training. Nothing is divided by the batch.
    """
    x = points.detach()[None].requires_grad_(True)
    b = critic(x)
    others = [b] if real is None else [a.expand_as(b) for a in real]
    loss = torch.stack([generator_loss(other, b).sum() for other in others]).mean()
    (slope,) = torch.autograd.grad(loss, x)
    return b.detach()[0], -slope[0]
