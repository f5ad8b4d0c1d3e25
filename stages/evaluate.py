"""The node `evaluate@v`: every snapshot's samples judged against held-out data. It reads no records, no logits, no diagnosis."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stages.errors import SeesawError
from stages.game import restore
from stages.generators.judging import Setting, encode, lane_draws, noise, prepare_setting, seed_of, stream
from stages.measure.baseline import gaussian_mixture
from stages.measure.classifier import one_thread
from stages.measure.features import Encoded
from stages.measure.judge import floor, full, quick, reference, validation_score
from stages.measure.quality import METRICS, Measured
from stages.store import arrays, given, layout, snapshots
from stages.store.config import Config
from stages.store.files import read_json, write_json

PRIMARY = "frechet"
GENERATORS = {"raw": "generator", "ema": "ema"}
BASELINE_DRAWS = 4
COLUMNS = 8  # samples of each lane in a picture
POINTS = 512  # of each lane in a scatter


def evaluate(config: Config, variant: str, root: Path = Path()) -> dict[str, Any]:
    """Scores every snapshot of a variant; writes scores, metrics and sample pictures (docs/formats.md) and returns the scores."""
    config.variant(variant)
    run = read_json(root / layout.run(variant), f"run `dvc repro train@{variant}`")
    with one_thread(), torch.no_grad():
        setting = prepare_setting(config.evaluate, root)
        if run["data"]["digest"] != setting.card["digest"]:
            raise SeesawError(f"{variant} was trained on other data than {layout.PREPARED} holds: run `dvc repro train@{variant}`")
        for old in (root / layout.samples(variant)).glob("step-*.png"):  # of a run with other steps
            old.unlink()
        entries = [entry for step in run["snapshots"] for entry in _at_step(setting, run, variant, step, root)]
        best = best_steps(entries, run["seeds"])
        for step in sorted({run["snapshots"][-1], *(step for step in best.values() if step is not None)}):
            lanes = [lane for lane, seed in enumerate(run["seeds"]) if step in (run["snapshots"][-1], best[str(seed)])]
            _deepen(setting, run, variant, step, lanes, entries, root)
        scores = {"variant": variant, "fingerprint": run["fingerprint"], "snapshots": entries, "best_step": best, **_frame(setting, root)}
    write_json(root / layout.scores(variant), scores)
    write_json(root / layout.metrics(variant), headline(scores))
    return scores


def _players(run: Mapping[str, Any], variant: str, step: int, root: Path) -> restore.Players:
    return restore.players(run, snapshots.read(root / layout.snapshot(variant, step), f"run `dvc repro train@{variant}`"))


def _at_step(setting: Setting, run: Mapping[str, Any], variant: str, step: int, root: Path) -> list[dict[str, Any]]:
    """The entries of one snapshot (both generators, both parts) from one draw, and its picture."""
    players = _players(run, variant, step, root)
    points = noise(setting, 0, run["config"]["latent"])
    entries = []
    for generator, role in GENERATORS.items():
        network = getattr(players, role)
        draws = lane_draws(setting, network, points, len(run["seeds"]))
        for part, measure in (("validation", validation_score), ("test", quick)):
            scored = [
                None if draw is None else {name: _valued(name, value) for name, value in measure(setting.judge, draw).items()}
                for draw in draws
            ]
            lanes = [_lane(one, metrics, step) for one, metrics in zip(run["lanes"], scored, strict=True)]
            entries.append({"step": step, "generator": generator, "part": part, "lanes": lanes})
    _draw_picture(setting, players.ema, points, len(run["seeds"]), root / layout.samples(variant) / f"step-{step:06d}.png")
    return entries


def _valued(name: str, value: float | None, **spreads: float | None) -> dict[str, Any]:
    """A value and its spread; the reason where there is no value."""
    entry: dict[str, Any] = {"value": value, "spread": None, **spreads}
    return entry if value is not None else entry | {"reason": METRICS[name].undefined}


def _lane(lane: Mapping[str, Any], metrics: dict[str, Any] | None, step: int) -> dict[str, Any]:
    if lane["status"] == "non_finite" and step >= lane["step"]:
        return {
            "seed": lane["seed"],
            "status": "non_finite",
            "metrics": None,
            "reason": f"training ended at step {lane['step']}: {lane['reason']}",
        }
    if metrics is None:
        return {"seed": lane["seed"], "status": "non_finite", "metrics": None, "reason": "samples or their features hold NaN or infinity"}
    return {"seed": lane["seed"], "status": "ok", "metrics": metrics}


def best_steps(entries: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[str, int | None]:
    """Each seed's step of the lowest primary metric on the validation part (EMA generator; the earlier step on a tie), None without one."""
    best: dict[str, tuple[float, int]] = {}
    for entry in entries:
        for lane in entry["lanes"] if (entry["generator"], entry["part"]) == ("ema", "validation") else []:
            value = lane["metrics"] and lane["metrics"][PRIMARY]["value"]
            if value is not None:
                best[str(lane["seed"])] = min(best.get(str(lane["seed"]), (math.inf, 0)), (value, entry["step"]))
    return {str(seed): best[str(seed)][1] if str(seed) in best else None for seed in seeds}


