"""`python -m stages.figures [FOLDER]` draws the figures of docs/diagnostics.md and of the README from an experiment's results.

FOLDER holds them; the default is this one.

A figure is a function from the results to panels; to add one, write it and name it in FIGURES. Figures are of the VARIANTS that the
page tells of; what of them the results do not hold is left out, and a figure without any panel is not written.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.draw import panels
from stages.draw.panels import Panel
from stages.store import layout
from stages.store.files import read_json

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "figures"
VARIANTS = ("non_saturating", "wgan_gp", "overpowered", "wgan_free")
BARE = {"saturating": "saturating", "non_saturating": "non-saturating"}
TOLD = ("non_saturating", "overpowered", "wgan_gp")  # of the README's figure
LEGS = {"G's own": "g_own_change", "D's": "g_cross_change"}
Diagnoses = Mapping[str, Mapping[str, Any]]


def training(found: Diagnoses) -> list[Panel]:
    """What is recorded at every tenth step: medians over lanes."""
    stories = _stories(found)
    titles = {
        "auc": ("D's AUC on its batch", "P(a > b)", False),
        "saturation": ("saturation", "mean |∂L_G/∂b|", True),
        "sample_movement": ("movement of samples a step", "spreads of the data", True),
        "g_root_over_epsilon": ("G's Adam: √v̂ over ε", "ratio", True),
        "overfit_auc": ("train against held-out items", "AUC", False),
        "g_update_ratio": ("G's update over its weights", "‖Δθ‖ / ‖θ‖", True),
    }
    return [
        panels.lines(
            title, [(name, one["steps"], one[key]) for name, one in stories.items() if key in one], unit, 0.5 if not log else None, log
        )
        for key, (title, unit, log) in titles.items()
        if stories
    ]


def story(found: Diagnoses) -> list[Panel]:
    """The README's figure: how good the samples became, G's loss, and the slope behind it; each variant with its verdict."""
    told = {name: one for name, one in _stories(found).items() if "quality" in one and name in TOLD}
    stories = {f"{name}: {found[name]['verdict'].replace('_', ' ')}": told[name] for name in TOLD if name in told}
    if not stories:
        return []
    floor = next(iter(stories.values()))["quality"]["floor"]
    failed = {name: one for name, one in stories.items() if not name.startswith("wgan")}  # a critic's loss has no fixed scale
    return [
        panels.lines(
            "distance of the samples from real data",
            [(name, one["quality"]["steps"], one["quality"]["distance"]) for name, one in stories.items()],
            "Fréchet; dashed: real data",
            floor,
            log=True,
        ),
        panels.lines("loss of the generator", [(name, one["steps"], one["g_loss"]) for name, one in failed.items()], "L_G"),
        panels.lines("slope that it leaves the generator", [(name, one["steps"], one["saturation"]) for name, one in failed.items()],
                     "mean |∂L_G/∂b|", log=True),
    ]  # fmt: skip


def layers(found: Diagnoses) -> list[Panel]:
    """Gradient norms by layer over steps, of both players."""
    return [
        panels.heat(f"{name}: log₁₀ ‖∇‖ of {player.upper()}", heat["steps"], heat["layers"], heat["values"])
        for name, one in _stories(found).items()
        if name in ("wgan_gp", "overpowered")
        for player in ("g", "d")
        for heat in [one["layers"][f"{player}_gradient_norm"]]
    ]


def driven(found: Diagnoses) -> list[Panel]:
    """What each player's own update and the other's did to each loss, and the share of the other's."""
    stories = {name: one["probes"] for name, one in _stories(found).items() if one["probes"]}
    above = [
        panels.lines(
            f"{name}: what changed L_G", [(f"{who} update", one["steps"], one[key]) for who, key in LEGS.items()], "change of L_G", 0.0
        )
        for name, one in stories.items()
    ]
    below = [
        panels.lines(title, [(name, one["steps"], one[key]) for name, one in stories.items() if key in one], unit, reference)
        for key, title, unit, reference in (
            ("g_drive", "who drives L_G", "D's share of the changes", 0.5),
            ("g_turn_cosine", "G: consecutive gradients", "cosine", 0.0),
            ("g_snr", "G: signal to noise across batches", "ratio", 0.0),
            ("d_dead_units", "D: units on one side of the corner", "share", 0.0),
        )
        if stories
    ]
    return [*above, *below]


