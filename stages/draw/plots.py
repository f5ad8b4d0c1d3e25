"""Pictures: sample grids, scatters of two-dimensional data, the pipeline's graph. Every file is byte-stable: no date, no version inside.

Figures are made through Matplotlib's object interface on the Agg canvas, so nothing global is touched and no display is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

LANES = 8  # rows of a picture at most
TILE = 64  # pixels a side that a sample is scaled up to, at most
GAP = 2
GAP_GREY = 128
POINTS = 2000  # of each kind in a scatter, at most
REAL, GENERATED, CENTRE = "#9aa3ad", "#c2410c", "#1f2937"


def sample_grid(samples: np.ndarray, path: Path) -> None:
    """A PNG of generated images: one row per lane, one column per noise, scaled up by a whole factor.

    `samples` is `[L, n, C, H, W]` in [-1, 1]; values outside are cut off. One channel is drawn grey, three are drawn as RGB, two or
    four and more by their first one or three. A sample that is not finite is hatched. ValueError for another shape.
    """
    if samples.ndim != 5 or 0 in samples.shape:
        raise ValueError(f"samples have shape {list(samples.shape)}: [lanes, n, channels, height, width] is needed, none of them 0")
    tiles = _tiles(samples[:LANES])
    factor = max(1, TILE // max(tiles.shape[2:4]))
    tiles = tiles.repeat(factor, axis=2).repeat(factor, axis=3)
    lanes, n, height, width, channels = tiles.shape
    canvas = np.full((lanes * (height + GAP) - GAP, n * (width + GAP) - GAP, channels), GAP_GREY, np.uint8)
    for lane in range(lanes):
        for column in range(n):
            top, left = lane * (height + GAP), column * (width + GAP)
            canvas[top : top + height, left : left + width] = tiles[lane, column]
    _save(Image.fromarray(canvas[..., 0] if channels == 1 else canvas), path)


def image_grid(images: np.ndarray, columns: int, path: Path) -> None:
    """A PNG of images `uint8 [n, C, H, W]` row after row, scaled up by a whole factor; the rest of the last row stays grey."""
    rows = -(-len(images) // columns)
    tiles = images[:, : 3 if images.shape[1] >= 3 else 1].transpose(0, 2, 3, 1)
    factor = max(1, TILE // max(tiles.shape[1:3]))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    _, height, width, channels = tiles.shape
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), GAP_GREY, np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = tile
    _save(Image.fromarray(canvas[..., 0] if channels == 1 else canvas), path)


def _tiles(samples: np.ndarray) -> np.ndarray:
    """`[L, n, C, H, W]` in [-1, 1] to `uint8 [L, n, H, W, 1 or 3]`; what is not finite becomes a hatch."""
    images = np.asarray(samples, np.float64)[:, :, : 3 if samples.shape[2] >= 3 else 1]
    finite = np.isfinite(samples).all(axis=(2, 3, 4))[:, :, None, None, None]
    height, width = images.shape[3:]
    hatch = (np.add.outer(np.arange(height), np.arange(width)) % 4 < 1) * 0.5 - 0.5  # diagonal lines: no sample looks like this
    shown = np.where(finite, images, hatch)
    return np.rint((shown.clip(-1.0, 1.0) + 1.0) * 127.5).astype(np.uint8).transpose(0, 1, 3, 4, 2)


def scatter_grid(real: np.ndarray, samples: np.ndarray, path: Path, modes: Mapping[str, Any] | None = None) -> None:
    """A PNG of generated over real points, one panel per lane on the same axes.

    `real` is `[n, D]`, `samples` `[L, n, D]`. Two dimensions are drawn as they are, one as histograms, more on the first two principal
    axes of the real data. `modes` (`centres` `[M, D]`) marks the known centres. Points outside the panel are counted in its title.
    """
    if real.ndim != 2 or samples.ndim != 3 or real.shape[1] != samples.shape[2] or 0 in real.shape + samples.shape:
        raise ValueError(f"real {list(real.shape)} and samples {list(samples.shape)}: [n, D] and [lanes, n, D] are needed")
    samples = np.asarray(samples[:LANES], np.float64)
    centres = None if modes is None else np.asarray(modes["centres"], np.float64)
    project = _projection(np.asarray(real, np.float64))
    points = project(np.asarray(real, np.float64))
    figure = _panels(len(samples))
    for lane, axes in enumerate(figure.axes):
        drawn = project(samples[lane][np.isfinite(samples[lane]).all(axis=1)])
        if points.shape[1] == 1:
            _histogram(axes, points[:, 0], drawn[:, 0])
        else:
            _scatter(axes, points, drawn, None if centres is None else project(centres))
        _title(axes, lane, points, drawn, len(samples[lane]))
    _save(_raster(figure), path)


def _projection(real: np.ndarray) -> Any:
    """Identity up to two dimensions, else onto the first two principal axes (each axis's largest entry is positive)."""
    if real.shape[1] <= 2:
        return lambda x: x
    mean = real.mean(axis=0)
    axes = np.linalg.svd(real - mean, full_matrices=False)[2][:2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    return lambda x: (x - mean) @ axes.T


def _panels(lanes: int) -> Figure:
    columns = min(lanes, 4)
    rows = -(-lanes // columns)
    figure = Figure(figsize=(2.2 * columns, 2.35 * rows), dpi=100, facecolor="white")  # laid out by hand: a solver draws everything thrice
    FigureCanvasAgg(figure)
    wide, high = figure.get_size_inches()
    figure.subplots_adjust(0.32 / wide, 0.25 / high, 1 - 0.08 / wide, 1 - 0.22 / high, wspace=0.2, hspace=0.22)
    for index in range(lanes):
        axes = figure.add_subplot(rows, columns, index + 1)
        axes.tick_params(labelsize=6, length=2, color="#888888", labelcolor="#555555")
        for spine in axes.spines.values():
            spine.set_color("#cccccc")
    return figure


def _window(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high of each axis with room around; a point mass gets one unit on each side."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.where(high > low, 0.25 * (high - low), 1.0)
    return low - room, high + room


def _scatter(axes: Axes, real: np.ndarray, drawn: np.ndarray, centres: np.ndarray | None) -> None:
    low, high = _window(real)
    axes.scatter(real[:POINTS, 0], real[:POINTS, 1], s=3, c=REAL, linewidths=0, alpha=0.6)
    axes.scatter(drawn[:POINTS, 0], drawn[:POINTS, 1], s=4, c=GENERATED, linewidths=0, alpha=0.8)
    if centres is not None:
        axes.scatter(centres[:, 0], centres[:, 1], s=14, c=CENTRE, marker="+", linewidths=0.6)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_aspect("equal", adjustable="box")


def _histogram(axes: Axes, real: np.ndarray, drawn: np.ndarray) -> None:
    low, high = _window(real[:, None])
    edges = np.linspace(low[0], high[0], 41)
    for values, color, style in ((real, REAL, "stepfilled"), (drawn, GENERATED, "step")):
        weights = np.full(len(values), 1.0 / max(1, len(values)))
        axes.hist(values, edges.tolist(), weights=weights, color=color, histtype=style)  # type: ignore[arg-type]
    axes.set_xlim(low[0], high[0])
    axes.set_yticks([])


def _title(axes: Axes, lane: int, real: np.ndarray, drawn: np.ndarray, asked: int) -> None:
    low, high = _window(real)
    outside = int((~((drawn >= low) & (drawn <= high)).all(axis=1)).sum()) + asked - len(drawn)
    rest = " · not finite" if not len(drawn) else f" · {outside} of {asked} outside" if outside else ""
    axes.set_title(f"lane {lane}{rest}", fontsize=7, color="#333333", pad=3)


def _raster(figure: Figure) -> Image.Image:
    """The figure's pixels in 64 colours: a fifth of the bytes, no visible difference."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()).quantize(
        64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG", optimize=True)
