"""Numbers as the file holds them."""

from typing import Any

import numpy as np


def medians(values: np.ndarray) -> list[float | None]:
    """Medians of `[T, L]` over the finite values of each row."""
    finite = [row[np.isfinite(row)] for row in values]
    return [number(float(np.median(row))) if row.size else None for row in finite]


def numbers(values: Any) -> list[float | None]:
    """Each as `number` gives it."""
    return [number(float(value)) for value in values]


def number(value: float | None) -> float | None:
    """Seven significant digits; a value that is not finite is null."""
    return float(f"{value:.7g}") if value is not None and np.isfinite(value) else None
