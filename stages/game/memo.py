"""D as losses and penalties share it: one forward for each tensor object."""

import torch
from torch import Tensor, nn


class Memo:
    """D that answers once for each tensor object, as penalties expect."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.answers: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        if id(x) not in self.answers:
            self.answers[id(x)] = (x, self.module(x))
        return self.answers[id(x)][1]

    def pair(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """Both batches `[L, B, ...]` in one forward: for a D that does not mix samples."""
        logits = self.module(torch.cat([one, other], 1))
        self.answers |= {id(x): (x, part) for x, part in zip((one, other), logits.chunk(2, 1), strict=True)}
        return self(one), self(other)
