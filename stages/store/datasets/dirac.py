"""The point mass at 0 in one dimension: the data of the Dirac-GAN (Mescheder et al. 2018, definition 2.1)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.store.config import Data
from stages.store.datasets._stream import Batch, Scaling, Stream

COPIES = 1024  # enough for every sample size that the other nodes ask for


def items(data: Data, path: Path) -> Stream:
    """1,024 copies of 0, in each of the three parts: one value has one hash, so the split would leave two parts empty."""

    def batches() -> Iterator[Batch]:
        yield Batch(np.zeros((COPIES, 1)))

    note = f"dirac: each part holds {COPIES} copies of the one value"
    return Stream("vector", (1,), batches, total=COPIES, scaling=Scaling([0.0], [1.0]), everywhere=True, notes=[note])
