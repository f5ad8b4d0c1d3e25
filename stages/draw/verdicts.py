"""One picture a verdict: a lane's last samples beside the curve that decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from stages.draw.plots import _raster, _save

REAL, GENERATED, INK, LINE = "#9aa3ad", "#c2410c", "#1f2937", "#6b7280"
COLOURS = ("#c2410c", "#0f766e", "#4338ca")
SIDE = 8  # images a side of a grid
SIZE = (6.6, 2.7)  # inches
LARGEST = 1e12  # what is larger is drawn here: axes cannot hold 1e30 beside 1


@dataclass(frozen=True)
class Curve:
    """A measure over steps; points where it is not finite are left out."""

    name: str
    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Exhibit:
    """What one picture shows: `samples` and `real` `[n, d]` or images `[n, C, H, W]`; `bars` are thresholds on the curves' axis."""

    title: str
    real: np.ndarray
    samples: np.ndarray
    curves: Sequence[Curve]
    bars: Sequence[tuple[str, float]] = ()
    logarithmic: bool = False


def exhibit(one: Exhibit, path: Path) -> None:
    """A PNG: samples left, curves right."""
    figure = Figure(figsize=SIZE, dpi=90, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.55))
    (_images if one.samples.ndim == 4 else _points)(left, one)
    _curves(right, one)
    right.set_title(one.title, fontsize=9, color=INK, loc="left")
    figure.legend(fontsize=7, frameon=False, loc="outside lower right", ncols=2, labelcolor=INK)  # within the axes it hides curves
    for axes in (left, right):
        axes.tick_params(which="both", labelsize=7, length=2, color=LINE, labelcolor=LINE)
        for spine in axes.spines.values():
            spine.set_color("#d1d5db")
    _save(_raster(figure), path)


def _images(axes: Axes, one: Exhibit) -> None:
    count, _, height, width = one.samples[: SIDE * SIDE].shape
    side = int(count**0.5)
    tiles = np.nan_to_num(one.samples[: side * side, 0], nan=-1).reshape(side, side, height, width)
    axes.imshow(tiles.swapaxes(1, 2).reshape(side * height, side * width), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title("last samples", fontsize=8, color=LINE)


def _points(axes: Axes, one: Exhibit) -> None:
    samples = one.samples[np.isfinite(one.samples).all(1)]
    low, high = one.real.min(0), one.real.max(0)
    room = np.where(high > low, 0.5 * (high - low), 1.5)
    outside = int((~((samples >= low - room) & (samples <= high + room)).all(1)).sum()) + len(one.samples) - len(samples)
    if one.real.shape[1] == 1:
        edges = np.linspace(float((low - room)[0]), float((high + room)[0]), 49)
        axes.hist(samples[:, 0].clip(edges[0], edges[-1]), edges.tolist(), color=GENERATED)
        axes.axvline(float(one.real.mean()), color=REAL, linewidth=2)
        axes.set_yticks([])
    else:
        axes.scatter(one.real[:, 0], one.real[:, 1], s=3, c=REAL, linewidths=0)
        axes.scatter(samples[:, 0], samples[:, 1], s=4, c=GENERATED, linewidths=0, alpha=0.8)
        axes.set_xlim(low[0] - room[0], high[0] + room[0])
        axes.set_ylim(low[1] - room[1], high[1] + room[1])
        axes.set_aspect("equal", adjustable="box")
    axes.set_title("last samples" + (f" ({outside} of {len(one.samples)} outside)" if outside else ""), fontsize=8, color=LINE)


def _curves(axes: Axes, one: Exhibit) -> None:
    for curve, colour in zip(one.curves, COLOURS, strict=False):
        seen = np.isfinite(curve.values)
        values = np.clip(curve.values[seen], -LARGEST, LARGEST)
        marker = "o" if len(values) < 12 else None
        axes.plot(curve.steps[seen], values, color=colour, linewidth=1.3, marker=marker, markersize=3.5, label=curve.name)
    for name, value in one.bars:
        axes.axhline(value, color=LINE, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.annotate(name, (1.0, value), xycoords=("axes fraction", "data"), fontsize=7, color=LINE, ha="right", va="bottom")
    if one.logarithmic:
        axes.set_yscale("log")
    axes.set_xlabel("generator step", fontsize=7, color=LINE)