def spectra(found: Diagnoses) -> list[Panel]:
    """J at start and end above, P J at the end below."""
    lanes = _landscapes(found)
    ends = {name: lane["spectra"] for name, lane in lanes.items()}
    above = [panels.spectra(f"{name}: J", [(f"step {one['step']}", one) for one in each]) for name, each in ends.items()]
    below = [
        panels.spectra(f"{name}: P J", [(f"step {each[-1]['step']}", each[-1]["preconditioned"])], disc=True) for name, each in ends.items()
    ]
    return [*above, *below]


def blocks(found: Diagnoses) -> list[Panel]:
    """Each player's Hessian at the end."""
    lanes = _landscapes(found)
    return [
        panels.blocks(f"{player}'s Hessian, last step", [(name, lane["spectra"][-1][f"{player}_block"]) for name, lane in lanes.items()])
        for player in ("generator", "discriminator")
        if lanes
    ]


def path(found: Diagnoses) -> list[Panel]:
    """The path-angle of every variant, and the field's length along the way."""
    lanes = _landscapes(found)
    norms = [(name, lane["path"]["alphas"], lane["path"]["norm"]) for name, lane in lanes.items()]
    angles = panels.paths("path-angle", [(name, lane["path"]) for name, lane in lanes.items()])
    return [angles, panels.lines("the field along the path", norms, "‖v‖", log=True, x="α: start 0, end 1")] if lanes else []


def probe(found: Diagnoses) -> list[Panel]:
    """Bare above, own below, at the last snapshot."""
    probed = {name: one["probe"] for name, one in found.items() if one.get("probe")}
    above = [panels.probe(f"{name}, bare", each["bare"]["snapshots"][-1], BARE) for name, each in probed.items()]
    return above + [panels.probe(f"{name}, own", each["own"]["snapshots"][-1], {"generator": "own L_G"}) for name, each in probed.items()]


def diversity(found: Diagnoses) -> list[Panel]:
    """Nearest neighbours, modes and coverage over the snapshots."""
    spread = {name: one["diversity"] for name, one in found.items() if one.get("diversity")}

    def curves(pick: Callable[[Mapping[str, Any]], Sequence[Sequence[float | None]]]) -> list[tuple[str, Any, Any]]:
        return [(name, each["steps"], panels.medians(pick(each))) for name, each in spread.items()]

    if not spread:
        return []
    real = next(iter(spread.values()))["real_modes"]
    return [
        panels.lines("nearest-neighbour distance", curves(lambda each: each["spacing"]["ema"]), "over real data's", 1.0),
        panels.lines("effective modes", curves(lambda each: each["modes"]), "modes", real),
        panels.lines("coverage", curves(lambda each: each["coverage"]), "share", None),
    ]


def _stories(found: Diagnoses) -> dict[str, Mapping[str, Any]]:
    """What was recorded while training, of each variant that says so."""
    return {name: one["story"] for name, one in found.items() if one.get("story")}


def _landscapes(found: Diagnoses) -> dict[str, Mapping[str, Any]]:
    """The first lane's landscape of each variant that has one."""
    return {name: one["landscape"]["lanes"][0] for name, one in found.items() if one.get("landscape")}


# name of docs/figures/diagnostics-NAME.png: what it shows, columns
FIGURES: dict[str, tuple[Callable[[Diagnoses], list[Panel]], int]] = {
    "story": (story, 3),
    "training": (training, 3),
    "layers": (layers, 2),
    "driven": (driven, 4),
    "spectra": (spectra, 4),
    "blocks": (blocks, 2),
    "path": (path, 2),
    "probe": (probe, 4),
    "diversity": (diversity, 3),
}


def draw(root: Path, folder: Path = FOLDER) -> list[Path]:
    """Every figure, written anew."""
    present = [name for name in VARIANTS if (root / layout.diagnostics(name)).is_file()]
    found = {name: read_json(root / layout.diagnostics(name), f"run `dvc repro diagnose@{name}`") for name in present}
    written = []
    for name, (figure, columns) in FIGURES.items():
        if drawn := figure(found):
            written.append(folder / f"diagnostics-{name}.png")
            folder.mkdir(parents=True, exist_ok=True)
            written[-1].write_bytes(panels.png(drawn, columns))
    return written


def main() -> None:
    """From the folder named on the command line, or this one."""
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())


if __name__ == "__main__":
    main()
