"""D's field over the plane at every snapshot, for two-dimensional data: what a picture of the game needs, as text that stays small."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import Case
from stages.diagnosis.numbers import number
from stages.game import build, restore
from stages.game.spec import variant
from stages.game.streams import stream
from stages.game.vocabulary import GanLoss
from stages.measure.classifier import one_thread
from stages.measure.plane import axes, grid, pull

PLACES = 41  # of D's answers, along each axis
EVERY = 4  # an arrow at every so many of them
POINTS = 200  # real and generated ones
REAL = 64  # real items whose logits a relativistic loss is averaged over


def field(case: Case, lane: int) -> dict[str, Any] | None:
    """The file's entry for one lane (by index); None for other than two-dimensional data, and where D judges several samples at once."""
    setting = variant(case.run["config"])
    if case.shape != (2,) or setting.rules.pack > 1:
        return None
    x, y = axes(case.held, PLACES)
    loss, noise = build.catalogue_part("loss", setting.loss), _noise(case)
    with one_thread():
        shots = [_snapshot(case, lane, step, loss, (x, y), noise) for step in case.snapshots]
    return {
        "seed": case.run["seeds"][lane],
        "x": texts(x[None])[0],
        "y": texts(y[None])[0],
        "arrows_every": EVERY,
        "real": texts(case.held[:POINTS].T),
        "snapshots": shots,
    }


def texts(rows: np.ndarray) -> list[str]:
    """Each row as numbers of three significant digits with spaces between."""
    return [" ".join(f"{value:.3g}" for value in row) for row in rows]


def _noise(case: Case) -> Tensor:
    return torch.randn(1, POINTS, case.run["config"]["latent"], generator=stream(case.config.diagnose.seed, "diagnose/field"))


def _snapshot(case: Case, lane: int, step: int, loss: GanLoss, places: Sequence[np.ndarray], noise: Tensor) -> dict[str, Any]:
    own = restore.players({**case.run, "seeds": case.run["seeds"][lane : lane + 1]}, _lane(case.snapshots[step], lane))
    points = grid(*places).float()
    with torch.no_grad():
        samples = own.generator(noise)
        real = own.discriminator(torch.from_numpy(case.held[None, :REAL]))[0]
        generated = own.discriminator(samples)[0]
    logits, arrows = pull(own.discriminator, loss.generator, points, real if loss.generator_reads_real else None)
    if not all(bool(found.isfinite().all()) for found in (samples, logits, arrows, real, generated)):
        return {"step": step, "reason": "a weight of this lane is not finite, or has grown until an answer is not"}
    coarse = arrows.reshape(PLACES, PLACES, 2)[::EVERY, ::EVERY]
    return {
        "step": step,
        "reason": None,
        "centre": 0.0 if loss.logistic else number(float((real.mean() + generated.mean()) / 2)),
        "logits": texts(logits.reshape(PLACES, PLACES).numpy()),
        "arrows": [texts(coarse[:, :, axis].numpy()) for axis in (0, 1)],
        "longest": number(float(coarse.norm(dim=2).max())),
        "generated": texts(samples[0].numpy().T),
    }


def _lane(tensors: Mapping[str, Tensor], lane: int) -> dict[str, Tensor]:
    return {name: tensor[lane : lane + 1] for name, tensor in tensors.items()}
