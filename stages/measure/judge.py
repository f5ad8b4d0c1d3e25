"""Everything that judges samples and depends on the data alone, computed once and used for every generator.

Counts are equal everywhere: a draw of n samples is scored against two disjoint halves of n test items each, and the floor is n real
items against n others. The reported value of a metric is the mean over the draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import xlogy
from scipy.stats import binom
from torch import Tensor

from stages.measure.distances import radii
from stages.measure.features import Encoded
from stages.measure.frechet import Moments, frechet, frechet_infinity, moments
from stages.measure.modes import ENOUGH, modes_expected, modes_found, reverse_kl
from stages.measure.neighbours import memorisation
from stages.measure.quality import Measured, Panel, Space, Summary, average, cloud, floors, joined, panel, splits, subset, summary
from stages.measure.sliced import directions

SPLITS = 5
RULES = {"modes_pooled": 1, "modes_20": ENOUGH}  # samples of all draws that a mode needs
SMALLEST_LINE = 8  # samples from which on an extrapolation is tried


@dataclass(frozen=True)
class Judge:
    """The real side of every score."""

    space: Space
    test: Encoded
    panel: Panel
    train: Tensor  # features, `[N, d]`
    spacing: Tensor | None  # squared distance of each train item to its nearest other one; None below 2
    validation: tuple[Moments, int] | None  # and how many items; None below 2

    @property
    def n(self) -> int:
        """Samples of one draw that are scored against each half of the test part."""
        return self.panel.n

    @property
    def needed(self) -> int:
        """Samples a draw must hold to serve the test and the validation part."""
        return max(self.n, self.validation[1] if self.validation else 0)


def judge(
    train: Encoded, validation: Encoded, test: Encoded, weights: Tensor | None, vectors: bool, samples: int, generator: torch.Generator
) -> Judge:
    """A judge from the encoded parts: n is `samples`, or half the test part where that is less. ValueError for fewer than 4 test items."""
    n = min(samples, test.features.shape[0] // 2)
    if n < 2:
        raise ValueError(f"the test part has {test.features.shape[0]} items: at least 4 are needed")
    centre = test.features.double().mean(0)
    space = Space(centre, weights, directions(test.features.shape[1], generator) if vectors else None)
    halves = splits(test, n, generator, 1)[0]
    held = validation.features[torch.randperm(validation.features.shape[0], generator=generator)[:samples]]
    return Judge(
        space,
        test,
        panel(*halves, space),
        train.features,
        radii(train.features, centre, (1,))[0] if train.features.shape[0] > 1 else None,
        (moments(held), held.shape[0]) if held.shape[0] > 1 else None,
    )


def validation_score(judge: Judge, draw: Encoded) -> Measured:
    """The primary metric against the validation part, at its own count: it chooses the best snapshot and is reported for nothing else."""
    if judge.validation is None:
        return {"frechet": None}
    real, count = judge.validation
    return {"frechet": frechet(real, moments(draw.features[:count]))}


def quick(judge: Judge, draw: Encoded) -> Measured:
    """Every metric that one draw allows, against the test part."""
    return judge.panel.score(cloud(subset(draw, slice(judge.n)), judge.space))


def full(judge: Judge, draws: Sequence[Encoded], generator: torch.Generator) -> Summary:
    """Every metric over all draws, with its spread: `quick`'s, memorisation, the extrapolated Fréchet distance, the pooled modes."""
    clouds = [cloud(subset(draw, slice(judge.n)), judge.space) for draw in draws]
    measured = [judge.panel.score(one) | _memorised(judge, one.encoded.features) for one in clouds]
    errors = judge.panel.real_errors(clouds[0])
    pool = joined([one.encoded for one in clouds])
    extrapolated = _extrapolated([half.moments for half in judge.panel.halves], pool.features, judge.n, errors["frechet"], generator)
    return summary(measured, errors) | {"frechet_infinity": extrapolated} | _pooled(judge, pool)


