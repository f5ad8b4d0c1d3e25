"""`seesaw compare --sensitivity`: do the best variants keep their order at other learning rates and in a second feature space?

The best variants of results/comparison.json and the baseline are trained again with both players' learning rates halved and doubled, on
the same seeds, in side projects (`.seesaw/side/sensitivity/`); those runs and the existing ones are judged in two spaces. results/ is
read and never written. What came out is `.seesaw/side/sensitivity/sensitivity.json` and a table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError
from stages.game import spec
from stages.measure import paired, stability
from stages.measure.pairs import against_baseline
from stages.measure.ranks import median_with_failures
from stages.measure.stability import Swap
from stages.store import arrays, layout, side
from stages.store.config import Config
from stages.store.files import read_json, write_json
from stages.store.scratch import held

FACTORS = (1.0, 0.5, 2.0)  # of both players' learning rates; the declared ones first
PREPARED = ("train", "validation", "test")


@dataclass(frozen=True)
class Condition:
    """One way to ask: learning rates times `factor`, judged in `space` by `metric`; `[n, K]` scores."""

    factor: float
    space: str
    metric: str
    values: np.ndarray

    @property
    def name(self) -> str:
        """As the table says it."""
        return f"rates x{self.factor:g}, {self.metric} in {self.space}"


def sensitivity(config: Config, root: Path, top: int = 3) -> dict[str, Any]:
    """Train, judge and print; the content of sensitivity.json. SeesawError where results are missing or of other settings."""
    if top < 2:
        raise SeesawError(f"--top {top}: an order needs at least 2 variants")
    comparison = read_json(root / layout.COMPARISON, "run `dvc repro`")
    names = chosen(comparison, top)
    for name in names:
        _same_settings(config, name, root)
    print(estimate(names, root), flush=True)
    place = side.folder(root, "sensitivity")
    with side.stoppable(f"seesaw compare --sensitivity --top {top}"), held(place, "the sensitivity check"):
        conditions = [one for factor in FACTORS for one in _judged(config, names, factor, root)]
        found = summary(names, comparison, conditions)
        write_json(place / "sensitivity.json", found)
    print(table(found))
    return found


def chosen(comparison: Mapping[str, Any], top: int) -> list[str]:
    """The best variants in ranked order, and the baseline where it is not among them."""
    names = [row["variant"] for row in comparison["ranking"]]
    if len(names) < 2:
        raise SeesawError("the comparison ranks one variant: an order needs at least 2")
    kept = names[:top]
    return kept if comparison["baseline"] in kept else [*kept, comparison["baseline"]]


def _same_settings(config: Config, name: str, root: Path) -> None:
    """SeesawError where the existing run is not of params.yaml and the prepared data: it could not stand beside new ones."""
    run = read_json(root / layout.run(name), f"run `dvc repro train@{name}`")
    shared = all(
        run["config"].get(key) == getattr(config.train, key) for key in ("seeds", "first_seed", "steps", "batch", "latent", "snapshots")
    )
    same = spec.variant(run["config"]) == replace(config.variant(name), tuned=None)
    if not (shared and same and run["data"]["digest"] == arrays.read_card(root)["digest"]):
        raise SeesawError(f"results/ holds {name} of other settings or data than params.yaml: run `dvc repro` first")


def estimate(names: Sequence[str], root: Path) -> str:
    """What is about to be done and how long its trainings took when they were last run here."""
    seconds = sum(read_json(root / layout.executions(name), f"run `dvc repro train@{name}`")["seconds"] for name in names)
    again = len(FACTORS) - 1
    minutes = seconds * again / 60
    return (
        f"{', '.join(names)}: {len(names) * again} trainings, about {minutes:.1f} min by the times of results/executions, "
        "and judging; what is done already is not done again"
    )


def _judged(config: Config, names: Sequence[str], factor: float, root: Path) -> list[Condition]:
    """The conditions of one factor: its runs judged in the space of the results, then in the second one."""
    place = root if factor == 1.0 else _retrained(config, names, factor, root)
    card = arrays.read_card(root)
    space, metric = card["features"]["name"], config.compare.primary
    first = Condition(factor, space, metric, _finals(place, names, metric))
    if card["kind"] == "vector":
        return [first, Condition(factor, space, "sliced_wasserstein", _finals(place, names, "sliced_wasserstein"))]
    second = _second_space(config, names, factor, place, root)
    return [first, Condition(factor, second_name(card), metric, _finals(second, names, metric))]


def second_name(card: Mapping[str, Any]) -> str:
    """What the second space of images is called: a seeded random network, another one where the first is such a network."""
    return f"random (seed {_second_seed(card)})"


def _second_seed(card: Mapping[str, Any]) -> int:
    return int(card["features"]["seed"]) + (1 if card["features"]["name"] == "random" else 0)


def _retrained(config: Config, names: Sequence[str], factor: float, root: Path) -> Path:
    """A side project in which these variants were trained and judged at other rates."""
    place = side.folder(root, "sensitivity", f"rates-x{factor:g}")
    side.lay(root, place, _params(config, names, factor, root), _prepared(root))
    for name in names:
        for node in ("train", "evaluate"):
            side.ensure(place, node, name)
    return place


def _params(config: Config, names: Sequence[str], factor: float, root: Path) -> dict[str, Any]:
    """params.yaml with these variants alone, their learning rates times `factor`."""
    params = side.params_of(root)
    entries = {name: dict(params["variants"][name]) for name in names}
    for name, entry in entries.items():
        rules = config.variant(name).rules
        rates = {key: getattr(rules, key) * factor for key in ("generator_lr", "discriminator_lr")}
        entry["rules"] = {**entry.get("rules", {}), **rates}
        entry.pop("tuned", None)
    return {**params, "variants": entries, "compare": {**params.get("compare", {}), "baseline": names[0]}}


def _prepared(root: Path) -> list[Path]:
    return sorted(path for path in (root / layout.PREPARED).iterdir() if path.is_file() and not path.name.startswith("."))


def _second_space(config: Config, names: Sequence[str], factor: float, trained: Path, root: Path) -> Path:
    """A side project that judges the runs of `trained` in the second feature space."""
    place = side.folder(root, "sensitivity", f"rates-x{factor:g}-second")
    own = _pinned(root, side.folder(root, "sensitivity", "second"))
    replaced = {path.name for path in own}
    data = [path for path in _prepared(root) if path.name not in {*replaced, "features.safetensors"}] + own
    side.lay(root, place, _params(config, names, 1.0, root), data)
    for name in names:
        for path in (layout.run(name), layout.snapshots(name)):
            side.link(trained / path, place / path)
        side.ensure(place, "evaluate", name)
    return place


def _pinned(root: Path, folder: Path) -> list[Path]:
    """card.json and features.safetensors of the second space, made from the same arrays."""
    from stages.measure import features  # torch takes seconds to import
    from stages.store import snapshots

    card = arrays.read_card(root)
    train, test = (arrays.part(part, root) for part in ("train", "test"))
    tensors, entry = features.pin("random", card["kind"], train, None, test, None, 0, _second_seed(card))
    snapshots.write(folder / "features.safetensors", tensors)
    write_json(folder / layout.CARD.name, {**card, "features": entry})
    return [folder / "features.safetensors", folder / layout.CARD.name]


def _finals(place: Path, names: Sequence[str], metric: str) -> np.ndarray:
    """The metric at the last snapshot (EMA generator, test part) as `[n, K]`; NaN where a lane has none."""
    columns = []
    for name in names:
        remedy = f"run `dvc repro evaluate@{name}`"
        scores, run = read_json(place / layout.scores(name), remedy), read_json(place / layout.run(name), remedy)
        if scores["fingerprint"] != run["fingerprint"]:
            raise SeesawError(f"{layout.scores(name)} judges another training than {layout.run(name)}: {remedy}")
        tests = [entry for entry in scores["snapshots"] if (entry["generator"], entry["part"]) == ("ema", "test")]
        last = max(tests, key=lambda entry: entry["step"])
        cells = [(lane["metrics"] or {}).get(metric) for lane in last["lanes"]]
        columns.append([np.nan if cell is None or cell["value"] is None else cell["value"] for cell in cells])
    return np.array(columns, np.float64).T


def summary(names: Sequence[str], comparison: Mapping[str, Any], conditions: Sequence[Condition]) -> dict[str, Any]:
    """sensitivity.json: every condition's order and conclusions against the baseline, every swap, and the verdict."""
    alpha, baseline = comparison["alpha"], list(names).index(comparison["baseline"])
    found = stability.swaps([one.values for one in conditions], alpha)
    return {
        "variants": list(names),
        "baseline": comparison["baseline"],
        "alpha": alpha,
        "seeds": comparison["seeds"],
        "seeds_needed": paired.seeds_needed(alpha),
        "conditions": [_condition(one, names, baseline, alpha) for one in conditions],
        "swaps": [_swap(swap, names, conditions) for swap in found],
        "verdict": stability.verdict(found),
        "text": sentence(found, names, conditions, comparison),
    }


