"""One process, one group of lanes: plays the games of a job file, leaves records, snapshots and checkpoints in scratch.

Started by `train` as `python -m stages.worker JOB`; speaks to it in JSON lines on standard output. Its floats depend on the job alone:
one thread, streams by counter, the group's own lanes.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.game import cost, spec
from stages.game.fork import continuation
from stages.game.game import Game
from stages.game.loop import Turn, play_turn
from stages.game.streams import lane_draws
from stages.measure import step as measures
from stages.store import snapshots
from stages.store.files import write_json
from stages.store.parent import die_with_parent
from stages.store.records import Block, Column
from stages.store.scratch import Checkpoints, held

CHECKPOINT_SECONDS = float(os.environ.get("SEESAW_CHECKPOINT_SECONDS", "15"))
REPORT_SECONDS = 0.5
PROBE_SAMPLES = 16  # fixed noise a lane, on which G's movement is seen
STOPPED = 75  # exit code: stopped on request, a checkpoint stands


@dataclass(frozen=True)
class Job:
    """What one worker is asked to do; the file beside the checkpoints."""

    variant: dict[str, Any]
    seeds: list[int]
    steps: int
    batch: int
    latent: int
    record_every: int
    snapshots: list[int]
    prepared: str
    place: str
    device: str
    parent: int  # process that must live on


@dataclass
class Recorder:
    """Rows since the last checkpoint."""

    columns: tuple[Column, ...] = ()
    steps: list[int] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)

    def add(self, step: int, row: Mapping[Column, Tensor]) -> None:
        """One recorded step; every row has the same columns."""
        self.columns = tuple(row)
        self.steps.append(step)
        self.at.append(time.time_ns() // 1_000_000)
        self.rows.append(torch.stack(list(row.values())).double())

    def take(self) -> Block | None:
        """The rows so far as a block, and an empty recorder."""
        if not self.rows:
            return None
        values = torch.stack(self.rows).cpu().numpy()
        block = Block(self.columns, np.array(self.steps), np.array(self.at), values)
        self.steps, self.at, self.rows = [], [], []
        return block


def main(job_path: str) -> int:
    """Play the job to its end, or to a request to stop; 0 or STOPPED."""
    job = Job(**json.loads(Path(job_path).read_text(encoding="utf-8")))
    stop = _stop_on_signals()
    die_with_parent(job.parent)
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    data = _resident(Path(job.prepared), job.device)
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
    batches = _batches(data)
    observer = Observer(game, float(_spread(data)))
    saved_at = said_at = time.monotonic()
    if game.step == 0:
        _keep(game, checkpoints)
    while game.step < job.steps and not stop():
        recorded = _is_recorded(game.step + 1, job)
        before = observer.before() if recorded else None
        turn = play_turn(game, batches, len(data))
        if before is not None:
            recorder.add(game.step, observer.row(turn, before))
        if game.step in job.snapshots:
            _keep(game, checkpoints)
        now = time.monotonic()
        if now - saved_at > CHECKPOINT_SECONDS:
            checkpoints.save(game.step, _arrays(game), recorder.take())
            saved_at = now
        if now - said_at > REPORT_SECONDS:
            _say(event="step", step=game.step, **_seen(turn, game))
            said_at = now
    checkpoints.save(game.step, _arrays(game), recorder.take())
    _say(event="end", step=game.step, died_at=game.died_at.tolist())
    return 0 if game.step >= job.steps else STOPPED


def _keep(game: Game, checkpoints: Checkpoints) -> None:
    """The snapshot of this step, and beside it what going on from there needs."""
    snapshots.write(checkpoints.snapshot(game.step), game.snapshot())
    snapshots.write(checkpoints.continuation(game.step), continuation(game))


def _count_cost(job: Job, shape: tuple[int, ...]) -> None:
    """What one lane's generator step costs, counted on a throw-away game; kept beside the checkpoints."""
    path = Path(job.place) / "cost.json"
    if path.exists():
        return
    game = Game(spec.variant(job.variant), shape, job.latent, job.batch, job.steps, [0])
    counted = {"samples_per_step": cost.samples_per_step(game), "parameters": cost.parameters(game)}
    write_json(path, {"flops_per_step": cost.flops_per_step(game, cost.zeros(shape)), **counted})


