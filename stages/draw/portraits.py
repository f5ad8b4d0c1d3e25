"""Phase portraits of a game with one number a player: the field it follows and the path its steps take."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

FIELD, PATH, END = "#9aa3ad", "#c2410c", "#1f2937"
PANEL = 3.0  # inches a side
DPI = 72


@dataclass(frozen=True)
class Panel:
    """One game. `axis` `[n]` are the grid's values of θ and of ψ alike, `field` `[n, n, 2]` the descent direction at (θ = axis[j],
    ψ = axis[i]), `path` `[steps + 1, 2]` the points (θ, ψ) that steps visit; those outside the panel are cut off."""

    title: str
    axis: np.ndarray
    field: np.ndarray
    path: np.ndarray


def portrait(panels: Sequence[Panel], path: Path) -> None:
    """A PNG of the panels side by side: stream lines of the field in grey, the path in colour from its ring to its dot, a cross at 0."""
    figure = Figure(figsize=(PANEL * len(panels), PANEL + 0.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None}, pil_kwargs={"optimize": True})


def _panel(axes: Axes, panel: Panel) -> None:
    low, high = float(panel.axis[0]), float(panel.axis[-1])
    axes.streamplot(
        panel.axis, panel.axis, panel.field[..., 0], panel.field[..., 1], color=FIELD, density=0.8, linewidth=0.7, arrowsize=0.8
    )
    axes.plot(*panel.path.T, color=PATH, linewidth=1.0, marker=".", markersize=2.5, alpha=0.9)
    axes.plot(*panel.path[0], marker="o", markersize=7, markerfacecolor="white", markeredgecolor=PATH, linestyle="none")
    axes.plot(*panel.path[-1], marker="o", markersize=6, color=END, linestyle="none")
    axes.plot(0, 0, marker="+", markersize=10, color=END, linestyle="none")
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", title=panel.title, xlabel="θ (generator)", ylabel="ψ (discriminator)")
    axes.tick_params(labelsize=7)
    axes.title.set_fontsize(9)
