"""One process, one branch of a stored game: takes a lane up several times over, plays it on under other rules, leaves what was seen.

Started by `remedy` as `python -m stages.branch JOB`; says its steps in JSON lines on standard output and writes `branch.json` beside the
job file. Its floats depend on the job, the data and the snapshot alone: one thread, streams by counter.
"""

import dataclasses
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import encode, feature_space, parts
from stages.game import restore, spec
from stages.game.fork import resume
from stages.game.game import Game
from stages.game.loop import Turn, play_turn
from stages.game.spec import Variant
from stages.game.streams import lane_draws, stream
from stages.game.transplant import transplant
from stages.measure import step as measures
from stages.measure.features import Encoded, Extractor
from stages.measure.glance import Yardstick, look, yardstick
from stages.observer import PROBE_SAMPLES, samples_with
from stages.store import arrays, layout, snapshots
from stages.store.config import Config, read_config
from stages.store.files import write_json
from stages.store.parent import die_with_parent
from stages.store.processes import STOPPED

REPORT_SECONDS = 0.5
MEASURES = ("auc", "sample_movement", "d_gradient_norm", "g_gradient_norm", "d_loss", "g_loss")


@dataclass(frozen=True)
class Job:
    """What one branch is asked to do; the job file."""

    root: str
    left: dict[str, Any]  # the variant that was trained, resolved
    other: dict[str, Any]  # the variant that this branch plays
    lane: int  # of the stored game
    streams: list[int]  # seeds; every stream starts from that lane
    batch: int
    latent: int
    steps: int  # of the run, which schedules count by
    at: int  # the snapshot's step
    horizon: int
    record_every: int
    looks: list[int]  # steps after the fork at which samples are looked at
    device: str
    parent: int  # process that must live on


@dataclass(frozen=True)
class Scene:
    """The data, as games and looks see them."""

    train: Tensor
    stick: Yardstick
    extract: Extractor
    noise: Tensor  # [n, latent], the diagnosis's own
    spread: float


class Stopped(BaseException):
    """The command was asked to end: no handler of errors may take it for one."""


def main(path: str) -> int:
    """Play the branch to its horizon; 0, or STOPPED on request, and then nothing is written."""
    job = Job(**json.loads(Path(path).read_text(encoding="utf-8")))
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        die_with_parent(job.parent)
        torch.set_num_threads(1)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        write_json(Path(path).with_name("branch.json"), play(job, Path(job.root)))
    except Stopped:
        return STOPPED
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def play(job: Job, root: Path) -> dict[str, Any]:
    """The branch from fork to horizon: what was kept, every stream's records and looks."""
    scene = read_scene(read_config(root / "params.yaml"), job, root)
    game, what = fork(job, scene, root)
    watch = Watch(game, scene)
    looks, rows, said = [look_at(game, scene, 0)], [], time.monotonic()
    for done in range(1, job.horizon + 1):
        recorded = done % job.record_every == 0 or done == job.horizon
        before = watch.before() if recorded else None
        turn = play_turn(game, watch.batches, len(scene.train))
        if before is not None:
            rows.append((done, watch.row(turn, before)))
        if done in job.looks:
            looks.append(look_at(game, scene, done))
        if time.monotonic() - said > REPORT_SECONDS or done == job.horizon:
            said = time.monotonic()
            sys.stdout.write(json.dumps({"event": "step", "step": done}) + "\n")
            sys.stdout.flush()
    return {"kept": what, "streams": [_stream(game, index, rows, looks) for index in range(len(job.streams))]}


def fork(job: Job, scene: Scene, root: Path) -> tuple[Game, dict[str, Any]]:
    """The branch's game at the fork, and what it kept."""
    name, shape = job.left["name"], tuple(scene.train.shape[1:])

    def game(variant: Variant) -> Game:
        return Game(variant, shape, job.latent, job.batch, job.steps, job.streams, device=job.device)

    remedy = f"run `dvc repro train@{name}`"
    stored = snapshots.read(root / layout.snapshot(name, job.at), remedy)
    more = snapshots.read(root / layout.continuation(name, job.at), remedy)
    left, branch = game(spec.variant(job.left)), game(spec.variant(job.other))
    resume(left, stored, more, [job.lane] * len(job.streams))
    return branch, dataclasses.asdict(transplant(left, branch))


