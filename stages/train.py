"""The node `train@v`: every lane of one variant, spread over worker processes; resumed where a killed run stopped, bit for bit.

This process never imports torch: it starts workers, shows their progress, and puts their outputs in place once all are whole.
"""

import dataclasses
import importlib.metadata
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.draw.progress import Progress
from stages.game.spec import Variant
from stages.store import arrays, feed, identity, layout, places, processes, records, scratch, steady, tensors
from stages.store.config import Config
from stages.store.curves import write_curves
from stages.store.files import read_json, read_json_or, write_json
from stages.store.records import Block

STOPPED = "stopped; a checkpoint stands. `dvc repro` (or `make run`) goes on from there"


@dataclass(frozen=True)
class Plan:
    """What is to be made, and where."""

    variant: Variant
    resolved: dict[str, Any]
    fingerprint: str
    groups: list[list[int]]
    snapshots: list[int]
    card: Mapping[str, Any]
    place: Path
    device: str


def train(config: Config, name: str, root: Path, quiet: bool = False) -> None:
    """Train all lanes of a variant and write its run, records, snapshots, curves and execution.

    Raises SeesawError when the data is missing, a worker fails, another process trains the same result, or (under dvc) params.yaml was
    edited meanwhile.
    """
    plan = make_plan(config, config.variant(name), root)
    scratch.sweep(root)
    with scratch.held(plan.place, f"variant {name}", wait=scratch.ENDING):
        started = _started(plan.place)
        jobs = [_write_job(plan, config, index, root) for index in range(len(plan.groups))]
        progress = Progress(name, config.train.steps, len(plan.groups), quiet, seeds=plan.groups)
        with feed.following(plan.place, _told(plan, config, root, started)) as take, closing(progress):

            def show(group: int, message: Mapping[str, Any]) -> None:
                progress.show(group, message)
                if message.get("refused"):
                    sys.stderr.write(
                        f"{name}: group {group} was not recorded for the device ({message['refused']}): its turns ran one by one\n"
                    )
                take(group, message)

            processes.run_all("stages.worker", jobs, show, STOPPED)
        steady.insist(config, root, "train", name)
        _finish(plan, config, root, started)


def make_plan(config: Config, variant: Variant, root: Path) -> Plan:
    """The resolved variant, its fingerprint, its groups of lanes and its scratch folder."""
    card = arrays.checked_card(root)
    resolved = resolve(config, variant)
    names = {"key": variant.name, **{f"item.{kind}.name": resolved[kind]["name"] for kind in ("loss", "penalty", "constraint")}}
    code = identity.code_digests(root, identity.declared_code(root, "train", names))
    deciding = {key: value for key, value in resolved.items() if key != "tuned"}
    fingerprint = identity.fingerprint(deciding, card["digest"], code)
    first, size = config.train.first_seed, config.train.lanes_per_group
    seeds = list(range(first, first + config.train.seeds))
    groups = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    device = processes.device()
    place = scratch.folder(places.scratch(root), fingerprint, importlib.metadata.version("torch"), device)
    return Plan(variant, resolved, fingerprint, groups, _snapshot_steps(config), card, place, device)


def resolve(config: Config, variant: Variant) -> dict[str, Any]:
    """The variant and what it shares with all others, as plain values: what decides its result besides data and code."""
    keys = ("seeds", "first_seed", "steps", "batch", "latent", "lanes_per_group", "record_every", "probe_every", "snapshots")
    return {**dataclasses.asdict(variant), **{key: getattr(config.train, key) for key in keys}}


def _snapshot_steps(config: Config) -> list[int]:
    train = config.train
    return [round(train.steps * index / train.snapshots) for index in range(train.snapshots + 1)]


def _started(place: Path) -> dict[str, Any]:
    """When this result was first begun and how often it was taken up again; kept in scratch over kills."""
    path = place / "started.json"
    now = time.time_ns() // 1_000_000
    known = read_json_or(path, {"started_at": now, "resumes": -1})
    known["resumes"] += 1
    write_json(path, known)
    return known


def _write_job(plan: Plan, config: Config, index: int, root: Path) -> Path:
    place = plan.place / f"group-{index}"
    path = place / "job.json"
    job = {
        "variant": dataclasses.asdict(plan.variant),
        "seeds": plan.groups[index],
        "snapshots": plan.snapshots,
        "prepared": str((root / layout.PREPARED).resolve()),
        "place": str(place),
        "device": plan.device,
        "parent": os.getpid(),
        **{key: getattr(config.train, key) for key in ("steps", "batch", "latent", "record_every", "probe_every")},
    }
    write_json(path, job)
    return path


def _finish(plan: Plan, config: Config, root: Path, started: Mapping[str, Any]) -> None:
    """Outputs from the groups' scratch into place; `runs/v.json` comes last but one, the execution last."""
    name = plan.variant.name
    checkpoints = [scratch.Checkpoints(plan.place / f"group-{index}") for index in range(len(plan.groups))]
    blocks = _join_tables([group.blocks() for group in checkpoints])
    died_at = np.concatenate([group.final(config.train.steps)["died_at"] for group in checkpoints])
    folder = root / layout.snapshots(name)
    shutil.rmtree(folder, ignore_errors=True)
    for step in plan.snapshots:
        _join_tensors([group.snapshot(step) for group in checkpoints], root / layout.snapshot(name, step))
        _join_tensors([group.continuation(step) for group in checkpoints], root / layout.continuation(name, step))
    _join_glimpses([group.glimpses() for group in checkpoints], root / layout.glimpses(name))
    seeds = [seed for group in plan.groups for seed in group]
    records.write(root / layout.records(name), seeds, blocks.values())
    write_curves(root / layout.curves(name), blocks["steps"])
    write_json(root / layout.run(name), _run(plan, config, died_at, blocks))
    write_json(root / layout.executions(name), _execution(plan, root, started, blocks["steps"]))


