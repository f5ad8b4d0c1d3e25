"""A picture for every verdict, of a lane whose label and verdict agree."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.draw.verdicts import Curve, Exhibit, exhibit
from stages.measure.facts import Lane, Standards, facts
from stages.staged.play import PICTURE, rules_side

BY_RECORDS = {  # what is drawn of the records, and the thresholds on that axis
    "non_finite": (("d_loss", "g_loss"), ()),
    "vanishing_gradient": (("sample_movement", "auc"), (("AUC .99", 0.99),)),
    "exploding_gradient": (("d_gradient_norm", "g_gradient_norm"), ()),
    "discriminator_wins": (("auc", "sample_movement"), (("AUC .99", 0.99),)),
    "generator_wins": (("auc",), (("a half", 0.5),)),
}
BY_GLIMPSES = ("undertrained", "oscillating", "late_collapse")
LINEAR = ("generator_wins",)
NAMES = {
    "d_loss": "D's loss",
    "g_loss": "G's loss",
    "sample_movement": "movement of samples a step, in spreads",
    "auc": "D's AUC",
    "d_gradient_norm": "‖∇L_D‖",
    "g_gradient_norm": "‖∇L_G‖",
}


def draw_verdicts(rows: Sequence[Mapping[str, Any]], games: Path, figures: Path) -> list[str]:
    """`verdict-WORD.png` for every verdict that rules and oracle gave to one lane; the words drawn. Reported games come first."""
    drawn = []
    for word in sorted({row["rules"] for row in rows}):
        agreed = [row for row in rows if row["rules"] == word == row["oracle"]]
        if not agreed:
            continue
        row = min(agreed, key=lambda one: (-_plain_to_see(word, one, games), *_order(one)))
        exhibit(_exhibit(row, games), figures / f"verdict-{word.replace('_', '-')}.png")
        drawn.append(word)
    return drawn


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Without doubt first, then of the reported games, images and the plane before the line; then by name."""
    return (row["doubt"] is not None, row["split"] != "report", row["source"] == "dirac", row["game"], row["seed"])


def _plain_to_see(word: str, row: Mapping[str, Any], games: Path) -> float:
    """How much there is to see on the curves, where lanes of one verdict differ in that."""
    if word not in ("non_finite", "oscillating"):
        return 0.0
    lanes, standards = rules_side(games / row["game"])
    lane = next(lane for lane in lanes if lane.seed == row["seed"])
    if word == "non_finite":
        return float(lane.steps)  # the later it died
    turns = facts(lane, standards)["energy_turns"].value
    return 0.0 if turns is None or row["source"] == "dirac" else turns


def _exhibit(row: Mapping[str, Any], games: Path) -> Exhibit:
    folder, word = games / row["game"], row["rules"]
    lanes, standards = rules_side(folder)
    index = [lane.seed for lane in lanes].index(row["seed"])
    lane = lanes[index]
    with np.load(folder / PICTURE) as kept:
        last = max((name for name in kept.files if name.startswith("step-")), key=lambda name: int(name.removeprefix("step-")))
        real, samples = kept["real"].astype(np.float64), kept[last][index].astype(np.float64)
    if real.ndim == 4 and samples.ndim == 2:
        samples = samples.reshape(-1, *real.shape[1:])
    title = f"{word.replace('_', ' ')}: {row['game']}, seed {row['seed']}"
    return Exhibit(title, real, samples, *(_recorded(lane, word) if word in BY_RECORDS else _looked(lane, standards, word)))


def _recorded(lane: Lane, word: str) -> tuple[list[Curve], list[tuple[str, float]], bool]:
    names, bars = BY_RECORDS[word]
    curves = [Curve(NAMES[name], lane.records[name].steps, np.abs(lane.records[name].values)) for name in names]
    return curves, list(bars), word not in LINEAR


def _looked(lane: Lane, standards: Standards, word: str) -> tuple[list[Curve], list[tuple[str, float]], bool]:
    if word == "mode_collapse":
        steps = np.array([look.step for look in lane.quality])
        shares = {"precision": standards.floor_precision, "coverage": standards.floor_coverage}
        curves = [
            Curve(f"{name} over its floor", steps, np.array([getattr(look, name) or 0.0 for look in lane.quality]) / (floor or 1.0))
            for name, floor in shares.items()
        ]
        return curves, [("a half", 0.5)], False
    looks = [look for look in lane.quality if look.distance is not None and look.distance > 0]
    steps = np.array([look.step for look in looks])
    curves = [Curve("distance over a good one", steps, np.array([look.distance for look in looks]) / standards.good)]
    seen = [(one.step, one.energy) for one in lane.glimpses if one.energy is not None]
    if word in BY_GLIMPSES and seen and seen[0][1] > 0:
        at, energies = (np.array(column) for column in zip(*seen, strict=True))
        curves.append(Curve("energy distance of the glimpses over the first one's", at, np.abs(energies) / seen[0][1]))
    return curves, [("good", 1.0)], True
