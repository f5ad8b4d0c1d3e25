"""The node `compare`: variants ranked on the same seeds, with what the comparison cannot know said beside each number.

Reads results/{runs,scores,diagnostics}/v.json of the variants named in params; writes results/comparison.json and
results/plots/compare.csv. Everything is judged on the primary metric of the averaged generator (EMA) on the test part; the family of
hypotheses is every variant against `compare.baseline`, declared before the run.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError
from stages.measure import intervals, paired, ranks, trajectory
from stages.measure.pairs import against_baseline
from stages.store import layout
from stages.store.config import Config
from stages.store.files import read_json, write_json, write_text

REMEDY = "run `dvc repro`"
NOTES = {
    "not_testable": "too few seeds: some comparisons cannot reach the declared level whatever the scores are",
    "survivors": "means and their intervals are over surviving lanes where a lane failed; ranks and medians count a failed lane as worst",
    "no_best_chance": f"the probability of being best is omitted below {ranks.BEST_SEEDS} seeds",
    "friedman_approximate": "Friedman's p is an approximation at this number of seeds and variants",
}
PLOTTED = ("rank", "variant", "median", "low", "high", "mean", "best", "area", "mean_rank", "failed", "flops")
DIFFERENT = {
    "features": "feature space",
    "samples": "number of samples",
    "primary": "primary metric",
    "data": "data",
    "seeds": "seeds",
    "last_snapshot": "last snapshot",
}


@dataclass(frozen=True)
class Entry:
    """What is read of one variant, and its primary metric as `[snapshots, lanes]` with NaN where a lane has no score."""

    run: Mapping[str, Any]
    scores: Mapping[str, Any]
    diagnosis: Mapping[str, Any]
    steps: list[int]
    values: np.ndarray

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.run["variant"])

    @property
    def final(self) -> np.ndarray:
        """The primary metric at the last snapshot, per lane."""
        return np.asarray(self.values[-1])

    @property
    def flops(self) -> float:
        """Counted FLOPs of one lane over the whole run."""
        return float(self.run["cost"]["flops"])


def compare(config: Config, root: Path = Path()) -> dict[str, Any]:
    """Write comparison.json and compare.csv, and return the comparison. SeesawError where a file is missing or nothing is comparable."""
    found = [_read(root, name, config.compare.primary) for name in config.variants]
    baseline = next(entry for entry in found if entry.name == config.compare.baseline)
    different = {entry.name: _differs(entry, baseline) for entry in found}
    if different[baseline.name]:
        raise SeesawError(f"the baseline {baseline.name} cannot be compared: {_reason(different[baseline.name], baseline.name)}; {REMEDY}")
    entries = [entry for entry in found if not different[entry.name]]
    excluded = [{"variant": name, "differs": names, "reason": _reason(names, baseline.name)} for name, names in different.items() if names]
    comparison = _comparison(config, entries, baseline) | {"excluded": excluded}
    write_json(root / layout.COMPARISON, comparison)
    write_text(root / layout.COMPARE_PLOT, _table(comparison["ranking"]))
    return comparison


def _read(root: Path, name: str, primary: str) -> Entry:
    run, scores, diagnosis = (read_json(root / place(name), REMEDY) for place in (layout.run, layout.scores, layout.diagnostics))
    found = {entry["step"]: entry for entry in scores["snapshots"] if (entry["generator"], entry["part"]) == ("ema", "test")}
    if not found:
        raise SeesawError(f"{layout.scores(name)} has no scores of the averaged generator on the test part: {REMEDY}")
    steps = sorted(found)
    return Entry(run, scores, diagnosis, steps, np.array([_lane_values(found[step], primary) for step in steps], np.float64))


def _lane_values(snapshot: Mapping[str, Any], metric: str) -> list[float]:
    """One metric per lane; NaN where the lane has none."""
    cells = [(lane["metrics"] or {}).get(metric) for lane in snapshot["lanes"]]
    return [float("nan") if cell is None or cell["value"] is None else float(cell["value"]) for cell in cells]


def _differs(entry: Entry, reference: Entry) -> list[str]:
    """In what a variant's scores differ from the baseline's, so that they cannot stand beside them; empty where they can."""
    if entry.run["fingerprint"] != entry.scores["fingerprint"] or entry.run["fingerprint"] != entry.diagnosis["fingerprint"]:
        return ["training"]
    pairs: dict[str, Any] = {
        "features": lambda e: e.scores["features"]["digest"],
        "samples": lambda e: e.scores["samples"],
        "primary": lambda e: e.scores["primary"],
        "data": lambda e: e.run["data"]["digest"],
        "seeds": lambda e: e.run["seeds"],
        "last_snapshot": lambda e: e.steps[-1],
    }
    return [what for what, of in pairs.items() if of(entry) != of(reference)]


def _reason(different: Sequence[str], reference: str) -> str:
    if different == ["training"]:
        return "its run, scores and diagnosis are of different trainings"
    return f"another {', another '.join(DIFFERENT[what] for what in different)} than {reference}"


def _comparison(config: Config, entries: Sequence[Entry], baseline: Entry) -> dict[str, Any]:
    primary, alpha = config.compare.primary, config.compare.alpha
    higher = baseline.scores["metrics"][primary]["better"] == "higher"
    finals = np.stack([entry.final for entry in entries], axis=1)  # [n, K]
    test = ranks.friedman(-finals if higher else finals, alpha)
    chances = ranks.best_chances(-finals if higher else finals, 1 - alpha)
    floor = (baseline.scores["floors"].get(primary) or {}).get("value")
    rows = [
        _row(entry, alpha, floor, higher) | {"mean_rank": float(test.mean_ranks[k]), "best_chance": chances and chances[k]._asdict()}
        for k, entry in enumerate(entries)
    ]
    others = {entry.name: entry.final for entry in entries if entry is not baseline}
    pairs = against_baseline(others, baseline.final, baseline.name, alpha, higher)
    model = baseline.scores.get("baseline")
    return {
        "primary": primary,
        "better": "higher" if higher else "lower",
        "baseline": baseline.name,
        "features": baseline.scores["features"]["digest"],
        "seeds": list(baseline.run["seeds"]),
        "alpha": alpha,
        "seeds_needed": paired.seeds_needed(alpha),
        "ranking": _ranked(rows, higher),
        "paired": pairs,
        "ranks": _groups(test, entries),
        "views": {"steps": _step_view(entries, higher), "compute": _compute_view(entries, higher)},
        "floors": {name: cell["value"] for name, cell in baseline.scores["floors"].items()},
        "baseline_model": model and {"name": model["name"], primary: model["metrics"].get(primary)},
        "notes": _notes(rows, pairs, chances is None, len(finals)),
    }


def _row(entry: Entry, alpha: float, floor: float | None, higher: bool) -> dict[str, Any]:
    """One variant's summary; a failed lane counts as worst in every median and is left out of `mean` alone, which then says so."""
    alive = entry.final[np.isfinite(entry.final)]
    failed = len(entry.final) - len(alive)
    mean = intervals.geometric(alive, 1 - alpha) if len(alive) > 1 and alive.min() > 0 else None
    median = _median(entry.final, higher)
    areas = [trajectory.level(entry.steps, lane) for lane in entry.values.T]
    return {
        "variant": entry.name,
        "verdict": entry.diagnosis["verdict"],
        "doubt": entry.diagnosis["doubt"],
        "counts": entry.diagnosis["counts"],
        "median": median,
        "mean": mean and mean.value,
        "low": mean and mean.low,
        "high": mean and mean.high,
        "survivors_only": failed > 0,
        "best": _median(np.array(_best_values(entry), np.float64), higher),
        "final": median,
        "area": _median(np.array(areas, np.float64), higher),
        "failed": failed,
        "lanes": len(entry.final),
        "failure_rate": intervals.wilson(failed, len(entry.final), 1 - alpha)._asdict(),
        "per_lane": [_number(value) for value in entry.final],
        "flops": entry.flops,
        "floor_ratio": median / floor if median is not None and floor else None,
    } | {name: _secondary(entry, name, higher=True) for name in ("precision", "recall", "coverage", "modes")}


