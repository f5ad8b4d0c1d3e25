"""Clip and spectral norm: the box is kept, sigma is the largest singular value, the gradient passes through it."""

import games
import pytest
import torch

from stages.game.constraints.clip import clip
from stages.game.constraints.spectral_norm import spectral_norm
from stages.game.lanes import Conv2d, Linear, Weighted


def layer(kind, lanes=2):
    made = kind(lanes, 6, 5, 3, 1, 1) if kind is Conv2d else kind(lanes, 6, 5)
    with torch.no_grad():
        made.weight.copy_(torch.randn(made.weight.shape, generator=torch.Generator().manual_seed(3)))
    return made.double()


@pytest.mark.parametrize("kind", [Linear, Conv2d])
def test_sigma_is_the_largest_singular_value_in_each_lane(kind):
    made, constraint = layer(kind), spectral_norm()
    constraint.attach(made)
    for _ in range(500):
        constraint.before_step(made)
    largest = torch.linalg.svdvals(made.matrix().detach())[:, 0]
    divided = torch.linalg.svdvals(made.effective_weight().detach().movedim(made.output_axis, 1).flatten(2))[:, 0]
    torch.testing.assert_close(divided, torch.ones_like(divided), rtol=1e-6, atol=0)
    ratio = (made.weight / made.effective_weight()).detach().flatten(1)[:, 0]
    torch.testing.assert_close(ratio, largest, rtol=1e-6, atol=0)


def test_the_gradient_passes_through_sigma():
    """With u, v fixed: d(sum(C * W/s)) = C/s - <C, W> u vᵀ / s²."""
    made, constraint = layer(Linear), spectral_norm()
    constraint.attach(made)
    coefficient = torch.randn(made.weight.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    (found,) = torch.autograd.grad((coefficient * made.effective_weight()).sum(), made.weight)
    sigma = torch.einsum("lo,loi,li->l", made.left, made.matrix(), made.right).detach().view(-1, 1, 1)
    outer = torch.einsum("li,lo->lio", made.right, made.left)
    inner = (coefficient * made.weight.detach()).sum((1, 2), keepdim=True)
    torch.testing.assert_close(found, coefficient / sigma - inner * outer / sigma**2, rtol=1e-10, atol=1e-12)


def test_evaluation_and_gs_step_leave_the_vectors_alone():
    one = games.play(games.game(games.variant("hinge", "none", "spectral_norm"), [0, 1]), 3)
    layers = [part for part in one.discriminator.module.modules() if isinstance(part, Weighted)]
    before = [part.left.clone() for part in layers]
    one.discriminator.module(games.data(one.shape, 4).double().expand(2, 4, *one.shape))
    assert all(torch.equal(part.left, kept) for part, kept in zip(layers, before, strict=True))


def test_clip_keeps_every_weight_in_the_box():
    one = games.play(games.game(games.variant("wasserstein", "none", "clip"), [0, 1]), 5)
    assert float(one.discriminator.vector.abs().max()) == pytest.approx(0.01)


@pytest.mark.parametrize("bound", [0.0, -1.0])
def test_clip_refuses_an_empty_box(bound):
    with pytest.raises(ValueError, match="clip's bound is"):
        clip(bound=bound)


def test_spectral_norm_refuses_no_iteration():
    with pytest.raises(ValueError, match="at least 1"):
        spectral_norm(iterations=0)
