"""The projection against a real sqlite store: what it shows, that it is idempotent, resumable, concurrent and exact."""

import base64
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import urllib.parse
import zlib
from pathlib import Path
from typing import Any

import pytest
import synthetic

from stages import sync as node
from stages.errors import SeesawError
from stages.store import layout, projection, tracking
from stages.store.files import read_json, sha256_file, write_json

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
FATES = {"hinge": "healthy", "wgan_free": "non_finite"}
SHAPE = synthetic.Shape(seeds=(0, 3), steps=20, record_every=10, snapshots=(0, 20))


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up results tree with an empty store beside it."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, tmp_path / tracking.DATABASE)
    return synthetic.write_results(tmp_path, FATES, SHAPE)


def dump(root: Path) -> list[str]:
    """Every row of the store, and every file under .seesaw/mlflow with its digest."""
    with sqlite3.connect(root / tracking.DATABASE) as connection:
        rows = sorted(connection.iterdump())
    folder = root / tracking.ARTIFACTS
    return rows + [f"{path.relative_to(folder)} {sha256_file(path)}" for path in sorted(folder.rglob("*")) if path.is_file()]


def shown(root: Path) -> dict[str, Any]:
    """What every run of ours shows, by name, without ids."""
    store = tracking.open_store(root)
    runs: dict[str, Any] = {}
    for found in store.search():
        run = store.client.get_run(found.id)
        own = ("mlflow.parentRunId", "runs", "projection")  # ids, or a digest over them
        assert run.info.run_name not in runs
        runs[run.info.run_name] = {
            "times": (run.info.start_time, run.info.end_time, run.info.status),
            "tags": {key: value for key, value in run.data.tags.items() if key not in own},
            "params": run.data.params,
            "points": {key: sorted(store.points(found.id, key)) for key in run.data.metrics},
            "images": store.images(found.id),
            "data": [(item.dataset.name, item.dataset.digest) for item in run.inputs.dataset_inputs],
            "parent": None if found.parent is None else store.client.get_run(found.parent).info.run_name,
        }
    return runs


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> dict[str, Any]:
    """What an undisturbed sync shows of the tree in `root`."""
    root = tmp_path_factory.mktemp("whole")
    shutil.copy(empty_store, root / tracking.DATABASE)
    node.sync(synthetic.write_results(root, FATES, SHAPE))
    return shown(root)


def test_first_sync_shows_the_outputs(root: Path) -> None:
    summary = node.sync(root)
    assert (summary.created, summary.replaced, summary.unchanged, summary.deleted) == (3, 0, 0, 0)
    runs = shown(root)
    assert set(runs) == {f"{v}{lane}" for v in FATES for lane in ("", " · seed 0", " · seed 3")} | {"comparison of 2"}
    execution = read_json(root / layout.executions("hinge"), "")
    for name in ("hinge", "hinge · seed 3"):
        assert runs[name]["times"] == (execution["started_at"], execution["ended_at"], "FINISHED")
        assert runs[name]["params"] | {"rules.critic_steps": "1", "loss.name": "non_saturating", "variant": "hinge"} == runs[name]["params"]
        assert runs[name]["data"] == [("digits", read_json(root / layout.CARD, "")["digest"][:36])]
    assert runs["hinge · seed 3"]["parent"] == "hinge"
    assert runs["hinge"]["images"] == {("samples", 0), ("samples", 20)}
    metrics = read_json(root / layout.metrics("hinge"), "")
    assert {key: runs["hinge"]["points"][key][0].value for key in metrics} == metrics
    assert "frechet" not in runs["wgan_free"]["points"] or read_json(root / layout.metrics("wgan_free"), "")["frechet"] is not None


