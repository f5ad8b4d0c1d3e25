"""The branches of a forked game: quality and D's separation of each over the steps after the fork, beside those of "change nothing"."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMNS = 4
CELL = (3.0, 2.9)  # inches of one branch
DPI = 100
NOTHING, RESTORED, OTHER, LINE = "#9aa3ad", "#15803d", "#c2410c", "#1f2937"
LARGE = 1e-6  # below this share of the highest distance a logarithmic axis is not asked for


def draw_branches(found: Mapping[str, Any], path: Path) -> None:
    """A PNG, one cell a branch: Fréchet distance above (logarithmic), AUC below; median of the streams in a band from lowest to highest.

    Grey is `change_nothing`; green a restored branch, orange another. Dashed: below it samples are good; the AUC that the verdict asks for.
    """
    nothing, *others = found["branches"]
    shown = sorted(others, key=lambda one: (not one["restored"], _end(one)))
    rows = -(-len(shown) // COLUMNS)
    columns = min(COLUMNS, len(shown))
    figure = Figure(figsize=(CELL[0] * columns, CELL[1] * rows + 0.5), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"{found['variant']}, seed {found['seed']} ({found['verdict']}), forked at step {found['step']}; grey: change nothing", fontsize=10
    )
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[1.6, 1.0] * rows)
    limits = _limits([nothing, *others], found)
    for index, branch in enumerate(shown):
        row, column = divmod(index, columns)
        above, below = figure.add_subplot(grid[2 * row, column]), figure.add_subplot(grid[2 * row + 1, column])
        _cell(above, below, branch, nothing, found)
        above.set_ylim(*limits)
    figure.savefig(path, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})


def _cell(above: Axes, below: Axes, branch: Mapping[str, Any], nothing: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    colour = RESTORED if branch["restored"] else OTHER
    for one, tint in ((nothing, NOTHING), (branch, colour)):
        curves = one["curves"]
        _band(above, curves["look_steps"], curves["distance"], tint)
        _band(below, curves["record_steps"], curves["auc"], tint)
    above.axhline(found["good"], color=LINE, linewidth=0.7, linestyle="--")
    above.set_yscale("log")
    for threshold in _thresholds(found):
        below.axhline(threshold, color=LINE, linewidth=0.7, linestyle="--")
    below.set_ylim(0.45, 1.02)
    above.set_title(branch["name"] + (": restored" if branch["restored"] else ""), fontsize=9, color=colour, loc="left")
    above.set_ylabel("Fréchet", fontsize=7)
    below.set_ylabel("AUC", fontsize=7)
    below.set_xlabel("steps after the fork", fontsize=7)
    above.set_xticklabels([])
    for axes in (above, below):
        axes.set_xlim(0, found["horizon"])
        axes.tick_params(labelsize=6, which="both")
        axes.spines[["top", "right"]].set_visible(False)


def _band(axes: Axes, steps: Sequence[int], streams: Sequence[Sequence[float | None]], colour: str) -> None:
    """Median and range over the streams that have a value."""
    values = np.array([[np.nan if value is None else value for value in stream] for stream in streams], float)
    there = np.isfinite(values).any(0)
    at, kept = np.array(steps)[there], values[:, there]
    if not at.size:
        return
    axes.fill_between(at, np.nanmin(kept, 0), np.nanmax(kept, 0), color=colour, alpha=0.25, linewidth=0)
    axes.plot(at, np.nanmedian(kept, 0), color=colour, linewidth=1.4)


def _thresholds(found: Mapping[str, Any]) -> list[float]:
    """Where the AUC must stand, if the verdict asks for it."""
    goals = [goal for group in found["goals"] for goal in group]
    whole = [goal["threshold"] for goal in goals if goal["measure"] == "auc_late"]
    half = [0.5 + goal["threshold"] for goal in goals if goal["measure"] == "auc_from_half"]
    return whole + half


def _limits(branches: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> tuple[float, float]:
    """One range of distances for all cells."""
    values = [value for one in branches for stream in one["curves"]["distance"] for value in stream if value is not None and value > 0]
    values.append(max(found["good"], LARGE))
    return 0.8 * max(min(values), LARGE * max(values)), 1.25 * max(values)


def _end(branch: Mapping[str, Any]) -> float:
    distance = branch["after"]["distance"]
    return float("inf") if distance is None else float(distance)
