"""Named arrays in safetensors files: whole or absent, the same bytes for the same arrays; needs no torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from stages.errors import SeesawError
from stages.store.files import replacing


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays by name, sorted, without metadata; the mapping alone decides the bytes."""
    with replacing(path) as temporary:
        save_file({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}, temporary)


def read(path: Path, remedy: str = "run `dvc repro` to train it again") -> dict[str, np.ndarray]:
    """The arrays of a file; SeesawError with the remedy when it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError:
        raise SeesawError(f"{path} is missing: {remedy}") from None
    except SafetensorError as error:
        raise SeesawError(f"{path} is damaged ({error}): {remedy}") from None
