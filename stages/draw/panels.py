"""What a diagnosis measured on snapshots, as small pictures: for the documentation and for MLflow. A panel draws itself on axes."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

Panel = Callable[[Axes], None]
WIDTH, HEIGHT, DPI = 3.5, 2.7, 80  # inches of a panel
TONES = 64  # of a picture
FIRST, LAST, THIRD, GREY = "#2563eb", "#c2410c", "#0f766e", "#9aa3ad"
COLOURS = (FIRST, LAST, THIRD, "#7c3aed", "#b45309", "#be123c")


def png(panels: Sequence[Panel], columns: int, tones: int = TONES) -> bytes:
    """The panels row by row in one PNG of at most so many tones (256 at most); the same panels give the same bytes."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(places, panels, strict=False):
        axes.tick_params(labelsize=7)
        panel(axes)
    for axes in places[len(panels) :]:
        axes.set_axis_off()
    drawn, out = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(tones, dither=Image.Dither.NONE).save(out, format="png", optimize=True)
    return out.getvalue()


def spectra(title: str, found: Sequence[tuple[str, Mapping[str, Any] | None]], disc: bool = False) -> Panel:
    """Eigenvalues in the complex plane, one colour for each (label, spectrum); `disc` draws |1 − λ| = 1, inside which steps contract."""

    def draw(axes: Axes) -> None:
        for (label, spectrum), colour, marker in zip(found, COLOURS, "os^vDP", strict=False):
            if spectrum is not None:
                values = np.array([*spectrum["largest"], *spectrum["smallest_real"]], float).reshape(-1, 2)
                values = np.concatenate([values, values * (1, -1)])  # a list may end between two conjugates
                axes.plot(*values.T, marker, color=colour, markersize=4, alpha=0.7, label=label, markeredgewidth=0)
        if disc:
            axes.add_patch(Circle((1, 0), 1, fill=False, color=GREY, linestyle="--", linewidth=0.9))
            axes.set_aspect("equal", adjustable="datalim")
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.axhline(0, color=GREY, linewidth=0.8)
        _say(axes, title, "real part", "imaginary part")

    return draw


def blocks(title: str, found: Sequence[tuple[str, Sequence[float]]]) -> Panel:
    """The ends of Hessian blocks, a row for each (label, eigenvalues), on an axis that shows both signs."""

    def draw(axes: Axes) -> None:
        for row, (_, values) in enumerate(found):
            axes.plot(values, np.full(len(values), row), "|", color=COLOURS[row % len(COLOURS)], markersize=12, markeredgewidth=1.6)
        axes.set_xscale("symlog", linthresh=1e-3)
        axes.set_xticks([sign * size for size in (1e-2, 1.0, 1e2) for sign in (-1, 1)] + [0], minor=False)
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.set_yticks(range(len(found)), [label for label, _ in found])
        axes.set_ylim(len(found) - 0.4, -0.6)
        _say(axes, title, "eigenvalue (symmetric log)", "")

    return draw


def paths(title: str, found: Sequence[tuple[str, Mapping[str, Any]]]) -> Panel:
    """Path-angles: the cosine along the line from start (0) to end (1)."""

    def draw(axes: Axes) -> None:
        for (label, path), colour in zip(found, COLOURS, strict=False):
            axes.plot(_floats(path["alphas"]), _floats(path["cosine"]), ".-", color=colour, linewidth=1.2, markersize=4, label=label)
        for at in (0, 1):
            axes.axvline(at, color=GREY, linewidth=0.8, linestyle=":")
        axes.axhline(0, color=GREY, linewidth=0.8)
        _say(axes, title, "α: start 0, end 1", "cosine")

    return draw


def probe(title: str, snapshot: Mapping[str, Any], losses: Mapping[str, str]) -> Panel:
    """Norms of G's gradient by loss (key to label) over a fresh D's steps, and on the right D's AUC; the first lane."""

    def draw(axes: Axes) -> None:
        steps = [point["step"] for point in snapshot["points"]]
        for (key, label), colour in zip(losses.items(), (LAST, FIRST), strict=False):
            axes.plot(steps, _floats(point[key][0] for point in snapshot["points"]), ".-", color=colour, linewidth=1.4, label=label)
        axes.set_yscale("log")
        other = axes.twinx()
        other.plot(steps, _floats(point["auc"][0] for point in snapshot["points"]), "--", color=THIRD, linewidth=1.1)
        other.axhline(0.99, color=GREY, linewidth=0.8, linestyle=":")
        other.set_ylim(0, 1.03)
        other.set_ylabel("AUC of the fresh D (dashed)", fontsize=7, color=THIRD)
        other.tick_params(labelsize=7)
        _say(axes, title, "updates of the fresh D", "‖∇ L_G‖")

    return draw