def test_what_the_diagnosis_measured_is_pictures_and_curves(root: Path) -> None:
    path = root / layout.diagnostics("hinge")
    spectrum = {"largest": [[1.0, 0.5]], "smallest_real": []}
    way = {"alphas": [-0.1, 1.1], "cosine": [0.5, -0.5], "norm": [1.0, 1.0]}
    lane = {"seed": 0, "spectra": [{"step": 20, **spectrum, "preconditioned": None}], "path": way}
    lanes = [[0.5, 1.0], [None, 0.75]]
    spread = {"steps": [0, 20], "spacing": {"ema": lanes, "raw": lanes}, "modes": lanes, "coverage": lanes}
    heat = {"steps": [1, 20], "layers": ["out.weight"], "values": [[1.0], [0.1]]}
    legs = {f"{player}_{leg}_change": [0.1, -0.1] for player in "gd" for leg in ("own", "cross")}
    told = {"layers": {"g_gradient_norm": heat}, "probes": {"steps": [2, 20], **legs}}
    write_json(path, {**read_json(path, ""), "landscape": {"lanes": [lane]}, "diversity": spread, "story": told})
    node.sync(root)
    runs = shown(root)
    assert runs["hinge"]["images"] == {("samples", 0), ("samples", 20), ("landscape", 20), ("game", 20)}
    assert [point.value for point in runs["hinge · seed 0"]["points"]["diversity/spacing"]] == [0.5, 1.0]
    assert [(point.step, point.value) for point in runs["hinge · seed 3"]["points"]["diversity/modes"]] == [(20, 0.75)]
    assert node.sync(root, verify=True).unchanged == 3


def test_curves_carry_the_recorded_times_and_leave_out_what_is_not_finite(root: Path) -> None:
    node.sync(root)
    runs = shown(root)
    columns = synthetic.record_columns("wgan_free", "non_finite", SHAPE)
    timeline = read_json(root / layout.executions("wgan_free"), "")["timeline"]
    times = dict(zip(timeline["step"], timeline["at"], strict=True))
    rows = zip(*(columns[key] for key in ("step", "seed", "measure", "layer", "value")), strict=True)
    expected = [("g_loss", value, times[step], step) for step, seed, name, layer, value in rows if (seed, name, layer) == (3, "g_loss", "")]
    assert any(value != value for _, value, _, _ in expected)
    broken = runs["wgan_free · seed 3"]
    assert [tuple(point) for point in broken["points"]["g_loss"]] == sorted(point for point in expected if point[1] == point[1])
    assert "g_loss from step 20 (1 points)" in broken["tags"]["non_finite"]
    assert broken["tags"]["lane.reason"].startswith("step 13:")
    assert broken["tags"]["verdict"] == "non_finite"
    scores = [point for point in runs["hinge · seed 0"]["points"]["frechet"]]
    started = read_json(root / layout.executions("hinge"), "")["started_at"]
    assert [(point.step, point.at) for point in sorted(scores, key=lambda p: p.step)] == [(0, started), (20, started + 500 + 250 * 20)]


def test_second_sync_changes_nothing_and_verify_finds_nothing(root: Path) -> None:
    node.sync(root)
    before = dump(root)
    again, verified = node.sync(root), node.sync(root, verify=True)
    assert (again.unchanged, verified.unchanged) == (3, 3)
    assert dump(root) == before


def test_changed_scores_replace_one_variant_and_its_comparison(root: Path) -> None:
    first = node.sync(root)
    before = shown(root)
    scores = read_json(root / layout.scores("hinge"), "")
    final = [entry for entry in scores["snapshots"] if (entry["step"], entry["generator"], entry["part"]) == (20, "ema", "test")]
    final[0]["lanes"][0]["metrics"]["frechet"]["value"] = 7.5
    write_json(root / layout.scores("hinge"), scores)
    second = node.sync(root)
    after = shown(root)
    assert (second.created, second.replaced, second.unchanged, second.deleted) == (0, 2, 1, 2)
    assert (second.runs["hinge"] != first.runs["hinge"], second.runs["wgan_free"] == first.runs["wgan_free"]) == (True, True)
    assert 7.5 in [point.value for point in after["hinge · seed 0"]["points"]["frechet"]]
    assert {name for name in after if after[name] != before[name]} == {"hinge · seed 0"}
    assert not (root / tracking.ARTIFACTS / tracking.EXPERIMENT / first.runs["hinge"]).exists()


