"""What every source hands over: a description, and batches that are read only when asked for."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stages.errors import printable

BATCH_BYTES = 1 << 22  # a batch holds about this much, so that memory does not grow with the data
LARGEST_ITEM = 1 << 28  # bytes of one item: a header that promises more is refused before anything is allocated


@dataclass(frozen=True)
class Batch:
    """Some items in a row, as the source holds them.

    `items` is `uint8 [n, C, H, W]` or `float64 [n, D]` (raw, before any scaling). `labels` is `int64 [n]`, indices of the class names.
    `contents` is what the split hashes, one entry an item; without it an item's own bytes are hashed.
    """

    items: np.ndarray
    labels: np.ndarray | None = None
    contents: Sequence[bytes] | None = None


@dataclass(frozen=True)
class Scaling:
    """`stored = (raw - offset) / scales`, per column."""

    offset: Sequence[float]
    scales: Sequence[float]


@dataclass(frozen=True)
class Stream:
    """A source, opened: what its items are, and how to read them once, in a fixed order.

    `scaling` is for vectors: fixed numbers, or `standard` for the train part's mean and standard deviation. `grey_if_all_grey` asks
    for one channel when all three are equal in every item. `everywhere` puts every item on all three sides: it is for a source of
    one distinct value, which no hash can split. `notes` and `skipped` are complete once the batches have been read.
    """

    kind: Literal["image", "vector"]
    shape: tuple[int, ...]
    batches: Callable[[], Iterator[Batch]]
    total: int | None = None
    classes: list[str] | None = None
    columns: list[str] | None = None
    scaling: Scaling | Literal["standard"] | None = None
    modes: dict[str, Any] | None = None
    grey_if_all_grey: bool = False
    everywhere: bool = False
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def rows_per_batch(item_bytes: int) -> int:
    """How many items of that many bytes a batch holds: at least 1, at most 4096."""
    return max(1, min(4096, BATCH_BYTES // max(1, item_bytes)))


def generator(purpose: str, seed: int, chunk: int) -> np.random.Generator:
    """Random numbers of one chunk of a generated source; a longer run of the same source begins with the same chunks."""
    return np.random.default_rng(list(hashlib.sha256(f"{purpose} {seed} {chunk}".encode()).digest()))


def chunks(total: int, size: int = 4096) -> Iterator[tuple[int, int]]:
    """(chunk, rows) until `total` rows are reached; a generated source draws whole chunks and keeps the rows it needs."""
    for chunk, start in enumerate(range(0, total, size)):
        yield chunk, min(size, total - start)


def shown(name: str) -> str:
    """A file's name on one line: what cannot be printed is escaped."""
    return printable(name)