def lines(
    title: str,
    found: Sequence[tuple[str, Sequence[float], Sequence[float | None]]],
    y: str,
    reference: float | None = None,
    log: bool = False,
    x: str = "step",
) -> Panel:
    """Curves (label, steps, values); `reference` is what real data have."""

    def draw(axes: Axes) -> None:
        for (label, steps, values), colour in zip(found, COLOURS, strict=False):
            axes.plot(steps, _floats(values), ".-", color=colour, linewidth=1.4, markersize=4, label=label)
        if reference is not None:
            axes.axhline(reference, color=GREY, linewidth=1.0, linestyle="--")
        if log:
            axes.set_yscale("log")
        _say(axes, title, x, y)

    return draw


def heat(title: str, steps: Sequence[float], layers: Sequence[str], values: Sequence[Sequence[float | None]]) -> Panel:
    """A measure by layer, `values[step][layer]`, as its decimal logarithm."""

    def draw(axes: Axes) -> None:
        table = np.array([_floats(row) for row in values]).T
        with np.errstate(divide="ignore", invalid="ignore"):
            image = axes.imshow(
                np.log10(table), aspect="auto", interpolation="nearest", cmap="magma", extent=(steps[0], steps[-1], len(layers) - 0.5, -0.5)
            )
        axes.set_yticks(range(len(layers)), list(layers))
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.9)
        bar.ax.tick_params(labelsize=6)
        _say(axes, title, "step", "")
        axes.tick_params(axis="y", labelsize=6)

    return draw


LAYERED = {
    "g_gradient_norm": "G: log₁₀ gradient norm",
    "d_gradient_norm": "D: log₁₀ gradient norm",
    "g_update_ratio": "G: log₁₀ update over weights",
    "d_update_ratio": "D: log₁₀ update over weights",
}
DRIVEN = {"g": ("what changed L_G", "G's own update", "D's update"), "d": ("what changed L_D", "D's own update", "G's update")}


def game_panels(diagnosis: Mapping[str, Any]) -> list[Panel]:
    """What one variant's diagnosis holds of its training: layers over steps, and who drives whom; medians over lanes."""
    told = diagnosis.get("story") or {}
    panels = [
        heat(title, told["layers"][name]["steps"], told["layers"][name]["layers"], told["layers"][name]["values"])
        for name, title in LAYERED.items()
        if told.get("layers", {}).get(name)
    ]
    probes: Mapping[str, Any] = told.get("probes") or {}
    for player, (title, own, cross) in DRIVEN.items() if probes else ():
        legs = [(own, probes["steps"], probes[f"{player}_own_change"]), (cross, probes["steps"], probes[f"{player}_cross_change"])]
        panels.append(lines(title, legs, "change in one turn", 0.0))
    return panels


def snapshot_panels(diagnosis: Mapping[str, Any]) -> list[Panel]:
    """Everything that one variant's diagnosis holds of its snapshots: what MLflow shows."""
    panels: list[Panel] = []
    terrain, probed = diagnosis.get("landscape"), diagnosis.get("probe")
    if terrain:
        lane = terrain["lanes"][0]
        panels.append(spectra("J", [(f"step {one['step']}", one) for one in lane["spectra"]]))
        panels.append(spectra("P J", [(f"step {one['step']}", one["preconditioned"]) for one in lane["spectra"]], disc=True))
        panels.append(paths("path-angle", [(f"seed {lane['seed']}", lane["path"])]))
    if probed:
        panels.append(
            probe("fresh D, bare", probed["bare"]["snapshots"][-1], {"saturating": "saturating", "non_saturating": "non-saturating"})
        )
        panels.append(probe("fresh D, the variant's own", probed["own"]["snapshots"][-1], {"generator": "L_G"}))
    spread = diagnosis.get("diversity")
    if spread:
        kinds = [(kind, spread["steps"], medians(spread["spacing"][kind])) for kind in ("ema", "raw")]
        panels.append(lines("nearest-neighbour distance over real", kinds, "ratio", 1.0))
    return panels


def medians(lanes: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Over lanes, at each snapshot."""
    columns = [[value for value in column if value is not None] for column in zip(*lanes, strict=True)]
    return [float(np.median(column)) if column else None for column in columns]


def _floats(values: Any) -> list[float]:
    """Numbers with NaN where there is none, which a curve leaves out."""
    return [np.nan if value is None else float(value) for value in values]


def _say(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6.5, framealpha=0.7, loc="best")
