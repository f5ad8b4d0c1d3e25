"""Named arrays in safetensors files: whole or absent, the same bytes for the same arrays; needs no torch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from stages.errors import SeesawError
from stages.store.files import replacing, unwritable

SEAL = "sha256"  # the one metadata key of a sealed file: more than one would not be byte-stable


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Arrays by name, sorted, without metadata; the mapping alone decides the bytes."""
    _save(path, _sorted(arrays), None)


def seal(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `write`, with the digest of the arrays inside: `read` then finds a flipped bit."""
    ordered = _sorted(arrays)
    _save(path, ordered, {SEAL: digest(ordered)})


def read(path: Path, remedy: str = "run `dvc repro` to train it again") -> dict[str, np.ndarray]:
    """The arrays of a file; SeesawError with the remedy when it is missing, damaged, or not what was sealed."""
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sealed = (file.metadata() or {}).get(SEAL)
    except FileNotFoundError:
        raise SeesawError(f"{path} is missing: {remedy}") from None
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError) as error:
        raise SeesawError(f"{path} is damaged ({' '.join(str(error).split())}): {remedy}") from None
    if sealed is not None and sealed != digest(arrays):
        raise SeesawError(f"{path} is damaged (its arrays are not those of its digest): {remedy}")
    return arrays


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """sha256 over names, dtypes, shapes and bytes, by sorted name."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {list(arrays[name].shape)}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _sorted(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}


def _save(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str] | None) -> None:
    with replacing(path) as temporary:
        try:
            save_file(arrays, temporary, metadata)
        except SafetensorError as error:  # it hides the operating system's error in its words
            raise unwritable(path, str(error)) from error
