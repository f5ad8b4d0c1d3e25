"""`seesaw tune`: every variant gets the same number of trials, the same counted compute a trial and the same tuning seeds.

A trial trains the variant in a side project (`.seesaw/side/tune-v/`) that holds no test part; its score is the median over the tuning
seeds of the final validation score. The study is `.seesaw/tune/v.json`, a function of params.yaml, data and code; results/ is not touched.
"""

import copy
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError
from stages.measure import ranges
from stages.measure.ranges import Range, Values
from stages.measure.ranks import median_with_failures
from stages.measure.remedies import command
from stages.store import arrays, identity, layout, places, side, study
from stages.store.config import Config, parse
from stages.store.files import read_json, sha256_json, write_json
from stages.store.scratch import held

FIRST_SEED = 1000  # tuning seeds begin here, or after the reported ones where those reach further
FEWEST_SEEDS = 3
PARTS = ("train", "validation")  # never the test part
SCORING = tuple(
    f"stages/{name}.py" for name in ("game/restore", "measure/features", "measure/frechet", "measure/ranges", "objective", "store/study")
)


@dataclass(frozen=True)
class Plan:
    """What is equal for every variant of a tuning."""

    root: Path
    trials: int
    seeds: list[int]
    budget: float  # counted FLOPs of a lane and trial
    again: str  # the command that goes on


def tune(config: Config, names: Sequence[str], root: Path, trials: int, seeds: int, steps: int | None = None) -> list[dict[str, Any]]:
    """Tune these variants (all, where none is named), print the table and the command that adopts it; the studies.

    `steps` is what a trial of the cheapest variant of params.yaml takes (`train.steps` by default): its FLOPs are every trial's budget.
    """
    chosen = [config.variant(name).name for name in names] or list(config.variants)
    if trials < 1 or seeds < FEWEST_SEEDS:
        raise SeesawError(f"--trials {trials} --seeds {seeds}: at least 1 trial and {FEWEST_SEEDS} seeds are needed")
    plan = make_plan(config, root, trials, seeds, config.train.steps if steps is None else steps, names)
    print(
        f"{len(chosen)} variants x {trials} trials x {seeds} seeds ({plan.seeds[0]}..{plan.seeds[-1]}), {plan.budget:.4g} FLOPs a lane each"
    )
    done = []
    for name in chosen:
        with side.stoppable(plan.again), held(side.folder(root, f"tune-{name}"), f"the study of {name}"):
            done.append(run_study(config, name, plan))
    print(table(done))
    print(f"\nto adopt the values, with the note that says so:\n\n    {adoption(config, done, side.params_of(root))}\n")
    return done


def make_plan(config: Config, root: Path, trials: int, seeds: int, steps: int, names: Sequence[str] = ()) -> Plan:
    """Seeds beyond the reported ones, and the budget: `steps` of the cheapest of *all* variants, so that it is the same for any choice."""
    if steps < 1:
        raise SeesawError(f"--steps {steps}: at least 1 is needed")
    first = max(FIRST_SEED, config.train.first_seed + config.train.seeds)
    cheapest = min(_cost(config, name, {}, root)[0] for name in config.variants)
    again = shlex.join(["seesaw", "tune", *names, "--trials", str(trials), "--seeds", str(seeds), "--steps", str(steps)])
    return Plan(root, trials, list(range(first, first + seeds)), cheapest * steps, again)


def run_study(config: Config, name: str, plan: Plan) -> dict[str, Any]:
    """A variant's study, from where it stands to all its trials; the first trial is the variant as it is written."""
    fitting = ranges.fitting(asdict(config.variant(name)))
    path, settings = place_of(plan.root, name), _settings(config, name, plan, fitting)
    trials = _kept(path, settings)
    for number in range(len(trials), plan.trials):
        trials.append(_trial(config, name, plan, number, _values(config, name, fitting, trials)))
        write_json(path, {"variant": name, "settings": settings, "trials": trials})
        print(_line(name, trials[-1]), flush=True)
    whole: dict[str, Any] = {"variant": name, "settings": settings, "trials": trials[: plan.trials]}
    return whole | {"best": best(whole["trials"]), "digest": "s" + sha256_json(whole)[:12]}


