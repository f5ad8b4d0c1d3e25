"""Data sets made for staged games: what the project's own sources do not hold, read by `prepare` as a user's array is.

`mixture`: equal Gaussians of one standard deviation around given centres; `digits`: some classes of scikit-learn's digits, at another size,
in negative. The rules are not told that a mixture is one: they see an array without modes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError
from stages.store.datasets import digits

KINDS = {"mixture": {"centres", "std", "items", "seed"}, "digits": {"classes", "zoom", "negative"}}


def check(name: str, made: Mapping[str, Any]) -> None:
    """SeesawError for an entry that is not of a kind above."""
    kind = made.get("kind")
    if kind not in KINDS or set(made) - {"kind"} != KINDS[kind]:
        forms = "; ".join(f"{word}: {', '.join(sorted(keys))}" for word, keys in KINDS.items())
        raise SeesawError(f"staged game {name}: made is {dict(made)}, but needs a kind and its entries ({forms})")


def write(made: Mapping[str, Any], folder: Path) -> None:
    """The items, and labels where they have any, as `items.npz` in `folder`."""
    items = mixture(made) if made["kind"] == "mixture" else some_digits(made)
    np.savez(folder / "items.npz", allow_pickle=False, **items)


def mixture(made: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """float64 `[n, d]`."""
    rng, centres = np.random.default_rng([made["seed"], 30]), np.array(made["centres"], np.float64)
    drawn = centres[rng.integers(len(centres), size=made["items"])]
    return {"items": drawn + made["std"] * rng.standard_normal(drawn.shape)}


def some_digits(made: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """uint8 `[n, side, side]` and labels `[n]`."""
    images, labels = digits.load()
    kept = np.isin(labels, made["classes"])
    shown = np.kron(np.asarray(images)[kept].reshape(-1, 8, 8), np.ones((made["zoom"], made["zoom"]), np.uint8))
    return {"items": 255 - shown if made["negative"] else shown, "labels": np.asarray(labels)[kept]}
