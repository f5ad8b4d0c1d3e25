"""`seesaw promote`, `seesaw rollback`: the gate between a result and the champion. Outside the pipeline.

Champion and challenger are judged anew, side by side: on the test part as it is now, in its feature space, on the same noise.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.generators.candidate import candidate
from stages.generators.judging import Setting, lane_draws, noise, prepare_setting
from stages.measure import gate
from stages.measure.classifier import one_thread
from stages.measure.judge import quick
from stages.measure.neighbours import memorisation
from stages.store import champion, layout
from stages.store.config import Config
from stages.store.deployable import Deployable
from stages.store.files import read_json

CODES = {"promoted": 0, "kept": 10, "nothing": 20}
METRICS = (gate.PRIMARY, *gate.SHARES)


@dataclass(frozen=True)
class Decision:
    """What the gate did: `promoted`, `kept` or `nothing` (to compare), and why."""

    outcome: str
    reason: str
    lines: tuple[str, ...] = ()

    @property
    def code(self) -> int:
        """The command's exit code."""
        return CODES[self.outcome]

    def __str__(self) -> str:
        return "\n".join([*self.lines, f"gate     {self.reason}", f"gate={self.outcome}"])


@dataclass(frozen=True)
class Challenger:
    """The best variant's lanes, and the one of median validation score."""

    run: Mapping[str, Any]
    made: Deployable
    lane: int | None
    verdict: str
    floors: Mapping[str, Any]


def promote(config: Config, root: Path) -> Decision:
    """Let the best variant challenge the champion; champion.json is written when it wins, then the registry shows what it says."""
    decision = decide(config, root)
    line = project(root)
    return Decision(decision.outcome, decision.reason, (*decision.lines, *([line] if line else [])))


def rollback(root: Path) -> str:
    """Put the previous champion back; what was done, in lines."""
    restored = champion.roll_back(root)
    told = f"champion {restored['variant']} (lane {restored['lane']}, model {restored['model'][:12]}) is back"
    return "\n".join([told, *filter(None, [project(root)])])


def decide(config: Config, root: Path) -> Decision:
    """The gate itself, without the registry."""
    if not (root / layout.COMPARISON).exists():
        return Decision("nothing", f"{layout.COMPARISON} is missing: run `dvc repro` first")
    found, held = challenger(config, root), champion.kept(root).get("champion")
    name, fingerprint = found.run["variant"], found.run["fingerprint"]
    if held is not None and held.entry["fingerprint"] == fingerprint:
        champion.forget_challenger(root)
        return Decision("nothing", f"{name} is the best variant and the champion already")
    if held is not None and fingerprint in held.entry["rejected"]:
        return Decision("kept", f"{name} was rolled back: it is not promoted again (champion.json, `rejected`)")
    if found.lane is None:
        return Decision("kept", f"the median lane of {name} failed: it cannot be deployed")
    with one_thread(), torch.no_grad():
        setting = prepare_setting(config.evaluate, root)
        judged, scores, lines = judge(config, setting, held, found)
    entry = entry_of(found, found.lane, setting, judged, scores, config)
    if judged.promoted:
        champion.crown(root, entry, found.made)
        return Decision("promoted", f"{name} (lane {found.lane}) is the champion: {judged.reason}", lines)
    champion.keep_challenger(root, entry, found.made)
    return Decision("kept", f"{name} is not promoted: {judged.reason}", lines)


def challenger(config: Config, root: Path) -> Challenger:
    """The first of the comparison's ranking."""
    name = read_json(root / layout.COMPARISON, "run `dvc repro compare`")["ranking"][0]["variant"]
    if name not in config.variants:
        raise SeesawError(f"{layout.COMPARISON} ranks {name} first, and params.yaml has no such variant: run `dvc repro`")
    run, made = candidate(config, name, root)
    diagnosis, scores = (read_json(root / place(name), f"run `dvc repro` ({name})") for place in (layout.diagnostics, layout.scores))
    if diagnosis["fingerprint"] != run["fingerprint"]:
        raise SeesawError(f"{layout.diagnostics(name)} judges another run: run `dvc repro diagnose@{name}`")
    lane = gate.median_lane({seed: one.validation for seed, one in made.lanes.items()})
    return Challenger(run, made, lane, diagnosis["verdict"], scores["floors"])


