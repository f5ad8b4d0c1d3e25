"""A complete, small, made-up results tree, written exactly as docs/formats.md says: what joins, `report` and `sync` read, without training.

`write_results(root)` gives four variants of different fates. Everything follows from its arguments (two calls write the same bytes);
the numbers are made up and mean nothing beyond looking plausible. numpy and pyarrow only.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.store import layout
from stages.store.files import sha256_json, write_json, write_text

STARTED = 1790000000000  # ms: the first variant's start; every later one starts a minute after the one before
VARIANTS = {"non_saturating": "healthy", "r3": "healthy", "wgan_free": "non_finite", "overpowered": "discriminator_wins"}
LAYERS = {
    "d_gradient_norm": ("first.weight", "head.weight"),
    "g_gradient_norm": ("first.weight", "out.weight"),
    "d_update_ratio": ("first.weight", "head.weight"),
    "g_update_ratio": ("first.weight", "out.weight"),
}
MEASURES = (
    "auc",
    "d_gradient_norm",
    "d_loss",
    "d_penalty",
    "d_update_ratio",
    "fake_logit",
    "g_gradient_norm",
    "g_loss",
    "g_update_ratio",
    "real_logit",
    "sample_movement",
    "saturation",
)
PROBES = {  # measures of a few steps, at the second and at the last recorded one
    "d_own_predicted": -0.02,
    "d_cross_predicted": 0.01,
    "g_own_predicted": -0.01,
    "g_cross_predicted": 0.04,
    "d_drive": 1 / 3,
    "g_drive": 0.8,
    "d_snr": 0.4,
    "g_snr": 0.1,
    "d_turn_cosine": 0.5,
    "g_turn_cosine": 0.2,
    "d_real_gradient_norm": 0.6,
    "d_fake_gradient_norm": 0.5,
    "d_real_fake_cosine": -0.7,
    "d_dead_units": 0.1,
    "g_dead_units": 0.0,
}
DIRECTIONS = {"frechet": "lower", "precision": "higher", "recall": "higher", "coverage": "higher"}


@dataclass(frozen=True)
class Shape:
    """How long the made-up runs are, and what they were trained on."""

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 100
    record_every: int = 10
    snapshots: tuple[int, ...] = (0, 25, 50, 75, 100)
    kind: str = "image"  # or `vector`

    @property
    def recorded(self) -> list[int]:
        """The steps that have a record: step 1 and every `record_every`-th."""
        return sorted({1, *range(self.record_every, self.steps + 1, self.record_every)})


def write_results(root: Path, variants: Mapping[str, str] | Sequence[str] = VARIANTS, shape: Shape | None = None) -> Path:
    """Everything under `root/data/prepared/card.json` and `root/results` for these variants (name to verdict; names alone: healthy)."""
    fates = dict(variants) if isinstance(variants, Mapping) else dict.fromkeys(variants, "healthy")
    shape = shape or Shape()
    write_json(root / layout.CARD, card(shape))
    write_text(root / layout.CHECKED, "checked\n")
    for index, (variant, verdict) in enumerate(fates.items()):
        write_variant(root, variant, verdict, shape, STARTED + 60_000 * index)
    write_joins(root, fates, shape)
    return root


def write_variant(root: Path, variant: str, verdict: str, shape: Shape, started: int = STARTED, salt: int = 0) -> None:
    """One variant's files; another `salt` gives other numbers, and the fingerprint of a retrained variant."""
    run = run_json(variant, verdict, shape, salt)
    columns = record_columns(variant, verdict, shape, salt)
    write_json(root / layout.run(variant), run)
    write_records(root / layout.records(variant), columns)
    write_curves(root / layout.curves(variant), columns)
    write_json(root / layout.executions(variant), execution_json(variant, run["fingerprint"], shape, started))
    write_json(root / layout.diagnostics(variant), diagnostics_json(run, verdict, columns))
    scores = scores_json(run, verdict, shape)
    write_json(root / layout.scores(variant), scores)
    write_json(root / layout.metrics(variant), metrics_json(scores, shape))
    for step in shape.snapshots:
        write_png(root / layout.samples(variant) / f"step-{step:06d}.png", sample_grid(variant, step, shape))


