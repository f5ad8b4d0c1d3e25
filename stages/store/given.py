"""Samples of somebody else's generator, read into the form in which prepared items are stored."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from stages.errors import SeesawError
from stages.store.arrays import BROKEN
from stages.store.config import Data
from stages.store.datasets import open_stream


def read(data: Data, card: Mapping[str, Any], samples: np.ndarray | Path, root: Path = Path()) -> np.ndarray:
    """An array, an .npy file, or a folder or .zip of images, as `uint8 [N, C, H, W]` or `float32 [N, D]` in the games' scale.

    Images in an array are integers from 0 to 255 or floats from −1 to 1, channels first or last; images in files are resized and cropped by
    `prepare`'s rule. Vectors are in the units of the source. Whatever does not fit the card raises SeesawError.
    """
    items = _items(data, card, samples, root) if isinstance(samples, Path) else samples
    items = _shaped(items, tuple(card["shape"]), card["kind"] == "image")
    if len(items) < 2:
        raise SeesawError(f"{len(items)} samples cannot be judged: at least 2 are needed")
    if items.dtype.kind not in "fui":
        raise SeesawError(f"samples are of type {items.dtype}: numbers are needed")
    if card["kind"] == "image":
        return _eight_bits(items)
    scaled: np.ndarray = ((items - np.asarray(card["offset"])) / np.asarray(card["scales"])).astype(np.float32)
    return scaled


def _items(data: Data, card: Mapping[str, Any], path: Path, root: Path) -> np.ndarray:
    """What an .npy file holds, or the images of a folder or zip in the prepared size and colours."""
    if not path.exists():
        raise SeesawError(f"{path} is missing: give an .npy file, or a folder or .zip of images")
    if path.suffix == ".npy":
        try:
            loaded: np.ndarray = open_memmap(path, mode="r")
        except BROKEN as error:
            raise SeesawError(f"{path} is not an .npy array ({error})") from None
        return loaded
    if card["kind"] != "image":
        raise SeesawError(f"{path}: the prepared data are vectors, so samples are needed as an .npy file [N, {card['shape'][0]}]")
    like = dataclasses.replace(data, source="images", path=str(path.absolute()), size=card["shape"][1])
    like = dataclasses.replace(like, color="grey" if card["shape"][0] == 1 else "rgb")
    return np.concatenate([batch.items for batch in open_stream(like, root).batches()])


def _shaped(items: np.ndarray, shape: tuple[int, ...], image: bool) -> np.ndarray:
    given = tuple(items.shape[1:])
    if given == shape:
        return items
    if image and given == (*shape[1:], shape[0]):
        return np.moveaxis(items, -1, 1)
    if image and (1, *given) == shape:
        return items[:, None]
    raise SeesawError(f"samples have shape {list(items.shape)}: [N, {', '.join(map(str, shape))}] is needed, like the prepared data")


def _eight_bits(images: np.ndarray) -> np.ndarray:
    """Images as uint8; NaN and infinity are refused, since they have no 8-bit form."""
    low, high = (0, 255) if images.dtype.kind in "ui" else (-1.0, 1.0)
    if not (np.isfinite(images).all() and images.min() >= low and images.max() <= high):
        raise SeesawError(f"images lie in [{images.min()}, {images.max()}]: integers from 0 to 255 or floats from -1 to 1 are needed")
    return images.astype(np.uint8) if images.dtype.kind in "ui" else np.rint((images + 1.0) * 127.5).astype(np.uint8)
