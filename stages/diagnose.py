"""The node `diagnose@v`: what happened in a variant's games, and why. It reads run, records, snapshots and data; never the scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.errors import SeesawError
from stages.game import build, restore
from stages.game.frozen import FrozenLane, frozen_lane
from stages.game.optimizers import optimizer
from stages.game.spec import Part, Rules
from stages.game.spec import variant as read_variant
from stages.game.streams import stream
from stages.measure import landscape, remedies
from stages.measure.baseline import gaussian_mixture
from stages.measure.classifier import one_thread
from stages.measure.facts import Fact, Lane, Series, SnapshotQuality, Standards, facts
from stages.measure.features import Encoded, Extractor, extractor
from stages.measure.glance import Yardstick, look, standards, yardstick
from stages.measure.probe import Material, ProbePoint, auc, decay, probe
from stages.measure.verdicts import Judgement, VariantJudgement, judge, judge_variant
from stages.store import arrays, layout, programs, records, snapshots
from stages.store.config import Config, read_yaml
from stages.store.files import read_json, write_json

ITEMS = 10_000  # train items, at most, that floors and baseline are drawn from
REFERENCE = 2_000  # held-out items, at most, that samples are judged against
SMALLEST = 32  # held-out items below which half of the train part stands in for them
FIELD_BATCH = (8, 32)  # items and noises that the landscape is measured on: fewer, the more a training step costs
PROBE_BATCH = (16, 64)
PLAIN_COST = 2.4e8  # floating-point operations of a training step up to which batches are full
PROBE_LR = 1e-3
ROWS = 60  # steps, at most, in the story's heat maps
MEASURES = (
    *("d_loss", "g_loss", "d_penalty", "real_logit", "fake_logit", "auc", "saturation", "sample_movement"),
    *("d_gradient_norm", "g_gradient_norm", "d_update_ratio", "g_update_ratio"),
)
LAYERED = ("d_gradient_norm", "g_gradient_norm", "d_update_ratio", "g_update_ratio")


@dataclass(frozen=True)
class Depth:
    """How deep the measures on snapshots go."""

    eigenvalues: int
    products: int  # with the game Jacobian
    restarts: int  # of ARPACK for a player's block
    spectra: int  # lanes
    probe_lanes: int
    probe_snapshots: int
    probe_steps: int


DEPTHS = {"default": Depth(20, 60, 3, 1, 2, 3, 300), "full": Depth(60, 400, 60, 2, 8, 6, 4000)}


@dataclass(frozen=True)
class Case:
    """Everything read from files, and the real side of every look."""

    config: Config
    run: Mapping[str, Any]
    records: records.Records
    snapshots: Mapping[int, Mapping[str, Tensor]]
    kind: str
    train: np.ndarray  # in the games' scale
    held: np.ndarray
    held_is_train: bool
    extract: Extractor
    stick: Yardstick

    @property
    def alive(self) -> list[int]:
        """Lanes that finished."""
        return [index for index, lane in enumerate(self.run["lanes"]) if lane["status"] == "finished"]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item."""
        return tuple(self.run["data"]["shape"])


def diagnose(config: Config, variant: str, root: Path = Path()) -> dict[str, Any]:
    """Judge every lane of a variant and the variant; write results/diagnostics/v.json (docs/formats.md) and return it."""
    config.variant(variant)
    with one_thread():
        case = read_case(config, variant, root)
        seen = what_was_seen(case)
        found = [facts(lane, seen.standards) for lane in seen.lanes]
        terrain = read_landscape(case)
    judgements = [judge(known) for known in found]
    whole = judge_variant(judgements)
    result = {
        **_verdict(case, variant, root, seen.lanes, found, judgements, whole),
        "story": story(case, seen.quality, seen.standards, seen.overfit),
        "landscape": terrain,
        "probe": seen.probed.as_json,
    }
    write_json(root / layout.diagnostics(variant), result)
    return result


def what_was_seen(case: Case) -> "Seen":
    """Every look, record and probe that verdicts rest on."""
    quality = snapshot_quality(case)
    measured = _standards(case, quality)
    overfit = overfitting(case)
    lanes = [_lane(case, index, quality[index], overfit) for index in range(len(case.run["seeds"]))]
    probed = probe_lanes(case, lanes, measured)
    lanes = [replace(lane, probe_auc=probed.final.get(index)) for index, lane in enumerate(lanes)]
    return Seen(lanes, measured, quality, overfit, probed)


