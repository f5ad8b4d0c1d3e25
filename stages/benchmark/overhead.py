"""What watching and keeping cost, as shares of the training they accompany."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.benchmark import cases, timing
from stages.benchmark.cases import Case
from stages.benchmark.live import ROUNDS, live_share
from stages.benchmark.tables import Section
from stages.game.fork import continuation
from stages.game.game import Game
from stages.observer import Material, Observer
from stages.store import snapshots
from stages.store.records import Block
from stages.store.scratch import Checkpoints

RECORD_EVERY, PROBE_EVERY, SNAPSHOTS, CHECKPOINT_SECONDS = 10, 400, 5, 15.0  # params.yaml's and the worker's defaults
NEVER = 10**9
BOUNDS = {"tier 1": 0.05, "tier 2": 0.05, "both tiers": 0.05, "checkpoints": 0.02, "snapshots": 0.02}
SHAPES = ((1, 8, 8), (1, 28, 28))


def overhead(seconds: float, device: str) -> Section:
    """Diagnostics, checkpoints, snapshots and the live view at their defaults, in a run of the default length."""
    rows = []
    for shape in SHAPES:
        for penalty in cases.PENALTIES:
            rows += _rows(Case(shape=shape, penalty=penalty, device=device), seconds)
    share = live_share() if device == "cpu" else None
    rows.append({"game": "8 seeds of dcgan 1x8x8", "penalty": "none", "what": "live tracking", "steps": "", "times": "", "share": share})
    rows[-1]["bound"] = 0.01
    return Section(
        "overhead",
        "Overheads at their defaults",
        f"Share of training time in a run of {cases.STEPS} steps, 4 lanes, batch 64: rows every {RECORD_EVERY} steps (tier 1), probes "
        f"every {PROBE_EVERY} (tier 2), {SNAPSHOTS + 1} snapshots, a checkpoint every {CHECKPOINT_SECONDS:.0f} s. One occurrence is timed "
        "in turn with a bare step; `steps` says how many bare steps it costs, `times` how often it comes. Live tracking: whole runs "
        f"with it and without it in turn, {ROUNDS} rounds, two workers, a local sqlite store.",
        ("game", "penalty", "what", "steps", "times", "share", "bound", "within"),
        [{**row, "within": None if row["share"] is None else row["share"] <= row["bound"]} for row in rows],
    )


def _rows(case: Case, seconds: float) -> list[dict[str, Any]]:
    """Every overhead of one game: what one costs in bare steps, how often it comes in a run, and the share of the run that makes."""
    with tempfile.TemporaryDirectory() as folder:
        times = timing.in_turn(_works(case, Path(folder)), seconds)
    bare = times["bare"]
    units = {
        "tier 1": times["recorded"].beyond(bare) / bare.median,
        "tier 2": times["probed"].beyond(bare) / bare.median,
        "checkpoints": times["checkpoint"].median / bare.median,
        "snapshots": times["snapshot"].median / bare.median,
    }
    occasions = _occasions(bare.median)
    shares = {what: units[what] * occasions[what] / cases.STEPS for what in units}
    rows: list[dict[str, Any]] = [{"what": what, "steps": units[what], "times": occasions[what], "share": shares[what]} for what in units]
    rows.insert(2, {"what": "both tiers", "steps": "", "times": "", "share": shares["tier 1"] + shares["tier 2"]})
    return [{"game": case.label, "penalty": case.penalty, "bound": BOUNDS[row["what"]], **row} for row in rows]


def _occasions(step_seconds: float) -> dict[str, float]:
    """How often each comes in a run: tier 1 at the first and every n-th step; tier 2 at the second, every n-th and the last."""
    steps = range(1, cases.STEPS + 1)
    return {
        "tier 1": sum(step == 1 or step % RECORD_EVERY == 0 for step in steps),
        "tier 2": sum(step in (2, cases.STEPS) or step % PROBE_EVERY == 0 for step in steps),
        "checkpoints": step_seconds * cases.STEPS / CHECKPOINT_SECONDS,
        "snapshots": SNAPSHOTS + 1,
    }


def _works(case: Case, folder: Path) -> dict[str, timing.Work]:
    """A bare turn, a recorded one, a probed one, and a checkpoint and a snapshot without any turn."""
    game, data = cases.game(case), cases.items(case)
    take = cases.batches(data)
    held = cases.batches(cases.items(replace(case, items=512)))
    turn = cases.stepper(game, take, case).play
    observer = Observer(game, Material(take, case.items, held, 512, 1.0), 1, NEVER, turn)
    last = turn().kept()

    def bare() -> None:
        turn()
        cases.wait(case.device)

    def recorded() -> None:
        observer.play()
        cases.wait(case.device)

    def probed() -> None:
        start = observer.probe.begin()
        observer.probe.end(start, turn(), last)
        cases.wait(case.device)

    rows = observer.play()[1]["steps"]
    values = np.stack([value.double().cpu().numpy() for value in rows.values()])
    save = _saving(game, Checkpoints(folder), Block(tuple(rows), np.arange(1), np.zeros(1, np.int64), values[None]))
    return {"bare": bare, "recorded": recorded, "probed": probed, "checkpoint": save["checkpoint"], "snapshot": save["snapshot"]}


def _saving(game: Game, checkpoints: Checkpoints, row: Block) -> dict[str, Callable[[], None]]:
    """A checkpoint as a worker writes it, with as many rows as come in between; and a snapshot with its continuation."""
    block = Block.join([row] * 20)
    count = 0

    def checkpoint() -> None:
        nonlocal count
        count += 1
        state = {name: tensor.detach().cpu().numpy() for name, tensor in game.state().items()}
        checkpoints.save(count, state, {"steps": block})

    def snapshot() -> None:
        snapshots.write(checkpoints.snapshot(0), game.snapshot())
        snapshots.write(checkpoints.continuation(0), continuation(game))

    return {"checkpoint": checkpoint, "snapshot": snapshot}
