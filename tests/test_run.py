"""`seesaw run -j` on a tiny real project, followed live by a real MLflow server; then its history."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import projects
import psutil
import pytest

from stages import sync as node
from stages import ui
from stages.store import layout, tracking
from stages.store.config import read_yaml

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A project after `seesaw run -j 3 --json` from nothing, with what it printed."""
    folder = projects.project(tmp_path_factory.mktemp("run") / "p")
    return folder, projects.seesaw(folder, "run", "-j", "3", "--json")


def test_everything_is_made_and_dvc_has_nothing_to_do(ran):
    folder, done = ran
    stages = {"check", "prepare", "compare", "report"} | {
        f"{node}@{v}" for node in ("train", "diagnose", "evaluate") for v in ("hinge", "r1")
    }
    assert set(read_yaml(folder / "dvc.lock")["stages"]) == stages
    assert {line.split(" | ")[0] for line in done.stderr.splitlines() if line.endswith(" | done")} == stages
    assert "Running stage" not in projects.dvc(folder, "repro").stdout


def test_json_says_what_came_out_and_nothing_else_is_on_standard_output(ran):
    folder, done = ran
    said = json.loads(done.stdout)
    comparison = json.loads((folder / layout.COMPARISON).read_text())
    assert [entry["variant"] for entry in said["ranking"]] == [entry["variant"] for entry in comparison["ranking"]]
    assert set(said["mlflow"]["runs"]) == {"hinge", "r1"}
    assert Path(said["report"]).is_file()


def test_with_nothing_to_do_no_stage_is_called(ran):
    folder, _ = ran
    again = projects.seesaw(folder, "run", "-j", "3", "--quiet")
    assert again.stderr == ""
    assert again.stdout.startswith("rank  variant")


def test_what_dvc_recorded_is_shown_from_its_cache(ran, monkeypatch):
    """With real locks and a real cache: a variant that left params.yaml is still a fact of the history."""
    folder, _ = ran
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    projects.git(folder, "add", "-A")
    projects.git(folder, "commit", "-q", "-m", "made")
    first = node.sync(folder)
    store = tracking.open_store(folder)
    params = folder / "params.yaml"
    before = params.read_text()
    params.write_text("\n".join(line for line in before.splitlines() if not line.startswith("  r1:")) + "\n")
    for run in store.search():
        store.delete(run)
    try:
        summary = node.sync(folder, all_revs=True)
    finally:
        params.write_text(before)
    assert set(summary.runs) == {"hinge"}
    variants = {run.tags["variant"]: run.tags for run in store.search("tags.`seesaw.kind` = 'variant'")}
    assert set(variants) == {"hinge", "r1"}
    assert summary.notes == []
    again = node.sync(folder, verify=True)  # what the cache gave is what the outputs hold, point by point
    assert (again.unchanged, again.replaced, set(again.runs)) == (2, 1, set(first.runs))  # the comparison names other runs now


def test_a_training_is_seen_in_a_real_server_while_it_lasts_and_ends_as_partial_when_stopped(ran, monkeypatch):
    folder, _ = ran
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params = folder / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("steps: 20", "steps: 1000000"))
    store = tracking.open_store(folder)
    try:
        projects.seesaw(folder, "check")
        with ui.server(store, folder, ui.free_port(0)) as address:
            environment = projects.environment(MLFLOW_TRACKING_URI=address, SEESAW_CHECKPOINT_SECONDS="0.5")
            command = [sys.executable, "-m", "stages.cli", "train", "r1", "--quiet"]
            process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
            run = seen(store, process)
            family = psutil.Process(process.pid).children(recursive=True)
            kinds = {word.rpartition(".")[2] for child in family for word in child.cmdline() if word.startswith("stages.")}
            process.send_signal(signal.SIGTERM)
            assert "a checkpoint stands" in process.communicate(timeout=240)[1]
    finally:
        params.write_text(before)
    assert "live" in kinds
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert store.client.get_run(run.id).info.status == "RUNNING"
    node.sync(folder)
    ended = store.client.get_run(run.id)
    assert (ended.info.status, ended.data.tags[tracking.PARTIAL]) == ("KILLED", "true")


def seen(store: tracking.Store, process: subprocess.Popen[str]) -> tracking.Found:
    """The live run, as soon as its lanes have curves."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        runs = store.search("attributes.status = 'RUNNING'")
        lanes = [run for run in runs if run.parent and store.client.get_run(run.id).data.metrics.get("auc") is not None]
        if len(lanes) == 2:
            return next(run for run in runs if tracking.LIVE in run.tags)
        time.sleep(0.2)
    raise AssertionError("no live curves in time")
