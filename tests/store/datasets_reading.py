"""What the tests of the sources share: a source read whole, and small files to read."""

import dataclasses
import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.store.config import Data
from stages.store.datasets import open_stream
from stages.store.datasets._split import sides
from stages.store.datasets._stream import Batch, Stream


def opened(source: str, path: Path | str = "data/raw", **settings: object) -> Stream:
    return open_stream(dataclasses.replace(Data(), source=source, path=str(path), **settings))


def whole(stream: Stream) -> Batch:
    batches = list(stream.batches())
    labels = None if batches[0].labels is None else np.concatenate([batch.labels for batch in batches])
    contents = None if batches[0].contents is None else [content for batch in batches for content in batch.contents]
    return Batch(np.concatenate([batch.items for batch in batches]), labels, contents)


def sides_by_item(source: str, path: Path | str, **settings: object) -> dict[bytes, int]:
    """Each item's side, keyed by what the item is (its bytes, or its file's digest)."""
    data = dataclasses.replace(Data(), source=source, path=str(path), **settings)
    batch = whole(open_stream(data))
    keys = batch.contents or [item.tobytes() for item in batch.items]
    return dict(zip(keys, sides(batch, data).tolist(), strict=True))


def real_data() -> Path:
    path = Path(os.environ.get("SEESAW_REAL_DATA", Path(__file__).resolve().parents[2].parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip("no real data: set SEESAW_REAL_DATA to a folder with mnist/ and emoji.zip")
    return path


def idx(path: Path, values: np.ndarray, *, magic: bytes | None = None) -> Path:
    header = (magic or bytes([0, 0, 8, values.ndim])) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def write_images(folder: Path, count: int, rng: np.random.Generator, size: tuple[int, int] = (8, 8)) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    start = len(list(folder.iterdir()))
    paths = [folder / f"image-{start + index:05d}.png" for index in range(count)]
    for path in paths:
        path.write_bytes(encoded(rng.integers(0, 256, (*size, 3), dtype=np.uint8)))
    return paths
