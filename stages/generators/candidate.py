"""A variant's lanes as generators that can leave the project: what `promote`, `sample` and `export` take from the results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.game import build, program
from stages.game.spec import variant as spec_of
from stages.store import arrays, layout, snapshots
from stages.store.config import Config
from stages.store.deployable import Deployable, Lane
from stages.store.files import read_json

PRIMARY = "frechet"


def candidate(config: Config, variant: str, root: Path) -> tuple[Mapping[str, Any], Deployable]:
    """A variant's run, and its averaged generators, each at the snapshot that its validation score chose.

    SeesawError where results are missing, belong to another training or to other data than the prepared ones.
    """
    config.variant(variant)
    remedy = f"run `dvc repro evaluate@{variant}`"
    run, scores = (read_json(root / place(variant), remedy) for place in (layout.run, layout.scores))
    card = arrays.read_card(root)
    if scores["fingerprint"] != run["fingerprint"] or run["data"]["digest"] != card["digest"]:
        raise SeesawError(f"{variant}: run, scores and {layout.PREPARED} do not belong together: {remedy}")
    lanes = {seed: _lane(run, scores, seed, root) for seed in run["seeds"]}
    living = next((lane.weights for lane in lanes.values() if lane.weights is not None), None)
    return run, Deployable({} if living is None else describe(run, card, living), lanes)


def _lane(run: Mapping[str, Any], scores: Mapping[str, Any], seed: int, root: Path) -> Lane:
    step = scores["best_step"][str(seed)]
    if step is None:
        return Lane(None, None, None)
    index = run["seeds"].index(seed)
    entry = next(e for e in scores["snapshots"] if (e["step"], e["generator"], e["part"]) == (step, "ema", "validation"))
    tensors = snapshots.read(root / layout.snapshot(run["variant"], step), f"run `dvc repro train@{run['variant']}`")
    weights = {name: tensor.clone() for name, tensor in program.weights_of(tensors, "ema", index).items()}
    return Lane(step, entry["lanes"][index]["metrics"][PRIMARY]["value"], weights)


@torch.no_grad()
def describe(run: Mapping[str, Any], card: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """The operations of the run's generator, and what a sample of it is."""
    config, shape = spec_of(run["config"]), tuple(card["shape"])
    network = build.generator(config.generator, shape, run["config"]["latent"], [0])
    network.load_state_dict(dict(weights))
    steps = program.steps_of(network, run["config"]["latent"])
    scale = {name: card[name] or [default] * shape[0] for name, default in (("offset", 0.0), ("scales", 1.0)) if card["kind"] == "vector"}
    return {"steps": steps, "shape": list(shape), "kind": card["kind"], "latent": run["config"]["latent"], **scale}
