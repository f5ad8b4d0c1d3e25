"""What is forked, where, and into which branches: decided from the command line, the run and its diagnosis, before any work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.game import spec
from stages.measure.remedies import REMEDIES, Remedy, applied, chosen, command
from stages.store import arrays, layout, places
from stages.store.config import Config, listing, nearest, parse, read_yaml
from stages.store.files import read_json

NOTHING = "change_nothing"
STREAMS = 4
STREAM_SEED = 10_000_019  # apart from one another, and from any seed of a run
SHARE = 0.4  # of the run's steps: the horizon
BUDGET = 2.4e12  # floating-point operations of all branches: one to two minutes on two cores, counted so that no clock decides
FEWEST = 3  # remedies tried however long they take


@dataclass(frozen=True)
class Asked:
    """What the command line said; None where it left the choice."""

    seed: int | None = None
    step: int | None = None
    names: tuple[str, ...] = ()
    horizon: int | None = None


@dataclass(frozen=True)
class Branch:
    """One branch to be played."""

    name: str
    why: str
    changes: Mapping[str, Any]
    variant: spec.Variant
    command: str | None


@dataclass(frozen=True)
class Plan:
    """Everything read and decided before any work."""

    root: Path
    config: Config
    run: Mapping[str, Any]
    diagnosis: Mapping[str, Any]
    lane: int
    step: int
    horizon: int
    branches: tuple[Branch, ...]
    unforkable: tuple[dict[str, str], ...]
    left_out: tuple[str, ...]

    @property
    def seed(self) -> int:
        """The lane's."""
        return int(self.run["seeds"][self.lane])

    @property
    def verdict(self) -> str:
        """The lane's, at the end of its run."""
        return str(self.diagnosis["lanes"][self.lane]["verdict"])

    @property
    def streams(self) -> list[int]:
        """Seeds of the noise streams, the lane's own first."""
        return [self.seed + STREAM_SEED * index for index in range(STREAMS)]

    @property
    def place(self) -> Path:
        """Where the outcome lies."""
        return places.remedies(self.root) / f"{self.run['variant']}-seed{self.seed}-step{self.step}"


def make_plan(config: Config, variant: str, root: Path, asked: Asked) -> Plan:
    """What is forked, where, and into what; SeesawError with one line where it cannot be."""
    settled = config.variant(variant)
    run = read_json(root / layout.run(variant), f"run `dvc repro train@{variant}`")
    diagnosis = read_json(root / layout.diagnostics(variant), f"run `dvc repro diagnose@{variant}`")
    _check_current(config, settled, run, diagnosis, root)
    lane = _lane(run, diagnosis, asked.seed)
    raw = read_yaml(root / "params.yaml")
    setting = _setting(run, diagnosis, lane)
    tried = _named(asked.names, setting, variant, raw) if asked.names else _proposed(diagnosis, lane, setting, variant)
    forkable = [one for one in tried if not one.unforkable]
    horizon, count = _extent(run, len(forkable), asked)
    step = _step(run, settled.rules, lane, horizon, asked.step, root)
    written = raw["variants"][variant]
    lines = [{"name": one.name, "why": one.unforkable, "command": command(one.changes(setting), variant, written)} for one in tried]
    branches = [_branch(one, setting, variant, raw) for one in forkable[:count]]
    nothing = Branch(NOTHING, "the game goes on as it was", {}, settled, None)
    return Plan(
        root=root.resolve(),
        config=config,
        run=run,
        diagnosis=diagnosis,
        lane=lane,
        step=step,
        horizon=horizon,
        branches=(nothing, *branches),
        unforkable=tuple(line for line in lines if line["why"]),
        left_out=tuple(one.name for one in forkable[count:]),
    )


def _check_current(config: Config, settled: spec.Variant, run: Mapping[str, Any], diagnosis: Mapping[str, Any], root: Path) -> None:
    """Run, diagnosis, params.yaml and data are of one another."""
    name, train = settled.name, config.train
    shared = {key: getattr(train, key) for key in ("steps", "batch", "latent")}
    if spec.variant(run["config"]) != settled or any(run["config"][key] != value for key, value in shared.items()):
        raise SeesawError(f"{name} was trained with other settings than params.yaml holds: run `dvc repro diagnose@{name}`")
    if run["data"]["digest"] != arrays.read_card(root)["digest"]:
        raise SeesawError(f"{name} was trained on other data than {layout.PREPARED} holds: run `dvc repro diagnose@{name}`")
    if diagnosis["fingerprint"] != run["fingerprint"]:
        raise SeesawError(f"the diagnosis of {name} is of another run: run `dvc repro diagnose@{name}`")


