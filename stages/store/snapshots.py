"""Snapshots as torch tensors; the files are those of `store.tensors`."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from stages.store import tensors


def write(path: Path, named: Mapping[str, Tensor]) -> None:
    """Tensors by name."""
    tensors.write(path, {name: tensor.detach().cpu().numpy() for name, tensor in named.items()})


def seal(path: Path, named: Mapping[str, Tensor]) -> None:
    """As `write`, with the digest of the tensors inside: `read` then finds a flipped bit."""
    tensors.seal(path, {name: tensor.detach().cpu().numpy() for name, tensor in named.items()})


def read(path: Path, remedy: str = "run `dvc repro` to train it again") -> dict[str, Tensor]:
    """The tensors of a file; SeesawError with the remedy when it is missing or damaged."""
    return {name: torch.from_numpy(array) for name, array in tensors.read(path, remedy).items()}