def write_joins(root: Path, fates: Mapping[str, str], shape: Shape) -> None:
    """comparison.json, plots/compare.csv and a stub of the report, from the variants' files."""
    comparison = comparison_json(root, fates, shape)
    write_json(root / layout.COMPARISON, comparison)
    keys = ("rank", "variant", "median", "low", "high")
    rows = [",".join("" if entry[key] is None else str(entry[key]) for key in keys) for entry in comparison["ranking"]]
    write_text(root / layout.COMPARE_PLOT, "\n".join([",".join(keys), *rows]) + "\n")
    lines = "".join(f"| {e['rank']} | {e['variant']} | {e['verdict']} |\n" for e in comparison["ranking"])
    write_text(root / layout.REPORT / "report.md", f"# Seesaw\n\n| rank | variant | verdict |\n|---|---|---|\n{lines}")
    write_text(root / layout.REPORT / "index.html", "<!doctype html><html lang=en><title>Seesaw</title><p>report</html>\n")


def card(shape: Shape) -> dict[str, Any]:
    """data/prepared/card.json of 8x8 digits, or of a ring."""
    image = shape.kind == "image"
    labels = [str(i) for i in range(10)] if image else None
    return {
        "source": "digits" if image else "ring",
        "kind": shape.kind,
        "shape": [1, 8, 8] if image else [2],
        "counts": {"train": 1250, "validation": 180, "test": 360},
        "labels": labels,
        "label_counts": {"train": [125] * 10, "validation": [18] * 10, "test": [36] * 10} if image else None,
        "digest": sha256_json(["data", shape.kind]),
        "split_seed": 0,
        "scale": "x / 127.5 - 1" if image else "(x - offset) / scales",
        "offset": None if image else [0.0, 0.0],
        "scales": None if image else [1.0, 1.0],
        "modes": None if image else ring_modes(),
        "features": features(shape) | {"dimensions": 64 if image else 2, "test_accuracy": 0.97 if image else None, "seed": 0},
        "skipped": [],
        "notes": [],
    }


def ring_modes() -> dict[str, Any]:
    """Eight centres on the unit circle."""
    angles = [2 * math.pi * i / 8 for i in range(8)]
    return {"centres": [[math.cos(a), math.sin(a)] for a in angles], "std": 0.01, "names": [str(i) for i in range(8)]}


def features(shape: Shape) -> dict[str, str]:
    """The feature space of the scores."""
    name = "classifier" if shape.kind == "image" else "identity"
    return {"name": name, "digest": sha256_json(["features", name])}


def lane_end(verdict: str, index: int, shape: Shape) -> int | None:
    """The step at which a lane breaks (all lanes but the first of a non-finite variant), or None."""
    return int(shape.steps * 0.6) + 1 if verdict == "non_finite" and index > 0 else None


def run_json(variant: str, verdict: str, shape: Shape, salt: int = 0) -> dict[str, Any]:
    """results/runs/v.json"""
    ends = [lane_end(verdict, i, shape) for i in range(len(shape.seeds))]
    player = {"network": "dcgan" if shape.kind == "image" else "mlp", "width": 16, "depth": 2}
    config = {
        "name": variant,
        "loss": {"name": "wasserstein" if variant.startswith("wgan") else "non_saturating", "arguments": {}},
        "penalty": {"name": "gradient_penalty", "arguments": {"weight": 10.0}}
        if variant == "wgan_gp"
        else {"name": "none", "arguments": {}},
        "constraint": {"name": "none", "arguments": {}},
        "rules": {"critic_steps": 1, "optimizer": "adam", "generator_lr": 2e-3, "discriminator_lr": 2e-3},
        "generator": player | {"activation": "relu", "normalisation": "batch"},
        "discriminator": player | {"activation": "leaky_relu", "normalisation": "none"},
        "steps": shape.steps,
        "batch": 64,
        "latent": 32,
        "lanes_per_group": 4,
        "record_every": shape.record_every,
        "seeds": len(shape.seeds),
        "snapshots": len(shape.snapshots) - 1,
        "first_seed": shape.seeds[0],
        "tuned": None,
    }
    described = card(shape)
    return {
        "variant": variant,
        "fingerprint": sha256_json([variant, config, list(shape.seeds), described["digest"], salt]),
        "config": config,
        "tuning": "defaults",
        "data": {"digest": described["digest"], "kind": shape.kind, "shape": described["shape"]},
        "seeds": list(shape.seeds),
        "steps": shape.steps,
        "snapshots": list(shape.snapshots),
        "lanes": [lane_status(seed, end, shape) for seed, end in zip(shape.seeds, ends, strict=True)],
        "parameters": {"generator": 12345, "discriminator": 23456},
        "cost": {"flops": 8e8 * shape.steps, "flops_per_step": 8e8, "samples_seen": 192 * shape.steps},
    }


