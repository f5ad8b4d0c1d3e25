"""Fresh discriminators against the generators of a few snapshots, in two forms: the article's, and the variant's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import DEPTHS, Case, batch_of
from stages.diagnosis.numbers import number, numbers
from stages.game import build, restore
from stages.game.fresh import fresh
from stages.game.optimizers import optimizer
from stages.game.spec import Rules
from stages.game.spec import variant as read_variant
from stages.game.streams import stream
from stages.game.vocabulary import Constraint
from stages.measure.facts import Fact, Lane, Standards, facts
from stages.measure.probe import Form, Material, ProbePoint, bare, decay, probe
from stages.measure.verdicts import healthy

BATCH = (8, 32)
HELD_ITEMS, HELD_NOISES = 8, 4  # batches that AUC and gradients are measured on
LEARNING = Rules(optimizer="adam", beta1=0.9, beta2=0.999, discriminator_lr=1e-3)  # of every fresh D, so that forms differ in the objective
TOGETHER = 6  # games in one program
DECAY = "decay: orders of magnitude that G's gradient fell by (bare: the saturating one's); null: this D did not reach AUC .99"
Job = tuple[int, int]  # a snapshot's step and a lane's index


@dataclass(frozen=True)
class Probed:
    """AUC of a fresh D on the final samples by lane index, and the file's entry."""

    final: dict[int, float]
    as_json: dict[str, Any] | None


def probe_lanes(case: Case, lanes: Sequence[Lane], measured: Standards) -> Probed:
    """Both forms on the first lanes at a few snapshots; at the last one the bare form on every lane whose verdict asks for it too."""
    depth, steps = DEPTHS[case.config.diagnose.depth], list(case.snapshots)
    chosen = case.alive[: depth.probe_lanes]
    if not chosen:
        return Probed({}, None)
    picked = sorted({steps[round(i)] for i in np.linspace(min(1, len(steps) - 1), len(steps) - 1, depth.probe_snapshots)})
    asked = [(steps[-1], index) for index in case.alive if index not in chosen and _undecided(facts(lanes[index], measured))]
    both = _probed(case, [(step, index) for step in picked for index in chosen], depth.probe_steps, ("bare", "own"))
    found = {form: _by_job(both, form) for form in ("bare", "own")}
    found["bare"] |= _by_job(_probed(case, asked, depth.probe_steps, ("bare",)), "bare")
    final = {index: points[-1].auc[0] for (step, index), points in found["bare"].items() if step == steps[-1]}
    return Probed({index: auc for index, auc in final.items() if np.isfinite(auc)}, _json(case, found))


def _undecided(found: Mapping[str, Fact]) -> bool:
    """Whether D's AUC is near a half, or below, while the samples are not good."""
    own = found["auc_late"].value
    return own is not None and own < 0.65 and not healthy(found)


Found = list[tuple[Sequence[Job], dict[str, list[ProbePoint]]]]


def _probed(case: Case, jobs: Sequence[Job], steps: int, names: Sequence[str]) -> Found:
    """The forms' points, TOGETHER jobs in one program at most: a lane's numbers do not depend on its company."""
    found: Found = []
    for at in range(0, len(jobs), TOGETHER):
        some = jobs[at : at + TOGETHER]
        seeds = [case.run["seeds"][index] for _, index in some]
        fresh_seeds = [_seed(case, seed) for seed in seeds]
        forms = [FORMS[name](case, fresh_seeds) for name in names]
        points = probe(_generator(case, some, seeds), forms, _material(case, fresh_seeds), steps)
        found.append((some, dict(zip(names, points, strict=True))))
    return found


def _by_job(found: Found, form: str) -> dict[Job, list[ProbePoint]]:
    """Each job's own points, of one lane."""
    return {
        job: [ProbePoint(p.step, [p.auc[i]], {name: [values[i]] for name, values in p.norms.items()}) for p in points[form]]
        for jobs, points in found
        for i, job in enumerate(jobs)
    }


