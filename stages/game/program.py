"""A generator of one lane as plain data: its weights by name, and the list of tensor operations that turns noise into samples.

The list is what `torch.export` sees of the network, so any network of the catalogue, also one added later, can leave the project:
`store/served.py` runs it without this project's code.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

PYTHON = ("add", "sub", "mul", "floordiv", "getitem")  # what a batch size may go through on its way


class Lane(nn.Module):
    """A network of many lanes with one lane in it, without the lane axis: noise `[n, latent]` to samples `[n, ...]`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, noise: Tensor) -> Tensor:
        samples: Tensor = self.network(noise[None])[0]
        return samples


def weights_of(tensors: Mapping[str, Tensor], role: str, lane: int) -> dict[str, Tensor]:
    """One lane's tensors of one player in a snapshot, by their names in the network; the lane axis stays, with one entry."""
    return {name.removeprefix(f"{role}/"): tensor[lane : lane + 1] for name, tensor in tensors.items() if name.startswith(f"{role}/")}


@torch.no_grad()
def exported(module: nn.Module, latent: int) -> torch.export.ExportedProgram:
    """A module from noise `[n, latent]` to samples, for any n, as torch exports it."""
    noise = torch.zeros(2, latent)
    return torch.export.export(module.eval(), (noise,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},), strict=False)


def steps_of(network: nn.Module, latent: int) -> list[dict[str, Any]]:
    """The operations of a generator of one lane, in order, as JSON can hold them.

    Each is `{name, op, args, kwargs}`; `op` is `weight` (args: its name), `noise`, `aten.…`, `python.…` or, last, `output`. An argument
    `{"node": name}` is another operation's result. ValueError for an operation that cannot be written down.
    """
    program = exported(Lane(network), latent)
    named = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    return [_step(node, named) for node in program.graph.nodes]


def _step(node: fx.Node, named: Mapping[str, str]) -> dict[str, Any]:
    if node.op == "placeholder":
        weight = named.get(node.name)
        entry: dict[str, Any] = (
            {"op": "noise", "args": []} if weight is None else {"op": "weight", "args": [weight.removeprefix("network.")]}
        )
    elif node.op == "output":
        entry = {"op": "output", "args": [_plain(node.args[0][0])]}  # type: ignore[index]
    else:
        entry = {"op": _operation(node), "args": [_plain(value) for value in node.args]}
    return {"name": node.name, "kwargs": {key: _plain(value) for key, value in node.kwargs.items()}, **entry}


def _operation(node: fx.Node) -> str:
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        return str(target)
    name = getattr(target, "__name__", str(target))
    if getattr(target, "__module__", "") == "_operator" and name in PYTHON:
        return f"python.{name}"
    raise ValueError(f"operation {target} cannot be written down: only PyTorch's own tensor operations can")


def _plain(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return {"node": value.name}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": value.type}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"argument {value!r} cannot be written down")