def read_case(config: Config, variant: str, root: Path) -> Case:
    """All inputs; SeesawError for a file that is missing, damaged or of other data."""
    remedy = f"run `dvc repro train@{variant}`"
    run = read_json(root / layout.run(variant), remedy)
    card = arrays.read_card(root)
    if run["data"]["digest"] != card["digest"]:
        raise SeesawError(f"{variant} was trained on other data than {layout.PREPARED} holds: {remedy}")
    known = records.read(root / layout.records(variant))
    if known.steps[-1] < max(lane["step"] for lane in run["lanes"]) - run["config"]["record_every"] or len(known.seeds) != len(
        run["seeds"]
    ):
        raise SeesawError(f"{root / layout.records(variant)} ends at step {known.steps[-1]} before its run does: {remedy}")
    tensors = {step: snapshots.read(root / layout.snapshot(variant, step), remedy) for step in run["snapshots"]}
    rng = np.random.default_rng([config.diagnose.seed, 0])
    train, held, borrowed = _parts(root, rng)
    extract = _extractor(config, card, root)
    stick = yardstick(encode(extract, torch.from_numpy(held)), extract.weights, card["modes"] is not None, rng)
    return Case(config, run, known, tensors, card["kind"], train, held, borrowed, extract, stick)


def _parts(root: Path, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, bool]:
    """Train and held-out items, float32; with too small a validation part, every second train item is held out (and said so)."""
    train, held = (_some(arrays.part(name, root), most, rng) for name, most in (("train", ITEMS), ("validation", REFERENCE)))
    if len(held) >= SMALLEST:
        return train, held, False
    return train[::2], train[1::2][:REFERENCE], True


