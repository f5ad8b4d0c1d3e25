"""The quality of every snapshot's samples, what is good on these data, and whether D knows its training items."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import REFERENCE, Case, encode
from stages.diagnosis.numbers import number
from stages.game import restore
from stages.game.streams import stream
from stages.measure.baseline import gaussian_mixture
from stages.measure.diversity import effective_modes, spacing
from stages.measure.facts import Glimpse, SnapshotQuality, Standards
from stages.measure.features import Encoded
from stages.measure.glance import glance, look, nearest, shares, standards
from stages.measure.probe import auc
from stages.store import arrays

DRAWS = 4  # of real items, behind the distance that samples are compared with


@dataclass(frozen=True)
class Looks:
    """Every lane's looks at every snapshot."""

    quality: list[list[SnapshotQuality]]
    spacing: dict[str, list[list[float | None]]]  # of `ema` and `raw`, in features; None where a sample is not finite


def look_at_snapshots(case: Case) -> Looks:
    """For every lane, a look at every snapshot; the same noise for all."""
    noise = torch.randn(sample_count(case), case.run["config"]["latent"], generator=stream(case.config.diagnose.seed, "diagnose/noise"))
    lanes = range(len(case.run["seeds"]))
    found = Looks([[] for _ in lanes], {kind: [[] for _ in lanes] for kind in ("ema", "raw")})
    for step, tensors in case.snapshots.items():
        players = restore.players(case.run, tensors)
        averaged, raw = (restore.sample(network, noise) for network in (players.ema, players.generator))
        for index in lanes:
            seen = {"ema": _encoded(case, averaged[index]), "raw": _encoded(case, raw[index])}
            found.quality[index].append(look(case.stick, step, seen["ema"], seen["raw"]))
            for kind, samples in seen.items():
                found.spacing[kind][index].append(None if samples is None else spacing(samples.features))
    return found


def look_at_glimpses(case: Case) -> list[list[Glimpse]]:
    """For every lane, what its glimpses show."""
    spread = _spread(case.train)
    return [_glimpses(case, index, spread) for index in range(len(case.run["seeds"]))]


def _glimpses(case: Case, index: int, spread: float) -> list[Glimpse]:
    averaged, raw = (arrays.to_model_scale(case.glimpses[kind][index].numpy()) for kind in ("ema", "raw"))
    places, middle = raw.astype(np.float64), case.train.mean(0)
    found = []
    for at, step in enumerate(case.glimpses["steps"].tolist()):
        seen = _encoded(case, torch.from_numpy(averaged[at])) if bool(case.glimpses["finite"][index, at]) else None
        own = None if seen is None else _encoded(case, torch.from_numpy(raw[at]))
        if seen is None or own is None:
            found.append(Glimpse(step, None, None, None, None))
            continue
        apart, radius = (number(_root_mean_square(x) / spread) for x in (places[at] - places[-1], places[-1] - middle))
        energy, on = glance(case.stick, seen)
        found.append(Glimpse(step, number(energy), number(on), nearest(case.stick, own), apart, radius))
    return found


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x).mean()))


def _spread(train: np.ndarray) -> float:
    """Of the data over all coordinates; 1 where the data are one point."""
    return float(np.sqrt(train.reshape(len(train), -1).var(0, dtype=np.float64).mean())) or 1.0


def sample_count(case: Case) -> int:
    """Samples of a look: diagnose.samples, or as many as there are train items, since the floor needs equal counts."""
    return min(case.config.diagnose.samples, len(case.train))


def _encoded(case: Case, samples: Tensor) -> Encoded | None:
    if not bool(samples.isfinite().all()):
        return None
    encoded = encode(case.extract, samples)
    return encoded if bool(encoded.features.isfinite().all()) else None


def train_features(case: Case) -> Encoded:
    """What floors are drawn from."""
    return encode(case.extract, torch.from_numpy(case.train))


def measured_standards(case: Case, pool: Encoded, quality: Sequence[Sequence[SnapshotQuality]]) -> Standards:
    """What is good on these data, from the train items' features."""
    rng = np.random.default_rng([case.config.diagnose.seed, 1])
    count = sample_count(case)
    flat = gaussian_mixture(case.train.reshape(len(case.train), -1), count, rng).astype(np.float32)
    drawn = torch.from_numpy(flat.reshape(count, *case.shape))
    baseline = encode(case.extract, drawn.clamp(-1, 1) if case.kind == "image" else drawn)
    starts = [looks[0].distance for looks in quality if looks[0].step == 0 and looks[0].distance is not None]
    untrained = float(np.median(starts)) if starts else None
    found = standards(case.stick, pool, count, baseline, untrained, rng)
    return replace(found, untrained_counts=case.kind == "vector")


def diversity(case: Case, pool: Encoded, looks: Looks) -> dict[str, Any]:
    """Nearest-neighbour distances over those of as many real items, modes and coverage: by lane and snapshot."""
    count, rng = sample_count(case), np.random.default_rng([case.config.diagnose.seed, 2])
    draws = [torch.from_numpy(rng.choice(len(pool.features), count, replace=False)) for _ in range(DRAWS)]
    distances = [distance for draw in draws if (distance := spacing(pool.features[draw])) is not None]
    real = float(np.mean(distances)) if distances else 0.0
    modes = [[_modes(case, one.shares) for one in lane] for lane in looks.quality]
    return {
        "steps": list(case.snapshots),
        "samples": count,
        "real_spacing": number(real),
        "real_modes": number(_modes(case, shares(case.stick, pool))),
        "spacing": {kind: [[_over(value, real) for value in lane] for lane in lanes] for kind, lanes in looks.spacing.items()},
        "modes": [[number(value) for value in lane] for lane in modes],
        "coverage": [[number(one.coverage) for one in lane] for lane in looks.quality],
        "reason": None if real > 0 else "most real items have an exact copy: there is no distance to measure samples by",
    }


def _over(value: float | None, real: float) -> float | None:
    return None if value is None or real == 0 else number(value / real)


def _modes(case: Case, found: Sequence[float] | None) -> float | None:
    """Effective number of modes or cells."""
    return None if found is None else effective_modes(found[: case.stick.modes])


@dataclass(frozen=True)
class Overfit:
    """AUC of D's answers on train over held-out items, `[snapshots, L]`, and how many answers there were (a pack has one)."""

    auc: np.ndarray
    counts: tuple[int, int]


@torch.no_grad()
def overfitting(case: Case) -> Overfit | None:
    """Whether D knows its training items; None where nothing was held out of training."""
    if case.held_is_train:
        return None
    train, held = (torch.from_numpy(items[:REFERENCE]) for items in (case.train, case.held))
    rows = []
    for tensors in case.snapshots.values():
        critic, lanes = restore.players(case.run, tensors).discriminator, len(case.run["seeds"])
        known, fresh = (torch.cat([critic(x.expand(lanes, *x.shape)) for x in items.split(256)], 1) for items in (train, held))
        rows.append(auc(known.double(), fresh.double()).numpy())
    return Overfit(np.stack(rows), (known.shape[1], fresh.shape[1]))
