"""Samples of many lanes encoded for one judge: what the nodes that score generators share (`evaluate`, `promote`)."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.measure.features import Encoded, Extractor, extractor
from stages.measure.judge import Judge, judge
from stages.measure.quality import joined
from stages.store import arrays, layout, programs, snapshots
from stages.store.config import Evaluate

NUMBERS = 1 << 22  # in one batch of samples of all lanes
ENCODED = 10_000  # train items, at most, that memorisation is looked for in
TESTED = 50_000  # test items, at most

Lanes = list[Encoded | None]  # None: a lane whose samples are not all finite


@dataclasses.dataclass(frozen=True)
class Setting:
    """What depends on the data and on `evaluate` alone."""

    evaluate: Evaluate
    card: Mapping[str, Any]
    extract: Extractor
    features: dict[str, Any]  # name and digest
    judge: Judge


def prepare_setting(evaluate: Evaluate, root: Path) -> Setting:
    """Reads the prepared data, encodes it and makes its judge; a test part that is too small raises SeesawError."""
    card = arrays.checked_card(root)
    described, program = dict(card["features"]), None
    if described["name"] == "file":
        program, described["digest"] = programs.load(evaluate, root)
    weighted = described["name"] in ("classifier", "random")
    tensors = snapshots.read(root / layout.PREPARED / "features.safetensors", arrays.REMEDY) if weighted else {}
    extract = extractor(card, tensors, program)
    order = np.random.default_rng(list(seed_of(evaluate.seed, "train").to_bytes(8, "little")))
    parts = {name: arrays.part(name, root) for name in arrays.PARTS}
    if len(parts["train"]) > ENCODED:
        parts["train"] = parts["train"][np.sort(order.choice(len(parts["train"]), ENCODED, replace=False))]
    train, validation, test = (encode(extract, parts[name][:TESTED]) for name in arrays.PARTS)
    try:
        made = judge(train, validation, test, extract.weights, card["kind"] == "vector", evaluate.samples, stream(evaluate.seed, "halves"))
    except ValueError as error:
        raise SeesawError(f"nothing can be judged: {error}; raise data.test or give more data") from None
    return Setting(evaluate, card, extract, {"name": described["name"], "digest": described["digest"]}, made)


def encode(extract: Extractor, items: np.ndarray) -> Encoded:
    """Stored items (uint8 images or vectors) in the feature space, some at a time."""
    rows = max(1, NUMBERS // max(1, int(np.prod(items.shape[1:]))))
    starts = range(0, max(1, len(items)), rows)
    return joined([extract.encode(torch.from_numpy(arrays.to_model_scale(np.array(items[start : start + rows])))) for start in starts])


def delivered(samples: Tensor, kind: str) -> Tensor:
    """Samples as a person would receive them: images are cut to [−1, 1] and rounded to 8 bits a channel, vectors are left alone.

    So a generator scores the same here and through the files it wrote. NaN stays NaN.
    """
    if kind != "image":
        return samples
    return (samples.clamp(-1.0, 1.0).add(1.0).mul(127.5).round()).div(127.5).sub(1.0)


def noise(setting: Setting, draw: int, latent: int) -> Tensor:
    """Noise `[n, latent]` of one draw: the same for every variant, lane, snapshot and generator."""
    return torch.randn(setting.judge.needed, latent, generator=stream(setting.evaluate.seed, "noise", draw))


def lane_draws(setting: Setting, network: Callable[[Tensor], Tensor], points: Tensor, lanes: int) -> Lanes:
    """Each lane's samples of noise `[n, latent]` in the feature space."""
    rows = max(1, NUMBERS // (lanes * int(np.prod(setting.card["shape"]))))
    parts: list[list[Encoded]] = [[] for _ in range(lanes)]
    finite = torch.ones(lanes, dtype=torch.bool)
    for piece in points.split(rows):
        samples = network(piece.expand(lanes, *piece.shape))  # [L, b, ...]
        encoded = setting.extract.encode(delivered(samples, setting.card["kind"]).flatten(0, 1))
        finite &= samples.flatten(1).isfinite().all(1) & encoded.features.view(lanes, -1).isfinite().all(1)
        for lane, part in enumerate(zip(*(_by_lane(field, lanes) for field in encoded), strict=True)):
            parts[lane].append(Encoded(*part))
    return [joined(part) if fine else None for part, fine in zip(parts, finite.tolist(), strict=True)]


def _by_lane(field: Tensor | None, lanes: int) -> Sequence[Tensor | None]:
    return [None] * lanes if field is None else field.view(lanes, -1, *field.shape[1:]).unbind(0)


def seed_of(seed: int, *words: object) -> int:
    """A stream's own seed, from `evaluate.seed` and what the numbers are for."""
    name = "/".join(map(str, ("evaluate", seed, *words)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") >> 1


def stream(seed: int, *words: object) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, *words))
