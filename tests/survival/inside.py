"""A training inside this process: the node and its workers one after the other, so that faults can be put in and starts cost nothing."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from stages import train, worker
from stages.game import spec
from stages.game.game import Game
from stages.store import processes, scratch
from stages.store.config import Config, parse


def config(source: Mapping[str, Any], variants: Mapping[str, Any] | None = None, **shared: Any) -> Config:
    """A tiny experiment; `shared` goes to `train`."""
    player = {"network": "auto", "width": 4, "depth": 1, "normalisation": "none"}
    settings = {"seeds": 2, "steps": 6, "batch": 4, "latent": 2, "lanes_per_group": 2, "record_every": 2, "snapshots": 2}
    entry = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}
    chosen = dict(variants or {"v": entry})
    return parse(
        {
            "data": dict(source),
            "train": {**settings, "generator": player, "discriminator": player, **shared},
            "evaluate": {"samples": 16, "draws": 2},
            "diagnose": {"samples": 16},
            "compare": {"baseline": next(iter(chosen))},
            "variants": chosen,
        }
    )


def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a node's workers run where the node runs."""
    monkeypatch.setattr(processes, "run_all", _run_all)
    monkeypatch.setattr(worker, "die_with_parent", lambda expected: None)
    monkeypatch.setattr(worker, "_stop_on_signals", lambda: lambda: False)
    monkeypatch.setattr(worker, "_say", lambda **message: None)


def _run_all(module: str, jobs: Sequence[Path], show: object, stopped: str) -> None:
    threads = torch.get_num_threads()
    for job in jobs:
        assert worker.main(str(job)) == 0
    torch.set_num_threads(threads)


def played(job: worker.Job, data: torch.Tensor, until: int) -> Game:
    """The worker's own loop over a job, asked to stop once so many steps are done."""
    Path(job.place).mkdir(parents=True, exist_ok=True)
    game = Game(spec.variant(job.variant), tuple(data.shape[1:]), job.latent, job.batch, job.steps, job.seeds)
    with scratch.held(Path(job.place), "this group of lanes"):
        worker._play(game, job, data, lambda: game.step >= until)
    return game


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def project(root: Path) -> Path:
    """A folder whose code is this checkout's: what a node needs to find beside params.yaml."""
    home = Path(train.__file__).resolve().parents[1]
    root.mkdir(parents=True, exist_ok=True)
    for name in ("stages", "dvc.yaml"):
        (root / name).symlink_to(home / name)
    (root / "data/raw").mkdir(parents=True)
    return root


def failing(real: Callable[..., Any], at: int, number: int) -> tuple[Callable[..., Any], list[int]]:
    """The function, whose call number `at` (from 1) fails with that error of the operating system; and a list that grows with its calls."""
    calls: list[int] = []

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise OSError(number, os.strerror(number))
        return real(*arguments, **named)

    return call, calls
