"""What MLflow shows of DVC's outputs: each variant's files as a `tracking.Run`. It reads files and decides; it never talks to MLflow."""

import csv
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError, printable
from stages.store import layout, records
from stages.store.config import read_yaml
from stages.store.files import read_json, sha256_file, sha256_json
from stages.store.records import Records
from stages.store.tracking import Data, Image, Point, Run
from stages.store.views import view_tags

VERSION = 5  # of what a run shows: a change here builds every run again
MEASURES = (
    "d_loss",
    "g_loss",
    "d_penalty",
    "real_logit",
    "fake_logit",
    "d_gradient_norm",
    "g_gradient_norm",
    "auc",
    "saturation",
    "sample_movement",
    "real_logit_spread",
    "fake_logit_spread",
    "accuracy",
    "overfit_auc",
    "d_update_ratio",
    "g_update_ratio",
    "d_root_over_epsilon",
    "g_root_over_epsilon",
)
DRIVES = ("d_own_predicted", "d_cross_predicted", "g_own_predicted", "g_cross_predicted", "d_drive", "g_drive")
PROBED = (
    *DRIVES,
    *("d_snr", "g_snr", "d_turn_cosine", "g_turn_cosine", "d_dead_units", "g_dead_units"),
    *("d_real_gradient_norm", "d_fake_gradient_norm", "d_penalty_gradient_norm"),
)
JUDGED = {"diagnostics": layout.diagnostics, "scores": layout.scores}  # carry the fingerprint of the run they judge
FOLLOWING = {"metrics": layout.metrics, "curves": layout.curves}


@dataclass(frozen=True)
class Result:
    """The files of one variant, and what identifies them."""

    variant: str
    root: Path
    run: Mapping[str, Any]
    execution: Mapping[str, Any]
    files: Mapping[str, Path]  # those that exist and belong to this fingerprint
    projection: str

    def read(self, name: str) -> Any:
        """One of its JSON files, or None where it is absent."""
        return read_json(self.files[name], "run `dvc repro`") if name in self.files else None


def read_results(root: Path) -> tuple[list[Result], list[str]]:
    """Every variant with a finished run under `root/results`, in the order of params.yaml, and notes on what was left out."""
    results, notes = [], []
    for variant in variants(root):
        run = read_json(root / layout.run(variant), f"run `dvc repro train@{variant}`")
        path = root / layout.executions(variant)
        execution = read_json(path, f"run `dvc repro train@{variant}`") if path.is_file() else None
        if execution is None or execution["fingerprint"] != run["fingerprint"]:
            notes.append(f"{variant} is left out: {layout.executions(variant)} is missing or of another run (`dvc repro train@{variant}`).")
            continue
        files, stale = files_of(root, variant, run)
        notes += [f"{variant}: {name} judges another run and is left out (`dvc repro`)." for name in stale]
        results.append(Result(variant, root, run, execution, files, projection_of(root, files)))
    return results, notes


def variants(root: Path) -> list[str]:
    """Variants that have a run: those of params.yaml in its order; all, sorted, where there is no params.yaml."""
    present = {path.stem for path in (root / layout.run("v")).parent.glob("*.json")}
    params = root / "params.yaml"
    if not params.is_file():
        return sorted(present)
    content = read_yaml(params)
    named = content.get("variants") if isinstance(content, Mapping) else None
    return [name for name in named if name in present] if isinstance(named, Mapping) else []


def files_of(root: Path, variant: str, run: Mapping[str, Any]) -> tuple[dict[str, Path], list[str]]:
    """The existing files that belong to a run, by name, and the names of those that judge another run."""
    files = {"run": root / layout.run(variant), "executions": root / layout.executions(variant), "records": root / layout.records(variant)}
    if not files["records"].is_file():
        raise SeesawError(f"{files['records']} is missing: run `dvc checkout` or `dvc repro train@{variant}`")
    stale = []
    for name, place in JUDGED.items():
        path = root / place(variant)
        if path.is_file() and read_json(path, f"run `dvc repro {name}@{variant}`")["fingerprint"] == run["fingerprint"]:
            files[name] = path
        elif path.is_file():
            stale.append(name)
    files |= {name: path for name, place in FOLLOWING.items() if (path := root / place(variant)).is_file()}
    if "scores" not in files:
        files.pop("metrics", None)  # written together with the scores
    else:
        files |= {path.name: path for path in sorted((root / layout.samples(variant)).glob("step-*.png"))}
    card = root / layout.CARD
    if card.is_file() and read_json(card, "run `dvc repro prepare`")["digest"] == run["data"]["digest"]:
        files["card"] = card
    return files, stale


def projection_of(root: Path, files: Mapping[str, Path]) -> str:
    """sha256 over the md5s (DVC's own digest) of the files a run shows."""
    sums = {str(path.relative_to(root)): md5(path) for path in files.values()}
    return sha256_json([VERSION, sums])