def place_of(root: Path, name: str) -> Path:
    """`.seesaw/tune/v.json` of the main checkout."""
    return places.main_checkout(root) / ".seesaw" / "tune" / f"{name}.json"


def _settings(config: Config, name: str, plan: Plan, fitting: Sequence[Range]) -> dict[str, Any]:
    """Everything that a study's trials depend on; a study of other settings is begun anew."""
    variant = config.variant(name)
    names = {"key": name, **{f"item.{kind}.name": getattr(variant, kind).name for kind in ("loss", "penalty", "constraint")}}
    code = identity.code_digests(plan.root, [*identity.declared_code(plan.root, "train", names), *SCORING])
    entry = {key: value for key, value in asdict(variant).items() if key != "tuned"}
    shared = {key: getattr(config.train, key) for key in ("batch", "latent", "lanes_per_group")}
    return {
        "seeds": plan.seeds,
        "budget": plan.budget,
        "ranges": [_bounds(one) for one in fitting],
        "metric": config.compare.primary,
        "part": "validation",
        "inputs": sha256_json(
            {"entry": entry, "shared": shared, "evaluate": asdict(config.evaluate), "code": code, "card": arrays.read_card(plan.root)}
        ),
    }


def _bounds(one: Range) -> dict[str, Any]:
    return {"key": one.key} | ({"choices": list(one.choices)} if one.choices else {"low": one.low, "high": one.high})


