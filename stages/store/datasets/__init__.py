"""Sources of data: one file per word that `data.source` may be, each with `items(data, path) -> Stream`."""

import importlib
from pathlib import Path

from stages.store.config import Data
from stages.store.datasets._stream import Stream


def open_stream(data: Data, root: Path = Path()) -> Stream:
    """The stream of `data.source`; what can be told of bad input without reading it whole raises SeesawError here."""
    source = importlib.import_module(f"{__name__}.{data.source}")
    stream: Stream = source.items(data, root / data.path)
    return stream
