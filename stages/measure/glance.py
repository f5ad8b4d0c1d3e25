"""The diagnosis's own quick look at samples: one draw against held-out data, by a few measures that verdicts rest on.

It shares the metrics' code with the scores but none of their numbers: verdicts never read scores. Where the mixture behind the data is
known, precision is the share of samples within 3 standard deviations of a mode and coverage the share of modes that have at least a
quarter of their due samples; elsewhere both are those of nearest neighbours (`neighbours.py`).
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor

from stages.measure.distances import radii
from stages.measure.facts import SnapshotQuality, Standards
from stages.measure.features import Encoded
from stages.measure.frechet import Moments, frechet, moments
from stages.measure.neighbours import K_COVERAGE, K_MANIFOLD, neighbours
from stages.measure.spread import jackknife_error, without_blocks

CELLS = 10  # k-means cells of the data, where modes are not known or too many
MANY = 64  # more modes than this are looked at through cells
MOST = 800  # held-out items, at most, behind an energy distance
NEAR = 0.95
DUE = 0.25  # of its expected samples a mode needs to count as covered
FLOORS = 4  # random real draws behind the floor


@dataclass(frozen=True)
class Yardstick:
    """The real side of every look."""

    features: Tensor  # of the reference items, float64 [n, d]
    moments: Moments
    radii: Tensor | None  # [2, n]; None where all real items coincide or are too few
    weights: Tensor | None  # shares of the known modes, where samples are judged by modes
    cells: np.ndarray | None  # centres [k, d] of k-means cells, where shares are not by mode
    modes: int  # how many modes or cells there are
    centres: Tensor  # [k, d] of the modes' held-out items, or of the cells: what every sample is nearest to one of
    among: float  # mean distance between two of the first MOST held-out items
    reach: float | None  # distance to the nearest held-out item that NEAR of real items stay within; None for a known mixture


def yardstick(reference: Encoded, weights: Tensor | None, mixture: bool, rng: np.random.Generator) -> Yardstick:
    """A yardstick from held-out items: `weights` of the modes as the feature space gives them, `mixture` when the data are a known one."""
    features = reference.features.double()
    enough = features.shape[0] > max(K_MANIFOLD, K_COVERAGE) and bool(features.var(0).sum() > 0)
    reach = radii(features, features.mean(0), (K_MANIFOLD, K_COVERAGE)) if enough else None
    cells = None if weights is not None and len(weights) <= MANY else _cells(features.numpy(), rng)
    count = len(weights) if cells is None and weights is not None else len(cells) if cells is not None else 0
    known = weights if mixture and weights is not None else None
    centres = torch.from_numpy(cells) if cells is not None else _middles(features, reference.modes)
    among = float(distances(features[:MOST], features[:MOST]).sum()) / max(1, len(features[:MOST]) * (len(features[:MOST]) - 1))
    near = None if known is not None else _own_reach(features)
    return Yardstick(features, moments(features), reach, known, cells, count, centres, among, near)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """`[n, d]` and `[m, d]` to `[n, m]`, without the rounding of matrix products."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _middles(features: Tensor, modes: Tensor | None) -> Tensor:
    """The mean of each mode's items; the modes that no item shows are left out."""
    if modes is None or not bool((modes >= 0).any()):
        return features.mean(0, keepdim=True)
    return torch.stack([features[modes == mode].mean(0) for mode in modes[modes >= 0].unique()])


def _own_reach(features: Tensor) -> float:
    """The NEAR quantile of held-out items' distances to the nearest other one."""
    some = features[:MOST]
    if len(some) < 2:
        return 0.0
    between = distances(some, features)
    between[torch.arange(len(some)), torch.arange(len(some))] = torch.inf
    return float(between.min(1).values.quantile(NEAR))


class Glanced(NamedTuple):
    """What a few samples show."""

    energy: float
    on: float


def glance(stick: Yardstick, seen: Encoded) -> Glanced:
    """Energy distance 2 E|x - y| - E|x - x'| - E|y - y'| to held-out items (Székely & Rizzo 2013), means over different items; share of
    samples where data lie (within 3 standard deviations of a known mode, else as near to a held-out item as NEAR of these are to each
    other)."""
    x, y = seen.features.double(), stick.features
    between, within = distances(x, y), distances(x, x)
    energy = 2 * between[:, :MOST].mean() - within.sum() / max(1, len(x) * (len(x) - 1)) - stick.among
    near = between.min(1).values
    on = seen.good if stick.reach is None and seen.good is not None else near <= (stick.reach or 0.0)
    return Glanced(float(energy), float(on.double().mean()))


def nearest(stick: Yardstick, seen: Encoded) -> tuple[float, ...]:
    """Shares of all samples by the mode or cell that they are nearest to."""
    index = distances(seen.features.double(), stick.centres).argmin(1)
    return tuple((torch.bincount(index, minlength=len(stick.centres)).double() / len(index)).tolist())