def _some(part: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    if len(part) > most:
        part = part[np.sort(rng.choice(len(part), most, replace=False))]
    return arrays.to_model_scale(np.array(part))


def _extractor(config: Config, card: Mapping[str, Any], root: Path) -> Extractor:
    program = programs.load(config.evaluate, root)[0] if card["features"]["name"] == "file" else None
    path = root / layout.PREPARED / "features.safetensors"
    return extractor(card, snapshots.read(path, arrays.REMEDY) if path.exists() else {}, program)


@torch.no_grad()
def encode(extract: Extractor, samples: Tensor, chunk: int = 1024) -> Encoded:
    """Samples `[n, ...]` in the feature space, some at a time."""
    parts = [extract.encode(piece) for piece in samples.split(chunk)]
    return Encoded(*(None if field[0] is None else torch.cat(field) for field in zip(*parts, strict=True)))  # type: ignore[arg-type]


def snapshot_quality(case: Case) -> list[list[SnapshotQuality]]:
    """For every lane, a look at every snapshot; the same noise for all."""
    noise = torch.randn(_count(case), case.run["config"]["latent"], generator=stream(case.config.diagnose.seed, "diagnose/noise"))
    looks: list[list[SnapshotQuality]] = [[] for _ in case.run["seeds"]]
    for step, tensors in case.snapshots.items():
        players = restore.players(case.run, tensors)
        averaged, raw = (restore.sample(network, noise) for network in (players.ema, players.generator))
        for index, seen in enumerate(looks):
            seen.append(look(case.stick, step, _encoded(case, averaged[index]), _encoded(case, raw[index])))
    return looks


def _count(case: Case) -> int:
    """Samples of a look: diagnose.samples, or as many as there are train items, since the floor needs equal counts."""
    return min(case.config.diagnose.samples, len(case.train))


def _encoded(case: Case, samples: Tensor) -> Encoded | None:
    if not bool(samples.isfinite().all()):
        return None
    encoded = encode(case.extract, samples)
    return encoded if bool(encoded.features.isfinite().all()) else None


def _standards(case: Case, quality: Sequence[Sequence[SnapshotQuality]]) -> Standards:
    rng = np.random.default_rng([case.config.diagnose.seed, 1])
    count = _count(case)
    flat = gaussian_mixture(case.train.reshape(len(case.train), -1), count, rng).astype(np.float32)
    drawn = torch.from_numpy(flat.reshape(count, *case.shape))
    baseline = encode(case.extract, drawn.clamp(-1, 1) if case.kind == "image" else drawn)
    starts = [looks[0].distance for looks in quality if looks[0].step == 0 and looks[0].distance is not None]
    untrained = float(np.median(starts)) if starts else None
    found = standards(case.stick, encode(case.extract, torch.from_numpy(case.train)), count, baseline, untrained, rng)
    return replace(found, untrained_counts=case.kind == "vector")


@dataclass(frozen=True)
class Overfit:
    """AUC of D's answers on train over held-out items, `[snapshots, L]`, and how many answers there were (a pack has one)."""

    auc: np.ndarray
    counts: tuple[int, int]


@torch.no_grad()
def overfitting(case: Case) -> Overfit | None:
    """Whether D knows its training items; None where nothing was held out of training."""
    if case.held_is_train:
        return None
    train, held = (torch.from_numpy(items[:REFERENCE]) for items in (case.train, case.held))
    rows = []
    for tensors in case.snapshots.values():
        critic, lanes = restore.players(case.run, tensors).discriminator, len(case.run["seeds"])
        known, fresh = (torch.cat([critic(x.expand(lanes, *x.shape)) for x in items.split(256)], 1) for items in (train, held))
        rows.append(auc(known.double(), fresh.double()).numpy())
    return Overfit(np.stack(rows), (known.shape[1], fresh.shape[1]))


def _lane(case: Case, index: int, quality: Sequence[SnapshotQuality], overfit: Overfit | None) -> Lane:
    entry = case.run["lanes"][index]
    known = case.records.steps <= entry["step"]
    series = {name: Series(case.records.steps[known], case.records.series(name)[known, index]) for name in MEASURES}
    lane = Lane(entry["seed"], entry["status"] == "finished", entry["step"], entry["reason"], quality, series)
    return lane if overfit is None else replace(lane, overfit_auc=float(overfit.auc[-1, index]), overfit_counts=overfit.counts)


@dataclass(frozen=True)
class Probed:
    """AUC of a fresh D on the final samples by lane index, and the file's entry."""

    final: dict[int, float]
    as_json: dict[str, Any] | None


@dataclass(frozen=True)
class Seen:
    """What verdicts rest on: `facts(lane, standards)` of each lane needs nothing else."""

    lanes: list[Lane]
    standards: Standards
    quality: list[list[SnapshotQuality]]
    overfit: Overfit | None
    probed: Probed


def probe_lanes(case: Case, lanes: Sequence[Lane], measured: Standards) -> Probed:
    """The probe on the first lanes at a few snapshots, and at the last one on every lane whose verdict asks for it too."""
    depth = DEPTHS[case.config.diagnose.depth]
    chosen = case.alive[: depth.probe_lanes]
    if not chosen:
        return Probed({}, None)
    asked = [index for index in case.alive if index in chosen or _undecided(facts(lanes[index], measured))]
    steps = list(case.snapshots)
    picked = sorted({steps[round(i)] for i in np.linspace(min(1, len(steps) - 1), len(steps) - 1, depth.probe_snapshots)})
    rows, final = [], {}
    for step in picked:
        who = asked if step == steps[-1] else chosen
        points = _probe_at(case, step, who, depth.probe_steps)
        rows.append(_probe_json(case, step, who, points))
        final = dict(zip(who, points[-1].auc, strict=True))
    held = "train items that the probe did not see" if case.held_is_train else "validation"
    return Probed(final, {"form": "bare", "loss": "BCE without penalty", "held_out": held, "snapshots": rows})


def _undecided(found: Mapping[str, Fact]) -> bool:
    """Whether D's AUC is near a half, or below, while the samples are not good."""
    own, distance = found["auc_late"].value, found["distance_over_good"].value
    return own is not None and own < 0.65 and (distance is None or distance > 0.8)


def _probe_at(case: Case, step: int, who: Sequence[int], steps: int) -> list[ProbePoint]:
    seeds = [case.run["seeds"][index] for index in who]
    own = {name: tensor[list(who)] for name, tensor in case.snapshots[step].items()}
    generator = restore.players({**case.run, "seeds": seeds}, own).generator
    player, latent = read_variant(case.run["config"]).discriminator, case.run["config"]["latent"]
    free = build.catalogue_part("constraint", Part("none", {}))
    fresh = build.Flat(build.discriminator(player, case.shape, [_seed(case, seed) for seed in seeds], free))
    adam = optimizer(fresh.vector, PROBE_LR, Rules(optimizer="adam", beta1=0.9, beta2=0.999))
    train, batch = torch.from_numpy(case.train), _batch(case, PROBE_BATCH)

    def drawn(purpose: str, number: int, make: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([make(stream(_seed(case, seed), f"probe/{purpose}", number)) for seed in seeds])

    material = Material(
        lambda t: drawn("real", t, lambda g: train[torch.randint(len(train), (batch,), generator=g)]),
        lambda t: drawn("noise", t, lambda g: torch.randn(batch, latent, generator=g)),
        torch.from_numpy(case.held[:256]).expand(len(seeds), *case.held[:256].shape),
        drawn("held", 0, lambda g: torch.randn(256, latent, generator=g)),
    )

    @torch.no_grad()
    def move(gradients: Sequence[Tensor]) -> None:
        fresh.vector.sub_(adam.direction(fresh.gather(gradients)))

    return probe(generator, fresh.module, move, material, steps)


def _seed(case: Case, seed: int) -> int:
    """A seed that no lane of training has."""
    return (case.config.diagnose.seed + 1) * 1_000_003 + seed


def _probe_json(case: Case, step: int, who: Sequence[int], points: Sequence[ProbePoint]) -> dict[str, Any]:
    return {
        "step": step,
        "seeds": [case.run["seeds"][index] for index in who],
        "points": [
            {
                "step": point.step,
                "auc": _numbers(point.auc),
                "saturating": _numbers(point.saturating),
                "non_saturating": _numbers(point.non_saturating),
            }
            for point in points
        ],
        "decay": [_number(decay(points, lane)) for lane in range(len(who))],
        "text": "decay: orders of magnitude that the saturating gradient fell by; null: the probe did not reach AUC .99",
    }


def read_landscape(case: Case) -> dict[str, Any] | None:
    """Spectra at start and end and the path between them, of the first lanes that finished."""
    depth = DEPTHS[case.config.diagnose.depth]
    steps = list(case.snapshots)
    rows = [_terrain(case, index, steps[0], steps[-1], depth) for index in case.alive[: depth.spectra]]
    frozen = "float64, one fixed batch and noise, running batch statistics, frozen spectral-norm vectors, penalty included"
    return {"frozen": frozen, "batch": _batch(case, FIELD_BATCH), "lanes": rows} if rows and len(steps) > 1 else None


def _terrain(case: Case, index: int, start: int, end: int, depth: Depth) -> dict[str, Any]:
    lanes = [frozen_lane(case.run, case.snapshots[step], index) for step in (start, end)]
    fields = [_field(case, lane) for lane in lanes]
    spectra = [_spectrum_json(field, step, depth, case.config.diagnose.seed) for field, step in zip(fields, (start, end), strict=True)]
    first, last = (torch.cat([p.detach().reshape(-1) for p in field.parameters]) for field in fields)
    path = landscape.path_angle(fields[1], first, last)
    return {
        "seed": case.run["seeds"][index],
        "spectra": spectra,
        "path": {
            "from": start,
            "to": end,
            "alphas": _numbers(path.alphas),
            "cosine": _numbers(path.cosine),
            "norm": _numbers(path.norm),
            "sign_switch": path.sign_switch,
            "rotation": _number(path.rotation),
        },
    }


def _batch(case: Case, least_most: tuple[int, int]) -> int:
    """A batch by what a training step costs: counted, so that no clock decides it."""
    least, most = least_most
    return max(least, min(most, int(most * PLAIN_COST / case.run["cost"]["flops_per_step"])))


def _field(case: Case, lane: FrozenLane) -> landscape.Field:
    generator = stream(case.config.diagnose.seed, "landscape")
    train = torch.from_numpy(case.train)
    batch = _batch(case, FIELD_BATCH)
    real = train[torch.randint(len(train), (batch,), generator=generator)].double()[None]
    noise = torch.randn(1, batch, case.run["config"]["latent"], generator=generator).double()
    state = lane.settled(real, noise)

    def losses() -> landscape.Losses:
        return landscape.Losses(*lane.losses(real, noise, state))

    return landscape.Field(list(lane.generator.parameters()), list(lane.discriminator.parameters()), losses)


def _spectrum_json(field: landscape.Field, step: int, depth: Depth, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, step])
    found = landscape.spectrum(field, depth.eigenvalues, depth.products, rng)
    blocks = {
        f"{player}_block": _numbers(landscape.block_spectrum(field, player, depth.eigenvalues // 2, depth.restarts, rng))
        for player in ("generator", "discriminator")
    }
    return {
        "step": step,
        "largest": [_numbers((value.real, value.imag)) for value in found.largest],
        "smallest_real": [_numbers((value.real, value.imag)) for value in found.smallest_real],
        "zeros": found.zeros,
        "complete": found.complete,
        "stable": found.stable,
        "rotation": _number(found.rotation),
        **blocks,
    }


def story(case: Case, quality: Sequence[Sequence[SnapshotQuality]], measured: Standards, overfit: Overfit | None) -> dict[str, Any]:
    """What the report draws: medians over the lanes that are finite at that step, `null` where none is."""
    steps = case.records.steps
    rows = np.unique(np.linspace(0, len(steps) - 1, min(ROWS, len(steps))).round().astype(int))
    probed = next((table for table in case.records.tables if ("d_drive", "") in table.columns), None)
    return {"steps": steps.tolist(), **_table_medians(case.records.tables[0])} | {
        "probes": None if probed is None else {"steps": probed.steps.tolist(), **_table_medians(probed)},
        "layers": {name: _heat(case.records, name, rows) for name in LAYERED},
        "quality": _quality_story(case, quality, measured, overfit),
    }


def _table_medians(table: records.Table) -> dict[str, list[float | None]]:
    """Every whole-lane measure of measures taken at the same steps."""
    return {measure: _medians(table.values[:, column]) for column, (measure, layer) in enumerate(table.columns) if not layer}


def _heat(known: records.Records, name: str, rows: np.ndarray) -> dict[str, Any]:
    layers = known.layers(name)
    columns = [_medians(known.series(name, layer)[rows]) for layer in layers]
    return {"steps": known.steps[rows].tolist(), "layers": layers, "values": [list(row) for row in zip(*columns, strict=True)]}


def _quality_story(
    case: Case, quality: Sequence[Sequence[SnapshotQuality]], measured: Standards, overfit: Overfit | None
) -> dict[str, Any]:
    fields = ("distance", "precision", "coverage")
    by_lane = {name: [[_number(getattr(one, name)) for one in looks] for looks in quality] for name in fields}
    tables = {name: _medians(np.array([[np.nan if v is None else v for v in row] for row in by_lane[name]]).T) for name in fields}
    return {
        "steps": list(case.snapshots),
        **tables,
        "lanes": by_lane["distance"],
        "floor": _number(measured.floor),
        "good": _number(measured.good),
        "baseline": _number(measured.baseline),
        "untrained": _number(measured.untrained),
        "floor_precision": _number(measured.floor_precision),
        "floor_coverage": _number(measured.floor_coverage),
        "overfit_auc": None if overfit is None else _medians(overfit.auc),
        "samples": _count(case),
        "reference": len(case.held),
        "held_out": "half of the train part" if case.held_is_train else "validation",
    }


def _medians(values: np.ndarray) -> list[float | None]:
    """Medians of `[T, L]` over the finite values of each row."""
    finite = [row[np.isfinite(row)] for row in values]
    return [_number(float(np.median(row))) if row.size else None for row in finite]


def _numbers(values: Any) -> list[float | None]:
    return [_number(float(value)) for value in values]


def _number(value: float | None) -> float | None:
    """Seven significant digits; a value that is not finite is null."""
    return float(f"{value:.7g}") if value is not None and np.isfinite(value) else None


def _verdict(
    case: Case,
    variant: str,
    root: Path,
    lanes: Sequence[Lane],
    found: Sequence[Mapping[str, Fact]],
    judgements: Sequence[Judgement],
    whole: VariantJudgement,
) -> dict[str, Any]:
    written = read_yaml(root / "params.yaml")["variants"][variant]
    entries = [
        {
            "seed": lane.seed,
            "verdict": one.verdict,
            "doubt": one.doubt,
            "flags": list(one.flags),
            "evidence": [item.as_json() for item in one.evidence],
            "remedies": remedies.fitting((one.verdict, *one.flags), _setting(case, known), variant, written),
        }
        for lane, known, one in zip(lanes, found, judgements, strict=True)
    ]
    return {
        "variant": variant,
        "fingerprint": case.run["fingerprint"],
        "verdict": whole.verdict,
        "doubt": whole.doubt,
        "flags": list(whole.flags),
        "counts": whole.counts,
        "lanes": entries,
    }


def _setting(case: Case, known: Mapping[str, Fact]) -> dict[str, Any]:
    """The resolved variant, the data's shape, and the step of the lane's best snapshot."""
    steps = known["best_over_good"].steps
    return {**case.run["config"], "shape": case.shape, "best_step": steps[0] if steps else None}