def _kept(path: Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The finished trials of a study of the same settings."""
    if not path.exists():
        return []
    known = read_json(path, f"remove {path}")
    if known["settings"] == settings:
        return list(known["trials"])
    print(f"{known['variant']}: data, code or settings are not those of the study in {path.name}; it is begun anew")
    return []


def _values(config: Config, name: str, fitting: list[Range], finished: Sequence[Mapping[str, Any]]) -> Values:
    """What the next trial tries, by key: first the variant as it is written, then the sampler's choice."""
    if finished:
        tried = [study.Tried(trial["values"], trial["score"]) for trial in finished]
        values = study.suggest(fitting, tried, _seed(name, len(finished)))
    else:
        values = ranges.present(asdict(config.variant(name)), fitting)
    return dict(sorted(values.items()))


def _seed(name: str, number: int) -> int:
    """The sampler's seed of one trial of one variant."""
    return int.from_bytes(hashlib.sha256(f"tune/{name}/{number}".encode()).digest()[:4], "little")


def changed(entry: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """A variant's entry in params.yaml with other values."""
    new = copy.deepcopy(dict(entry))
    new.pop("tuned", None)
    for key, value in values.items():
        section, word = key.split(".")
        new[section] = {**new.get(section, {}), word: value}
    return new


def _cost(config: Config, name: str, values: Values, root: Path) -> tuple[float, dict[str, Any]]:
    """Counted FLOPs of a generator step with these values, and the entry that has them."""
    from stages import objective  # torch takes seconds to import

    params = side.params_of(root)
    entry = changed(params["variants"][name], values)
    variant = parse({**params, "variants": {**params["variants"], name: entry}}).variant(name)
    return objective.flops_per_step(config, variant, tuple(arrays.read_card(root)["shape"])), entry


def steps_within(budget: float, cost: float) -> int:
    """The most generator steps that the budget pays: never over it, and short of it by less than one step."""
    return int(budget // cost)


def _trial(config: Config, name: str, plan: Plan, number: int, values: Values) -> dict[str, Any]:
    """Train and score one choice of values."""
    from stages import objective

    cost, entry = _cost(config, name, values, plan.root)
    steps = steps_within(plan.budget, cost)
    if steps < 1:
        raise SeesawError(f"a trial's budget does not pay one step of {name}: give more --steps")
    place = lay(plan, name, entry, steps)
    side.ensure(place, "train", name, quiet=True)
    scores = objective.validation_scores(name, place)
    return {
        "number": number,
        "values": values,
        "steps": steps,
        "flops_per_step": cost,
        "flops": steps * cost,
        "per_seed": scores,
        "score": score(scores),
    }


def lay(plan: Plan, name: str, entry: Mapping[str, Any], steps: int) -> Path:
    """The side project of a trial: this variant alone, the tuning seeds, one snapshot, and prepared data without the test part."""
    params = side.params_of(plan.root)
    train = params.get("train", {}) | {"seeds": len(plan.seeds), "first_seed": plan.seeds[0]}
    train |= {"steps": steps, "snapshots": 1, "record_every": steps}
    compare = params.get("compare", {}) | {"baseline": name}
    prepared = plan.root / layout.PREPARED
    files = [prepared / layout.CARD.name, prepared / "features.safetensors"]
    files += [prepared / f"{part}{suffix}.npy" for part in PARTS for suffix in ("", "_labels")]
    whole = {**params, "train": train, "compare": compare, "variants": {name: dict(entry)}}
    return side.lay(plan.root, side.folder(plan.root, f"tune-{name}"), whole, [path for path in files if path.exists()])


def score(scores: Sequence[float | None]) -> float | None:
    """The median over seeds in which a failed lane counts as worst; None where it falls on one."""
    return median_with_failures(np.array([np.nan if value is None else value for value in scores], np.float64))


def best(trials: Sequence[Mapping[str, Any]]) -> int:
    """The trial of the lowest score, the earlier one on a tie; the first, where every trial failed."""
    scores = [np.inf if trial["score"] is None else trial["score"] for trial in trials]
    return int(np.argmin(scores))


def adoption(config: Config, studies: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> str:
    """The one `dvc exp run` line that writes every study's values and its note into params.yaml, whose comments stay."""
    words = []
    for one in studies:
        name, values, written = one["variant"], one["trials"][one["best"]]["values"], params["variants"]
        before = ranges.present(asdict(config.variant(name)), ranges.fitting(asdict(config.variant(name))))
        moved = {key: value for key, value in values.items() if value != before[key]}
        variant = parse({**params, "variants": {**written, name: changed(written[name], moved)}}).variant(name)
        note = {"tuned.study": one["digest"], "tuned.trials": len(one["trials"]), "tuned.values": identity.values(variant)}
        words.append(command({**moved, **note}, name, written[name]).removeprefix("dvc exp run "))
    return " ".join(["dvc exp run", *words])


def table(studies: Sequence[Mapping[str, Any]]) -> str:
    """Default against tuned, by variant: validation score, steps a trial and the values chosen."""
    header = ("variant", "default", "tuned", "ratio", "steps", "trials failed", "values")
    rows = [header, *(_row(one) for one in sorted(studies, key=_order))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", lines[0], "-" * len(lines[0]), *lines[1:]])


def _order(one: Mapping[str, Any]) -> tuple[float, str]:
    value = one["trials"][one["best"]]["score"]
    return (np.inf if value is None else value, one["variant"])


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    first, chosen = one["trials"][0], one["trials"][one["best"]]
    both = first["score"] is not None and chosen["score"] is not None and first["score"] > 0
    failed = sum(trial["score"] is None for trial in one["trials"])
    return (
        one["variant"],
        _number(first["score"]),
        _number(chosen["score"]),
        f"{chosen['score'] / first['score']:.2f}" if both else "-",
        str(chosen["steps"]),
        f"{failed}/{len(one['trials'])}",
        "as written" if one["best"] == 0 else _said(chosen["values"]),
    )


def _number(value: float | None) -> str:
    return "failed" if value is None else f"{value:.3g}"


def _said(values: Values) -> str:
    return " ".join(f"{key.split('.')[1]}={value:.3g}" for key, value in values.items())


def _line(name: str, trial: Mapping[str, Any]) -> str:
    return f"{name} {trial['number']}: {_number(trial['score'])} after {trial['steps']} steps  {_said(trial['values'])}"
