"""The first node: a source of data in, `data/prepared/` out (docs/formats.md), whole or not at all."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from stages.errors import SeesawError
from stages.store import datasets, layout
from stages.store.arrays import PARTS, digest
from stages.store.config import Config, Data
from stages.store.datasets._parts import Parts, deal, finish_images, finish_vectors
from stages.store.datasets._stream import Scaling, Stream
from stages.store.files import write_json

ENDING = 10.0  # seconds in which what is left of a killed run has ended
STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


def prepare(config: Config, root: Path = Path()) -> dict[str, Any]:
    """Writes `data/prepared/` below `root` and returns its card. Bad input raises SeesawError and leaves what was there before."""
    data = config.data
    stream = datasets.open_stream(data, root)
    with _locked(root), _replacing_folder(root / layout.PREPARED) as folder:
        parts = deal(stream, data, folder)
        if stream.kind == "image":
            shape, scaling = finish_images(stream, parts, folder), None
        else:
            shape, scaling = stream.shape, finish_vectors(stream, parts, folder)
        features = _pin_features(config, stream, folder)
        card = _card(data, stream, parts, shape, scaling, features, digest(folder))
        write_json(folder / layout.CARD.name, card)
    return card


def _card(
    data: Data,
    stream: Stream,
    parts: Parts,
    shape: tuple[int, ...],
    scaling: Scaling | None,
    features: dict[str, Any],
    content: str,
) -> dict[str, Any]:
    return {
        "source": data.source,
        "kind": stream.kind,
        "shape": list(shape),
        "counts": parts.counts,
        "labels": stream.classes,
        "label_counts": None if stream.classes is None else _label_counts(parts, len(stream.classes)),
        "digest": content,
        "split_seed": data.seed,
        "scale": "x / 127.5 - 1" if scaling is None else "(raw - offset) / scale",
        "offset": None if scaling is None else list(scaling.offset),
        "scales": None if scaling is None else list(scaling.scales),
        "modes": stream.modes,
        "features": features,
        "skipped": stream.skipped,
        "notes": stream.notes + parts.notes,
    }


def _label_counts(parts: Parts, classes: int) -> dict[str, list[int]]:
    return {part: np.bincount(np.concatenate(parts.labels[part]), minlength=classes).tolist() for part in PARTS}


def _pin_features(config: Config, stream: Stream, folder: Path) -> dict[str, Any]:
    """The card's entry of the feature space; its weights, where it has any, in features.safetensors."""
    from stages.measure import features  # torch takes seconds to import: bad input is told before

    train, train_labels = _loaded(folder, "train", stream)
    test, test_labels = _loaded(folder, "test", stream)
    classes = len(stream.classes or [])
    try:
        tensors, entry = features.pin(
            config.evaluate.features, stream.kind, train, train_labels, test, test_labels, classes, config.data.seed
        )
    except ValueError as error:
        raise SeesawError(str(error)) from error
    if tensors:
        from safetensors.torch import save_file

        save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, folder / "features.safetensors")
    return entry


def _loaded(folder: Path, part: str, stream: Stream) -> tuple[np.ndarray, np.ndarray | None]:
    """Items and labels of a part, memory-mapped; labels are None where the source has none."""
    items = np.load(folder / f"{part}.npy", mmap_mode="r", allow_pickle=False)
    return items, None if stream.classes is None else np.load(folder / f"{part}_labels.npy", allow_pickle=False)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One `prepare` at a time in a checkout."""
    path = root / ".seesaw" / "prepare.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=ENDING):
            yield
    except Timeout:
        raise SeesawError("another prepare is writing data/prepared: wait until it has ended, then run this again") from None


@contextmanager
def _replacing_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block ends well, and is removed when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}-*"):  # of a run that was killed: the lock says that none is at work
        shutil.rmtree(left)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    old = temporary.with_name(temporary.name + "-old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if target.exists():
            target.rename(old)
        temporary.rename(target)
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        raise SeesawError(f"data/prepared cannot be written ({error.strerror}): free space or mend permissions") from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)