def lane_status(seed: int, end: int | None, shape: Shape) -> dict[str, Any]:
    """One entry of runs/v.json's lanes."""
    if end is None:
        return {"seed": seed, "status": "finished", "step": shape.steps, "reason": None}
    return {"seed": seed, "status": "non_finite", "step": end, "reason": "discriminator loss is nan"}


def execution_json(variant: str, fingerprint: str, shape: Shape, started: int) -> dict[str, Any]:
    """results/executions/v.json: a quarter of a second a step."""
    ended = started + 1000 + 250 * shape.steps
    return {
        "variant": variant,
        "fingerprint": fingerprint,
        "started_at": started,
        "ended_at": ended,
        "seconds": (ended - started) / 1000,
        "host": "synthetic",
        "device": "cpu",
        "torch": "2.13.0+cpu",
        "python": "3.11.7",
        "git_commit": "0" * 40,
        "dvc_exp": "",
        "resumes": 0,
        "workers": 2,
        "timeline": {"step": shape.recorded, "at": [started + 500 + 250 * step for step in shape.recorded]},
    }


def record_columns(variant: str, verdict: str, shape: Shape, salt: int = 0) -> dict[str, list[Any]]:
    """records/v.parquet as columns, sorted by (step, seed, measure, layer); NaN once a lane is broken."""
    columns: dict[str, list[Any]] = {"step": [], "seed": [], "measure": [], "layer": [], "value": []}
    walks = [lane_values(variant, verdict, seed, shape, salt) for seed in shape.seeds]
    ends = [lane_end(verdict, i, shape) for i in range(len(shape.seeds))]
    for row, step in enumerate(shape.recorded):
        for seed, values, end in zip(shape.seeds, walks, ends, strict=True):
            for (measure, layer), series in values.items():
                value = math.nan if end is not None and step > end else float(series[row])
                for key, cell in zip(columns, (step, seed, measure, layer, value), strict=True):
                    columns[key].append(cell)
            if row in (1, len(shape.recorded) - 1):
                for measure, probed in PROBES.items():
                    value = math.nan if end is not None and step > end else probed * (1 + 0.1 * seed)
                    for key, cell in zip(columns, (step, seed, measure, "", value), strict=True):
                        columns[key].append(cell)
    return columns


