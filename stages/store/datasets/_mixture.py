"""Equal mixtures of round Gaussians in the plane, whose modes are known."""

from collections.abc import Iterator

import numpy as np

from stages.store.config import Data
from stages.store.datasets._stream import Batch, Scaling, Stream, chunks, generator


def mixture(name: str, data: Data, centres: np.ndarray, std: float, scale: float) -> Stream:
    """`data.items` draws: a centre `[M, D]` with equal chance, plus std times a standard normal.

    Stored divided by `scale`; the modes of the stream are in that scale too.
    """

    def batches() -> Iterator[Batch]:
        for chunk, rows in chunks(data.items):
            rng = generator(name, data.seed, chunk)
            mode = rng.integers(len(centres), size=4096)
            yield Batch((centres[mode] + std * rng.standard_normal((4096, centres.shape[1])))[:rows])

    dimensions = centres.shape[1]
    modes = {"centres": (centres / scale).tolist(), "std": std / scale, "names": [str(mode) for mode in range(len(centres))]}
    scaling = Scaling([0.0] * dimensions, [scale] * dimensions)
    return Stream("vector", (dimensions,), batches, total=data.items, scaling=scaling, modes=modes)
