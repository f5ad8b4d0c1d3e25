"""The landscape at the first and the last snapshot, and the path between them."""

from typing import Any

import numpy as np
import torch

from stages.diagnosis.case import DEPTHS, Case, Depth, batch_of
from stages.diagnosis.numbers import number, numbers
from stages.game.frozen import FrozenLane, frozen_lane
from stages.game.streams import stream
from stages.measure import landscape

FIELD_BATCH = (8, 32)  # items and noises that the landscape is measured on: fewer, the more a training step costs


def read_landscape(case: Case) -> dict[str, Any] | None:
    """Spectra at start and end and the path between them, of the first lanes that finished."""
    depth = DEPTHS[case.config.diagnose.depth]
    steps = list(case.snapshots)
    rows = [_terrain(case, index, steps[0], steps[-1], depth) for index in case.alive[: depth.spectra]]
    frozen = "float64, one fixed batch and noise, running batch statistics, frozen spectral-norm vectors, penalty included"
    return {"frozen": frozen, "batch": batch_of(case, FIELD_BATCH), "lanes": rows} if rows and len(steps) > 1 else None


def _terrain(case: Case, index: int, start: int, end: int, depth: Depth) -> dict[str, Any]:
    lanes = [frozen_lane(case.run, case.snapshots[step], index) for step in (start, end)]
    fields = [_field(case, lane) for lane in lanes]
    spectra = [_spectrum_json(field, step, depth, case.config.diagnose.seed) for field, step in zip(fields, (start, end), strict=True)]
    first, last = (torch.cat([p.detach().reshape(-1) for p in field.parameters]) for field in fields)
    path = landscape.path_angle(fields[1], first, last)
    return {
        "seed": case.run["seeds"][index],
        "spectra": spectra,
        "path": {
            "from": start,
            "to": end,
            "alphas": numbers(path.alphas),
            "cosine": numbers(path.cosine),
            "norm": numbers(path.norm),
            "sign_switch": path.sign_switch,
            "rotation": number(path.rotation),
        },
    }


def _field(case: Case, lane: FrozenLane) -> landscape.Field:
    generator = stream(case.config.diagnose.seed, "landscape")
    train = torch.from_numpy(case.train)
    batch = batch_of(case, FIELD_BATCH)
    real = train[torch.randint(len(train), (batch,), generator=generator)].double()[None]
    noise = torch.randn(1, batch, case.run["config"]["latent"], generator=generator).double()
    state = lane.settled(real, noise)

    def losses() -> landscape.Losses:
        return landscape.Losses(*lane.losses(real, noise, state))

    return landscape.Field(list(lane.generator.parameters()), list(lane.discriminator.parameters()), losses)


def _spectrum_json(field: landscape.Field, step: int, depth: Depth, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, step])
    found = landscape.spectrum(field, depth.eigenvalues, depth.products, rng)
    blocks = {
        f"{player}_block": numbers(landscape.block_spectrum(field, player, depth.eigenvalues // 2, depth.restarts, rng))
        for player in ("generator", "discriminator")
    }
    return {
        "step": step,
        "largest": [numbers((value.real, value.imag)) for value in found.largest],
        "smallest_real": [numbers((value.real, value.imag)) for value in found.smallest_real],
        "zeros": found.zeros,
        "complete": found.complete,
        "stable": found.stable,
        "rotation": number(found.rotation),
        **blocks,
    }