def _best_values(entry: Entry) -> list[float]:
    """Per lane, the test score at the snapshot that validation chose; NaN where none was."""
    chosen = [entry.scores["best_step"][str(seed)] for seed in entry.run["seeds"]]
    return [float(entry.values[entry.steps.index(step), lane]) if step in entry.steps else float("nan") for lane, step in enumerate(chosen)]


def _secondary(entry: Entry, metric: str, higher: bool) -> float | None:
    """Median of another metric at the last snapshot; None where it is not measured."""
    last = next(e for e in entry.scores["snapshots"] if (e["step"], e["generator"], e["part"]) == (entry.steps[-1], "ema", "test"))
    return _median(np.array(_lane_values(last, metric), np.float64), higher)


def _median(values: np.ndarray, higher: bool) -> float | None:
    median = ranks.median_with_failures(-values if higher else values)
    return -median if higher and median is not None else median


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ranked(rows: Sequence[dict[str, Any]], higher: bool) -> list[dict[str, Any]]:
    """Rows by mean rank, then median (none last), then name."""
    ordered = sorted(rows, key=lambda row: (row["mean_rank"], _order(row["median"], higher), row["variant"]))
    return [{"rank": rank} | row for rank, row in enumerate(ordered, 1)]


def _order(median: float | None, higher: bool) -> float:
    """A sort key: smaller is better, a missing median is worst."""
    if median is None:
        return float("inf")
    return -median if higher else median


