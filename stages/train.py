"""The node `train@v`: every lane of one variant, spread over worker processes; resumed where a killed run stopped, bit for bit.

This process never imports torch: it starts workers, shows their progress, and puts their outputs in place once all are whole.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.draw.progress import Progress
from stages.errors import SeesawError
from stages.game.spec import Variant
from stages.store import arrays, identity, layout, machine, places, records, scratch, tensors
from stages.store.config import Config
from stages.store.curves import write_curves
from stages.store.files import read_json, write_json
from stages.store.records import Block

STOPPED = 75


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

    Raises SeesawError when the data is missing, a worker fails, or another process trains the same result.
    """
    plan = make_plan(config, config.variant(name), root)
    sweep_scratch(root)
    with scratch.held(plan.place, f"variant {name}"):
        started = _started(plan.place)
        jobs = [_write_job(plan, config, index, root) for index in range(len(plan.groups))]
        progress = Progress(name, config.train.steps, len(plan.groups), quiet)
        _run_workers(jobs, progress)
        _finish(plan, config, root, started)


def sweep_scratch(root: Path) -> None:
    """Drop the work in progress of results that dvc.lock records."""
    runs = sorted((root / layout.RESULTS / "runs").glob("*.json"))
    scratch.sweep(places.scratch(root), root, {read_json(path, "dvc repro")["fingerprint"][:32]: path for path in runs})


def make_plan(config: Config, variant: Variant, root: Path) -> Plan:
    """The resolved variant, its fingerprint, its groups of lanes and its scratch folder."""
    card = arrays.read_card(root)
    resolved = resolve(config, variant)
    names = {"key": variant.name, **{f"item.{kind}.name": resolved[kind]["name"] for kind in ("loss", "penalty", "constraint")}}
    code = identity.code_digests(root, identity.declared_code(root, "train", names))
    deciding = {key: value for key, value in resolved.items() if key != "tuned"}
    fingerprint = identity.fingerprint(deciding, card["digest"], code)
    first, size = config.train.first_seed, config.train.lanes_per_group
    seeds = list(range(first, first + config.train.seeds))
    groups = [seeds[start : start + size] for start in range(0, len(seeds), size)]
    device = machine.device()
    place = scratch.folder(places.scratch(root), fingerprint, importlib.metadata.version("torch"), device)
    return Plan(variant, resolved, fingerprint, groups, _snapshot_steps(config), card, place, device)


def resolve(config: Config, variant: Variant) -> dict[str, Any]:
    """The variant and what it shares with all others, as plain values: what decides its result besides data and code."""
    keys = ("seeds", "first_seed", "steps", "batch", "latent", "lanes_per_group", "record_every", "snapshots")
    return {**dataclasses.asdict(variant), **{key: getattr(config.train, key) for key in keys}}


def _snapshot_steps(config: Config) -> list[int]:
    train = config.train
    return [round(train.steps * index / train.snapshots) for index in range(train.snapshots + 1)]


def _started(place: Path) -> dict[str, Any]:
    """When this result was first begun and how often it was taken up again; kept in scratch over kills."""
    path = place / "started.json"
    now = time.time_ns() // 1_000_000
    known = read_json(path, "") if path.exists() else {"started_at": now, "resumes": -1}
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
        **{key: getattr(config.train, key) for key in ("steps", "batch", "latent", "record_every")},
    }
    write_json(path, job)
    return path


