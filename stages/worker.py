"""One process, one group of lanes: plays the games of a job file, leaves records, snapshots and checkpoints in scratch.

Started by `train` as `python -m stages.worker JOB`; speaks to it in JSON lines on standard output. Its floats depend on the job alone:
one thread, streams by counter, the group's own lanes.
"""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.game import cost, spec
from stages.game.capture import Stepper, backend_of
from stages.game.fork import continuation
from stages.game.game import Game
from stages.game.glimpses import Glimpses, looks
from stages.game.steps import Batches, Turn
from stages.game.streams import sent
from stages.measure.step import auc, norms
from stages.observer import WANTED, Material, Observer, kept
from stages.store import snapshots
from stages.store.files import read_json_or, write_json
from stages.store.parent import die_with_parent
from stages.store.processes import STOPPED
from stages.store.records import Block, Column
from stages.store.scratch import Checkpoints, held

CHECKPOINT_SECONDS = float(os.environ.get("SEESAW_CHECKPOINT_SECONDS", "15"))
REPORT_SECONDS = 0.5
ROOM = 0.25  # of a device's free memory: what one part of the data may take to live there


@dataclass(frozen=True)
class Job:
    """What one worker is asked to do; the file beside the checkpoints."""

    variant: dict[str, Any]
    seeds: list[int]
    steps: int
    batch: int
    latent: int
    record_every: int
    probe_every: int
    snapshots: list[int]
    prepared: str
    place: str
    device: str
    parent: int  # process that must live on