def _groups(test: ranks.Friedman, entries: Sequence[Entry]) -> dict[str, Any]:
    """Friedman's test, the critical difference and the groups of variants that it does not tell apart."""
    found = ranks.cliques(test.mean_ranks, test.critical_difference) if test.critical_difference is not None else []
    groups = [[entries[k].name for k in group] for group in found]
    return {"friedman_p": test.p, "critical_difference": test.critical_difference, "groups": groups}


def _step_view(entries: Sequence[Entry], higher: bool) -> list[dict[str, Any]]:
    """Medians after equal numbers of generator steps, at every snapshot that all variants have."""
    shared = sorted(set.intersection(*(set(entry.steps) for entry in entries)))
    return [
        {"step": step, "medians": {entry.name: _median(entry.values[entry.steps.index(step)], higher) for entry in entries}}
        for step in shared
    ]


def _compute_view(entries: Sequence[Entry], higher: bool) -> dict[str, Any]:
    """Medians at equal counted FLOPs: each variant's last snapshot within the cheapest variant's whole cost."""
    budget = min(entry.flops for entry in entries)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        index = trajectory.affordable(entry.steps, entry.flops / entry.run["steps"], budget)
        median = None if index is None else _median(entry.values[index], higher)
        rows.append({"variant": entry.name, "step": None if index is None else entry.steps[index], "median": median})
    rows.sort(key=lambda row: (_order(row["median"], higher), row["variant"]))
    return {"budget": budget, "ranking": [{"rank": rank} | row for rank, row in enumerate(rows, 1)]}


def _notes(rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]], few: bool, n: int) -> list[dict[str, str]]:
    """What a reader has to know before trusting the numbers."""
    applies = {
        "not_testable": any(pair["conclusion"] == "not_testable" for pair in pairs),
        "survivors": any(row["survivors_only"] for row in rows),
        "no_best_chance": few,
        "friedman_approximate": n <= 10 or len(rows) <= 5,
    }
    return [{"name": name, "text": NOTES[name]} for name, holds in applies.items() if holds]


def _table(ranking: Sequence[Mapping[str, Any]]) -> str:
    """compare.csv: one row a variant in ranked order, an empty field where a value does not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(PLOTTED)
    writer.writerows([["" if row[key] is None else row[key] for key in PLOTTED] for row in ranking])
    return text.getvalue()