def _cells(features: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centres of k-means on the reference: at most 10, with at least 10 items each on average (after Richardson & Weiss 2018, NDB)."""
    count = max(1, min(CELLS, len(np.unique(features, axis=0)) // 10))
    if count == 1:
        return features.mean(0, keepdims=True)
    centres, _ = kmeans2(features, count, minit="++", rng=rng, missing="raise")
    return np.asarray(centres)


def look(stick: Yardstick, step: int, averaged: Encoded | None, raw: Encoded | None) -> SnapshotQuality:
    """A snapshot of one lane: quality of the averaged generator's samples, modes' shares of the raw one's. `None`: not all finite."""
    if averaged is None or raw is None:
        return SnapshotQuality(step, None, None, None, None, finite=False)
    features = averaged.features.double()
    distance = frechet(stick.moments, moments(features))
    seen = SnapshotQuality(step, distance, spread(stick, features), *fidelity(stick, averaged), shares=shares(stick, raw))
    return replace(seen, **gap(stick, features)._asdict())


class Gap(NamedTuple):
    """Median distance from a sample to the nearest real item, and its standard error by order statistics."""

    gap: float
    gap_spread: float


def gap(stick: Yardstick, features: Tensor) -> Gap:
    """How far samples are from the data one by one: it sees what mean and covariance hide (samples between the modes).

    Standard error of a median: half the distance of the sample quantiles ½ ± 1/(2√n).
    """
    near = torch.cdist(features, stick.features, compute_mode="donot_use_mm_for_euclid_dist").min(1).values
    half = 0.5 / math.sqrt(len(near))
    low, middle, high = near.quantile(torch.tensor([0.5 - half, 0.5, 0.5 + half], dtype=near.dtype)).tolist()
    return Gap(middle, (high - low) / 2)


class Fidelity(NamedTuple):
    """Three shares of one set of samples; None where they are not defined. Density may exceed 1 and is not asked of known mixtures."""

    precision: float | None
    coverage: float | None
    density: float | None


def fidelity(stick: Yardstick, fake: Encoded) -> Fidelity:
    """Precision, coverage and density of samples.

    Density stands beside precision because one real outlier has a ball wide enough to hold any number of bad samples: they count fully for
    precision and hardly for density (Naeem et al. 2020, section 3.1).
    """
    if stick.weights is not None and fake.modes is not None and fake.good is not None:
        due = DUE * len(fake.modes) * stick.weights / stick.weights.sum()
        found = torch.bincount(fake.modes[fake.modes >= 0], minlength=len(due))
        return Fidelity(fake.good.double().mean().item(), (found >= due).double().mean().item(), None)
    features = fake.features.double()
    if stick.radii is None or features.shape[0] <= max(K_MANIFOLD, K_COVERAGE):
        return Fidelity(None, None, None)
    centre = stick.features.mean(0)
    measured = neighbours(stick.features, features, stick.radii, stick.radii[:, :1], centre)  # recall is not asked for
    return Fidelity(measured["precision"], measured["coverage"], measured["density"])


def spread(stick: Yardstick, features: Tensor) -> float | None:
    """Jackknife standard error of the distance over the samples."""
    if features.shape[0] < 20:
        return None
    return jackknife_error([frechet(stick.moments, moments(features[keep])) for keep in without_blocks(features.shape[0])])


def shares(stick: Yardstick, fake: Encoded) -> tuple[float, ...]:
    """Share of samples in each mode or cell, and last those in none."""
    if stick.cells is None and fake.modes is not None:
        index = torch.where(fake.modes >= 0, fake.modes, stick.modes)
    else:
        centres = torch.from_numpy(np.array(stick.cells))
        index = torch.cdist(fake.features.double(), centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    return tuple((torch.bincount(index, minlength=stick.modes + 1).double() / len(index)).tolist())


def standards(
    stick: Yardstick, pool: Encoded, count: int, baseline: Encoded | None, untrained: float | None, rng: np.random.Generator
) -> Standards:
    """What `count` other real items (mean over random draws from `pool`), a baseline model and the untrained generator reach."""
    draws = [torch.from_numpy(rng.choice(len(pool.features), count, replace=False)) for _ in range(FLOORS)]
    reals = [Encoded(*(None if field is None else field[draw] for field in pool)) for draw in draws]  # type: ignore[arg-type]
    fidelities = [fidelity(stick, real) for real in reals]
    distance = float(np.mean([frechet(stick.moments, moments(real.features.double())) for real in reals]))
    other = None if baseline is None else frechet(stick.moments, moments(baseline.features.double()))
    precision, coverage, density = (_mean(list(column)) for column in zip(*fidelities, strict=True))
    near = float(np.mean([gap(stick, real.features.double()).gap for real in reals]))
    return Standards(distance, precision, coverage, other, untrained, density, near)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