def _condition(one: Condition, names: Sequence[str], baseline: int, alpha: float) -> dict[str, Any]:
    order = stability.mean_ranks(one.values)
    others = {name: one.values[:, k] for k, name in enumerate(names) if k != baseline}
    pairs = against_baseline(others, one.values[:, baseline], names[baseline], alpha, higher=False)
    conclusions = {pair["variant"]: pair for pair in pairs}
    rows = []
    for k in sorted(range(len(names)), key=lambda k: (order[k], k)):
        column = one.values[:, k]
        rows.append(
            {
                "variant": names[k],
                "rank": 1 + int((order < order[k]).sum()),
                "mean_rank": float(order[k]),
                "median": median_with_failures(column),
                "failed": int(np.isnan(column).sum()),
                "per_lane": [None if np.isnan(value) else float(value) for value in column],
                "against_baseline": conclusions.get(names[k]),
            }
        )
    return {"name": one.name, "rates": one.factor, "space": one.space, "metric": one.metric, "rows": rows}


def _swap(swap: Swap, names: Sequence[str], conditions: Sequence[Condition]) -> dict[str, Any]:
    return {"before": names[swap.before], "after": names[swap.after], "condition": conditions[swap.condition].name, "kind": swap.kind}


def sentence(found: Sequence[Swap], names: Sequence[str], conditions: Sequence[Condition], comparison: Mapping[str, Any]) -> str:
    """The verdict in words, with every swap that bears on it."""

    def listed(kind: str) -> str:
        swaps = [swap for swap in found if swap.kind == kind]
        return "; ".join(f"{names[swap.before]} and {names[swap.after]} under {conditions[swap.condition].name}" for swap in swaps)

    if not found:
        return f"ranking stable: the order is the same under all {len(conditions)} conditions"
    aside = listed(stability.NOT_SEPARATED)
    loose = f"; swaps that the paired test does not separate: {aside}" if aside else ""
    word = stability.verdict(found)
    if word == "unstable":
        return f"ranking not stable: {listed(stability.CHANGED)} change places{loose}"
    if word == "not_testable":
        n, needed = len(comparison["seeds"]), paired.seeds_needed(comparison["alpha"])
        return f"stability not testable with {n} seeds, at least {needed} needed; places change: {listed(stability.NOT_TESTABLE)}{loose}"
    return f"ranking stable: nothing that the paired test separates changes places{loose}"


def table(found: Mapping[str, Any]) -> str:
    """Rank, median and conclusion of every variant under every condition, as text."""
    rows = [("condition", "rank", "variant", "mean rank", "median", "failed", "against the baseline")]
    for one in found["conditions"]:
        for index, row in enumerate(one["rows"]):
            test = row["against_baseline"]
            said = "baseline" if test is None else f"{test['conclusion'].replace('_', ' ')} (p {test['p_adjusted']:.3g})"
            median = "-" if row["median"] is None else f"{row['median']:.4g}"
            name = one["name"] if index == 0 else ""
            rows.append(
                (name, str(row["rank"]), row["variant"], f"{row['mean_rank']:.2f}", median, f"{row['failed']}/{len(row['per_lane'])}", said)
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", lines[0], "-" * max(map(len, lines)), *lines[1:], "", found["text"], ""])
