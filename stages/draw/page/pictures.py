"""Sample pictures small enough to travel inside one page."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence

from PIL import Image

TRIED = 6  # pictures an encoding is judged by
BUDGET = 1_500_000  # bytes of all pictures of a page, before base64 adds a third


Encode = Callable[[bytes], tuple[str, bytes]]


def embedded(pictures: Mapping[str, Mapping[int, bytes]], budget: int = BUDGET) -> dict[str, dict[int, str]]:
    """Data URIs by variant and step: the PNGs as they are where they fit the budget together, else WebP of falling quality and size.

    The same encoding for every picture, so that no variant looks better for being small. It is chosen on a few pictures, so that the
    whole is near the budget, not surely below it.
    """
    encode = _fitting([png for steps in pictures.values() for _, png in sorted(steps.items())], budget)
    return {name: {step: _uri(*encode(png)) for step, png in sorted(steps.items())} for name, steps in pictures.items()}


def _fitting(pngs: Sequence[bytes], budget: int) -> Encode:
    """The first encoding with which all pictures are expected to fit; the last one where none does."""
    if sum(map(len, pngs)) <= budget:
        return _png
    tried = pngs[:: max(1, len(pngs) // TRIED)]
    smaller = [encode for encode in SMALLER if sum(len(encode(png)[1]) for png in tried) / len(tried) * len(pngs) <= budget]
    return smaller[0] if smaller else SMALLER[-1]


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _png(data: bytes) -> tuple[str, bytes]:
    return "png", data


def _webp(quality: int, shrink: int) -> Encode:
    """Lossy, each side divided by `shrink`."""

    def encode(data: bytes) -> tuple[str, bytes]:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
        if shrink > 1:
            image = image.resize((max(1, image.width // shrink), max(1, image.height // shrink)), Image.Resampling.BOX)
        target = io.BytesIO()
        image.save(target, "WEBP", quality=quality, method=2)
        return "webp", target.getvalue()

    return encode


SMALLER = (_webp(85, 1), _webp(60, 1), _webp(60, 2), _webp(40, 4))
