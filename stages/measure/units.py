"""Units that answer nothing: hidden units whose input to the activation is not positive for any sample of a batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stages.game.lanes import Activation

RECTIFIERS = ("relu", "leaky_relu")

Largest = dict[str, Tensor]  # activation by its name in the network: the largest input of each unit, [L, U]


@contextmanager
def watched(module: nn.Module, lanes: int) -> Iterator[Largest]:
    """Inside, every forward of the module notes the largest input of each of its rectifiers' units.

    A unit is a coordinate of a vector layer or a whole channel of an image layer (all its pixels share its weights). Several forwards count
    as one batch. The module's answers are unchanged; the hooks go when the block ends.
    """
    largest: Largest = {}
    parts = [(name, part) for name, part in module.named_modules() if isinstance(part, Activation) and part.name in RECTIFIERS]
    handles = [part.register_forward_hook(_note(largest, name, lanes)) for name, part in parts]
    try:
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def _note(largest: Largest, name: str, lanes: int):  # type: ignore[no-untyped-def]
    def hook(part: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> None:
        x = given[0].detach()
        seen = x.amax((0, 2, 3)).unflatten(0, (lanes, -1)) if x.dim() == 4 else x.amax(1)
        largest[name] = torch.maximum(largest[name], seen) if name in largest else seen

    return hook


def dead(largest: Largest) -> Tensor:
    """Share of units whose largest input is <= 0, in all rectifiers together and then in each: `[A + 1, L]`.

    relu: such a unit answers 0 and passes no gradient. leaky_relu: it still passes 0.2 of it, and is a linear map on this batch.
    NaN inputs give NaN. ValueError where nothing was watched.
    """
    if not largest:
        raise ValueError("no rectifier was watched: these shares are for relu and leaky_relu")
    shares = [torch.where(seen.isnan(), seen, (seen <= 0).to(seen.dtype)) for seen in largest.values()]
    return torch.stack([torch.cat(shares, 1).mean(1), *(share.mean(1) for share in shares)])