def _lane(run: Mapping[str, Any], diagnosis: Mapping[str, Any], seed: int | None) -> int:
    """The lane of that seed, or the first one whose verdict is the variant's."""
    if seed is None:
        return next((i for i, lane in enumerate(diagnosis["lanes"]) if lane["verdict"] == diagnosis["verdict"]), 0)
    if seed not in run["seeds"]:
        raise SeesawError(f"{run['variant']} has no seed {seed}: it was trained with {listing(run['seeds'])}")
    return list(run["seeds"]).index(seed)


def _setting(run: Mapping[str, Any], diagnosis: Mapping[str, Any], lane: int) -> dict[str, Any]:
    """What remedies are chosen by: the resolved variant, the data's shape, the step of the lane's best snapshot."""
    quality = diagnosis["story"]["quality"]
    seen = [(value, step) for value, step in zip(quality["lanes"][lane], quality["steps"], strict=True) if value is not None and step > 0]
    return {**run["config"], "shape": tuple(run["data"]["shape"]), "best_step": min(seen)[1] if seen else None}


def _proposed(diagnosis: Mapping[str, Any], lane: int, setting: Mapping[str, Any], variant: str) -> list[Remedy]:
    """The remedies that answer the lane's verdict and flags, in the table's order."""
    own = diagnosis["lanes"][lane]
    found = chosen((own["verdict"], *own["flags"]), setting)
    if not any(not one.unforkable for one in found):
        raise SeesawError(
            f"{variant}, seed {own['seed']}, is {own['verdict']}: no remedy is proposed that a stored game can go on with; "
            f"--try NAME tries one of {listing(_fitting(setting))}"
        )
    return found


def _fitting(setting: Mapping[str, Any]) -> list[str]:
    """Names of all remedies that fit and can be forked."""
    return [one.name for one in REMEDIES if one.fits(setting) and not one.unforkable]


def _named(names: Sequence[str], setting: Mapping[str, Any], variant: str, raw: Mapping[str, Any]) -> list[Remedy]:
    """The remedies of these names; SeesawError for one that is unknown, does not fit or cannot be forked."""
    known = {one.name: one for one in REMEDIES}
    for name in names:
        if name not in known:
            raise SeesawError(f"unknown remedy {name!r}: {variant} can try {listing(_fitting(setting))}{nearest(name, known)}")
        one = known[name]
        if not one.fits(setting):
            raise SeesawError(
                f"remedy {name} does not fit {variant} (it is there already, or its parts forbid it): try {listing(_fitting(setting))}"
            )
        if one.unforkable:
            line = command(one.changes(setting), variant, raw["variants"][variant])
            raise SeesawError(f"remedy {name} cannot be forked ({one.unforkable}): train it anew with `{line}`")
    return [known[name] for name in dict.fromkeys(names)]


def _extent(run: Mapping[str, Any], remedies: int, asked: Asked) -> tuple[int, int]:
    """Horizon and number of remedies within the budget: fewer remedies first, then fewer steps; what was asked for is done."""
    if asked.horizon is not None and asked.horizon < 1:
        raise SeesawError(f"--steps is {asked.horizon}: at least 1 is needed")
    cost = STREAMS * float(run["cost"]["flops_per_step"])
    horizon = asked.horizon or max(1, round(SHARE * run["steps"]))
    count = remedies if asked.names else min(remedies, max(FEWEST, int(BUDGET / (cost * horizon)) - 1))
    if asked.horizon is None:
        horizon = max(1, min(horizon, int(BUDGET / (cost * (count + 1)))))
    return horizon, count


def _step(run: Mapping[str, Any], rules: spec.Rules, lane: int, horizon: int, step: int | None, root: Path) -> int:
    """The snapshot to fork: the one asked for, or the last from which the lane can go on for the whole horizon."""
    name, fate = run["variant"], run["lanes"][lane]
    stored = [at for at in run["snapshots"] if (root / layout.continuation(name, at)).is_file()]
    if not stored:
        raise SeesawError(f"{name} has no stored game to go on from: run `dvc repro -f train@{name}`")
    alive = [at for at in stored if fate["status"] == "finished" or at < fate["step"]]
    timed = [at for at in alive if rules.schedule == "constant" or at + horizon <= run["steps"]]
    if step is None and timed:
        return int(timed[-1])
    if step is not None and step not in stored:
        raise SeesawError(f"{name} has no snapshot at step {step}: there are {listing(stored)}")
    if step is not None and step not in alive:
        raise SeesawError(f"seed {fate['seed']} of {name} was not finite from step {fate['step']} on: fork it at {listing(alive)}")
    if step is None or step not in timed:
        most = run["steps"] - (alive[0] if step is None else step)
        raise SeesawError(f"the {rules.schedule} schedule of {name} ends at step {run['steps']}: --steps of at most {most} is needed")
    return step


def _branch(one: Remedy, setting: Mapping[str, Any], variant: str, raw: Mapping[str, Any]) -> Branch:
    changes = one.changes(setting)
    changed = parse(applied(changes, variant, raw)).variant(variant)
    return Branch(one.name, one.why, changes, changed, command(changes, variant, raw["variants"][variant]))
