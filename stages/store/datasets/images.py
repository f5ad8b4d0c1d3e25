"""A folder or .zip of PNG, JPEG, WebP, BMP or GIF images; class subfolders become labels."""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

from stages.errors import SeesawError
from stages.store.config import Data
from stages.store.datasets import _paths
from stages.store.datasets._files import SUFFIXES, Archive, Folder, Listing
from stages.store.datasets._stream import Batch, Stream, rows_per_batch, shown

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
LARGEST_FILE = 1 << 28  # bytes of one image file: it is held in memory
LARGEST_BATCH = 256
THREADS = 4
# what Pillow raises on a damaged file, found in its plugins: there is no common base
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def items(data: Data, path: Path) -> Stream:
    """Every image below `data.path`, in the order of its path, as `uint8 [C, size, size]`.

    An image is turned as its EXIF says, transparent pixels are laid over `data.background`, its middle square is cut out (side: the
    short side) and resized to `data.size` with Lanczos antialiasing; one of that size already is kept pixel for pixel. `data.color`
    grey is the luma of RGB; auto is grey when red, green and blue are equal in every pixel of every image.

    The split hashes the file's bytes: neither size, colour, background nor the version of a decoder moves an image.
    """
    background = _background(data.background)
    listing = _listing(data, path)
    if not listing.names:
        raise _paths.nothing(data, f"image ({', '.join(SUFFIXES)})")
    classes, labels = _labels(listing.names)
    shape = (1 if data.color == "grey" else 3, data.size, data.size)
    stream = Stream(
        "image",
        shape,
        lambda: _batches(data, listing, labels, background, stream.skipped),
        total=len(listing.names),
        classes=classes,
        grey_if_all_grey=data.color == "auto",
        notes=_notes(data, listing),
    )
    return stream


def _notes(data: Data, listing: Listing) -> list[str]:
    rule = (
        f"images: EXIF orientation applied, transparent pixels over {data.background}, middle square cut out, Lanczos to "
        f"{data.size}x{data.size}, color {data.color}"
    )
    ignored = f"images: {listing.ignored} hidden files, links to folders and files of other kinds ignored"
    return [rule, ignored] if listing.ignored else [rule]


def _background(word: str) -> tuple[int, int, int]:
    try:
        red, green, blue = ImageColor.getrgb(word)[:3]
    except ValueError:
        raise SeesawError(f"data.background is {word!r}: a colour name or #rrggbb is needed") from None
    return red, green, blue


def _listing(data: Data, path: Path) -> Folder | Archive:
    if _paths.existing(data, path).is_dir():
        folder = Folder(path)
        zips = sorted(entry for entry in path.iterdir() if entry.suffix.lower() == ".zip" and not entry.name.startswith("."))
        if folder.names or len(zips) != 1:
            return folder
        _paths.inside(zips[0], path)
        return Archive(zips[0])
    if path.suffix.lower() != ".zip":
        raise SeesawError(f"data.path {shown(data.path)} is no images source: a folder or a .zip file is read")
    return Archive(path)


def _labels(names: Sequence[str]) -> tuple[list[str] | None, np.ndarray | None]:
    """Classes are the folders below the last folder that all images share; None when there are not two, or an image lies in none."""
    first, last = names[0].split("/"), names[-1].split("/")  # names are sorted: what these two share, all share
    depth = next((level for level in range(len(first) - 1) if level >= len(last) - 1 or first[level] != last[level]), len(first) - 1)
    seen: dict[str, int] = {}
    met = np.empty(len(names), np.int64)
    for index, name in enumerate(names):
        folders = name.split("/", depth + 1)
        if len(folders) < depth + 2:
            return None, None
        met[index] = seen.setdefault(folders[depth], len(seen))
    if len(seen) < 2:
        return None, None
    found, places = _paths.classes(np.array(list(seen)))
    return found, places[met]


def _batches(
    data: Data, listing: Folder | Archive, labels: np.ndarray | None, background: tuple[int, int, int], skipped: list[str]
) -> Iterator[Batch]:
    rows = min(LARGEST_BATCH, rows_per_batch(3 * data.size**2))
    with listing as opened, ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(listing.names), rows):
            indices = range(start, min(start + rows, len(listing.names)))
            kept, images, contents = [], [], []
            for index, result in zip(indices, _decoded(pool, opened, indices, data, background), strict=True):
                if isinstance(result, Exception):
                    _broken(data, listing.names[index], result, skipped)
                    continue
                kept.append(index)
                images.append(result[0])
                contents.append(result[1])
            if kept:
                yield Batch(np.stack(images), None if labels is None else labels[kept], contents)


def _decoded(
    pool: ThreadPoolExecutor, opened: Folder | Archive, indices: range, data: Data, background: tuple[int, int, int]
) -> list[tuple[np.ndarray, bytes] | Exception]:
    """Results in the order of the indices. Pillow decodes outside of Python's lock: threads change nothing but the time."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # odd metadata beside sound pixels
        return list(pool.map(lambda index: _image(opened, index, data, background), indices))


def _image(opened: Folder | Archive, index: int, data: Data, background: tuple[int, int, int]) -> tuple[np.ndarray, bytes] | Exception:
    """Pixels and the digest of the file's bytes, or why there are none."""
    try:
        content = opened.read(index, LARGEST_FILE)
        return decode(content, data, background), hashlib.sha256(content).digest()
    except BROKEN as error:
        return error


def _broken(data: Data, name: str, error: Exception, skipped: list[str]) -> None:
    if not data.skip_broken:
        raise SeesawError(
            f"{shown(name)} is no readable image ({shown(' '.join(str(error).split())) or type(error).__name__}): mend or remove it, "
            "or set data.skip_broken: true"
        ) from None
    skipped.append(shown(name))


def decode(content: bytes, data: Data, background: tuple[int, int, int]) -> np.ndarray:
    """A file's first image by the rule of `items`: `uint8 [C, size, size]`. Raises one of BROKEN for a damaged or oversized one."""
    image: Image.Image = Image.open(io.BytesIO(content), formats=FORMATS)
    # a JPEG is decoded at a fraction of its size when four times the wanted one remains
    image.draft(None, (4 * data.size, 4 * data.size))
    image.load()
    image = _flattened(ImageOps.exif_transpose(image), background)
    image = image.convert("L" if data.color == "grey" else "RGB")
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    square = (left, top, left + short, top + short)
    image = image.crop(square) if short == data.size else image.resize((data.size, data.size), Image.Resampling.LANCZOS, square)
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _flattened(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Without transparency, and with 8 bits a channel."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip at 255
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) / 257).round().astype(np.uint8))
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