def _join_tensors(paths: Sequence[Path], whole: Path) -> None:
    """Lane-first tensors of every group, one after the other."""
    parts = [tensors.read(path) for path in paths]
    tensors.write(whole, {key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def _join_glimpses(groups: Sequence[Sequence[tuple[int, Path]]], whole: Path) -> None:
    """Samples `[L, T, n, ...]` of every group's lanes at the same steps `[T]`."""
    parts = [[tensors.read(path) for _, path in group] for group in groups]
    steps = np.array([step for step, _ in groups[0]], np.int64)
    joined = {key: np.concatenate([np.stack([look[key] for look in part], 1) for part in parts]) for key in parts[0][0]}
    tensors.write(whole, {"steps": steps, **joined})


def _join_tables(groups: Sequence[Mapping[str, Block]]) -> dict[str, Block]:
    """Groups side by side along the lanes, table by table; `steps` first."""
    tables = sorted({table for group in groups for table in group}, key=lambda table: (table != "steps", table))
    lanes = [group["steps"].values.shape[2] for group in groups]
    return {table: _join_groups({index: group[table] for index, group in enumerate(groups) if table in group}, lanes) for table in tables}


def _join_groups(blocks: Mapping[int, Block], lanes: Sequence[int]) -> Block:
    """A step is done when its last group is. At a step that only some groups recorded (an incident) the others' lanes are NaN."""
    columns = next(iter(blocks.values())).columns
    steps = np.unique(np.concatenate([block.steps for block in blocks.values()]))
    at = np.zeros(len(steps), np.int64)
    values = [np.full((len(steps), len(columns), count), np.nan) for count in lanes]
    for index, block in blocks.items():
        rows = np.searchsorted(steps, block.steps)
        at[rows] = np.maximum(at[rows], block.at)
        values[index][rows] = block.values
    return Block(columns, steps, at, np.concatenate(values, 2))


def _run(plan: Plan, config: Config, died_at: np.ndarray, blocks: Mapping[str, Block]) -> dict[str, Any]:
    cost = read_json(plan.place / "group-0" / "cost.json", "remove the scratch folder and train again")
    seeds = [seed for group in plan.groups for seed in group]
    return {
        "variant": plan.variant.name,
        "fingerprint": plan.fingerprint,
        "config": plan.resolved,
        "tuning": identity.tuning(plan.variant),
        "data": {"digest": plan.card["digest"], "kind": plan.card["kind"], "shape": plan.card["shape"]},
        "seeds": seeds,
        "steps": config.train.steps,
        "snapshots": plan.snapshots,
        "lanes": [_lane(index, seed, int(step), config, blocks) for index, (seed, step) in enumerate(zip(seeds, died_at, strict=True))],
        "parameters": cost["parameters"],
        "cost": {
            "flops": cost["flops_per_step"] * config.train.steps,
            "flops_per_step": cost["flops_per_step"],
            "samples_seen": cost["samples_per_step"] * config.train.steps,
        },
    }


def _lane(index: int, seed: int, died_at: int, config: Config, blocks: Mapping[str, Block]) -> dict[str, Any]:
    if died_at == 0:
        return {"seed": seed, "status": "finished", "step": config.train.steps, "reason": None}
    return {"seed": seed, "status": "non_finite", "step": died_at, "reason": _reason(index, died_at, blocks)}


def _reason(index: int, died_at: int, blocks: Mapping[str, Block]) -> str:
    """The step of the first loss that was not finite, and where a gradient first was not."""
    said = f"a loss was not finite at step {died_at}"
    if "incidents" not in blocks:
        return said
    found = blocks["incidents"]
    for step, row in zip(found.steps, found.values[:, :, index], strict=True):
        bad = [
            f"{int(count)} values of {layer} ({measure[0].upper()})"
            for (measure, layer), count in zip(found.columns, row, strict=True)
            if layer and count > 0
        ]
        if bad:
            more = f" and {len(bad) - 3} more layers" if len(bad) > 3 else ""
            return f"{said}; gradients that were not finite were first seen at step {step}: {', '.join(bad[:3])}{more}"
    return said


def _told(plan: Plan, config: Config, root: Path, started: Mapping[str, Any]) -> dict[str, Any]:
    """What the live view is made from: those parts of run and execution that are known before the first step."""
    data = {key: plan.card[key] for key in ("digest", "kind", "shape")}
    seeds = [seed for group in plan.groups for seed in group]
    run = {"variant": plan.variant.name, "config": plan.resolved, "data": data, "seeds": seeds, "steps": config.train.steps}
    execution = _circumstances(plan, root, started)
    return {"root": str(root), "run": run | {"fingerprint": plan.fingerprint}, "execution": execution, "groups": len(plan.groups)}


def _circumstances(plan: Plan, root: Path, started: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "variant": plan.variant.name,
        "fingerprint": plan.fingerprint,
        "started_at": started["started_at"],
        "host": socket.gethostname(),
        "device": plan.device,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "git_commit": _git_commit(root),
        "dvc_exp": os.environ.get("DVC_EXP_NAME", ""),
    }


def _execution(plan: Plan, root: Path, started: Mapping[str, Any], block: Block) -> dict[str, Any]:
    ended = time.time_ns() // 1_000_000
    return _circumstances(plan, root, started) | {
        "ended_at": ended,
        "seconds": (ended - started["started_at"]) / 1000,
        "resumes": started["resumes"],
        "workers": min(processes.workers(), len(plan.groups)),
        "timeline": {"step": block.steps.tolist(), "at": block.at.tolist()},
    }


def _git_commit(root: Path) -> str:
    """The commit checked out, or an empty word outside git."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip()
