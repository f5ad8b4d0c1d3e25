"""A generator that can leave the project: the operations of one lane and the weights of every lane.

Its files depend on nothing that this code may become: `program.json` and `lane-<seed>.safetensors`, with the keys of docs/formats.md.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.store import snapshots
from stages.store.files import read_json, sha256_file, write_json
from stages.store.served import Program

PROGRAM = "program.json"


@dataclass(frozen=True)
class Lane:
    """One lane at the snapshot that the validation part chose; a lane that has none (`weights` None) failed."""

    step: int | None
    validation: float | None
    weights: Mapping[str, Tensor] | None


@dataclass(frozen=True)
class Deployable:
    """All lanes of one variant. `description`: steps, shape, kind, latent, and for vectors the scale (`offset`, `scales`)."""

    description: Mapping[str, Any]
    lanes: Mapping[int, Lane]  # by seed

    def program(self, seed: int) -> Program:
        """The generator of a lane; SeesawError where the lane failed or does not exist."""
        lane = self.lanes.get(seed)
        if lane is None or lane.weights is None:
            living = ", ".join(str(seed) for seed, lane in self.lanes.items() if lane.weights is not None)
            raise SeesawError(f"lane {seed} has no generator: lanes with one are {living or 'none'}")
        return Program(self.description, lane.weights)


def weights_file(seed: int) -> str:
    """lane-3.safetensors"""
    return f"lane-{seed}.safetensors"


def write(folder: Path, deployable: Deployable) -> None:
    """The program and every living lane's weights; the same deployable gives the same bytes."""
    write_json(folder / PROGRAM, deployable.description)
    for seed, lane in deployable.lanes.items():
        if lane.weights is not None:
            snapshots.write(folder / weights_file(seed), lane.weights)


def digest(folder: Path, seed: int) -> str:
    """sha256 over the program and one lane's weights: what identifies a model."""
    pair = f"{sha256_file(folder / PROGRAM)} {sha256_file(folder / weights_file(seed))}"
    return hashlib.sha256(pair.encode()).hexdigest()


def read(folder: Path, lanes: Mapping[str, Mapping[str, Any]], remedy: str) -> Deployable:
    """What `write` wrote; `lanes` are an entry's (`{seed: {step, validation, digest}}`). SeesawError where a file is missing or another."""
    description = read_json(folder / PROGRAM, remedy)
    return Deployable(description, {int(seed): _lane(folder, int(seed), lane, remedy) for seed, lane in lanes.items()})


def _lane(folder: Path, seed: int, lane: Mapping[str, Any], remedy: str) -> Lane:
    if lane["digest"] is None:
        return Lane(lane["step"], lane["validation"], None)
    weights = snapshots.read(folder / weights_file(seed), remedy)
    if digest(folder, seed) != lane["digest"]:
        raise SeesawError(f"{folder / weights_file(seed)} or its {PROGRAM} is not what was promoted: {remedy}")
    return Lane(lane["step"], lane["validation"], weights)


class Module(torch.nn.Module):
    """A program as a module whose parameters are its weights, for export."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.names = {name: f"weight_{index}" for index, name in enumerate(sorted(program.weights))}
        for name, own in self.names.items():
            self.register_buffer(own, program.weights[name])
        self.description = program.description

    def forward(self, noise: Tensor) -> Tensor:
        return Program(self.description, {name: getattr(self, own) for name, own in self.names.items()})(noise)