def read_scene(config: Config, job: Job, root: Path) -> Scene:
    """Data and yardstick, drawn as the diagnosis draws them, so that both measure alike."""
    rng = np.random.default_rng([config.diagnose.seed, 0])
    known, held, _ = parts(root, rng)
    card = arrays.read_card(root)
    extract = feature_space(config, card, root)
    stick = yardstick(encode(extract, torch.from_numpy(held)), extract.weights, card["modes"] is not None, rng)
    count = min(config.diagnose.samples, len(known))
    noise = torch.randn(count, job.latent, generator=stream(config.diagnose.seed, "diagnose/noise"))
    train = torch.from_numpy(arrays.to_model_scale(np.array(arrays.part("train", root)))).to(job.device)
    some = train[:: max(1, len(train) // 4096)].double()
    spread = float(some.std(0, correction=0).square().mean().sqrt())
    return Scene(train, stick, extract, noise, spread if spread > 0 else 1.0)


def look_at(game: Game, scene: Scene, done: int) -> list[dict[str, Any]]:
    """The quality of every stream's samples, `done` steps after the fork."""
    run = {"config": {**dataclasses.asdict(game.variant), "latent": game.latent}, "data": {"shape": game.shape}, "seeds": game.seeds}
    players = restore.players(run, game.snapshot())
    averaged, raw = (restore.sample(network, scene.noise) for network in (players.ema, players.generator))
    return [
        dataclasses.asdict(look(scene.stick, done, _encoded(scene, averaged[index]), _encoded(scene, raw[index])))
        for index in range(len(game.seeds))
    ]


def _encoded(scene: Scene, samples: Tensor) -> Encoded | None:
    if not bool(samples.isfinite().all()):
        return None
    encoded = encode(scene.extract, samples)
    return encoded if bool(encoded.features.isfinite().all()) else None


class Watch:
    """Measures of one turn, taken beside it: nothing here touches the game."""

    def __init__(self, game: Game, scene: Scene) -> None:
        self.game, self.spread = game, scene.spread
        self.batches: Callable[[Tensor], Tensor] = lambda indices: scene.train[indices.to(scene.train.device)]
        self.noise = lane_draws(game.seeds, "movement", 0, 0, game.like).normal(PROBE_SAMPLES, game.latent)

    def before(self) -> tuple[Tensor, list[Tensor]]:
        """G's samples on the fixed noise, and the running statistics they were made with."""
        statistics = [buffer.clone() for buffer in self.game.generator.module.buffers()]
        return samples_with(self.game.generator.module, statistics, self.noise), statistics

    def row(self, turn: Turn, before: tuple[Tensor, list[Tensor]]) -> dict[str, Tensor]:
        """Every measure of the turn, `[L]` each."""
        against, forward = turn.discriminator, turn.generator
        samples, statistics = before
        return {
            "auc": measures.auc(against.real_logits, against.fake_logits),
            "sample_movement": measures.movement(samples, samples_with(self.game.generator.module, statistics, self.noise), self.spread),
            "d_gradient_norm": measures.norms(self.game.discriminator.split(against.gradient))[0],
            "g_gradient_norm": measures.norms(self.game.generator.split(forward.gradient))[0],
            "d_loss": against.loss,
            "g_loss": forward.loss,
        }


def _stream(
    game: Game, index: int, rows: Sequence[tuple[int, Mapping[str, Tensor]]], looks: Sequence[Sequence[dict[str, Any]]]
) -> dict[str, Any]:
    """One stream's story; a value that is not finite is null."""
    return {
        "seed": game.seeds[index],
        "died_at": int(game.died_at[index]) or None,
        "steps": [done for done, _ in rows],
        "records": {name: [_number(float(row[name][index])) for _, row in rows] for name in MEASURES},
        "looks": [seen[index] for seen in looks],
    }


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
