"""Every metric of one set of samples against one set of real items, each by the name it has everywhere.

`cloud` computes once what a set's metrics share; `score` compares two clouds. Both sides hold the same number of samples wherever the
project compares numbers: most metrics here are biased by the counts (docs/metrics.md).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.measure.distances import radii
from stages.measure.features import Encoded
from stages.measure.frechet import Moments, frechet, moments
from stages.measure.kernel import kernel_mean, kernel_mean_within
from stages.measure.modes import modes_found, reverse_kl
from stages.measure.neighbours import K_COVERAGE, K_MANIFOLD, neighbours
from stages.measure.sliced import projected, sliced_wasserstein
from stages.measure.spread import jackknife_error, standard_error, without_blocks

Measured = dict[str, float | None]  # None: not defined here; `METRICS[name].undefined` says why
Summary = dict[str, dict[str, float | None]]
SMALLEST_JACKKNIFE = 8  # items
KEPT = 1 << 19  # numbers in a half whose reduced sets (18 times as many) stay in memory


@dataclass(frozen=True)
class Metric:
    """What a reader needs beside a number: which way is better, where it comes from, its unit, and when it has no value."""

    better: str  # lower, higher, or floor (neither way: as near to the floor as possible)
    paper: str
    unit: str
    undefined: str


_TWO = "needs 2 samples on each side"
_FEW = f"needs more than {max(K_MANIFOLD, K_COVERAGE)} samples on each side"
_MODES = "needs known modes"
METRICS: dict[str, Metric] = {
    "frechet": Metric("lower", "Heusel et al. 2017", "squared feature distance", _TWO),
    "frechet_infinity": Metric("lower", "Chong & Forsyth 2020", "squared feature distance", "needs at least 2 draws"),
    "kernel": Metric("lower", "Bińkowski et al. 2018", "squared discrepancy", _TWO),
    "precision": Metric("higher", "Kynkäänniemi et al. 2019", "share of samples", _FEW),
    "recall": Metric("higher", "Kynkäänniemi et al. 2019", "share of real items", _FEW),
    "density": Metric("higher", "Naeem et al. 2020", "balls a sample lies in, over k", _FEW),
    "coverage": Metric("higher", "Naeem et al. 2020", "share of real items", _FEW),
    "modes": Metric("higher", "Srivastava et al. 2017 (at least 1 sample of one draw)", "modes", _MODES),
    "high_quality": Metric("higher", "Srivastava et al. 2017", "share of samples", _MODES),
    "reverse_kl": Metric(
        "lower", "Srivastava et al. 2017", "nats", "no sample counts for a mode, or one counts for a mode that real data lack"
    ),
    "modes_pooled": Metric("higher", "Lin et al. 2018 (at least 1 sample of all draws)", "modes", _MODES),
    "modes_20": Metric("higher", "strict rule (at least 20 samples of all draws)", "modes", _MODES),
    "reverse_kl_pooled": Metric(
        "lower",
        "Srivastava et al. 2017 (shares of all draws' samples)",
        "nats",
        "no sample counts for a mode, or one counts for a mode that real data lack",
    ),
    "memorisation": Metric("floor", "Alaa et al. 2022 (1 - authenticity)", "share of samples", "needs 2 train items"),
    "sliced_wasserstein": Metric("lower", "Bonneel et al. 2015", "games' scale", "needs vectors"),
}


@dataclass(frozen=True)
class Space:
    """What all clouds of a comparison share."""

    centre: Tensor  # `[d]`, any fixed point near the data: distances are computed about it
    weights: Tensor | None = None  # `[k]` shares of the real data's modes
    lines: Tensor | None = None  # `[d, s]` directions of the sliced Wasserstein distance


@dataclass(frozen=True)
class Cloud:
    """A set of n samples and what its metrics share. `encoded.features` `[n, d]` are all finite; every sum over them is in float64."""

    encoded: Encoded
    space: Space
    moments: Moments
    within: float  # mean kernel between different members
    radii: Tensor | None  # squared, for K_MANIFOLD and K_COVERAGE; None for too few samples
    projected: Tensor | None  # sorted along the space's lines


def cloud(encoded: Encoded, space: Space) -> Cloud:
    """A cloud of at least 2 finite samples; ValueError otherwise."""
    features = encoded.features
    if not bool(features.isfinite().all()):
        raise ValueError("features hold NaN or infinity: a set with such a sample is not scored")
    ks = (K_MANIFOLD, K_COVERAGE)
    return Cloud(
        encoded,
        space,
        moments(features),
        kernel_mean_within(features),
        radii(features, space.centre, ks) if features.shape[0] > max(ks) else None,
        None if space.lines is None else projected(features, space.lines),
    )


def subset(encoded: Encoded, index: Tensor | slice) -> Encoded:
    """The samples of those indices."""
    features, modes, good = encoded
    return Encoded(features[index], None if modes is None else modes[index], None if good is None else good[index])


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Sets one after another."""
    fields = [[field for field in column if field is not None] for column in zip(*parts, strict=True)]
    return Encoded(*(torch.cat(field) for field in fields if field))


def score(real: Cloud, fake: Cloud) -> Measured:
    """Every metric of `fake` against `real` that one draw allows: those of both sides, and the modes where they are known."""
    return compared(real, fake) | mode_metrics(fake.encoded, fake.space.weights)


