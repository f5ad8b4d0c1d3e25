"""One staged game from nothing to what judging needs: the nodes' own code in a project of its own, then the oracle's watch.

Two files remain of a game: `rules.json`, what the rules see of every lane, and `oracle.json`, what the oracle saw. Judging reads these
alone, so that changed thresholds cost seconds. A few samples are kept for pictures.
"""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.diagnosis.case import read_case
from stages.diagnosis.seen import what_was_seen
from stages.game import restore
from stages.game.streams import stream
from stages.measure.classifier import one_thread
from stages.measure.facts import Glimpse, Lane, Series, SnapshotQuality, Standards
from stages.prepare import prepare
from stages.staged import made
from stages.staged.games import VARIANT, StagedGame
from stages.staged.witness import watch
from stages.store.files import read_json, replacing, write_text
from stages.train import train

CODE = Path(__file__).resolve().parents[2]
RULES, ORACLE, PICTURE = "rules.json", "oracle.json", "samples.npz"
SHOWN = 400  # samples of a lane that are kept for pictures


def play(game: StagedGame, folder: Path) -> None:
    """Play, diagnose and watch one game; leaves RULES, ORACLE and PICTURE in `folder`. A game that is already there is left alone."""
    if is_played(game, folder):
        return
    root = folder / "project"
    shutil.rmtree(folder, ignore_errors=True)
    (root / "data" / "raw").mkdir(parents=True)
    for name in ("stages", "dvc.yaml"):
        (root / name).symlink_to(CODE / name)
    if game.made:
        made.write(game.made, root / "data" / "raw")
    config = game.config
    prepare(config, root)
    train(config, VARIANT, root, quiet=True)
    with one_thread():
        case = read_case(config, VARIANT, root)
        seen = what_was_seen(case)
        _keep_samples(case, folder / PICTURE)
    _write(folder / ORACLE, {"lanes": watch(root, VARIANT, game.made)})
    _write(folder / RULES, {"game": game.digest, "standards": dataclasses.asdict(seen.standards), "lanes": [_lane(x) for x in seen.lanes]})
    shutil.rmtree(root)


def is_played(game: StagedGame, folder: Path) -> bool:
    """Whether the folder holds this very game, whole."""
    return (folder / RULES).exists() and read_json(folder / RULES, "")["game"] == game.digest


def rules_side(folder: Path) -> tuple[list[Lane], Standards]:
    """What the rules see of a played game."""
    raw = read_json(folder / RULES, "run `python -m stages.staged`")
    return [_read_lane(entry) for entry in raw["lanes"]], Standards(**raw["standards"])


def oracle_side(folder: Path) -> list[dict[str, Any]]:
    """What the oracle saw of a played game, an entry a lane."""
    lanes: list[dict[str, Any]] = read_json(folder / ORACLE, "run `python -m stages.staged`")["lanes"]
    return lanes


def _write(path: Path, value: Any) -> None:
    """JSON with NaN and infinities as Python writes them: records hold them, and this file stays here."""
    write_text(path, json.dumps(value))


def _lane(lane: Lane) -> dict[str, Any]:
    series = {name: {"steps": one.steps.tolist(), "values": one.values.tolist()} for name, one in lane.records.items()}
    return {**dataclasses.asdict(dataclasses.replace(lane, records={})), "records": series}


def _read_lane(entry: dict[str, Any]) -> Lane:
    records = {name: Series(np.array(one["steps"]), np.array(one["values"])) for name, one in entry["records"].items()}
    quality = [SnapshotQuality(**{**look, "shares": _tuple(look["shares"])}) for look in entry["quality"]]
    glimpses = [Glimpse(**{**look, "shares": _tuple(look["shares"])}) for look in entry["glimpses"]]
    return Lane(**{**entry, "records": records, "quality": quality, "overfit_counts": tuple(entry["overfit_counts"]), "glimpses": glimpses})


def _tuple(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _keep_samples(case: Any, path: Path) -> None:
    """The averaged generator's samples at every snapshot, and some of the data."""
    noise = torch.randn(SHOWN, case.run["config"]["latent"], generator=stream(0, "picture"))
    kept = {
        f"step-{step}": _half(restore.sample(restore.players(case.run, tensors).ema, noise)) for step, tensors in case.snapshots.items()
    }
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, real=case.held[:SHOWN].astype(np.float16), **kept)


def _half(samples: Tensor) -> np.ndarray:
    """Half precision, cut off at its largest number."""
    return np.asarray(samples.clamp(-6e4, 6e4).numpy(), np.float16)
