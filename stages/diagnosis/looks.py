"""The quality of every snapshot's samples, what is good on these data, and whether D knows its training items."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import REFERENCE, Case, encode
from stages.game import restore
from stages.game.streams import stream
from stages.measure.baseline import gaussian_mixture
from stages.measure.facts import SnapshotQuality, Standards
from stages.measure.features import Encoded
from stages.measure.glance import look, standards
from stages.measure.probe import auc


def snapshot_quality(case: Case) -> list[list[SnapshotQuality]]:
    """For every lane, a look at every snapshot; the same noise for all."""
    noise = torch.randn(sample_count(case), case.run["config"]["latent"], generator=stream(case.config.diagnose.seed, "diagnose/noise"))
    looks: list[list[SnapshotQuality]] = [[] for _ in case.run["seeds"]]
    for step, tensors in case.snapshots.items():
        players = restore.players(case.run, tensors)
        averaged, raw = (restore.sample(network, noise) for network in (players.ema, players.generator))
        for index, seen in enumerate(looks):
            seen.append(look(case.stick, step, _encoded(case, averaged[index]), _encoded(case, raw[index])))
    return looks


def sample_count(case: Case) -> int:
    """Samples of a look: diagnose.samples, or as many as there are train items, since the floor needs equal counts."""
    return min(case.config.diagnose.samples, len(case.train))


def _encoded(case: Case, samples: Tensor) -> Encoded | None:
    if not bool(samples.isfinite().all()):
        return None
    encoded = encode(case.extract, samples)
    return encoded if bool(encoded.features.isfinite().all()) else None


def measured_standards(case: Case, quality: Sequence[Sequence[SnapshotQuality]]) -> Standards:
    rng = np.random.default_rng([case.config.diagnose.seed, 1])
    count = sample_count(case)
    flat = gaussian_mixture(case.train.reshape(len(case.train), -1), count, rng).astype(np.float32)
    drawn = torch.from_numpy(flat.reshape(count, *case.shape))
    baseline = encode(case.extract, drawn.clamp(-1, 1) if case.kind == "image" else drawn)
    starts = [looks[0].distance for looks in quality if looks[0].step == 0 and looks[0].distance is not None]
    untrained = float(np.median(starts)) if starts else None
    return standards(case.stick, encode(case.extract, torch.from_numpy(case.train)), count, baseline, untrained, rng)


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