def lane_values(variant: str, verdict: str, seed: int, shape: Shape, salt: int) -> dict[tuple[str, str], np.ndarray]:
    """Every (measure, layer) of one lane over the recorded steps."""
    random = np.random.default_rng([zlib.crc32(variant.encode()), seed, salt])
    t = np.array(shape.recorded) / shape.steps
    lost = verdict == "discriminator_wins"
    base = {
        "auc": 0.5 + (0.49 if lost else 0.2) * (1 - np.exp(-6 * t)),
        "d_gradient_norm": (0.5 * np.exp(-8 * t) if lost else 0.6 + 0.1 * t),
        "d_loss": (1.3 * np.exp(-7 * t) if lost else 1.3 - 0.2 * t),
        "d_penalty": np.zeros_like(t),
        "d_update_ratio": 1e-3 * np.ones_like(t),
        "fake_logit": -(8 * t if lost else 0.6 * t),
        "g_gradient_norm": (0.4 + 3 * t if lost else 0.4 + 0.2 * t),
        "g_loss": (0.7 + 7 * t if lost else 0.8 + 0.1 * t),
        "g_update_ratio": 2e-3 * np.ones_like(t),
        "real_logit": (8 * t if lost else 0.7 * t),
        "sample_movement": 0.1 * np.exp(-2 * t),
        "saturation": (0.5 * np.exp(-6 * t) if lost else 0.45 - 0.05 * t),
    }
    values = {}
    for measure in MEASURES:
        series = base[measure] * np.exp(0.05 * random.standard_normal(len(t)))
        values[(measure, "")] = series
        for i, layer in enumerate(LAYERS.get(measure, ())):
            values[(measure, layer)] = series * math.sqrt((i + 1) / 3)
    return values


