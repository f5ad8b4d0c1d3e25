"""Augmentation of every image that D sees, differentiable, with a probability per lane."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.game.spec import Rules
from stages.game.views import View
from stages.game.vocabulary import Draws

Transform = Callable[[Tensor, Draws], Tensor]  # images [L, B, C, H, W] to images


@dataclass
class Augmentation:
    """Each transform is applied to each image with its lane's probability p; real and generated images, in D's and in G's step.

    D never sees a bare image once p = 1; gradients flow through every transform to the pixels, and penalties on input gradients are
    taken by the pixels before it. Images only. With `pack` every image of a pack is transformed on its own.
    """

    transforms: tuple[Transform, ...]
    state: dict[str, Tensor]  # probability: [L]
    target: float = 1.0
    rate: float = 0.0  # change of p in one D step; 0: p stays

    def open(self, draws: Callable[[str], Draws], step: int) -> View:
        stream = draws("augment")
        return lambda x: self._apply(x, stream)

    def _apply(self, x: Tensor, draws: Draws) -> Tensor:
        for transform in self.transforms:
            chosen = draws.uniform(x.shape[1]) < self.state["probability"][:, None]  # [L, B]
            x = torch.where(chosen[:, :, None, None, None], transform(x, draws), x)
        return x

    def observe(self, real_logits: Tensor) -> None:
        if self.rate:
            ahead = torch.sign(real_logits.sign().mean(1) - self.target)
            self.state["probability"].add_(self.rate * ahead).clamp_(0, 1)


def diffaugment(like: Tensor, lanes: int) -> Augmentation:
    """`augment: diffaugment`: color, translation and cutout on every image, p = 1::

        color         x + (u - ½);  (x - mean over C) 2u + mean over C;  (x - mean) (u + ½) + mean        u uniform on [0, 1), per image
        translation   by whole pixels, each way up to an eighth of the side, zeros (mid grey) come in
        cutout        a rectangle of half the side each way, anywhere, becomes 0; what falls outside is cut off

    Source: Zhao et al. 2020, section 3.2 and the authors' code, whose policy `color,translation,cutout` this is; sides round as there.
    """
    return Augmentation((color, translate_zero, cutout), {"probability": like.new_ones(lanes)})


def ada(like: Tensor, lanes: int, rules: Rules, steps: int) -> Augmentation:
    """`augment: ada`: adaptive discriminator augmentation. Each lane's p starts at 0 and follows how much its D overfits::

        r_t = mean over the batch of sign D(x), x real as shown to D
        p <- clip(p + sign(r_t - augment_target) / (augment_ramp N n_D), 0, 1)        after every D step; N n_D is their number in the run

    Transforms, each with probability p: mirroring (on a fair coin), translation by whole pixels up to an eighth of the side (reflected at
    the border), brightness + 0.2 ε, contrast x 2^(½ ε) about 0, ε standard normal per image.

    Source: Karras et al. 2020 (ADA), eq. 1 and section 3.1; there p can go from 0 to 1 in 500 thousand images, r_t gathers 4 batches,
    and the pipeline has 18 transforms, of which these are the cheap core. Only for losses in which a logit's sign is D's decision.
    """
    rate = 1 / (rules.augment_ramp * steps * rules.critic_steps)
    state = {"probability": like.new_zeros(lanes)}
    return Augmentation((mirror, translate_reflect, brightness, contrast), state, rules.augment_target, rate)


def color(x: Tensor, draws: Draws) -> Tensor:
    """Brightness, saturation, contrast, in DiffAugment's ranges."""
    first, second, third = (draws.uniform(x.shape[1])[:, :, None, None, None] for _ in range(3))
    x = x + (first - 0.5)
    grey = x.mean(2, keepdim=True)
    x = (x - grey) * (2 * second) + grey
    mean = x.mean((2, 3, 4), keepdim=True)
    return (x - mean) * (third + 0.5) + mean


def translate_zero(x: Tensor, draws: Draws) -> Tensor:
    """Whole pixels, zeros come in."""
    rows, columns = (_shifts(x, axis, draws) for axis in (3, 4))
    return _taken(_taken(x, 3, rows, "zero"), 4, columns, "zero")


def translate_reflect(x: Tensor, draws: Draws) -> Tensor:
    """Whole pixels, the image is reflected at its border."""
    rows, columns = (_shifts(x, axis, draws) for axis in (3, 4))
    return _taken(_taken(x, 3, rows, "reflect"), 4, columns, "reflect")


def cutout(x: Tensor, draws: Draws) -> Tensor:
    """A rectangle of half the side each way becomes 0."""
    inside = [_window(x.shape[axis], draws.uniform(x.shape[1])) for axis in (3, 4)]  # [L, B, H], [L, B, W]
    return x * ~(inside[0][:, :, None, :, None] & inside[1][:, :, None, None, :])


def mirror(x: Tensor, draws: Draws) -> Tensor:
    """Left and right exchanged on a fair coin."""
    heads = draws.uniform(x.shape[1]) < 0.5
    return torch.where(heads[:, :, None, None, None], x.flip(4), x)


def brightness(x: Tensor, draws: Draws) -> Tensor:
    """x + 0.2 ε."""
    return x + 0.2 * draws.normal(x.shape[1])[:, :, None, None, None]


def contrast(x: Tensor, draws: Draws) -> Tensor:
    """x 2^(½ ε)."""
    return x * torch.exp2(0.5 * draws.normal(x.shape[1]))[:, :, None, None, None]


def _shifts(x: Tensor, axis: int, draws: Draws) -> Tensor:
    """Whole pixels from -n to n, n an eighth of the side, rounded; `[L, B]`."""
    most = int(x.shape[axis] / 8 + 0.5)
    return (draws.uniform(x.shape[1]) * (2 * most + 1)).floor().long() - most


def _taken(x: Tensor, axis: int, shift: Tensor, border: str) -> Tensor:
    """x moved along one axis by a shift `[L, B]`: out[i] = x[i + shift], the border filled."""
    side = x.shape[axis]
    index = torch.arange(side, device=x.device) + shift[:, :, None]  # [L, B, side]
    shape = (*index.shape[:2], 1, *(side if other == axis else 1 for other in (3, 4)))
    inside = ((index >= 0) & (index < side)).view(shape)
    reflected = (side - 1 - (side - 1 - index.abs()).abs()).view(shape)
    moved = x.gather(axis, reflected.expand(*x.shape))
    return moved if border == "reflect" else moved * inside


def _window(side: int, place: Tensor) -> Tensor:
    """Which of `side` positions lie within half a side that starts anywhere from -¼ side on: booleans `[L, B, side]`."""
    width = int(side / 2 + 0.5)
    first = (place * (side + 1 - width % 2)).floor() - width // 2
    at = torch.arange(side, device=place.device)
    return (at >= first[:, :, None]) & (at < first[:, :, None] + width)