def md5(path: Path) -> str:
    """md5 of a file's bytes, as dvc.lock holds it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def variant_run(result: Result) -> Run:
    """The parent run of a variant with a child per lane."""
    run, execution, diagnosis = result.run, result.execution, result.read("diagnostics")
    clock = Clock.of(execution)
    verdict = diagnosis["verdict"] if diagnosis else "undetermined"
    return Run(
        kind="variant",
        name=result.variant,
        fingerprint=run["fingerprint"],
        start=execution["started_at"],
        end=execution["ended_at"],
        tags=common_tags(result) | verdict_tags(diagnosis) | {"mlflow.note.content": variant_note(run, diagnosis), "verdict": verdict},
        params=common_params(result) | {"seeds": json.dumps(run["seeds"])},
        points=parent_points(result, clock),
        images=sample_images(result, clock),
        data=training_data(result),
        children=lane_runs(result, clock, diagnosis),
    )


@dataclass(frozen=True)
class Clock:
    """When each step was done: exact at recorded steps, linear between them, the start at step 0."""

    steps: Sequence[int]
    times: Sequence[int]

    @classmethod
    def of(cls, execution: Mapping[str, Any]) -> "Clock":
        """From executions/v.json."""
        timeline = execution["timeline"]
        first = [] if timeline["step"] and timeline["step"][0] == 0 else [0]
        return cls([*first, *timeline["step"]], [*(execution["started_at"] for _ in first), *timeline["at"]])

    def at(self, step: int) -> int:
        """Unix milliseconds of a step."""
        return round(float(np.interp(step, self.steps, self.times)))


def common_tags(result: Result) -> dict[str, str]:
    """Tags of a parent and its lanes: where, when and from what they were made."""
    execution = result.execution
    at = datetime.fromtimestamp(execution["started_at"] / 1000, UTC).isoformat(timespec="seconds")
    tags = {
        "variant": result.variant,
        "executed.host": execution["host"],
        "executed.at": at,
        "executed.device": execution["device"],
        "git.commit": execution["git_commit"],
        "dvc.exp": execution["dvc_exp"],
        "mlflow.source.name": f"dvc repro train@{result.variant}",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.commit": execution["git_commit"],
    }
    return {key: str(value) for key, value in tags.items() if value}


def verdict_tags(judged: Mapping[str, Any] | None) -> dict[str, str]:
    """Verdict, doubt and flags of a variant or a lane."""
    if judged is None:
        return {"verdict": "undetermined"}
    tags = {"verdict": judged["verdict"], "doubt": judged.get("doubt"), "flags": ", ".join(judged.get("flags") or [])}
    return {key: str(value) for key, value in tags.items() if value}


def variant_note(run: Mapping[str, Any], diagnosis: Mapping[str, Any] | None) -> str:
    """Markdown: each lane's fate, evidence and remedies."""
    if diagnosis is None:
        return "Not judged yet: run `dvc repro`."
    lines = [
        f"**{plain(diagnosis['verdict'])}**" + (f" ({plain(diagnosis['doubt'])})" if diagnosis["doubt"] else ""),
        "",
        "| seed | verdict | why |",
        "|---|---|---|",
    ]
    for lane in diagnosis["lanes"]:
        why = "; ".join(plain(item["text"]) for item in lane["evidence"])
        lines.append(f"| {plain(lane['seed'])} | {plain(lane['verdict'])} | {why} |")
    remedies = {item["command"]: item["why"] for lane in diagnosis["lanes"] for item in lane["remedies"]}
    return "\n".join([*lines, *(f"\n{plain(why)}:\n\n    {printable(command)}" for command, why in remedies.items())])


def plain(value: Any) -> str:
    """A value that markdown shows as it is, on one line: no HTML, link, image, code or table cell comes of it."""
    escaped = printable(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"\](?=[(\[:])", "&#93;", escaped.replace("|", "&#124;").replace("`", "&#96;"))


def common_params(result: Result) -> dict[str, str]:
    """The resolved configuration, flat and in the words of params.yaml: `loss.name`, `penalty.weight`, `rules.critic_steps`."""
    extra = {"variant": result.variant, "steps": result.run["steps"], "data.digest": result.run["data"]["digest"]}
    config = {key.replace(".arguments.", "."): value for key, value in flat(result.run["config"]).items() if key != "name"}
    return {key: text(value) for key, value in (config | extra).items()}


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as one of dotted keys."""
    pairs: dict[str, Any] = {}
    for key, item in value.items():
        pairs |= flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item}
    return pairs


def text(value: Any) -> str:
    """A parameter's value as text; lists and the like as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def parent_points(result: Result, clock: Clock) -> list[Point]:
    """metrics/v.json and costs at step 0 (MLflow draws them as bars), and the medians of curves/v.csv."""
    ended = result.execution["ended_at"]
    numbers = dict(result.read("metrics") or {}) | {f"cost.{key}": value for key, value in result.run["cost"].items()}
    points = [Point(key, float(value), ended, 0) for key, value in numbers.items() if value is not None]
    points += curve_points(result.files["curves"], clock) if "curves" in result.files else []
    return points + drive_points(records.read(result.files["records"]), clock)


