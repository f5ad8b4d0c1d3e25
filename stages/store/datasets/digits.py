"""scikit-learn's 1,797 real handwritten digits, 8x8, grey: the data that is always there (Alpaydin and Kaynak 1998)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.store.config import Data
from stages.store.datasets._stream import Batch, Stream


def load() -> tuple[np.ndarray, np.ndarray]:
    """`uint8 [1797, 1, 8, 8]` and `int64 [1797]`; the source's 0..16 becomes round(x * 255 / 16)."""
    from sklearn.datasets import load_digits  # half a second to import

    raw, labels = load_digits(return_X_y=True)
    return np.round(raw * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8), labels.astype(np.int64)


def items(data: Data, path: Path) -> Stream:
    """The digits in scikit-learn's order; neither `path` nor the seed plays a part in what they are."""

    def batches() -> Iterator[Batch]:
        images, labels = load()
        yield Batch(images, labels)

    return Stream(
        "image",
        (1, 8, 8),
        batches,
        total=1797,
        classes=[str(digit) for digit in range(10)],
        notes=["digits: scikit-learn's 8x8 digits, 0..16 stored as round(x * 255 / 16)"],
    )