def compared(real: Cloud, fake: Cloud) -> Measured:
    """The metrics that read both sides."""
    cross = kernel_mean(real.encoded.features, fake.encoded.features)
    measured: Measured = {"frechet": frechet(real.moments, fake.moments), "kernel": real.within + fake.within - 2.0 * cross}
    if real.projected is not None and fake.projected is not None:
        measured["sliced_wasserstein"] = sliced_wasserstein(real.projected, fake.projected)
    if real.radii is None or fake.radii is None:
        return measured | dict.fromkeys(("precision", "recall", "density", "coverage"))
    return measured | neighbours(real.encoded.features, fake.encoded.features, real.radii, fake.radii, real.space.centre)


def mode_metrics(encoded: Encoded, weights: Tensor | None) -> Measured:
    """`modes`, `high_quality`, `reverse_kl` of one set; empty where modes are not known."""
    if encoded.modes is None or encoded.good is None or weights is None:
        return {}
    return {
        "modes": float(modes_found(encoded.modes, weights.shape[0])),
        "high_quality": encoded.good.double().mean().item(),
        "reverse_kl": reverse_kl(encoded.modes, weights),
    }


def average(measured: Sequence[Measured]) -> Measured:
    """Mean of each metric; None where any of them has no value."""
    return {name: _of_all([one[name] for one in measured], _mean) for name in measured[0]}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _of_all(values: Sequence[float | None], estimate: Callable[[Sequence[float]], float], least: int = 1) -> float | None:
    known = [value for value in values if value is not None]
    return estimate(known) if len(known) == len(values) >= least else None


@dataclass(frozen=True)
class Panel:
    """Two disjoint real sets of n items each: a draw of n samples scores the mean of its scores against both."""

    halves: tuple[Cloud, Cloud]
    kept: tuple[tuple[Cloud, Cloud], ...] | None  # `reduced`, where it is small enough to be kept

    @property
    def n(self) -> int:
        """Items of each half."""
        return self.halves[0].encoded.features.shape[0]

    def score(self, fake: Cloud) -> Measured:
        """Mean over the halves of `score`."""
        return average([score(half, fake) for half in self.halves])

    def real_errors(self, fake: Cloud) -> Measured:
        """Jackknife standard error, over blocks of real items, of each metric that reads them; None where it has no value."""
        pairs = reduced(self.halves) if self.kept is None else self.kept
        left_out = [average([compared(half, fake) for half in pair]) for pair in pairs]
        if not left_out:
            return dict.fromkeys(compared(self.halves[0], fake))
        return {name: _of_all([one[name] for one in left_out], jackknife_error, 2) for name in left_out[0]}


def reduced(halves: tuple[Cloud, Cloud]) -> Iterator[tuple[Cloud, Cloud]]:
    """The halves with one block of items left out at a time; nothing below 8 items, where a block would be a large part."""
    one, two = halves
    n = one.encoded.features.shape[0]
    for keep in without_blocks(n) if n >= SMALLEST_JACKKNIFE else ():
        yield cloud(subset(one.encoded, keep), one.space), cloud(subset(two.encoded, keep), two.space)


def panel(one: Encoded, two: Encoded, space: Space) -> Panel:
    """A panel of two encoded real sets of equal size; ValueError for unequal ones."""
    if one.features.shape != two.features.shape:
        raise ValueError(f"halves of {len(one.features)} and {len(two.features)} items: equal sizes are needed")
    halves = (cloud(one, space), cloud(two, space))
    return Panel(halves, tuple(reduced(halves)) if one.features.numel() <= KEPT else None)


def summary(draws: Sequence[Measured], real_errors: Measured) -> Summary:
    """Value, and its spread in two parts, of each metric over independent draws from one generator.

    `spread_draws` is the standard error of the mean over the draws; `spread_real` the jackknife's over the real items (0 for a metric that
    reads none); `spread` the root of the sum of their squares. None with fewer than 2 draws.
    """
    out: Summary = {}
    for name, value in average(draws).items():
        own = _of_all([draw[name] for draw in draws], standard_error, 2)
        other = real_errors.get(name, 0.0)
        total = None if own is None or other is None else math.hypot(own, other)
        out[name] = {"value": value, "spread": total, "spread_draws": own, "spread_real": other}
    return out


def splits(encoded: Encoded, n: int, generator: torch.Generator, count: int) -> list[tuple[Encoded, Encoded]]:
    """`count` random pairs of disjoint sets of n real items; ValueError for fewer than 2n items."""
    total = encoded.features.shape[0]
    if total < 2 * n:
        raise ValueError(f"{total} real items cannot be cut into two sets of {n}")
    orders = [torch.randperm(total, generator=generator) for _ in range(count)]
    return [(subset(encoded, order[:n]), subset(encoded, order[n : 2 * n])) for order in orders]


def floors(pairs: Sequence[tuple[Encoded, Encoded]], space: Space) -> Measured:
    """Real against real at the same count as every score: the mean over the pairs, each in both directions."""
    clouds = [(cloud(one, space), cloud(two, space)) for one, two in pairs]
    return average([score(*direction) for pair in clouds for direction in (pair, pair[::-1])])