def test_a_new_fingerprint_keeps_the_former_run_as_history(root: Path) -> None:
    first = node.sync(root)
    synthetic.write_variant(root, "hinge", "healthy", SHAPE, salt=1)
    second = node.sync(root)
    ids = {run.id for run in tracking.open_store(root).search("tags.`seesaw.kind` = 'variant'")}
    assert {first.runs["hinge"], second.runs["hinge"]} <= ids
    assert second.created == 1
    assert second.deleted == 1  # the comparison now names another run


@pytest.mark.parametrize("moment", [0, 1, 3])
def test_a_sync_cut_off_midway_is_finished_by_the_next(
    root: Path, whole: dict[str, Any], moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        """The process dies here."""

    calls = iter(range(100))
    fill = tracking.Store.fill

    def dying(store: tracking.Store, run_id: str, run: tracking.Run) -> None:
        fill(store, run_id, run)
        if next(calls) == moment:
            raise Cut

    monkeypatch.setattr(tracking.Store, "fill", dying)
    with pytest.raises(Cut):
        node.sync(root)
    monkeypatch.undo()
    node.sync(root)
    assert shown(root) == whole


def test_a_cut_between_the_new_run_and_the_deletion_of_the_old_one_is_mended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.sync(root)
    execution = read_json(root / layout.executions("hinge"), "")
    write_json(root / layout.executions("hinge"), execution | {"host": "elsewhere"})
    monkeypatch.setattr(tracking.Store, "delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        node.sync(root)
    monkeypatch.undo()
    node.sync(root)
    assert shown(root)["hinge · seed 0"]["tags"]["executed.host"] == "elsewhere"  # `shown` refuses two runs of one name


def test_verify_mends_a_point_a_child_and_an_image(root: Path) -> None:
    first = node.sync(root)
    before, store = shown(root), tracking.open_store(root)
    store.client.log_metric(first.runs["hinge"], "frechet", 0.0, step=5)
    assert node.sync(root).unchanged == 3  # tags alone do not show it
    mended = node.sync(root, verify=True)
    assert (mended.replaced, shown(root)) == (2, before)
    lane = next(run for run in store.search() if run.parent == mended.runs["wgan_free"])
    store.client.delete_run(lane.id)
    assert node.sync(root).replaced == 2  # a missing lane is seen without verify
    folder = root / tracking.ARTIFACTS / tracking.EXPERIMENT / node.sync(root).runs["hinge"] / "artifacts" / "images"
    next(folder.glob("*.png")).unlink()
    assert node.sync(root, verify=True).replaced == 2
    assert shown(root) == before


def test_a_lane_that_was_begun_twice_is_shown_once(root: Path, whole: dict[str, Any]) -> None:
    """A server that made a run and lost its answer is asked again."""
    node.sync(root)
    store = tracking.open_store(root)
    lane = next(run for run in store.search() if run.parent)
    begun = {key: lane.tags[key] for key in ("seesaw.kind", "fingerprint", "seed", "mlflow.parentRunId")}
    store.client.create_run(store.experiment, tags=begun)
    node.sync(root)
    assert shown(root) == whole


def test_what_belongs_to_others_is_left_alone(root: Path) -> None:
    node.sync(root)
    store = tracking.open_store(root)
    own = store.client.create_run(store.experiment, run_name="mine")
    binned = store.client.create_run(store.experiment, run_name="binned").info.run_id
    store.client.log_text(binned, "kept", "note.txt")
    store.client.delete_run(binned)
    folder = root / tracking.ARTIFACTS / tracking.EXPERIMENT
    orphan, model = folder / hashlib.md5(b"orphan", usedforsecurity=False).hexdigest(), folder / "models"
    orphan.mkdir()
    model.mkdir()
    node.sync(root, verify=True)
    assert not orphan.exists()
    assert model.is_dir()
    assert (folder / binned / "artifacts" / "note.txt").read_text() == "kept"
    assert store.client.get_run(own.info.run_id).info.status == "RUNNING"


def test_results_that_do_not_belong_together_are_left_out_and_named(root: Path) -> None:
    execution = read_json(root / layout.executions("wgan_free"), "")
    write_json(root / layout.executions("wgan_free"), execution | {"fingerprint": "f" * 64})
    diagnosis = read_json(root / layout.diagnostics("hinge"), "")
    write_json(root / layout.diagnostics("hinge"), diagnosis | {"fingerprint": "f" * 64})
    summary = node.sync(root)
    assert set(summary.runs) == {"hinge"}
    assert [note.split()[0] for note in summary.notes] == ["hinge:", "wgan_free"]
    assert shown(root)["hinge"]["tags"]["verdict"] == "undetermined"


def test_parameters_speak_the_words_of_params_yaml(tmp_path: Path) -> None:
    synthetic.write_results(tmp_path, ["wgan_gp"], SHAPE)
    (result,), _ = projection.read_results(tmp_path)
    params = projection.variant_run(result).params
    assert (params["penalty.weight"], params["penalty.name"]) == ("10.0", "gradient_penalty")
    assert not [key for key in params if "arguments" in key]


def test_removed_variants_are_not_shown(root: Path) -> None:
    (root / "params.yaml").write_text("variants:\n  wgan_free: {}\n")
    assert list(node.sync(root).runs) == ["wgan_free"]


def test_the_description_holds_the_verdict_table(root: Path) -> None:
    node.sync(root)
    store = tracking.open_store(root)
    tags = store.client.get_experiment(store.experiment).tags
    assert "| 1 | hinge | healthy |" in tags["mlflow.note.content"]
    for key in ("variants", "lanes"):
        view = json.loads(zlib.decompress(base64.b64decode(tags[f"mlflow.sharedViewState.{key}"].removeprefix("deflate;"))))
        assert view["runsHiddenMode"] == "SHOW_ALL"  # MLflow's own page draws ten runs, and the worst stand last


def test_the_comparison_names_its_runs_and_carries_the_report(root: Path) -> None:
    summary = node.sync(root)
    store = tracking.open_store(root)
    found = store.search("tags.`seesaw.kind` = 'comparison'")
    assert len(found) == 1
    assert json.loads(found[0].tags["runs"]) == summary.runs
    files = {item.path for item in store.client.list_artifacts(found[0].id)}
    assert files == {"comparison.json", "index.html", "report.md", "ranking.json"}
    assert store.client.get_run(found[0].id).data.metrics["rank/hinge"] == 1


def test_the_summary_is_the_report_with_links_where_the_store_is_a_server(root: Path) -> None:
    report = root / layout.REPORT / "report.md"
    report.write_text('# Which?\n\n| **wgan\\_free** | failed |\n\n<img src="../samples/hinge/x.png">\n')
    done = node.sync(root)
    summary = root / tracking.PRIVATE / "summary.md"
    assert summary.read_text() == report.read_text().replace("../samples", "../results/samples")
    node.write_summary(root, dataclasses.replace(done, uri="https://me:secret@host:8443/mlflow/", experiment="7"))
    text, run = summary.read_text(), done.runs["wgan_free"]
    assert f"| [**wgan\\_free**](https://host:8443/mlflow/#/experiments/7/runs/{run}) | failed |" in text
    (compare,) = re.findall(r"\(https://host:8443/mlflow/#/compare-runs\?(.*)\)", text)
    asked = {key: json.loads(value) for key, value in urllib.parse.parse_qsl(compare)}
    assert asked == {"runs": list(done.runs.values()), "experiments": ["7"]}
    assert "secret" not in text


def test_an_experiment_in_a_temporary_folder_reaches_the_main_store(root: Path) -> None:
    node.sync(root)
    temporary = root / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    shutil.copytree(root / "results", temporary / "results")
    shutil.copytree(root / "data", temporary / "data")
    assert node.sync(temporary).unchanged == 3
    assert not (temporary / tracking.DATABASE).exists()


def test_two_syncs_at_once_bring_a_lost_store_back(root: Path, whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    former = node.sync(root)
    (root / tracking.DATABASE).unlink()
    program = f"from pathlib import Path; from stages.sync import sync; print(sync(Path({str(root)!r})))"
    environment = os.environ | {"PYTHONPATH": str(Path(node.__file__).parent.parent)}
    both = [subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=240)[0].split(": ")[1].strip() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said == ["created 0, replaced 0, unchanged 3, deleted 0", "created 3, replaced 0, unchanged 0, deleted 0"]
    assert not (root / tracking.ARTIFACTS / tracking.EXPERIMENT / former.runs["hinge"]).exists()
    shutil.move(root / tracking.DATABASE, root / "moved.db")  # this process still holds the lost one open under the old name
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'moved.db'}")
    assert shown(root) == whole
    with sqlite3.connect(root / "moved.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nothing_to_show_and_a_dead_server_are_said_in_one_line(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SeesawError, match="run `dvc repro` first"):
        node.sync(tmp_path / "nowhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SeesawError, match=r"MLflow at http://127\.0\.0\.1:9: .*unset MLFLOW_TRACKING_URI"):
        node.sync(root)


HOSTILE = "x\"'<img src=x onerror=alert(1)>|`b`\n| 9 | 9 |\r\x1b[31m\x00[a](javascript:alert(1)) ![b](http://example.org/c) \u202e&amp;"


def hostile_results(root: Path) -> None:
    """The tree's files with a hostile text wherever one is free: as if they came from a shared remote, or from a stranger's labels."""

    def change(path: Path, edit: Any) -> None:
        content = read_json(path, "")
        edit(content)
        write_json(path, content)

    run = root / layout.run("hinge")
    change(run, lambda content: (content["config"].update(tuned={"study": HOSTILE}), content["lanes"][0].update(reason=HOSTILE)))
    change(root / layout.executions("hinge"), lambda content: content.update(host=HOSTILE, dvc_exp=HOSTILE, git_commit=HOSTILE))
    change(root / layout.CARD, lambda content: content.update(source=HOSTILE, labels=[HOSTILE, HOSTILE]))

    def judged(content: dict[str, Any]) -> None:
        content.update(doubt=HOSTILE, flags=[HOSTILE])
        remedy = {"why": HOSTILE, "command": HOSTILE}
        content["lanes"][0].update(evidence=[{"text": HOSTILE}], remedies=[remedy], verdict=HOSTILE, doubt=HOSTILE, flags=[HOSTILE])

    change(root / layout.diagnostics("hinge"), judged)
    change(root / layout.COMPARISON, lambda content: (content["ranking"][0].update(verdict=HOSTILE), content.update(baseline=HOSTILE)))


def test_a_hostile_text_is_only_text_in_mlflow(root: Path) -> None:
    """No control character reaches the store; in markdown nothing of it becomes HTML, a link, an image or a row of a table."""
    hostile_results(root)
    node.sync(root)
    runs, store = shown(root), tracking.open_store(root)
    experiment = store.client.get_experiment(store.experiment)
    notes = [run["tags"]["mlflow.note.content"] for run in runs.values() if "mlflow.note.content" in run["tags"]]
    texts = [text for run in runs.values() for text in (*run["tags"].values(), *run["params"].values())]
    texts += [name for run in runs.values() for name, _ in run["data"]]
    assert sum("onerror" in text for text in texts) >= 10  # it is shown, as text
    for text in texts:
        assert text in notes or text.isprintable()
    notes.append(experiment.tags["mlflow.note.content"])
    assert sum("onerror" in note for note in notes) >= 3
    for note in notes:
        assert all(line.isprintable() for line in note.split("\n"))
        prose = [line for line in note.split("\n") if not line.startswith("    ")]  # what is indented is code: shown as it is
        assert not [line for line in prose if re.search(r"<|`|\]\(|\| 9 \|", line)]
        widths = {line.count("|") for line in prose if line.startswith("|")}
        assert len(widths) == 1
    assert node.sync(root).unchanged == 3
    assert node.sync(root, verify=True).unchanged == 3
