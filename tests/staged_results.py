"""Results of generators whose mathematics is known, as `train`, `evaluate`, `diagnose` and `compare` would leave them.

The data are draws of N(0, I) in two dimensions. A generator of one hidden layer of relu units computes, per coordinate,
f(z) = w · [relu(kz + 1), relu(kz − 1), relu(z), relu(−z)] + b, which can be the identity (a perfect generator), a multiple of it, or a step
(only four corners are ever drawn: the right mean and covariance, hence a good Fréchet distance, and hardly any recall).
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.evaluate import evaluate
from stages.game import build, spec
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.prepare import prepare
from stages.store import arrays, layout, snapshots
from stages.store.config import Config, parse
from stages.store.files import read_json, write_json

HINGE = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}
STEEP = 200.0


def config(lanes: int = 3, **gate: Any) -> Config:
    """Two-dimensional vectors from an array, tiny players, one variant for each kind of generator."""
    player = {"network": "mlp", "width": 8, "depth": 1, "normalisation": "none"}
    return parse(
        {
            "data": {"source": "array", "path": "items.npy"},
            "train": {"seeds": lanes, "steps": 20, "snapshots": 1, "latent": 2, "generator": player, "discriminator": player},
            "evaluate": {"samples": 150, "draws": 3},
            "compare": {"baseline": "first"},
            "gate": gate,
            "variants": {"first": HINGE, "second": HINGE, "third": HINGE},
        }
    )


def data(root: Path, items: int = 1500, seed: int = 0) -> None:
    """`items.npy`, prepared."""
    np.save(root / "items.npy", np.random.default_rng(seed).standard_normal((items, 2)).astype(np.float32))
    prepare(config(), root)


def weights(scale: float, step: bool = False) -> dict[str, torch.Tensor]:
    """One lane's generator: z to scale · z, or to scale · (the corner that z points to)."""
    inputs, bias, out = torch.zeros(2, 8), torch.zeros(1, 8), torch.zeros(8, 2)
    for axis in range(2):
        units = slice(4 * axis, 4 * axis + 4)
        inputs[axis, units] = torch.tensor([STEEP, STEEP, 1.0, -1.0])
        bias[0, units] = torch.tensor([1.0, -1.0, 0.0, 0.0])
        out[units, axis] = scale * torch.tensor([1.0, -1.0, 0.0, 0.0] if step else [0.0, 0.0, 1.0, -1.0])
    shift = torch.full((1, 2), -scale if step else 0.0)
    return {"hidden.0.weight": inputs, "hidden.0.bias": bias, "out.weight": out, "out.bias": shift}


def trained(root: Path, steps: Sequence[int]) -> list[Mapping[str, torch.Tensor]]:
    """Snapshots of one real game of three lanes on the data, after so many turns each."""
    variant = config().variant("first")
    variant = dataclasses.replace(variant, rules=dataclasses.replace(variant.rules, generator_lr=5e-3, discriminator_lr=5e-3))
    items, found = torch.from_numpy(np.array(arrays.part("train", root))), []
    game = Game(variant, (2,), 2, 64, max(steps), [0, 1, 2], torch.float32)
    for turn in range(1, max(steps) + 1):
        play_turn(game, lambda indices: items[indices], len(items))
        found += [game.snapshot()] if turn in steps else []
    return found


def result(
    root: Path,
    variant: str,
    scales: Sequence[float | None],
    verdict: str = "healthy",
    step: bool = False,
    players: Mapping[str, torch.Tensor] | None = None,
) -> str:
    """A finished run of lanes with those scales (None: a lane that died) or players, its real scores, a diagnosis; its fingerprint."""
    made, card, seeds = config(len(scales)), arrays.read_card(root), list(range(len(scales)))
    fingerprint = (variant.encode().hex() + f"{hash((tuple(scales), step)) & 0xFFFFFFFF:x}").ljust(64, "0")
    run = {
        "variant": variant,
        "fingerprint": fingerprint,
        "config": json.loads(json.dumps({**dataclasses.asdict(made.variant(variant)), "latent": 2}, default=dict)),
        "data": {key: card[key] for key in ("digest", "kind", "shape")},
        "seeds": seeds,
        "steps": 20,
        "snapshots": [20],
        "lanes": [
            {"seed": seed, "status": "finished" if scale else "non_finite", "step": 20 if scale else 5, "reason": None if scale else "nan"}
            for seed, scale in zip(seeds, scales, strict=True)
        ],
    }
    one = [weights(scale or 1.0, step) for scale in scales]
    lanes = {name: torch.stack([lane[name] for lane in one]) for name in one[0]}
    player = spec.Player(**run["config"]["discriminator"])
    critic = build.discriminator(player, (2,), seeds, build.catalogue_part("constraint", spec.Part("none", {}))).state_dict()
    roles = {"generator": lanes, "ema": lanes, "discriminator": critic}
    tensors = {f"{role}/{key}": value for role, of in roles.items() for key, value in of.items()}
    snapshots.write(root / layout.snapshot(variant, 20), tensors if players is None else players)
    write_json(root / layout.run(variant), run)
    evaluate(made, variant, root)
    write_json(root / layout.diagnostics(variant), {"variant": variant, "fingerprint": fingerprint, "verdict": verdict})
    return fingerprint


def rank(root: Path, *variants: str) -> None:
    """A comparison that ranks them so."""
    write_json(root / layout.COMPARISON, {"ranking": [{"variant": variant} for variant in variants]})


def read_champion(root: Path) -> Any:
    """champion.json"""
    return read_json(root / "champion.json", "")