def _generator(case: Case, jobs: Sequence[Job], seeds: Sequence[int]) -> torch.nn.Module:
    """The generators of several snapshots as the lanes of one network."""
    names = case.snapshots[jobs[0][0]]
    tensors = {name: torch.stack([case.snapshots[step][name][index] for step, index in jobs]) for name in names}
    return restore.players({**case.run, "seeds": list(seeds)}, tensors).generator


def _bare(case: Case, seeds: Sequence[int]) -> Form:
    """The article's form with a D of the variant's shape."""

    def nothing(module: torch.nn.Module) -> None:
        """No constraint."""

    player = build.Flat(
        build.discriminator(read_variant(case.run["config"]).discriminator, case.shape, seeds, Constraint(nothing, nothing, nothing))
    )
    adam = optimizer(player.vector, LEARNING.discriminator_lr, LEARNING)

    @torch.no_grad()
    def move(gradients: Sequence[Tensor]) -> None:
        player.vector.sub_(adam.direction(player.gather(gradients)))

    return bare(player.module, move, together=not player.mixes_samples)


def _own(case: Case, seeds: Sequence[int]) -> Form:
    """The variant's loss, penalty and constraint."""
    critic = fresh(read_variant(case.run["config"]), case.shape, seeds, LEARNING)
    return Form(critic.player.module, critic.update, {"generator": critic.generator_loss})


FORMS: dict[str, Callable[[Case, Sequence[int]], Form]] = {"bare": _bare, "own": _own}


def _material(case: Case, seeds: Sequence[int]) -> Material:
    """Real items and noise by each lane's seed alone."""
    train, latent, batch = torch.from_numpy(case.train), case.run["config"]["latent"], batch_of(case, BATCH)
    held = torch.from_numpy(case.held[: HELD_ITEMS * batch])

    def drawn(purpose: str, step: int, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        each = {seed: make(stream(seed, f"probe/{purpose}", step)) for seed in seeds}
        return torch.stack([each[seed] for seed in seeds])

    return Material(
        lambda t: drawn("real", t, lambda g: train[torch.randint(len(train), (batch,), generator=g)]),
        lambda t: drawn("noise", t, lambda g: torch.randn(batch, latent, generator=g)),
        held.expand(len(seeds), *held.shape),
        drawn("held", 0, lambda g: torch.randn(HELD_NOISES * batch, latent, generator=g)),
    )


def _seed(case: Case, seed: int) -> int:
    """A seed that no lane of training has."""
    return (case.config.diagnose.seed + 1) * 1_000_003 + seed


def _json(case: Case, found: Mapping[str, Mapping[Job, Sequence[ProbePoint]]]) -> dict[str, Any]:
    config = case.run["config"]
    parts = {kind: config[kind]["name"] for kind in ("loss", "penalty", "constraint")}
    told = {"bare": {"loss": "BCE", "penalty": "none", "constraint": "none"}, "own": parts}
    decaying = {"bare": "saturating", "own": "generator"}
    held = "train items that the probe did not see" if case.held_is_train else "validation"
    forms = {form: {**told[form], "snapshots": _snapshots_json(case, jobs, decaying[form])} for form, jobs in found.items()}
    return {"held_out": held, "text": DECAY, **forms}


def _snapshots_json(case: Case, found: Mapping[Job, Sequence[ProbePoint]], decaying: str) -> list[dict[str, Any]]:
    """One entry a step; lanes side by side."""
    rows = []
    for step in sorted({step for step, _ in found}):
        lanes = {index: points for (at, index), points in found.items() if at == step}
        columns = list(zip(*lanes.values(), strict=True))
        rows.append(
            {
                "step": step,
                "seeds": [case.run["seeds"][index] for index in lanes],
                "decay": [number(decay(points, 0, decaying)) for points in lanes.values()],
                "points": [
                    {"step": row[0].step, "auc": numbers(p.auc[0] for p in row)}
                    | {name: numbers(p.norms[name][0] for p in row) for name in row[0].norms}
                    for row in columns
                ],
            }
        )
    return rows
