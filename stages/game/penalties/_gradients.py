"""What penalties on input gradients share: the gradient of D at given points, its squared norm and its norm, per sample."""

import torch
from torch import Tensor

from stages.game.vocabulary import Critic, Logits


def input_gradients(critic: Critic, x: Tensor) -> Tensor:
    """∇_x D(x), per sample and flattened: `[L, B, ...]` to `[L, B, D]`, differentiable again.

    Summing D over lanes and samples before differentiating gives every sample its own gradient, as long as D does not mix samples.
    """
    (gradients,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return gradients.flatten(start_dim=2)


def squared_norms(critic: Critic, x: Tensor) -> Logits:
    """‖∇_x D(x)‖², summed over everything but lane and sample: `[L, B]`."""
    return input_gradients(critic, x).square().sum(dim=2)


def norm(g: Tensor) -> Tensor:
    """Euclidean norm over the last dimension, without ε; its gradient is g/‖g‖, and 0 at g = 0 (the least subgradient).

    Dividing by the largest entry first keeps tiny and huge gradients from being squared out of range; since the norm is
    homogeneous, treating that entry as a constant changes no derivative. Both branches of `where` stay finite, so that no NaN arises.
    """
    largest = g.detach().abs().amax(dim=-1, keepdim=True)
    flat = largest == 0
    scale = torch.where(flat, torch.ones_like(largest), largest)
    squares = (g / scale).square().sum(dim=-1, keepdim=True)
    lengths = torch.where(flat, squares, scale * torch.where(flat, torch.ones_like(squares), squares).sqrt())
    return lengths.squeeze(-1)


def distance_to_target(g: Tensor, target: float, sides: str) -> Logits:
    """(‖g‖ - target)², or max(0, ‖g‖ - target)² when one-sided; `[L, B, D]` to `[L, B]`. At target 0 it is the smooth ‖g‖²."""
    if target == 0:
        return g.square().sum(dim=2)
    excess = norm(g) - target
    return (torch.relu(excess) if sides == "one" else excess).square()
