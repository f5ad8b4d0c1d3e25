"""The number that tuning lowers: the primary metric of every lane's averaged generator on the validation part, at the last snapshot.

It reads nothing of the test part, and a side project laid for tuning does not even hold it.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.game import cost, restore, spec
from stages.game.game import Game
from stages.game.streams import stream
from stages.measure.classifier import one_thread
from stages.measure.features import Extractor, extractor
from stages.measure.frechet import Moments, frechet, moments
from stages.store import arrays, layout, programs, snapshots
from stages.store.config import Config, Evaluate, read_config
from stages.store.files import read_json

CHUNK = 512  # samples that are encoded at once
SMALLEST = 2  # validation items


def validation_scores(variant: str, place: Path) -> list[float | None]:
    """Squared Fréchet distance of each lane's samples (EMA generator, last snapshot) to the validation part, at equal counts.

    None for a lane that failed or whose samples are not all finite. The noise is the same for every lane, trial and variant.
    """
    run, evaluate = read_json(place / layout.run(variant), "train it again"), read_config(place / "params.yaml").evaluate
    with one_thread(), torch.no_grad():
        extract = _extractor(evaluate, place)
        held = _held_out(evaluate, place)
        real, count = moments(_encoded(extract, torch.from_numpy(arrays.to_model_scale(held)))), len(held)
        tensors = snapshots.read(place / layout.snapshot(variant, run["snapshots"][-1]))
        noise = torch.randn(count, run["config"]["latent"], generator=stream(evaluate.seed, "tune/noise"))
        samples = restore.sample(restore.players(run, tensors).ema, noise)
        kind = run["data"]["kind"]
        return [_score(lane, one, kind, extract, real) for lane, one in zip(run["lanes"], samples, strict=True)]


def _extractor(evaluate: Evaluate, place: Path) -> Extractor:
    card = arrays.read_card(place)
    name, path = card["features"]["name"], place / layout.PREPARED / "features.safetensors"
    program = programs.load(evaluate, place)[0] if name == "file" else None
    return extractor(card, snapshots.read(path, arrays.REMEDY) if name in ("classifier", "random") else {}, program)


def _held_out(evaluate: Evaluate, place: Path) -> np.ndarray:
    """Validation items, at most `evaluate.samples`, chosen by seed."""
    items = arrays.part("validation", place)
    if len(items) < SMALLEST:
        raise SeesawError(f"the validation part has {len(items)} items: tuning needs at least {SMALLEST}; raise data.validation")
    order = np.random.default_rng([evaluate.seed, 2]).permutation(len(items))[: evaluate.samples]
    return np.array(items[np.sort(order)])


def _encoded(extract: Extractor, samples: Tensor) -> Tensor:
    return torch.cat([extract(part) for part in samples.split(CHUNK)])


def _score(lane: Mapping[str, Any], samples: Tensor, kind: str, extract: Extractor, real: Moments) -> float | None:
    if lane["status"] != "finished" or not bool(samples.isfinite().all()):
        return None
    given = samples.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().div(127.5).sub(1.0) if kind == "image" else samples  # 8 bits, as delivered
    features = _encoded(extract, given)
    distance = frechet(real, moments(features)) if bool(features.isfinite().all()) else math.inf
    return distance if math.isfinite(distance) else None


def flops_per_step(config: Config, variant: spec.Variant, shape: tuple[int, ...]) -> float:
    """Counted operations of one generator step of one lane with its discriminator steps, as runs/v.json has them."""
    train = config.train
    with one_thread():
        return cost.flops_per_step(Game(variant, shape, train.latent, train.batch, train.steps, [0]), cost.zeros(shape))