@dataclass
class Recorder:
    """Rows since the last checkpoint, by table."""

    columns: dict[str, tuple[Column, ...]] = field(default_factory=dict)
    rows: dict[str, list[tuple[int, int, Tensor]]] = field(default_factory=dict)  # step, Unix milliseconds, values [K, L]

    def add(self, table: str, step: int, row: Mapping[Column, Tensor]) -> None:
        """One recorded step; every row of a table has the same columns."""
        self.columns[table] = tuple(row)
        values = torch.stack([value.double() for value in row.values()])
        self.rows.setdefault(table, []).append((step, time.time_ns() // 1_000_000, values))

    def take(self) -> dict[str, Block]:
        """The rows so far as blocks, and an empty recorder."""
        blocks = {}
        for table, rows in self.rows.items():
            steps, at, values = zip(*rows, strict=True)
            blocks[table] = _whole(self.columns[table], np.array(steps), np.array(at), torch.stack(values).cpu().numpy())
        self.rows = {}
        return {table: block for table, block in blocks.items() if len(block.steps)}


def _whole(columns: tuple[Column, ...], steps: np.ndarray, at: np.ndarray, values: np.ndarray) -> Block:
    """Rows that have left the device, without those of which only it knew that they are not wanted."""
    rows, named = kept(columns, values), [index for index, column in enumerate(columns) if column != WANTED]
    return Block(tuple(columns[index] for index in named), steps[rows], at[rows], values[rows][:, named])


def main(job_path: str) -> int:
    """Play the job to its end, or to a request to stop; 0 or STOPPED."""
    job = Job(**json.loads(Path(job_path).read_text(encoding="utf-8")))
    stop = _stop_on_signals()
    die_with_parent(job.parent)
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    data = _resident(job, "train")
    game = Game(spec.variant(job.variant), tuple(data.shape[1:]), job.latent, job.batch, job.steps, job.seeds, device=job.device)
    _count_cost(job, tuple(data.shape[1:]))
    with held(Path(job.place), "this group of lanes", wait=60):  # a killed run's worker may still be writing its last checkpoint
        return _play(game, job, data, stop)


def _play(game: Game, job: Job, data: Tensor, stop: Callable[[], bool]) -> int:
    checkpoints, recorder = Checkpoints(Path(job.place)), Recorder()
    saved = checkpoints.latest()
    if saved is not None:
        game.load_state({name: torch.from_numpy(array) for name, array in saved[1].items()})
    _say(event="start", step=game.step)
    material = _material(job, data)
    stepper = Stepper(game, material.train, material.items, backend_of(job.device))
    observer = Observer(game, material, job.record_every, job.probe_every, stepper.play)
    glimpses, watched = Glimpses(game, data.dtype == torch.uint8), looks(job.steps)
    saved_at = said_at = time.monotonic()
    if game.step == 0:
        _keep(game, checkpoints)
        snapshots.seal(checkpoints.glimpse(0), glimpses.take(game))
    while game.step < job.steps and not (observer.may_pause and stop()):
        turn, rows = observer.play()
        for table, row in rows.items():
            recorder.add(table, game.step, row)
        if game.step in job.snapshots:
            _keep(game, checkpoints)
        if game.step in watched:
            snapshots.seal(checkpoints.glimpse(game.step), glimpses.take(game))
        now = time.monotonic()
        if now - saved_at > CHECKPOINT_SECONDS and observer.may_pause:
            checkpoints.save(game.step, _arrays(game), recorder.take())
            _say(event="saved", step=game.step)
            saved_at = now
        if now - said_at > REPORT_SECONDS:
            _say(event="step", step=game.step, **_seen(turn, game))
            said_at = now
    checkpoints.save(game.step, _arrays(game), recorder.take())
    _say(event="end", step=game.step, died_at=game.died_at.tolist(), refused=stepper.refused)
    return 0 if game.step >= job.steps else STOPPED


def _keep(game: Game, checkpoints: Checkpoints) -> None:
    """The snapshot of this step, and beside it what going on from there needs."""
    snapshots.seal(checkpoints.snapshot(game.step), game.snapshot())
    snapshots.seal(checkpoints.continuation(game.step), continuation(game))


def _count_cost(job: Job, shape: tuple[int, ...]) -> None:
    """What one lane's generator step costs, counted on a throw-away game; kept beside the checkpoints."""
    path = Path(job.place) / "cost.json"
    if read_json_or(path, None) is not None:
        return
    game = Game(spec.variant(job.variant), shape, job.latent, job.batch, job.steps, [0])
    counted = {"samples_per_step": cost.samples_per_step(game), "parameters": cost.parameters(game)}
    write_json(path, {"flops_per_step": cost.flops_per_step(game, cost.zeros(shape)), **counted})


def _resident(job: Job, part: str) -> Tensor:
    """A part of the data, memory-mapped copy-on-write (pages are shared between workers); on another device where there is room for it."""
    mapped = torch.from_numpy(np.load(Path(job.prepared) / f"{part}.npy", mmap_mode="c", allow_pickle=False))
    return mapped.to(job.device) if mapped.nbytes <= ROOM * _free(job.device) else mapped


def _free(device: str) -> float:
    """Bytes of a device's memory that nobody uses; what is mapped takes none of a CPU's."""
    return torch.cuda.mem_get_info()[0] if device == "cuda" else math.inf


def _material(job: Job, data: Tensor) -> Material:
    """What is looked at: the train part, and the validation part for D's overfitting alone."""
    held = _resident(job, "validation")
    device = torch.device(job.device)
    return Material(_batches(data, device), len(data), _batches(held, device), len(held), float(_spread(data)))


def _batches(data: Tensor, device: torch.device) -> Batches:
    """Indices `[L, B]` to data on the games' device, in their scale.

    Data that found no room there are gathered on the CPU and sent as stored. The host gathers the next batches while the device works.
    """
    return lambda indices: _games_scale(sent(data[sent(indices, data.device)], device))


def _games_scale(items: Tensor) -> Tensor:
    """`x / 127.5 - 1` of uint8 images; vectors are stored in the games' scale."""
    return items.float() / 127.5 - 1 if items.dtype == torch.uint8 else items


def _arrays(game: Game) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in game.state().items()}


def _spread(data: Tensor) -> Tensor:
    """Standard deviation over all coordinates of at most 4,096 items evenly taken, in the games' scale; 1 where the data is one point."""
    some = _games_scale(data[:: max(1, len(data) // 4096)]).double()
    spread = some.std(0, correction=0).square().mean().sqrt()
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def _seen(turn: Turn, game: Game) -> dict[str, Any]:
    """What the live table shows of every lane; null where a value is not finite."""
    against, forward = turn.discriminator, turn.generator
    seen = {
        "d_loss": against.loss,
        "g_loss": forward.loss,
        "auc": auc(against.real_logits, against.fake_logits),
        "g_gradient_norm": norms(game.generator.split(forward.gradient))[0],
    }
    return {"lanes": {name: _finite(values) for name, values in seen.items()}, "alive": game.alive.tolist()}


def _finite(values: Tensor) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.detach().cpu().tolist()]


def _say(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _stop_on_signals() -> Callable[[], bool]:
    """Ctrl-C and SIGTERM ask for a checkpoint and an end; a second one ends at once."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = True

    signal.signal(signal.SIGINT, ask)
    signal.signal(signal.SIGTERM, ask)
    return lambda: asked


if __name__ == "__main__":
    try:
        ended = main(sys.argv[1])
    except SeesawError as error:
        sys.exit(str(error))
    sys.stdout.flush()
    os._exit(ended)  # all is on disk and said; taking torch apart was measured at 0.5 to 0.9 s, for which whoever stopped it would wait
