"""Spectral normalisation."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stages.game.lanes import Weighted
from stages.game.vocabulary import Constraint

WARM_UP = 20  # power iterations at attachment, so that sigma is near the norm from the first step


def spectral_norm(*, iterations: int = 1) -> Constraint:
    """Spectral norm of every weighted layer of D, per lane: W is used as W / sigma(W), sigma = uᵀ W v.

    `iterations` power iterations v <- Wᵀu / ‖·‖, u <- W v / ‖·‖ before each D update; u and v are constants of the step (D's
    forwards on real and generated data and the G step that follows share them), and the gradient passes through sigma by W:
    ∂(W/sigma) = dW/sigma - W (uᵀ dW v)/sigma². A convolution is taken as the matrix C_out x (C_in k k), as everywhere; that is not
    the norm of the convolution operator.

    Source: Miyato et al. 2018, algorithm 1. torch.nn.utils.spectral_norm (StudioGAN) iterates at each forward in training mode, that is
    twice a D step, mimicry likewise, torchgan also in evaluation; here evaluation never moves u and v.
    Errors: ValueError unless iterations >= 1.
    """
    if iterations < 1:
        raise ValueError(f"spectral_norm's iterations is {iterations}: at least 1 is needed")

    def attach(discriminator: nn.Module) -> None:
        for layer in _layers(discriminator):
            matrix = layer.matrix().detach()
            layer.left = normalize(matrix.sum(2) + 1e-3 * torch.ones_like(matrix[:, :, 0]), dim=1)
            layer.right = torch.zeros_like(matrix[:, 0])
            _iterate(layer, WARM_UP)

    def before_step(discriminator: nn.Module) -> None:
        for layer in _layers(discriminator):
            _iterate(layer, iterations)

    return Constraint(attach, before_step, _nothing)


def _layers(discriminator: nn.Module) -> list[Weighted]:
    return [module for module in discriminator.modules() if isinstance(module, Weighted)]


@torch.no_grad()
def _iterate(layer: Weighted, times: int) -> None:
    matrix = layer.matrix()  # [L, outputs, inputs]
    left: Tensor = layer.left  # type: ignore[assignment]
    right: Tensor = layer.right  # type: ignore[assignment]
    for _ in range(times):
        right.copy_(normalize(torch.einsum("lo,loi->li", left, matrix), dim=1, eps=1e-12))
        left.copy_(normalize(torch.einsum("loi,li->lo", matrix, right), dim=1, eps=1e-12))


def _nothing(discriminator: nn.Module) -> None:
    """Nothing is to be done after the step."""
