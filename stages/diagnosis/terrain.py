"""The landscape at the first and the last snapshot, and the path between them."""

from typing import Any

import numpy as np
import torch

from stages.diagnosis.case import DEPTHS, Case, Depth, batch_of
from stages.diagnosis.numbers import number, numbers
from stages.game.frozen import FrozenLane, frozen_lane
from stages.game.preconditioner import preconditioner
from stages.game.spec import variant
from stages.game.streams import stream
from stages.measure import landscape

FIELD_BATCH = (8, 32)  # items and noises that the landscape is measured on: fewer, the more a training step costs
FROZEN = "float64, one fixed batch and noise, running batch statistics, frozen spectral-norm vectors, penalty included"
TOO_EARLY = "no step had been taken: the optimiser's averages are empty"


def read_landscape(case: Case) -> dict[str, Any] | None:
    """Spectra at start and end and the path between them, of the first lanes that finished."""
    depth, steps = DEPTHS[case.config.diagnose.depth], list(case.snapshots)
    rows = [_terrain(case, index, steps[0], steps[-1], depth) for index in case.alive[: depth.spectra]]
    return {"frozen": FROZEN, "batch": batch_of(case, FIELD_BATCH), "lanes": rows} if rows and len(steps) > 1 else None


def _terrain(case: Case, index: int, start: int, end: int, depth: Depth) -> dict[str, Any]:
    lanes = {step: frozen_lane(case.run, case.snapshots[step], index) for step in (start, end)}
    fields = {step: _field(case, lane) for step, lane in lanes.items()}
    spectra = [_spectra_json(case, fields[step], _scales(case, lane, step, index), step, depth) for step, lane in lanes.items()]
    first, last = (torch.cat([p.detach().reshape(-1) for p in field.parameters]) for field in fields.values())
    path = landscape.path_angle(fields[end], first, last)
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


def _scales(case: Case, lane: FrozenLane, step: int, index: int) -> np.ndarray | None:
    """P's diagonal in the field's order of weights."""
    weights = {"generator": dict(lane.generator.named_parameters()), "discriminator": dict(lane.discriminator.named_parameters())}
    found = preconditioner(variant(case.run["config"]).rules, case.continuations[step], weights, index, case.run["steps"])
    return None if found is None else found.numpy()


def _spectra_json(case: Case, field: landscape.Field, scales: np.ndarray | None, step: int, depth: Depth) -> dict[str, Any]:
    """Of J, of P J and of both blocks."""
    rng = np.random.default_rng([case.config.diagnose.seed, step])
    found = landscape.spectrum(field, depth.eigenvalues, depth.products, rng)
    blocks = {
        f"{player}_block": numbers(landscape.block_spectrum(field, player, depth.eigenvalues // 2, depth.block_products, rng))
        for player in ("generator", "discriminator")
    }
    scaled = None
    if scales is not None:
        moved = landscape.spectrum(field, depth.eigenvalues, depth.products, rng, scales)
        scaled = {**_spectrum_json(moved), "radius": number(moved.radius)}
    reason = TOO_EARLY if scales is None else None
    return {"step": step, **_spectrum_json(found), **blocks, "preconditioned": scaled, "preconditioned_reason": reason}


def _spectrum_json(found: landscape.Spectrum) -> dict[str, Any]:
    return {
        "largest": [numbers((value.real, value.imag)) for value in found.largest],
        "smallest_real": [numbers((value.real, value.imag)) for value in found.smallest_real],
        "zeros": found.zeros,
        "complete": found.complete,
        "stable": found.stable,
        "rotation": number(found.rotation),
    }