def drive_points(stored: Records, clock: Clock) -> list[Point]:
    """Who drives whom: medians over the lanes that are finite, under the names of the curves."""
    return [
        Point(f"{measure}_median", float(np.median(lanes[np.isfinite(lanes)])), clock.at(int(step)), int(step))
        for measure in DRIVES
        if stored.has(measure)
        for step, lanes in zip(stored.steps_of(measure), stored.series(measure), strict=True)
        if np.isfinite(lanes).any()
    ]


def curve_points(path: Path, clock: Clock) -> list[Point]:
    """The `…_median` columns of curves/v.csv; empty fields have no point."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    keys = [key for key in rows[0] if key.endswith("_median")] if rows else []
    return [Point(key, float(row[key]), clock.at(int(row["step"])), int(row["step"])) for row in rows for key in keys if row[key]]


def sample_images(result: Result, clock: Clock) -> list[Image]:
    """samples/v/step-*.png under the key `samples`."""
    steps = {int(name.removeprefix("step-").removesuffix(".png")): path for name, path in result.files.items() if name.endswith(".png")}
    return [Image("samples", step, clock.at(step), path) for step, path in sorted(steps.items())]


def training_data(result: Result) -> Data:
    """What was trained on: name and counts from the card, digest and shape from the run."""
    data, card = result.run["data"], result.read("card") or {}
    profile = {"counts": card["counts"]} if card else {}
    return Data(card.get("source", data["kind"]), data["digest"], str(layout.PREPARED), data["shape"], profile)


def lane_runs(result: Result, clock: Clock, diagnosis: Mapping[str, Any] | None) -> list[Run]:
    """A child run per lane."""
    curves, scores = lane_curves(records.read(result.files["records"]), clock), result.read("scores")
    judged = {lane["seed"]: lane for lane in diagnosis["lanes"]} if diagnosis else {}
    execution, run = result.execution, result.run
    return [
        Run(
            kind="lane",
            name=f"{result.variant} · seed {lane['seed']}",
            fingerprint=run["fingerprint"],
            start=execution["started_at"],
            end=execution["ended_at"],
            tags=common_tags(result) | verdict_tags(judged.get(lane["seed"])) | lane_tags(result.variant, lane),
            params=common_params(result) | {"seed": str(lane["seed"])},
            points=curves.get(lane["seed"], []) + score_points(scores, lane["seed"], clock) + diversity_points(diagnosis, index, clock),
            data=training_data(result),
        )
        for index, lane in enumerate(run["lanes"])
    ]


def diversity_points(diagnosis: Mapping[str, Any] | None, index: int, clock: Clock) -> list[Point]:
    """A lane's diversity over the snapshots: `diversity/spacing` (EMA), `…/spacing_raw`, `…/modes`, `…/coverage`."""
    found = (diagnosis or {}).get("diversity")
    if not found:
        return []
    tables = {
        "spacing": found["spacing"]["ema"],
        "spacing_raw": found["spacing"]["raw"],
        **{key: found[key] for key in ("modes", "coverage")},
    }
    return [
        Point(f"diversity/{name}", float(value), clock.at(step), step)
        for name, lanes in tables.items()
        for step, value in zip(found["steps"], lanes[index], strict=True)
        if value is not None
    ]


def lane_tags(variant: str, lane: Mapping[str, Any]) -> dict[str, str]:
    """A lane's seed and how its training ended; only lanes have `lane.variant`, so that a group by it averages lanes alone."""
    tags = {"seed": str(lane["seed"]), "lane.status": lane["status"], "lane.variant": variant}
    return tags if lane["reason"] is None else tags | {"lane.reason": f"step {lane['step']}: {lane['reason']}"}


def lane_curves(stored: Records, clock: Clock) -> dict[int, list[Point]]:
    """Seed to the points of MEASURES and PROBED, whole-lane values only."""
    present = [(measure, stored.steps_of(measure), stored.series(measure)) for measure in (*MEASURES, *PROBED) if stored.has(measure)]
    return {
        int(seed): [
            Point(measure, float(value), clock.at(int(step)), int(step))
            for measure, steps, values in present
            for value, step in zip(values[:, lane], steps, strict=True)
        ]
        for lane, seed in enumerate(stored.seeds)
    }


