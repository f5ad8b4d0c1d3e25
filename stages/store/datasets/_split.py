"""On which side an item lies: decided by its content and `data.seed` alone.

u = blake2b-64(content; key = seed) / 2^64 is uniform on [0, 1): test where u < data.test, validation where u < data.test +
data.validation, else train. No other item takes part, so items that are added later move none, and equal items lie on one side.
"""

import hashlib

import numpy as np

from stages.store.config import Data
from stages.store.datasets._stream import Batch


def sides(batch: Batch, data: Data) -> np.ndarray:
    """`int8 [n]`: the side of each item (0 train, 1 validation, 2 test) of a batch."""
    key = hashlib.sha256(f"seesaw split {data.seed}".encode()).digest()
    contents = batch.contents if batch.contents is not None else list(_rows(batch.items))
    digests = b"".join(hashlib.blake2b(content, digest_size=8, key=key).digest() for content in contents)
    u = np.frombuffer(digests, dtype="<u8").astype(np.float64) / 2.0**64
    return np.where(u < data.test, 2, np.where(u < data.test + data.validation, 1, 0)).astype(np.int8)


def _rows(items: np.ndarray) -> np.ndarray:
    # little-endian on every machine, and one zero: -0.0 and 0.0 are the same value
    canonical = items + 0.0 if items.dtype.kind == "f" else items
    rows = np.ascontiguousarray(canonical, canonical.dtype.newbyteorder("<"))
    return rows.reshape(len(rows), -1)