def _start(job: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": _code_path()}
    with (job.parent / "stderr.txt").open("wb") as errors:
        return subprocess.Popen([sys.executable, "-m", "stages.worker", str(job)], stdout=subprocess.PIPE, stderr=errors, env=environment)


def _code_path() -> str:
    """The workers import the code that this process runs, also in a temporary experiment checkout."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _run_workers(jobs: Sequence[Path], progress: Progress) -> None:
    """All jobs, at most `machine.workers()` at once; the first failure ends the others."""
    waiting = list(enumerate(jobs))
    running: dict[int, subprocess.Popen[bytes]] = {}
    selector, slots = selectors.DefaultSelector(), machine.workers()
    stopping = _forward_signals(running)
    try:
        while waiting or running:
            while waiting and len(running) < slots and not stopping:
                index, job = waiting.pop(0)
                running[index] = _start(job)
                selector.register(running[index].stdout, selectors.EVENT_READ, index)  # type: ignore[arg-type]
            for key, _ in selector.select(timeout=1.0):
                _read_one(key.fileobj, key.data, running, selector, jobs, progress)
            if stopping and not running:
                raise SeesawError("stopped; a checkpoint stands. `dvc repro` (or `make run`) goes on from there")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
        progress.close()


def _read_one(
    stream: Any,
    index: int,
    running: dict[int, subprocess.Popen[bytes]],
    selector: selectors.BaseSelector,
    jobs: Sequence[Path],
    progress: Progress,
) -> None:
    """One line of one worker, or its end."""
    line = stream.readline()
    if line:
        progress.show(index, json.loads(line))
        return
    selector.unregister(stream)
    stream.close()
    code = running.pop(index).wait()
    if code not in (0, STOPPED):
        tail = (jobs[index].parent / "stderr.txt").read_text(errors="replace").strip().splitlines()[-1:]
        raise SeesawError(
            f"worker {index} ended with {code}: {' '.join(tail) or 'no message'} (whole text: {jobs[index].parent / 'stderr.txt'})"
        )


def _forward_signals(running: Mapping[int, subprocess.Popen[bytes]]) -> list[int]:
    """Ctrl-C and SIGTERM reach the workers once, which save and end; the list fills with the signal."""
    seen: list[int] = []

    def forward(number: int, frame: Any) -> None:
        seen.append(number)
        for process in running.values():
            process.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    return seen


def _finish(plan: Plan, config: Config, root: Path, started: Mapping[str, Any]) -> None:
    """Outputs from the groups' scratch into place; `runs/v.json` comes last but one, the execution last."""
    name = plan.variant.name
    checkpoints = [scratch.Checkpoints(plan.place / f"group-{index}") for index in range(len(plan.groups))]
    block = _join_groups([Block.join(group.blocks()) for group in checkpoints])
    died_at = np.concatenate([group.final(config.train.steps)["died_at"] for group in checkpoints])
    folder = root / layout.snapshots(name)
    shutil.rmtree(folder, ignore_errors=True)
    for step in plan.snapshots:
        _join_tensors([group.snapshot(step) for group in checkpoints], root / layout.snapshot(name, step))
        _join_tensors([group.continuation(step) for group in checkpoints], root / layout.continuation(name, step))
    seeds = [seed for group in plan.groups for seed in group]
    records.write(root / layout.records(name), block.columns, seeds, block.steps, block.values)
    write_curves(root / layout.curves(name), block)
    write_json(root / layout.run(name), _run(plan, config, died_at, block))
    write_json(root / layout.executions(name), _execution(plan, root, started, block))


def _join_tensors(paths: Sequence[Path], whole: Path) -> None:
    """Lane-first tensors of every group, one after the other."""
    parts = [tensors.read(path) for path in paths]
    tensors.write(whole, {key: np.concatenate([part[key] for part in parts]) for key in parts[0]})


def _join_groups(blocks: Sequence[Block]) -> Block:
    """Groups side by side along the lanes; a step is done when its last group is."""
    return Block(
        blocks[0].columns, blocks[0].steps, np.max([block.at for block in blocks], 0), np.concatenate([block.values for block in blocks], 2)
    )


def _run(plan: Plan, config: Config, died_at: np.ndarray, block: Block) -> dict[str, Any]:
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
        "lanes": [_lane(index, seed, int(step), config, block) for index, (seed, step) in enumerate(zip(seeds, died_at, strict=True))],
        "parameters": cost["parameters"],
        "cost": {
            "flops": cost["flops_per_step"] * config.train.steps,
            "flops_per_step": cost["flops_per_step"],
            "samples_seen": cost["samples_per_step"] * config.train.steps,
        },
    }


def _lane(index: int, seed: int, died_at: int, config: Config, block: Block) -> dict[str, Any]:
    if died_at == 0:
        return {"seed": seed, "status": "finished", "step": config.train.steps, "reason": None}
    return {"seed": seed, "status": "non_finite", "step": died_at, "reason": _reason(index, died_at, block)}


def _reason(index: int, died_at: int, block: Block) -> str:
    """The first measure that was recorded as not finite, if any was by then."""
    for step, row in zip(block.steps, block.values[:, :, index], strict=True):
        bad = [
            measure + (f" of {layer}" if layer else "")
            for (measure, layer), value in zip(block.columns, row, strict=True)
            if not np.isfinite(value)
        ]
        if bad:
            return f"a loss was not finite at step {died_at}; first seen in the records at step {step}: {', '.join(bad[:3])}"
    return f"a loss was not finite at step {died_at}"


def _execution(plan: Plan, root: Path, started: Mapping[str, Any], block: Block) -> dict[str, Any]:
    ended = time.time_ns() // 1_000_000
    return {
        "variant": plan.variant.name,
        "fingerprint": plan.fingerprint,
        "started_at": started["started_at"],
        "ended_at": ended,
        "seconds": (ended - started["started_at"]) / 1000,
        "host": socket.gethostname(),
        "device": plan.device,
        "torch": importlib.metadata.version("torch"),
        "python": platform.python_version(),
        "git_commit": _git_commit(root),
        "dvc_exp": os.environ.get("DVC_EXP_NAME", ""),
        "resumes": started["resumes"],
        "workers": min(machine.workers(), len(plan.groups)),
        "timeline": {"step": block.steps.tolist(), "at": block.at.tolist()},
    }


def _git_commit(root: Path) -> str:
    """The commit checked out, or an empty word outside git."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip()
