"""A thousand modes: three digits drawn independently, one in each of the colours (the 8x8 form of stacked MNIST).

Metz et al. 2017 (unrolled GAN) and Lin et al. 2018 (PacGAN) stack MNIST at 28x28; here the digits are scikit-learn's.
"""

from collections.abc import Iterator
from pathlib import Path

from stages.store.config import Data
from stages.store.datasets import digits
from stages.store.datasets._stream import Batch, Stream, chunks, generator


def items(data: Data, path: Path) -> Stream:
    """`data.items` images `[3, 8, 8]` drawn with replacement; label = 100 red + 10 green + blue.

    The split hashes the stacked image: a single digit may stand in images of several parts.
    """

    def batches() -> Iterator[Batch]:
        images, labels = digits.load()
        for chunk, rows in chunks(data.items):
            picked = generator("stacked_digits", data.seed, chunk).integers(len(images), size=(4096, 3))[:rows]
            yield Batch(images[picked, 0], labels[picked] @ [100, 10, 1])

    return Stream(
        "image",
        (3, 8, 8),
        batches,
        total=data.items,
        classes=[f"{label:03d}" for label in range(1000)],
        notes=["stacked_digits: label = 100 red + 10 green + blue; one digit may stand in images of several parts"],
    )
