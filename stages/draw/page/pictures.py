"""Sample pictures small enough to travel inside one page."""

import base64
import io
from collections.abc import Callable, Mapping

from PIL import Image

BUDGET = 1_900_000  # bytes of all pictures of a page, before base64 adds a third


def embedded(pictures: Mapping[str, Mapping[int, bytes]], budget: int = BUDGET) -> dict[str, dict[int, str]]:
    """Data URIs by variant and step: the PNGs as they are where they fit the budget together, else WebP of falling quality and size.

    The same encoding for every picture, so that no variant looks better for being small. The last encoding stands even if it is too big.
    """
    encoded: dict[str, dict[int, tuple[str, bytes]]] = {}
    for encode in ENCODINGS:
        encoded = {name: {step: encode(png) for step, png in sorted(steps.items())} for name, steps in pictures.items()}
        if sum(len(data) for steps in encoded.values() for _, data in steps.values()) <= budget:
            break
    return {name: {step: _uri(*pair) for step, pair in steps.items()} for name, steps in encoded.items()}


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _png(data: bytes) -> tuple[str, bytes]:
    return "png", data


def _webp(quality: int, shrink: int) -> Callable[[bytes], tuple[str, bytes]]:
    """Quality 100 is lossless; each side is divided by `shrink`."""

    def encode(data: bytes) -> tuple[str, bytes]:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
        if shrink > 1:
            image = image.resize((max(1, image.width // shrink), max(1, image.height // shrink)), Image.Resampling.BOX)
        target = io.BytesIO()
        image.save(target, "WEBP", lossless=quality == 100, quality=quality, method=4)
        return "webp", target.getvalue()

    return encode


ENCODINGS = (_png, _webp(100, 1), _webp(80, 1), _webp(50, 1), _webp(50, 2), _webp(30, 4))
