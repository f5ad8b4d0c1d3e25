"""Named tensors in safetensors files: whole or absent, the same bytes for the same tensors."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stages.errors import SeesawError
from stages.store.files import replacing


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Tensors by name, sorted, without metadata; a mapping alone decides the bytes."""
    with replacing(path) as temporary:
        save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, temporary)


def read(path: Path, remedy: str = "run `dvc repro` to train it again") -> dict[str, Tensor]:
    """The tensors of a file; SeesawError with the remedy when it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise SeesawError(f"{path} is missing: {remedy}") from None
    except SafetensorError as error:
        raise SeesawError(f"{path} is damaged ({error}): {remedy}") from None
