"""A stand-in for a CUDA graph on the CPU: operations are listed as they run, and run again on the same tensors.

As there, whatever Python decided or computed while recording stays as it was, and results come to lie where they lay; a question about a
tensor's numbers cannot be recorded. Unlike there, recording also does the work: who records has to take its state back.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stages.game.steps import Turn

ASKS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select")


class Program(TorchDispatchMode):
    """Lists operations, but those on tensors of the host."""

    def __init__(self, host: list[Tensor]) -> None:
        super().__init__()
        self.host = {id(tensor) for tensor in host}
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if called.overloadpacket.__name__ in ASKS:
            raise RuntimeError(f"{called} asks for a number while recorded")
        answer = called(*args, **kwargs)
        if not any(id(leaf) in self.host for leaf in tree_leaves((args, kwargs))):
            self.operations.append((called, args, kwargs, answer))
        return answer

    def run(self) -> None:
        """All of it again, in its order."""
        with torch.no_grad():
            for called, args, kwargs, answer in self.operations:
                if not called.overloadpacket.__name__.startswith(("empty", "new_empty")) and not _is_view(called):
                    again = called(*args, **kwargs)
                    for old, new in zip(tree_leaves(answer), tree_leaves(again), strict=True):
                        if isinstance(old, Tensor) and old is not new:
                            old.copy_(new)


def _is_view(called: Any) -> bool:
    """What returns a part of what it was given, unchanged."""
    return any(result.alias_info is not None and not result.alias_info.is_write for result in called._schema.returns)


class CpuGraphs:
    """The backend made of it."""

    def __init__(self, host: list[Tensor]) -> None:
        self.host = host
        self.recorded = 0

    def warm(self, work: Callable[[], Turn]) -> Turn:
        return work()

    def record(self, work: Callable[[], Turn]) -> tuple[Turn, Callable[[], None]]:
        with Program(self.host) as program:
            turn = work()
        self.recorded += 1
        return turn, program.run