def _memorised(judge: Judge, features: Tensor) -> Measured:
    value = None if judge.spacing is None else memorisation(judge.train, judge.spacing, features, judge.space.centre)
    return {"memorisation": value}


def _extrapolated(
    reals: Sequence[Moments], pool: Tensor, smallest: int, real_error: float | None, generator: torch.Generator
) -> dict[str, float | None]:
    if pool.shape[0] < smallest + SMALLEST_LINE:
        return dict.fromkeys(("value", "spread", "spread_draws", "spread_real"))
    value, error = frechet_infinity(reals, pool, smallest, generator)
    total = None if real_error is None else (error**2 + real_error**2) ** 0.5
    return {"value": value, "spread": total, "spread_draws": error, "spread_real": real_error}


def _pooled(judge: Judge, pool: Encoded) -> Summary:
    if pool.modes is None or judge.space.weights is None:
        return {}
    count = judge.space.weights.shape[0]
    found = {name: modes_found(pool.modes, count, rule) for name, rule in RULES.items()}
    counted = {name: {"value": float(value), "spread": None} for name, value in found.items()}
    return counted | {"reverse_kl_pooled": {"value": reverse_kl(pool.modes, judge.space.weights), "spread": None}}


def floor(judge: Judge, draws: int, generator: torch.Generator) -> dict[str, tuple[float | None, int]]:
    """What real items score in the place of samples, and their number, by metric.

    Mean over `SPLITS` random pairs of disjoint test sets, in both directions. `frechet_infinity` is extrapolated from n/2 to n items, since
    no more are at hand. `modes_pooled`, `modes_20` and `reverse_kl_pooled` are what is expected of real data, `memorisation` is that of the
    test part.
    """
    pairs = splits(judge.test, judge.n, generator, SPLITS)
    out = {name: (value, judge.n) for name, value in floors(pairs, judge.space).items()}
    out["frechet_infinity"] = (_floor_infinity(judge, pairs, generator), judge.n)
    out["memorisation"] = (_memorised(judge, judge.test.features)["memorisation"], judge.test.features.shape[0])
    if judge.test.modes is not None and judge.space.weights is not None:
        pooled = judge.n * draws
        out |= {name: (modes_expected(judge.space.weights, pooled, rule), pooled) for name, rule in RULES.items()}
        out["reverse_kl_pooled"] = (reverse_kl_expected(judge.space.weights, pooled), pooled)
    return out


def reverse_kl_expected(weights: Tensor, n: int) -> float:
    """`E KL(p̂ ‖ w)` in nats of n draws from w itself, p̂ their shares; about (k − 1)/(2n).

    It is `Σ_k E[(X/n) log(X/(n w_k))]` with X ~ Binomial(n, w_k).
    """
    shares, counts = np.unique(weights.double().numpy() / weights.double().sum().item(), return_counts=True)
    hits = np.arange(n + 1)
    return float(
        sum(k * (binom.pmf(hits, n, w) * xlogy(hits / n, hits / (n * w))).sum() for w, k in zip(shares, counts, strict=True) if w > 0)
    )


def _floor_infinity(judge: Judge, pairs: Sequence[tuple[Encoded, Encoded]], generator: torch.Generator) -> float | None:
    if judge.n < 2 * SMALLEST_LINE:
        return None
    both = [direction for pair in pairs for direction in (pair, pair[::-1])]
    values = [frechet_infinity([moments(one.features)], two.features, judge.n // 2, generator)[0] for one, two in both]
    return sum(values) / len(values)


def reference(judge: Judge, draws: Sequence[Encoded]) -> Measured:
    """A simple generator's scores: the mean over draws, without spreads."""
    clouds = [cloud(subset(draw, slice(judge.n)), judge.space) for draw in draws]
    return average([judge.panel.score(one) | _memorised(judge, one.encoded.features) for one in clouds])