def _deepen(
    setting: Setting, run: Mapping[str, Any], variant: str, step: int, lanes: Sequence[int], entries: Sequence[dict[str, Any]], root: Path
) -> None:
    """Puts every metric over all draws, with spreads, in the place of the one draw's, for those lanes of the EMA generator's test entry."""
    network, latent = _players(run, variant, step, root).ema, run["config"]["latent"]
    draws = [lane_draws(setting, network, noise(setting, draw, latent), len(run["seeds"])) for draw in range(setting.evaluate.draws)]
    entry = next(e for e in entries if (e["step"], e["generator"], e["part"]) == (step, "ema", "test"))
    for lane in lanes:
        mine = [known for draw in draws if (known := draw[lane]) is not None]
        if entry["lanes"][lane]["status"] == "ok" and len(mine) == len(draws):
            entry["lanes"][lane]["metrics"] = _full(setting, mine)
        elif entry["lanes"][lane]["status"] == "ok":
            entry["lanes"][lane] = _lane(run["lanes"][lane], None, step)


def _full(setting: Setting, draws: Sequence[Encoded]) -> dict[str, Any]:
    summary = full(setting.judge, draws, stream(setting.evaluate.seed, "full"))
    return {name: _valued(name, **entry) for name, entry in summary.items()}


def _frame(setting: Setting, root: Path) -> dict[str, Any]:
    """What stands around the scores: floors, baseline, feature space, counts, and what each metric is."""
    floors = floor(setting.judge, setting.evaluate.draws, stream(setting.evaluate.seed, "floor"))
    return {
        "features": setting.features,
        "samples": setting.judge.n,
        "draws": setting.evaluate.draws,
        "primary": PRIMARY,
        "part": "test",
        "metrics": {name: {"better": METRICS[name].better, "paper": METRICS[name].paper, "unit": METRICS[name].unit} for name in floors},
        "floors": {name: {"value": value, "n": n} for name, (value, n) in floors.items()},
        "baseline": {"name": "gaussian_mixture", "metrics": _baseline(setting, root)},
    }


def _baseline(setting: Setting, root: Path) -> Measured:
    """Scores of a Gaussian mixture fitted on the train part."""
    train = arrays.part("train", root)
    if len(train) < 2:
        return dict.fromkeys([PRIMARY])
    rng = np.random.default_rng(seed_of(setting.evaluate.seed, "baseline"))
    drawn = gaussian_mixture(train, BASELINE_DRAWS * setting.judge.n, rng)
    if setting.card["kind"] == "image":
        drawn = drawn.clip(0.0, 255.0).round().astype(np.uint8)
    return reference(setting.judge, [encode(setting.extract, part) for part in np.split(drawn, BASELINE_DRAWS)])


def _draw_picture(setting: Setting, network: nn.Module, points: Tensor, lanes: int, path: Path) -> None:
    """Images: lanes × the same 8 noises. Vectors: generated over real points."""
    from stages.draw import plots  # Matplotlib takes long to import, and tests of the scores do without it

    image = setting.card["kind"] == "image"
    shown = points[: COLUMNS if image else POINTS]
    samples = network(shown.expand(lanes, *shown.shape)).numpy()
    if image:
        plots.sample_grid(samples, path)
    else:
        plots.scatter_grid(setting.judge.test.features[:POINTS].numpy(), samples, path, setting.card["modes"])


def headline(scores: Mapping[str, Any]) -> dict[str, float | int | None]:
    """At most 8 numbers: medians over lanes at the last snapshot (EMA, test part), in which a failed lane counts as worst."""
    entries = {entry["step"]: entry for entry in scores["snapshots"] if (entry["generator"], entry["part"]) == ("ema", "test")}
    last = entries[max(entries)]["lanes"]
    names = [name for name in (PRIMARY, "precision", "recall", "coverage", "modes") if name in scores["metrics"]]
    out: dict[str, float | int | None] = {name: median([_value(lane, name) for lane in last], METRICS[name].better) for name in names}
    steps = scores["best_step"]
    at_best = [
        None if (step := steps[str(lane["seed"])]) is None else _value(entries[step]["lanes"][i], PRIMARY) for i, lane in enumerate(last)
    ]
    out[f"{PRIMARY}_best"] = median(at_best, METRICS[PRIMARY].better)
    out["failed_lanes"] = sum(lane["status"] != "ok" for lane in last)
    return out


def _value(lane: Mapping[str, Any], name: str) -> float | None:
    value: float | None = lane["metrics"] and lane["metrics"][name]["value"]
    return value


def median(values: Sequence[float | None], better: str) -> float | None:
    """Median in which None counts as worst; None when it falls on one (half or more of the values are None)."""
    worst = math.inf if better == "lower" else -math.inf
    middle = statistics.median([worst if value is None else value for value in values])
    return middle if math.isfinite(middle) else None


def score_samples(config: Config, samples: np.ndarray | Path, root: Path = Path()) -> dict[str, Any]:
    """Somebody else's samples under the same judge (forms: `store.given.read`); the returned document has the floors of a variant's scores.

    n is as for a variant, or the number of samples where they are fewer; samples beyond n make further draws.
    """
    with one_thread(), torch.no_grad():
        setting = prepare_setting(config.evaluate, root)
        items = given.read(config.data, setting.card, samples, root)
        if len(items) < setting.judge.n:
            setting = prepare_setting(dataclasses.replace(config.evaluate, samples=len(items)), root)
        n = setting.judge.n
        draws = min(config.evaluate.draws, len(items) // n)
        setting = dataclasses.replace(setting, evaluate=dataclasses.replace(setting.evaluate, draws=draws))
        order = torch.randperm(len(items), generator=stream(config.evaluate.seed, "given")).numpy()[: n * draws]
        encoded = [encode(setting.extract, items[part]) for part in np.split(order, draws)]
        finite = all(bool(one.features.isfinite().all()) for one in encoded)
        scores = _full(setting, encoded) if finite else None
        return {"given": len(items), "status": "ok" if finite else "non_finite", "scores": scores, **_frame(setting, root)}