def score_points(scores: Mapping[str, Any] | None, seed: int, clock: Clock) -> list[Point]:
    """A lane's scores over the snapshots: `frechet` (EMA, test), `validation/frechet` (EMA), `raw/frechet` (test)."""
    names = {("ema", "test"): "", ("ema", "validation"): "validation/", ("raw", "test"): "raw/"}
    points = []
    for entry in scores["snapshots"] if scores else []:
        prefix = names.get((entry["generator"], entry["part"]))
        lane = next((lane for lane in entry["lanes"] if lane["seed"] == seed), None)
        if prefix is None or lane is None or lane["metrics"] is None:
            continue
        values = {name: item["value"] for name, item in lane["metrics"].items() if item["value"] is not None}
        points += [Point(f"{prefix}{name}", float(value), clock.at(entry["step"]), entry["step"]) for name, value in values.items()]
    return points


@dataclass(frozen=True)
class Comparison:
    """comparison.json with its report, and the runs it compares."""

    content: Mapping[str, Any]
    digest: str
    files: Sequence[Path]
    runs: Mapping[str, str]  # variant to run id
    end: int  # when the last of its runs ended
    projection: str


def read_comparison(root: Path, results: Sequence[Result], runs: Mapping[str, str]) -> Comparison | None:
    """The comparison of these results, whose parent runs have these ids; None where there is none yet."""
    path = root / layout.COMPARISON
    if not path.is_file():
        return None
    content = read_json(path, "run `dvc repro compare`")
    compared = {entry["variant"] for entry in content["ranking"]}
    ends = [result.execution["ended_at"] for result in results if result.variant in compared]
    if not ends:
        return None
    files = [path, *(file for name in ("index.html", "report.md") if (file := root / layout.REPORT / name).is_file())]
    ids = {variant: run for variant, run in runs.items() if variant in compared}
    shown = sha256_json([VERSION, {file.name: md5(file) for file in files}, ids])
    return Comparison(content, sha256_file(path), files, ids, max(ends), shown)


def comparison_run(comparison: Comparison) -> Run:
    """Ranks as metrics (`rank/r3`) and as a table; it starts and ends when the last of its runs ended."""
    content, end = comparison.content, comparison.end
    ranking = content["ranking"]
    numbers = {f"{key}/{entry['variant']}": entry[key] for entry in ranking for key in ("rank", "median", "failed")}
    columns = [key for key, value in ranking[0].items() if not isinstance(value, dict | list)] if ranking else []
    tags = {
        "comparison": comparison.digest,
        "runs": json.dumps(comparison.runs, sort_keys=True),
        "mlflow.note.content": verdict_table(content),
        "mlflow.source.name": "dvc repro compare",
        "mlflow.source.type": "PROJECT",
    }
    return Run(
        kind="comparison",
        name=f"comparison of {len(ranking)}",
        fingerprint=comparison.digest,
        start=end,
        end=end,
        tags=tags,
        params={key: text(content[key]) for key in ("primary", "better", "baseline", "seeds", "alpha") if key in content},
        points=[Point(key, float(value), end, 0) for key, value in numbers.items() if value is not None],
        artifacts=comparison.files,
        table={column: [entry.get(column) for entry in ranking] for column in columns},
    )


def verdict_table(comparison: Mapping[str, Any]) -> str:
    """Markdown: rank, variant, verdict, the primary metric with its interval, failed lanes."""
    primary = comparison["primary"]
    lines = [f"| rank | variant | verdict | {plain(primary)} (median) | interval | failed lanes |", "|---|---|---|---|---|---|"]
    for entry in comparison["ranking"]:
        interval = f"{number(entry['low'])} – {number(entry['high'])}" if entry["low"] is not None else "–"
        cells = [
            entry["rank"],
            entry["variant"],
            entry["verdict"],
            number(entry["median"]),
            interval,
            f"{entry['failed']} of {entry['lanes']}",
        ]
        lines.append("| " + " | ".join(plain(cell) for cell in cells) + " |")
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def experiment_tags(results: Sequence[Result], comparison: Comparison | None) -> dict[str, str]:
    """The experiment's description (the verdict table of the present results) and its prepared views."""
    if comparison is not None:
        table = verdict_table(comparison.content)
    else:
        verdicts = [(result.variant, (result.read("diagnostics") or {}).get("verdict", "undetermined")) for result in results]
        table = "\n".join(
            ["| variant | verdict |", "|---|---|", *(f"| {plain(variant)} | {plain(verdict)} |" for variant, verdict in verdicts)]
        )
    primary = comparison.content["primary"] if comparison is not None else "frechet"
    return {
        "mlflow.experimentKind": "custom_model_development",
        "mlflow.note.content": f"Which GAN objective trains well on these data?\n\n{table}\n",
    } | view_tags(primary, max(result.run["steps"] for result in results))
