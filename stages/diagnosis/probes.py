"""Fresh discriminators against the generators of a few snapshots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import DEPTHS, Case, batch_of
from stages.diagnosis.numbers import number, numbers
from stages.game import build, restore
from stages.game.optimizers import optimizer
from stages.game.spec import Part, Rules
from stages.game.spec import variant as read_variant
from stages.game.streams import stream
from stages.measure.facts import Fact, Lane, Standards, facts
from stages.measure.probe import Material, ProbePoint, decay, probe

PROBE_BATCH = (16, 64)
PROBE_LR = 1e-3


@dataclass(frozen=True)
class Probed:
    """AUC of a fresh D on the final samples by lane index, and the file's entry."""

    final: dict[int, float]
    as_json: dict[str, Any] | None


def probe_lanes(case: Case, lanes: Sequence[Lane], measured: Standards) -> Probed:
    """The probe on the first lanes at a few snapshots, and at the last one on every lane whose verdict asks for it too."""
    depth = DEPTHS[case.config.diagnose.depth]
    chosen = case.alive[: depth.probe_lanes]
    if not chosen:
        return Probed({}, None)
    asked = [index for index in case.alive if index in chosen or _undecided(facts(lanes[index], measured))]
    steps = list(case.snapshots)
    picked = sorted({steps[round(i)] for i in np.linspace(min(1, len(steps) - 1), len(steps) - 1, depth.probe_snapshots)})
    rows, final = [], {}
    for step in picked:
        who = asked if step == steps[-1] else chosen
        points = _probe_at(case, step, who, depth.probe_steps)
        rows.append(_probe_json(case, step, who, points))
        final = dict(zip(who, points[-1].auc, strict=True))
    held = "train items that the probe did not see" if case.held_is_train else "validation"
    return Probed(final, {"form": "bare", "loss": "BCE without penalty", "held_out": held, "snapshots": rows})


def _undecided(found: Mapping[str, Fact]) -> bool:
    """Whether D's AUC is near a half while the samples are not good."""
    half, distance = found["auc_from_half"].value, found["distance_over_good"].value
    return half is not None and half < 0.15 and (distance is None or distance > 0.8)


def _probe_at(case: Case, step: int, who: Sequence[int], steps: int) -> list[ProbePoint]:
    seeds = [case.run["seeds"][index] for index in who]
    own = {name: tensor[list(who)] for name, tensor in case.snapshots[step].items()}
    generator = restore.players({**case.run, "seeds": seeds}, own).generator
    player, latent = read_variant(case.run["config"]).discriminator, case.run["config"]["latent"]
    free = build.catalogue_part("constraint", Part("none", {}))
    fresh = build.Flat(build.discriminator(player, case.shape, [_seed(case, seed) for seed in seeds], free))
    adam = optimizer(fresh.vector, PROBE_LR, Rules(optimizer="adam", beta1=0.9, beta2=0.999))
    train, batch = torch.from_numpy(case.train), batch_of(case, PROBE_BATCH)

    def drawn(purpose: str, number: int, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([make(stream(_seed(case, seed), f"probe/{purpose}", number)) for seed in seeds])

    material = Material(
        lambda t: drawn("real", t, lambda g: train[torch.randint(len(train), (batch,), generator=g)]),
        lambda t: drawn("noise", t, lambda g: torch.randn(batch, latent, generator=g)),
        torch.from_numpy(case.held[:256]).expand(len(seeds), *case.held[:256].shape),
        drawn("held", 0, lambda g: torch.randn(256, latent, generator=g)),
    )

    @torch.no_grad()
    def move(gradients: Sequence[Tensor]) -> None:
        fresh.vector.sub_(adam.direction(fresh.gather(gradients)))

    return probe(generator, fresh.module, move, material, steps)


def _seed(case: Case, seed: int) -> int:
    """A seed that no lane of training has."""
    return (case.config.diagnose.seed + 1) * 1_000_003 + seed


def _probe_json(case: Case, step: int, who: Sequence[int], points: Sequence[ProbePoint]) -> dict[str, Any]:
    return {
        "step": step,
        "seeds": [case.run["seeds"][index] for index in who],
        "points": [
            {
                "step": point.step,
                "auc": numbers(point.auc),
                "saturating": numbers(point.saturating),
                "non_saturating": numbers(point.non_saturating),
            }
            for point in points
        ],
        "decay": [number(decay(points, lane)) for lane in range(len(who))],
        "text": "decay: orders of magnitude that the saturating gradient fell by; null: the probe did not reach AUC .99",
    }