class Observer:
    """Measures of one turn, taken beside it: nothing here touches the game."""

    def __init__(self, game: Game, spread: float) -> None:
        self.game, self.spread = game, spread
        self.noise = lane_draws(game.seeds, "movement", 0, 0, game.like).normal(PROBE_SAMPLES, game.latent)
        self.statistics: list[Tensor] = []

    def before(self) -> tuple[Tensor, Tensor, Tensor]:
        """G's samples on the fixed noise and both players' weights, before the turn."""
        self.statistics = [buffer.clone() for buffer in self.game.generator.module.buffers()]
        return self._samples(), self.game.generator.vector.clone(), self.game.discriminator.vector.clone()

    @torch.no_grad()
    def _samples(self) -> Tensor:
        """With the running statistics from before the turn: what moves is what G's weights move, not the statistics of one more batch."""
        module = self.game.generator.module
        now = [buffer.clone() for buffer in module.buffers()]
        _put(module, self.statistics)
        module.eval()
        samples = module(self.noise)
        module.train()
        _put(module, now)
        return samples

    def row(self, turn: Turn, before: tuple[Tensor, Tensor, Tensor]) -> dict[Column, Tensor]:
        """Every measure of the turn, `[L]` each, under (measure, layer)."""
        samples, generator, discriminator = before
        against, forward = turn.discriminator, turn.generator
        loss = self.game.objective.loss
        row: dict[Column, Tensor] = {
            ("d_loss", ""): against.loss,
            ("d_penalty", ""): against.penalty,
            ("g_loss", ""): forward.loss,
            ("real_logit", ""): against.real_logits.mean(1),
            ("fake_logit", ""): against.fake_logits.mean(1),
            ("auc", ""): measures.auc(against.real_logits, against.fake_logits),
            ("saturation", ""): measures.saturation(loss.generator, forward.real_logits, forward.fake_logits),
            ("sample_movement", ""): measures.movement(samples, self._samples(), self.spread),
        }
        for short, player, move, start in (
            ("d", self.game.discriminator, against, discriminator),
            ("g", self.game.generator, forward, generator),
        ):
            whole, *layers = measures.norms(player.split(move.gradient))
            row[(f"{short}_gradient_norm", "")] = whole
            row |= {(f"{short}_gradient_norm", name): norm for name, norm in zip(player.names, layers, strict=True)}
            moved, weight = measures.norms(player.split(player.vector - start))[0], measures.norms(player.split(start))[0]
            row[(f"{short}_update_ratio", "")] = moved / weight
        return row


def _put(module: torch.nn.Module, values: Sequence[Tensor]) -> None:
    """Write a module's buffers."""
    for buffer, value in zip(module.buffers(), values, strict=True):
        buffer.copy_(value)


def _is_recorded(step: int, job: Job) -> bool:
    return step == 1 or step % job.record_every == 0 or step == job.steps


def _resident(prepared: Path, device: str) -> Tensor:
    """The train part, memory-mapped copy-on-write on the CPU (pages are shared between workers), copied to another device."""
    array = np.load(prepared / "train.npy", mmap_mode="c", allow_pickle=False)
    return torch.from_numpy(array).to(device)


def _batches(data: Tensor) -> Callable[[Tensor], Tensor]:
    """Indices `[L, B]` to data in the games' scale."""
    return lambda indices: _games_scale(data[indices.to(data.device)])


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
    """What the live line shows: medians over the lanes that live."""
    live = game.alive
    pick = (lambda values: float(values.cpu()[live].median())) if bool(live.any()) else (lambda values: float("nan"))
    return {"d_loss": pick(turn.discriminator.loss), "g_loss": pick(turn.generator.loss), "alive": int(live.sum())}


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
    sys.exit(main(sys.argv[1]))
