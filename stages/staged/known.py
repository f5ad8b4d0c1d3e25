"""The known truth behind a staged game's data, and measures of samples against it that no rule uses.

Known mixtures: the density itself. Dirac: the one point. Digits: the held-out test part, a support vector machine on pixels that was
trained on the labels, and nearest neighbours in pixel space (the rules look through the pinned classifier's features).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist, pdist

from stages.measure.classifier import one_thread
from stages.store import arrays

REACH = 3.0  # standard deviations around a centre that count as on it
POINT = 0.3  # of a unit: what counts as on the one point
QUANTILE = 0.95  # of real test items' distances to their nearest real neighbour
DUE = 0.2  # of its expected samples a mode needs to count as found
DRAWN = 2_000  # fresh items of the truth
MOST = 800  # samples behind an energy distance


@dataclass(frozen=True)
class Truth:
    """`on(x)` says of each sample `[n, d]` (flat) whether it lies where data lie; `mode(x)` names its mode in 0 .. modes - 1."""

    on: Callable[[np.ndarray], np.ndarray]
    mode: Callable[[np.ndarray], np.ndarray]
    modes: int
    fresh: np.ndarray  # [n, d] items of the truth that no game saw
    spread: float  # root mean variance of a coordinate, 1 where the data are one point

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


def look(truth: Truth, samples: np.ndarray) -> Look:
    """A look at `[n, ...]` samples, all finite."""
    flat = _flat(samples)
    on = truth.on(flat)
    found = np.bincount(truth.mode(flat[on]), minlength=truth.modes) >= DUE * len(flat) / truth.modes if on.any() else np.zeros(1)
    return Look(float(on.mean()), float(found.mean()), energy(truth, flat))


def motion(truth: Truth, samples: np.ndarray) -> Motion:
    """Where `[n, ...]` samples are, all finite."""
    flat = _flat(samples)
    mode = np.where(truth.on(flat), truth.mode(flat), truth.modes)
    return Motion((np.bincount(mode, minlength=truth.modes + 1) / len(flat)).tolist())


def energy(truth: Truth, flat: np.ndarray) -> float:
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| (Székely & Rizzo 2013) of at most MOST samples to fresh items, in spreads."""
    x, y = flat[:MOST], truth.fresh[:MOST]
    return (2 * float(cdist(x, y).mean()) - _mean_distance(x) - truth.among) / truth.spread


def _mean_distance(x: np.ndarray) -> float:
    """Between two different items."""
    return 2 * float(pdist(x).sum()) / (len(x) * (len(x) - 1))


def _flat(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1).astype(np.float64)


def mixture(modes: Mapping[str, Any], rng: np.random.Generator) -> Truth:
    """The mixture of equal weights that a card describes."""
    centres, std = np.array(modes["centres"]), float(modes["std"])
    fresh = centres[rng.integers(len(centres), size=DRAWN)] + std * rng.standard_normal((DRAWN, centres.shape[1]))
    return Truth(
        lambda x: cdist(x, centres).min(1) <= REACH * std,
        lambda x: cdist(x, centres).argmin(1),
        len(centres),
        fresh,
        float(np.sqrt(centres.var(0).mean())),
    )


def point(dimensions: int) -> Truth:
    """All data at 0."""
    return Truth(
        lambda x: np.linalg.norm(x, axis=1) <= POINT,
        lambda x: np.zeros(len(x), int),
        1,
        np.zeros((DRAWN, dimensions)),
        1.0,
    )


def labelled(root: Path) -> Truth:
    """Labelled images: the machine learns from the train part; neighbours are sought there; the test part is the truth."""
    from sklearn.svm import SVC

    known, fresh = (_flat(arrays.to_model_scale(np.array(arrays.part(name, root)))) for name in ("train", "test"))
    with one_thread():
        machine = SVC(kernel="rbf", gamma="scale", C=10.0).fit(known, arrays.labels("train", root))
    reach = float(np.quantile(cdist(fresh, known).min(1), QUANTILE))
    classes = len(machine.classes_)
    return Truth(
        lambda x: cdist(x, known).min(1) <= reach,
        lambda x: machine.predict(x).astype(int),
        classes,
        fresh,
        float(np.sqrt(known.var(0).mean())),
    )


def truth_of(root: Path) -> Truth:
    """The truth behind the prepared data below `root`."""
    card, rng = arrays.read_card(root), np.random.default_rng([20, 6])
    if card["modes"] is not None:
        return mixture(card["modes"], rng)
    return labelled(root) if card["labels"] is not None else point(card["shape"][0])
