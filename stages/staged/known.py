"""The known truth behind a staged game's data, and measures of samples against it that no rule uses.

Known mixtures: the density itself. Dirac: the one point. Digits: the held-out test part, and the nearest labelled neighbour in pixel space
(right on more than 95% of real test items; the rules look at the validation part through a trained classifier's features).
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.store import arrays

REACH = 3.0  # standard deviations around a centre that count as on it
POINT = 0.3  # of a unit: what counts as on the one point
QUANTILE = 0.95  # of real test items' distances to their nearest real neighbour
DUE = 0.2  # of its expected samples a mode needs to count as found
DRAWN = 2_000  # fresh items of the truth
HALVES = 40  # choices of classes behind what half of them are worth
MOST = 800  # samples behind an energy distance


@dataclass(frozen=True)
class Truth:
    """`place(x)` says of each sample `[n, d]` (flat) whether it lies where data lie, and names its mode in 0 .. modes - 1."""

    place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    modes: int
    fresh: np.ndarray  # [n, d] items of the truth that no game saw
    spread: float  # root mean variance of a coordinate, 1 where the data are one point
    half: float | None = None  # labelled images: energy distance of real items of half of the classes to fresh items, in spreads

    @cached_property
    def among(self) -> float:
        """Mean distance between two of the first MOST fresh items."""
        return _mean_distance(self.fresh[:MOST])


class Look(NamedTuple):
    """How samples stand to the truth."""

    on: float  # share of samples that lie where data lie
    found: float  # share of modes with at least DUE of their expected samples, those on the data alone
    energy: float  # energy distance to fresh items, in spreads


class Motion(NamedTuple):
    """Where samples are, whatever the truth."""

    shares: list[float]  # of samples in each mode, those on the data alone; last the share of all others
    nearest: list[float]  # of all samples, by the mode they are nearest to


def look(truth: Truth, samples: np.ndarray) -> Look:
    """A look at `[n, ...]` samples, all finite."""
    flat = _flat(samples)
    on, mode = truth.place(flat)
    found = np.bincount(mode[on], minlength=truth.modes) >= DUE * len(flat) / truth.modes
    return Look(float(on.mean()), float(found.mean()), energy(truth, flat))


def motion(truth: Truth, samples: np.ndarray) -> Motion:
    """Where `[n, ...]` samples are, all finite."""
    on, mode = truth.place(_flat(samples))
    counts = np.bincount(np.where(on, mode, truth.modes), minlength=truth.modes + 1), np.bincount(mode, minlength=truth.modes)
    return Motion(*((one / len(samples)).tolist() for one in counts))


def energy(truth: Truth, flat: np.ndarray) -> float:
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| (Székely & Rizzo 2013) of at most MOST samples to fresh items, in spreads."""
    x, y = flat[:MOST], truth.fresh[:MOST]
    return (2 * float(_distances(x, y).mean()) - _mean_distance(x) - truth.among) / truth.spread


def _mean_distance(x: np.ndarray) -> float:
    """Between two different items."""
    distances = _distances(x, x)
    return float(distances.sum() - distances.trace()) / (len(x) * (len(x) - 1))


def _flat(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1).astype(np.float64)


def mixture(modes: Mapping[str, Any], rng: np.random.Generator) -> Truth:
    """The mixture of equal weights that a card describes."""
    centres, std = np.array(modes["centres"]), float(modes["std"])
    fresh = centres[rng.integers(len(centres), size=DRAWN)] + std * rng.standard_normal((DRAWN, centres.shape[1]))
    spread = float(np.sqrt(centres.var(0).mean()))
    return Truth(lambda x: _nearest(x, centres, REACH * std, np.arange(len(centres))), len(centres), fresh, spread)


def _nearest(x: np.ndarray, points: np.ndarray, reach: float, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether the nearest point is within reach, and its name."""
    distance, index = _distances(x, points).min(1)
    return (distance <= reach).numpy(), names[index.numpy()]


def _distances(x: np.ndarray, y: np.ndarray) -> Tensor:
    """`[n, d]` and `[m, d]` to `[n, m]`, by matrix products in float64 (differences below 1e-7 of the numbers' size are rounding)."""
    return torch.cdist(torch.from_numpy(x), torch.from_numpy(y), compute_mode="use_mm_for_euclid_dist")


def point(dimensions: int) -> Truth:
    """All data at 0."""
    place = lambda x: (np.linalg.norm(x, axis=1) <= POINT, np.zeros(len(x), np.int64))  # noqa: E731
    return Truth(place, 1, np.zeros((DRAWN, dimensions)), 1.0)


def labelled(root: Path) -> Truth:
    """Labelled images in pixel space: a sample is placed by its nearest train item, whose class it takes; the test part is the truth."""
    known, fresh = (_flat(arrays.to_model_scale(np.array(arrays.part(name, root)))) for name in ("train", "test"))
    names = np.asarray(arrays.labels("train", root))
    reach = float(np.quantile(_distances(fresh, known).min(1).values.numpy(), QUANTILE))
    truth = Truth(lambda x: _nearest(x, known, reach, names), int(names.max()) + 1, fresh, float(np.sqrt(known.var(0).mean())))
    return dataclasses.replace(truth, half=half_of_the_classes(truth, known, names))


def half_of_the_classes(truth: Truth, items: np.ndarray, names: np.ndarray) -> float:
    """Energy distance of real items that lack half of the classes (one fewer where they are odd), the median of HALVES such choices."""
    rng = np.random.default_rng([20, 7])
    choices = [rng.choice(truth.modes, (truth.modes + 1) // 2, replace=False) for _ in range(HALVES)]
    return float(np.median([energy(truth, rng.permutation(items[np.isin(names, kept)])) for kept in choices]))


def truth_of(root: Path, made: Mapping[str, Any]) -> Truth:
    """The truth behind the prepared data below `root`; `made` as in `made.py`, empty for the project's own sources."""
    card, rng = arrays.read_card(root), np.random.default_rng([20, 6])
    if made.get("kind") == "mixture":
        offset, scales = np.array(card["offset"]), np.array(card["scales"])
        std = made["std"] / float(np.sqrt(np.square(scales).mean()))  # centres are laid out so that coordinates differ by a few percent
        return mixture({"centres": (np.array(made["centres"]) - offset) / scales, "std": std}, rng)
    if card["modes"] is not None:
        return mixture(card["modes"], rng)
    return labelled(root) if card["labels"] is not None else point(card["shape"][0])