def judge(
    config: Config, setting: Setting, held: champion.Kept | None, found: Challenger
) -> tuple[gate.Judgement, gate.Scores, tuple[str, ...]]:
    """The judgement, the challenger's scores, and what a reader should know of the comparison."""
    rule = gate.Rule(config.gate.min_effect, config.gate.margin, config.gate.floor_factor, config.compare.alpha)
    scores = measure(setting, found.made)
    floors = {name: (found.floors.get(name) or {}).get("value") for name in METRICS}
    loaded = None if held is None else held.load()
    if held is None or loaded is None:
        return gate.absolute(scores, found.verdict, floors[gate.PRIMARY], rule), scores, ()
    if not comparable(loaded.description, setting.card):
        line = f"champion {held.entry['variant']} makes items of another kind or shape than the data are now: it is not compared"
        return gate.absolute(scores, found.verdict, floors[gate.PRIMARY], rule), scores, (line,)
    judged = gate.against(measure(setting, loaded), scores, floors["memorisation"], rule)
    return judged, scores, tuple(f"guard    {guard.text}" for guard in judged.guards)


def comparable(description: Mapping[str, Any], card: Mapping[str, Any]) -> bool:
    """Whether a generator makes such items as the data are."""
    return (description["kind"], description["shape"]) == (card["kind"], card["shape"])


def measure(setting: Setting, made: Deployable) -> dict[str, np.ndarray]:
    """Every metric of the gate, `[lanes, draws]`; NaN where a lane has no generator or a metric no value."""
    living = [seed for seed, lane in made.lanes.items() if lane.weights is not None]
    programs = [made.program(seed) for seed in living]
    shape = (len(made.lanes), setting.evaluate.draws)
    table = {name: np.full(shape, np.nan) for name in METRICS}
    rows = [list(made.lanes).index(seed) for seed in living]
    rescale = rescaling(made.description, setting.card)

    def network(points: Tensor) -> Tensor:
        return rescale(torch.stack([program(part) for program, part in zip(programs, points, strict=True)]))

    for draw in range(setting.evaluate.draws if living else 0):
        encoded = lane_draws(setting, network, noise(setting, draw, made.description["latent"]), len(living))
        for row, one in zip(rows, encoded, strict=True):
            for name, value in ({} if one is None else values(setting, one)).items():
                table[name][row, draw] = np.nan if value is None else value
    return table


def values(setting: Setting, encoded: Any) -> dict[str, float | None]:
    """The gate's metrics of one lane's draw."""
    judge, found = setting.judge, quick(setting.judge, encoded)
    copied = None if judge.spacing is None else memorisation(judge.train, judge.spacing, encoded.features[: judge.n], judge.space.centre)
    return {name: found.get(name) for name in METRICS} | {"memorisation": copied}


def rescaling(description: Mapping[str, Any], card: Mapping[str, Any]) -> Any:
    """From the scale that a generator was trained in to that of the data now: vectors of `array` and `table` follow their train part."""
    if description.get("kind") != "vector":
        return lambda samples: samples
    here = [torch.tensor(card[name] or [default] * card["shape"][0]) for name, default in (("offset", 0.0), ("scales", 1.0))]
    there = [torch.tensor(description[name]) for name in ("offset", "scales")]
    if all(torch.equal(mine, own) for mine, own in zip(here, there, strict=True)):
        return lambda samples: samples
    return lambda samples: (samples * there[1] + there[0] - here[0]) / here[1]


def entry_of(found: Challenger, lane: int, setting: Setting, judged: gate.Judgement, scores: gate.Scores, config: Config) -> dict[str, Any]:
    """The challenger's entry in champion.json, but for what its files say."""
    interval = None if judged.effect is None else {**asdict(judged.effect), "confidence": 1 - config.compare.alpha}
    return {
        "variant": found.run["variant"],
        "fingerprint": found.run["fingerprint"],
        "lane": lane,
        "step": found.made.lanes[lane].step,
        "data": setting.card["digest"],
        "features": setting.features,
        "verdict": found.verdict,
        "scores": {gate.PRIMARY: gate.median(scores[gate.PRIMARY])} | {name: gate.mean_alive(scores, name) for name in gate.SHARES},
        "interval": interval,
        "guards": [asdict(guard) for guard in judged.guards],
        "reason": judged.reason,
    }


def project(root: Path) -> str | None:
    """Let the registry show what champion.json says; a line where MLflow cannot be reached (champion.json is right all the same)."""
    held = champion.kept(root)
    if not held:
        return None
    from stages.store import tracking, tracking_registry

    try:
        with tracking.exclusive(root, "sync"):
            store = tracking.open_store(root)
            with tracking.speaking(store.uri):
                return f"registry {tracking_registry.project(store, held)}"
    except SeesawError as error:
        return f"registry not brought up to date, champion.json is right all the same: {error}"
