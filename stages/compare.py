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
from stages.store import layout
from stages.store.config import Config
from stages.store.files import read_json, write_json, write_text

REMEDY = "run `dvc repro`"
DRAW_SEED = 0  # of random sign flips, drawn only above 14 seeds
NOTES = {
    "not_testable": "too few seeds: some comparisons cannot reach the declared level whatever the scores are",
    "survivors": "means and their intervals are over surviving lanes where a lane failed; ranks and medians count a failed lane as worst",
    "no_best_chance": f"the probability of being best is omitted below {ranks.BEST_SEEDS} seeds",
    "friedman_approximate": "Friedman's p is an approximation at this number of seeds and variants",
}
PLOTTED = ("rank", "variant", "median", "low", "high", "mean", "best", "area", "mean_rank", "failed", "flops")


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
    reasons = {entry.name: _mismatch(entry, baseline) for entry in found}
    if reasons[baseline.name]:
        raise SeesawError(f"the baseline {baseline.name} cannot be compared: {reasons[baseline.name]}; {REMEDY}")
    entries = [entry for entry in found if reasons[entry.name] is None]
    excluded = [{"variant": name, "reason": reason} for name, reason in reasons.items() if reason]
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


def _mismatch(entry: Entry, reference: Entry) -> str | None:
    """Why a variant's scores cannot stand beside the baseline's; None where they can."""
    if entry.run["fingerprint"] != entry.scores["fingerprint"] or entry.run["fingerprint"] != entry.diagnosis["fingerprint"]:
        return "its run, scores and diagnosis are of different trainings"
    pairs: dict[str, Any] = {
        "feature space": lambda e: e.scores["features"]["digest"],
        "number of samples": lambda e: e.scores["samples"],
        "primary metric": lambda e: e.scores["primary"],
        "data": lambda e: e.run["data"]["digest"],
        "seeds": lambda e: e.run["seeds"],
        "last snapshot": lambda e: e.steps[-1],
    }
    different = [what for what, of in pairs.items() if of(entry) != of(reference)]
    return f"another {', another '.join(different)} than {reference.name}" if different else None


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
    pairs = _paired([entry for entry in entries if entry is not baseline], baseline, alpha, higher)
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


def _paired(others: Sequence[Entry], baseline: Entry, alpha: float, higher: bool) -> list[dict[str, Any]]:
    """Every other variant against the baseline, p adjusted over the whole family."""
    if not others:
        return []
    tested = np.stack([_test_differences(entry.final, baseline.final, higher) for entry in others], axis=1)
    result = paired.max_t(tested, np.random.default_rng(DRAW_SEED))
    return [_pair(entry, baseline, alpha, tested[:, k], float(result.p[k]), float(result.smallest[k])) for k, entry in enumerate(others)]


def _test_differences(a: np.ndarray, b: np.ndarray, higher: bool) -> np.ndarray:
    """What the permutation test flips, one number a seed, negative where `a` is better: log-ratios where every lane has a score above 0.

    Otherwise signed ranks: a seed on which one of the two failed is the largest difference of all, one on which both failed is 0.
    """
    sign = -1.0 if higher else 1.0
    if _on_log_scale(a, b):
        return np.asarray(sign * np.log(a / b))
    worst_a, worst_b = np.isnan(a), np.isnan(b)
    gap = np.where(worst_a, np.inf, np.where(worst_b, -np.inf, sign * (a - b)))
    return paired.signed_ranks(np.where(worst_a & worst_b, 0.0, gap))


def _on_log_scale(a: np.ndarray, b: np.ndarray) -> bool:
    both = np.concatenate([a, b])
    return bool(np.isfinite(both).all() and (both > 0).all())


def _pair(entry: Entry, baseline: Entry, alpha: float, tested: np.ndarray, p: float, smallest: float) -> dict[str, Any]:
    both = np.isfinite(entry.final) & np.isfinite(baseline.final) & (entry.final > 0) & (baseline.final > 0)
    logs, base = np.log(entry.final[both]), np.log(baseline.final[both])
    ratio = intervals.student(logs - base, 1 - alpha) if both.sum() > 1 else None
    pair = {
        "variant": entry.name,
        "against": baseline.name,
        "n": len(tested),
        "survivors": int(both.sum()),
        "informative": int((tested != 0).sum()),
        "log_ratio": ratio and ratio.value,
        "low": ratio and ratio.low,
        "high": ratio and ratio.high,
        "test": "log_ratio" if _on_log_scale(entry.final, baseline.final) else "signed_rank",
        "p_adjusted": p,
        "p_smallest": smallest,
        "p_unpaired": paired.welch(logs, base),
        "correlation": paired.correlation(logs, base),
        "conclusion": _conclusion(float(tested.sum()), p, smallest, alpha),
    }
    return pair | {"text": _sentence(pair, alpha)}


def _conclusion(direction: float, p: float, smallest: float, alpha: float) -> str:
    """`not_testable`, `undecided`, `better` or `worse`: never "no difference", which no test here can show."""
    if smallest > alpha:
        return "not_testable"
    if p > alpha:
        return "undecided"
    return "better" if direction < 0 else "worse"


def _sentence(pair: Mapping[str, Any], alpha: float) -> str:
    measured = "no seed pair to measure a ratio on"
    if pair["log_ratio"] is not None:
        middle, low, high = (f"×{np.exp(pair[key]):.3g}" for key in ("log_ratio", "low", "high"))
        left_out = f", survivors of {pair['survivors']} seeds only" if pair["survivors"] < pair["n"] else ""
        measured = f"{middle} ({100 * (1 - alpha):g}% interval {low} to {high}{left_out})"
    if pair["conclusion"] == "not_testable":
        return (
            f"{pair['variant']}: not testable with {pair['informative']} seeds, at least {paired.seeds_needed(alpha)} needed "
            f"(smallest attainable p {pair['p_smallest']:.3g} is above {alpha:g}); measured {measured}"
        )
    word = {"better": "better than", "worse": "worse than", "undecided": "not shown to differ from"}[pair["conclusion"]]
    chance = f"adjusted p {pair['p_adjusted']:.3g} (smallest {pair['p_smallest']:.3g})"
    return f"{pair['variant']} is {word} {pair['against']}: {measured}, {chance}"


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