def write_records(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """The columns as records/v.parquet."""
    words = pa.dictionary(pa.int32(), pa.string())
    kinds = {"step": pa.int32(), "seed": pa.int32(), "measure": words, "layer": words, "value": pa.float64()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({key: pa.array(columns[key], pa.string()).cast(kind) if kind == words else pa.array(columns[key], kind)
                             for key, kind in kinds.items()}), path)  # fmt: skip


def medians(columns: Mapping[str, Sequence[Any]], measure: str) -> dict[int, tuple[float, float, float]]:
    """Step to (median, min, max) over the finite lanes of one whole-lane measure."""
    rows: dict[int, list[float]] = {}
    for step, name, layer, value in zip(columns["step"], columns["measure"], columns["layer"], columns["value"], strict=True):
        if name == measure and layer == "" and math.isfinite(value):
            rows.setdefault(step, []).append(value)
    return {step: (float(np.median(v)), min(v), max(v)) for step, v in rows.items()}


def write_curves(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """results/curves/v.csv"""
    names = ("g_loss", "d_loss", "d_gradient_norm", "g_gradient_norm", "real_logit", "fake_logit")
    tables = {name: medians(columns, name) for name in names}
    lines = [",".join(["step", *(f"{name}_{kind}" for name in names for kind in ("median", "min", "max"))])]
    for step in sorted(set(columns["step"])):
        cells = [repr(v) if v != "" else "" for name in names for v in tables[name].get(step, ("", "", ""))]
        lines.append(",".join([str(step), *cells]))
    write_text(path, "\n".join(lines) + "\n")


def diagnostics_json(run: Mapping[str, Any], verdict: str, columns: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """results/diagnostics/v.json"""
    verdicts = [verdict if lane["status"] == "finished" or verdict == "non_finite" else "non_finite" for lane in run["lanes"]]
    if verdict == "non_finite":
        verdicts = ["healthy" if lane["status"] == "finished" else "non_finite" for lane in run["lanes"]]
    story = {name: [v[0] for v in medians(columns, name).values()] for name in ("g_loss", "d_loss", "g_gradient_norm", "d_gradient_norm")}
    return {
        "variant": run["variant"],
        "fingerprint": run["fingerprint"],
        "verdict": verdict,
        "doubt": None,
        "doubts": [],
        "flags": [],
        "counts": {word: verdicts.count(word) for word in dict.fromkeys(verdicts)},
        "lanes": [lane_diagnosis(run, lane, word) for lane, word in zip(run["lanes"], verdicts, strict=True)],
        "story": {"steps": list(medians(columns, "g_loss"))} | story,
    }


def lane_diagnosis(run: Mapping[str, Any], lane: Mapping[str, Any], word: str) -> dict[str, Any]:
    """One entry of diagnostics/v.json's lanes."""
    evidence = {
        "measure": "auc_late",
        "value": 0.7,
        "threshold": 0.95,
        "relation": "below",
        "steps": [run["steps"]],
        "text": "auc has the median 0.7 over the last quarter",
    }
    command = f"dvc exp run -S variants.{run['variant']}.penalty.name=r1 -S +variants.{run['variant']}.penalty.weight=1.0"
    remedies = [] if word == "healthy" else [{"name": "add_r1", "why": "bounds the discriminator's slope on real data", "command": command}]
    return {"seed": lane["seed"], "verdict": word, "doubt": None, "doubts": [], "flags": [], "evidence": [evidence], "remedies": remedies}


def scores_json(run: Mapping[str, Any], verdict: str, shape: Shape) -> dict[str, Any]:
    """results/scores/v.json: every snapshot, raw and ema, validation and test."""
    end = {"healthy": 2.0, "discriminator_wins": 40.0, "non_finite": 12.0}.get(verdict, 20.0)
    entries = [
        {
            "step": step,
            "part": part,
            "generator": generator,
            "lanes": [lane_scores(run, lane, step, end, part, generator) for lane in run["lanes"]],
        }
        for step in shape.snapshots
        for generator in ("ema", "raw")
        for part in ("test", "validation")
    ]
    best = {str(lane["seed"]): run["steps"] if lane["status"] == "finished" else broken_best(lane, shape) for lane in run["lanes"]}
    return {
        "variant": run["variant"],
        "fingerprint": run["fingerprint"],
        "features": features(shape),
        "samples": 360,
        "primary": "frechet",
        "part": "test",
        "metrics": {name: {"better": better, "paper": "made up", "unit": "none"} for name, better in DIRECTIONS.items()},
        "floors": {"frechet": {"value": 0.9, "n": 180}},
        "baseline": {"name": "gaussian_mixture", "metrics": {"frechet": 3.1}},
        "snapshots": entries,
        "best_step": best,
    }


def broken_best(lane: Mapping[str, Any], shape: Shape) -> int | None:
    """The last snapshot before a lane broke."""
    return max((step for step in shape.snapshots if step < lane["step"]), default=None)


def lane_scores(run: Mapping[str, Any], lane: Mapping[str, Any], step: int, end: float, part: str, generator: str) -> dict[str, Any]:
    """One lane's scores at one snapshot; a lane that had broken by then has none."""
    if lane["status"] != "finished" and step >= lane["step"]:
        return {"seed": lane["seed"], "status": "non_finite", "metrics": None}
    random = np.random.default_rng([zlib.crc32(f"{run['fingerprint']}{part}{generator}".encode()), lane["seed"], step])
    t = step / run["steps"]
    frechet = (end + (60 - end) * math.exp(-4 * t)) * math.exp(0.1 * random.standard_normal())
    share = {name: 0.9 * t * math.exp(-end / 40) * random.uniform(0.9, 1.0) for name in ("precision", "recall", "coverage")}
    values = {"frechet": frechet} | share
    return {
        "seed": lane["seed"],
        "status": "ok",
        "metrics": {name: {"value": value, "spread": 0.03 * value} for name, value in values.items()},
    }


def lane_series(scores: Mapping[str, Any], metric: str, generator: str = "ema", part: str = "test") -> list[list[float | None]]:
    """Per snapshot, the lanes' values of one metric (None for a broken lane)."""
    entries = [e for e in scores["snapshots"] if (e["generator"], e["part"]) == (generator, part)]
    return [[lane["metrics"][metric]["value"] if lane["metrics"] else None for lane in entry["lanes"]] for entry in entries]


def metrics_json(scores: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """results/metrics/v.json"""
    last = {name: lane_series(scores, name)[-1] for name in DIRECTIONS}
    alive = [v for v in last["frechet"] if v is not None]
    failed = len(last["frechet"]) - len(alive)
    finals = {name: float(np.median([v for v in values if v is not None])) for name, values in last.items()}
    finals["frechet"] = None if 2 * failed > len(last["frechet"]) else finals["frechet"]
    best = min(v for row in lane_series(scores, "frechet") for v in row if v is not None)
    return finals | {"frechet_best": best, "failed_lanes": failed}


def comparison_json(root: Path, fates: Mapping[str, str], shape: Shape) -> dict[str, Any]:
    """results/comparison.json, from the scores on disk; the first variant is the baseline."""
    entries = []
    for variant, verdict in fates.items():
        scores = json.loads((root / layout.scores(variant)).read_text())
        metrics = json.loads((root / layout.metrics(variant)).read_text())
        entries.append(ranking_entry(variant, verdict, scores, metrics, shape))
    entries.sort(key=lambda e: math.inf if e["median"] is None else e["median"])
    baseline = next(iter(fates))
    return {
        "primary": "frechet",
        "better": "lower",
        "baseline": baseline,
        "features": features(shape)["digest"],
        "seeds": list(shape.seeds),
        "alpha": 0.05,
        "ranking": [{"rank": rank} | entry for rank, entry in enumerate(entries, 1)],
        "paired": [paired_entry(variant, baseline, shape) for variant in fates if variant != baseline],
        "floors": {"frechet": 0.9},
        "baseline_model": {"name": "gaussian_mixture", "frechet": 3.1},
        "notes": [f"{len(shape.seeds)} lanes a variant"],
    }


def ranking_entry(variant: str, verdict: str, scores: Mapping[str, Any], metrics: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """One entry of the ranking; a median over mostly failed lanes is None."""
    series = lane_series(scores, "frechet")
    per_lane, failed, lanes = series[-1], metrics["failed_lanes"], len(shape.seeds)
    alive = [v for v in per_lane if v is not None]
    median = metrics["frechet"]
    return {
        "variant": variant,
        "verdict": verdict,
        "doubt": None,
        "median": median,
        "mean": float(np.mean(alive)) if failed == 0 else None,
        "low": min(alive) if median is not None else None,
        "high": max(alive) if median is not None else None,
        "best": metrics["frechet_best"],
        "final": median,
        "area": float(np.mean([np.median([v for v in row if v is not None]) for row in series])),
        "mean_rank": 1.5,
        "failed": failed,
        "lanes": lanes,
        "failure_rate": {"value": failed / lanes, "low": 0.0, "high": min(1.0, failed / lanes + 0.3)},
        "per_lane": per_lane,
        "flops": 8e8 * shape.steps,
        "floor_ratio": median / 0.9 if median is not None else None,
        "precision": metrics["precision"],
        "recall": metrics["recall"],
        "coverage": metrics["coverage"],
        "modes": None,
    }


def paired_entry(variant: str, baseline: str, shape: Shape) -> dict[str, Any]:
    """One paired difference."""
    return {
        "variant": variant,
        "against": baseline,
        "n": len(shape.seeds),
        "log_ratio": -0.3,
        "low": -0.5,
        "high": -0.1,
        "p_adjusted": 0.02,
        "p_smallest": 0.008,
        "correlation": 0.4,
        "text": f"{variant} is 26% lower than {baseline}",
    }


def sample_grid(variant: str, step: int, shape: Shape) -> np.ndarray:
    """uint8 [H, W]: one row a lane, eight columns, blobs that sharpen with the steps."""
    random = np.random.default_rng([zlib.crc32(variant.encode()), step])
    rows, cell = min(8, len(shape.seeds)), 32
    y, x = np.mgrid[0:cell, 0:cell] - cell / 2 + 0.5
    width = 14 - 9 * step / shape.steps
    cells = [
        [np.exp(-((x - random.normal(0, 4)) ** 2 + (y - random.normal(0, 4)) ** 2) / (2 * width**2)) for _ in range(8)] for _ in range(rows)
    ]
    grid = np.block([[c + 0.05 * random.standard_normal(c.shape) for c in row] for row in cells])
    return (255 * np.clip(grid, 0, 1)).astype(np.uint8)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """uint8 [H, W] (grey) or [H, W, 3] as a PNG."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + pixels[i].tobytes() for i in range(height))
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0 if pixels.ndim == 2 else 2, 0, 0, 0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, kind, data, CRC."""
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
