"""A device that is not the CPU, for machines that have none: `meta`, and a watch over everything that is done with it.

A tensor on `meta` has a shape and no values, so that asking it for a number raises by itself. The watch adds what a GPU would punish and
`meta` forgives: operations over tensors of both devices, copies for which the host waits, shapes that depend on values.
"""

import traceback
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FAR = "meta"


class Watch(TorchDispatchMode):
    """Inside, `faults` gathers what a GPU would not do without waiting, with the operation and the line of `stages` that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: set[str] = set()
        self.sent = 0  # copies to the far device
        self.constants = Constants(self)

    def __enter__(self) -> "Watch":
        self.constants.__enter__()
        watch: Watch = super().__enter__()
        return watch

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.constants.__exit__(*error)

    def __torch_dispatch__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if called.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.equal, torch.ops.aten.is_nonzero):
            self.note(any(is_far(x) for x in given), f"{called} reads a number")
        answer = called(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)]
        far = any(is_far(x) for x in given)
        if called.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            self._copied(called, kwargs, args, given, made)
        else:
            self.note(far and any(not is_far(x) and x.dim() > 0 for x in given), f"{called} over tensors of two devices")
            self.note(far and any(not is_far(x) for x in made), f"{called} leaves the device")
        self.note(far and _shape_by_value(called, given), f"{called} makes a shape that depends on values")
        return answer

    def _copied(self, called: Any, kwargs: dict[str, Any], args: Any, given: list[Tensor], made: list[Tensor]) -> None:
        came, went = (given[-1], given[0]) if called.overloadpacket is torch.ops.aten.copy_ else (given[0], made[0])
        if is_far(came) == is_far(went):
            return
        waits = not (kwargs.get("non_blocking") or (called.overloadpacket is torch.ops.aten.copy_ and len(args) > 2 and args[2]))
        self.sent += 1
        self.note(is_far(came) or waits, f"{called} {'from' if is_far(came) else 'to'} the device, for which the host waits")

    def note(self, wrong: bool, what: str) -> None:
        """Add a fault where it is one."""
        if wrong:
            lines = [frame for frame in traceback.extract_stack() if "/stages/" in frame.filename]
            self.faults.add(f"{what} ({lines[-1].filename.rsplit('/', 1)[1]}:{lines[-1].lineno})" if lines else what)


class Constants(TorchFunctionMode):
    """`torch.tensor` with a device copies Python's numbers there at once; it makes no operation that the other mode could see."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = called(*args, **(kwargs or {}))
        self.watch.note(called in (torch.tensor, torch.as_tensor) and is_far(answer), "a constant to the device, for which the host waits")
        return answer


def is_far(x: Tensor) -> bool:
    """Whether it lives there."""
    return x.device.type == FAR


def _shape_by_value(called: Any, given: list[Tensor]) -> bool:
    """`index` is tagged so for masks alone; an index of numbers has its shape from the start."""
    if called.overloadpacket is torch.ops.aten.index:
        return any(x.dtype == torch.bool for x in given[1:])
    return torch.Tag.dynamic_output_shape in called.tags


def faults(work: Callable[[], object]) -> set[str]:
    """What the watch finds while this is done."""
    with Watch() as watch:
        work()
    return watch.faults
