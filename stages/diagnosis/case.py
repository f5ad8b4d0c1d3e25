"""What a diagnosis is made from: everything read from files, how deep to look, and the real side of every look."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.measure.features import Encoded, Extractor, extractor
from stages.measure.glance import Yardstick, yardstick
from stages.store import arrays, layout, programs, records, snapshots
from stages.store.config import Config
from stages.store.files import read_json

ITEMS = 10_000  # train items, at most, that floors and baseline are drawn from
REFERENCE = 2_000  # held-out items, at most, that samples are judged against
SMALLEST = 32  # held-out items below which half of the train part stands in for them
PLAIN_COST = 2.4e8  # floating-point operations of a training step up to which batches are full


@dataclass(frozen=True)
class Depth:
    """How deep the measures on snapshots go."""

    eigenvalues: int
    products: int  # with the game Jacobian, and with P J
    block_products: int  # with a player's Hessian block
    spectra: int  # lanes
    probe_lanes: int
    probe_snapshots: int
    probe_steps: int


DEPTHS = {"default": Depth(20, 60, 40, 1, 2, 3, 300), "full": Depth(60, 400, 200, 2, 8, 6, 4000)}


@dataclass(frozen=True)
class Case:
    """Everything read from files, and the real side of every look."""

    config: Config
    run: Mapping[str, Any]
    records: records.Records
    snapshots: Mapping[int, Mapping[str, Tensor]]
    continuations: Mapping[int, Mapping[str, Tensor]]  # of the first and the last snapshot
    glimpses: Mapping[str, Tensor]  # lanes' samples, often (stages/game/glimpses.py)
    kind: str
    train: np.ndarray  # in the games' scale
    held: np.ndarray
    held_is_train: bool
    extract: Extractor
    stick: Yardstick

    @property
    def alive(self) -> list[int]:
        """Lanes that finished."""
        return [index for index, lane in enumerate(self.run["lanes"]) if lane["status"] == "finished"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        return tuple(self.run["data"]["shape"])


def read_case(config: Config, variant: str, root: Path) -> Case:
    """All inputs; SeesawError for a file that is missing, damaged or of other data."""
    remedy = f"run `dvc repro train@{variant}`"
    run = read_json(root / layout.run(variant), remedy)
    card = arrays.checked_card(root)
    if run["data"]["digest"] != card["digest"]:
        raise SeesawError(f"{variant} was trained on other data than {layout.PREPARED} holds: {remedy}")
    known = records.read(root / layout.records(variant))
    if known.steps[-1] < max(lane["step"] for lane in run["lanes"]) - run["config"]["record_every"] or len(known.seeds) != len(
        run["seeds"]
    ):
        raise SeesawError(f"{root / layout.records(variant)} ends at step {known.steps[-1]} before its run does: {remedy}")
    tensors = {step: snapshots.read(root / layout.snapshot(variant, step), remedy) for step in run["snapshots"]}
    ends = (run["snapshots"][0], run["snapshots"][-1])
    saved = {step: snapshots.read(root / layout.continuation(variant, step), remedy) for step in ends}
    rng = np.random.default_rng([config.diagnose.seed, 0])
    train, held, borrowed = parts(root, rng)
    extract = feature_space(config, card, root)
    stick = yardstick(encode(extract, torch.from_numpy(held)), extract.weights, card["modes"] is not None, rng)
    seen = snapshots.read(root / layout.glimpses(variant), remedy)
    return Case(config, run, known, tensors, saved, seen, card["kind"], train, held, borrowed, extract, stick)


def parts(root: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
    """Train and held-out items, float32; with too small a validation part, every second train item is held out (and said so)."""
    train, held = (_some(arrays.part(name, root), most, rng) for name, most in (("train", ITEMS), ("validation", REFERENCE)))
    if len(held) >= SMALLEST:
        return train, held, False
    return train[::2], train[1::2][:REFERENCE], True


def _some(part: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    if len(part) > most:
        part = part[np.sort(rng.choice(len(part), most, replace=False))]
    return arrays.to_model_scale(np.array(part))


def feature_space(config: Config, card: Mapping[str, Any], root: Path) -> Extractor:
    """The pinned feature space at work, the user's own program with it."""
    program = programs.load(config.evaluate, root)[0] if card["features"]["name"] == "file" else None
    path = root / layout.PREPARED / "features.safetensors"
    return extractor(card, snapshots.read(path, arrays.REMEDY) if path.exists() else {}, program)


@torch.no_grad()
def encode(extract: Extractor, samples: Tensor, chunk: int = 1024) -> Encoded:
    """Samples `[n, ...]` in the feature space, some at a time."""
    parts = [extract.encode(piece) for piece in samples.split(chunk)]
    return Encoded(*(None if field[0] is None else torch.cat(field) for field in zip(*parts, strict=True)))  # type: ignore[arg-type]


def batch_of(case: Case, least_most: tuple[int, int]) -> int:
    """A batch by what a training step costs: counted, so that no clock decides it."""
    least, most = least_most
    return max(least, min(most, int(most * PLAIN_COST / case.run["cost"]["flops_per_step"])))
