"""Layers that hold many games at once: every parameter and buffer has a leading lane axis `[L, ...]`.

Between layers an image batch is grouped, `[B, L*C, H, W]`, so that one convolution with `groups=L` serves all lanes; vectors are
`[L, B, D]` and a linear layer is one `baddbmm`. A lane's output depends on its own input and weights alone; with L = 1 everything is
the ordinary layer.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {
    "relu": nn.functional.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
}


class _ChannelsLastGradient(torch.autograd.Function):
    """The identity whose gradient is laid out channels-last: element-wise backwards on unlike layouts are six times slower on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].contiguous(memory_format=torch.channels_last)


def group(x: Tensor) -> Tensor:
    """`[L, B, C, H, W]` to the grouped `[B, L*C, H, W]`, channels last."""
    return x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)


def ungroup(x: Tensor, lanes: int) -> Tensor:
    """The grouped `[B, L*C, H, W]` back to `[L, B, C, H, W]`."""
    aligned: Tensor = _ChannelsLastGradient.apply(x)
    return aligned.unflatten(1, (lanes, -1)).transpose(0, 1)


class Weighted(nn.Module):
    """A layer with a weight `[L, ...]`, an optional bias, and an optional spectral norm (off until a constraint attaches it).

    `fan_in` is the number of inputs behind one output, for the initial weights.
    """

    def __init__(self, shape: tuple[int, ...], bias_shape: tuple[int, ...] | None, fan_in: float, output_axis: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = None if bias_shape is None else nn.Parameter(torch.zeros(bias_shape))
        self.fan_in = fan_in
        self.output_axis = output_axis
        self.starts_at_one = False
        self.left: Tensor | None
        self.right: Tensor | None
        self.register_buffer("left", None)
        self.register_buffer("right", None)

    def matrix(self) -> Tensor:
        """The weight as matrices `[L, outputs, inputs]`; a convolution is flattened to C_out x (C_in k k), as every GAN library does."""
        return self.weight.movedim(self.output_axis, 1).flatten(2)

    def effective_weight(self) -> Tensor:
        """W, or W / sigma with sigma = uᵀ W v; u and v are constants, so the gradient passes through sigma by W alone."""
        if self.left is None or self.right is None:
            return self.weight
        sigma = torch.einsum("lo,loi,li->l", self.left, self.matrix(), self.right)
        return self.weight / sigma.view(-1, *[1] * (self.weight.dim() - 1))


class Linear(Weighted):
    """`[L, B, inputs]` to `[L, B, outputs]`; weight `[L, inputs, outputs]`, bias `[L, 1, outputs]`."""

    def __init__(self, lanes: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__((lanes, inputs, outputs), (lanes, 1, outputs) if bias else None, inputs, 2)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.effective_weight()
        return torch.bmm(x, weight) if self.bias is None else torch.baddbmm(self.bias, x, weight)


class Conv2d(Weighted):
    """Grouped convolution; weight `[L, outputs, inputs, k, k]`, bias `[L, outputs]`."""

    def __init__(self, lanes: int, inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool = True) -> None:
        super().__init__((lanes, outputs, inputs, kernel, kernel), (lanes, outputs) if bias else None, inputs * kernel**2, 1)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        weight = self.effective_weight()
        bias = None if self.bias is None else self.bias.flatten()
        return functional.conv2d(x, weight.flatten(0, 1), bias, self.stride, self.padding, groups=weight.shape[0])


class ConvTranspose2d(Weighted):
    """Grouped transposed convolution; weight `[L, inputs, outputs, k, k]`, bias `[L, outputs]`."""

    def __init__(self, lanes: int, inputs: int, outputs: int, kernel: int, stride: int, padding: int, bias: bool = True) -> None:
        fan_in = inputs * kernel**2 / stride**2
        super().__init__((lanes, inputs, outputs, kernel, kernel), (lanes, outputs) if bias else None, fan_in, 2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        weight = self.effective_weight()
        bias = None if self.bias is None else self.bias.flatten()
        return functional.conv_transpose2d(x, weight.flatten(0, 1), bias, self.stride, self.padding, groups=weight.shape[0])


class BatchNorm(nn.Module):
    """Batch norm over a lane's own batch (and pixels): grouped images `[B, L*C, H, W]` or vectors `[L, B, C]`.

    Training mode uses the batch's mean and biased variance and moves the running ones by 0.1; evaluation mode uses the running ones.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, lanes: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(lanes, channels))
        self.shift = nn.Parameter(torch.zeros(lanes, channels))
        self.register_buffer("running_mean", torch.zeros(lanes, channels))
        self.register_buffer("running_var", torch.ones(lanes, channels))
        self.track = True  # false while a forward must not move the running statistics

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return self._normalise(x)
        lanes, _, channels = x.shape
        flat = self._normalise(x.transpose(0, 1).flatten(1))  # [B, L*C]
        return flat.unflatten(1, (lanes, channels)).transpose(0, 1)

    def _normalise(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean.view(-1), self.running_var.view(-1)
        if self.training and not self.track:
            mean, var = mean.clone(), var.clone()
        return functional.batch_norm(x, mean, var, self.scale.flatten(), self.shift.flatten(), self.training, 0.1, 1e-5)


class LayerNorm(nn.Module):
    """Layer norm over everything one sample holds in its lane; one scale and shift a channel. Never mixes samples."""

    def __init__(self, lanes: int, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(lanes, channels))
        self.shift = nn.Parameter(torch.zeros(lanes, channels))

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return functional.group_norm(x, self.scale.shape[0], self.scale.flatten(), self.shift.flatten(), 1e-5)
        normal = functional.layer_norm(x, x.shape[2:], eps=1e-5)
        return normal * self.scale[:, None] + self.shift[:, None]


class Identity(nn.Module):
    """The absent normalisation."""

    def __init__(self, lanes: int, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x


NORMALISATIONS: dict[str, type[nn.Module]] = {"none": Identity, "batch": BatchNorm, "layer": LayerNorm}


class Activation(nn.Module):
    """An activation by its params.yaml word."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


class LinearWithSpread(Linear):
    """A linear layer that also sees one number of its batch: the standard deviation of every input over the lane's batch, then their mean.

    s = mean_d √(Var_B x_d + 1e-8) (biased variance) is appended to every sample, so that D can tell a collapsed batch from a varied one.
    Source: Karras et al. 2018 (Progressive growing), section 3: there s is a further feature map before D's last block, here a further
    feature of its last layer; StyleGAN takes s over groups of 4 samples, here it is the whole batch, as in the paper. It mixes samples.
    """

    def __init__(self, lanes: int, inputs: int, outputs: int) -> None:
        super().__init__(lanes, inputs + 1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        spread = (x.var(1, correction=0) + 1e-8).sqrt().mean(1)  # [L]
        return super().forward(torch.cat([x, spread[:, None, None].expand(-1, x.shape[1], 1)], 2))


def logit_layer(lanes: int, inputs: int, minibatch_std: bool) -> Linear:
    """D's last layer."""
    return LinearWithSpread(lanes, inputs, 1) if minibatch_std else Linear(lanes, inputs, 1)


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether a forward in training mode mixes the samples of a batch."""
    return any(isinstance(part, (BatchNorm, LinearWithSpread)) for part in module.modules())


@contextmanager
def statistics_held(*modules: nn.Module) -> Iterator[None]:
    """Inside, forwards in training mode use the batch's statistics and leave the running ones alone."""
    norms = [part for module in modules for part in module.modules() if isinstance(part, BatchNorm)]
    before = [norm.track for norm in norms]
    for norm in norms:
        norm.track = False
    try:
        yield
    finally:
        for norm, track in zip(norms, before, strict=True):
            norm.track = track


def halvings(height: int, width: int) -> int:
    """How often an image is halved: to a shorter side of 4..7 pixels, and at least twice (8 pixels become 2)."""
    return max(2, int(math.log2(min(height, width) / 4)))


def base(times: int, height: int, width: int) -> tuple[int, int]:
    """The sides after `times` halvings, rounded up: G starts there and crops what is too much."""
    return -(-height // 2**times), -(-width // 2**times)


def channels(width: int, level: int) -> int:
    """Channels after `level` halvings: `width` after the first, doubling with each, at most 8 x width."""
    return width * min(2 ** max(level - 1, 0), 8)
