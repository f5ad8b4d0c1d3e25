"""The live view: what it sends, what it costs when its server fails, and what sync makes of it."""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faulty
import numpy as np
import psutil
import pytest
import synthetic

from stages import sync as node
from stages.errors import SeesawError
from stages.store import feed, layout, live, projection, records, tracking
from stages.store.curves import write_curves
from stages.store.files import read_json
from stages.store.records import Block, save_blocks
from stages.store.scratch import held

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
SHAPE = synthetic.Shape(seeds=(0, 3), steps=40, record_every=10, snapshots=(0, 40))
STARTED = 1790000000000
MEASURES = ("g_loss", "d_loss", "d_gradient_norm", "g_gradient_norm", "real_logit", "fake_logit", "auc", "sample_movement")


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a made-up result of `hinge`, whose training lies in scratch, and an empty store."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", feed.SWITCH):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, tmp_path / tracking.DATABASE)
    return synthetic.write_results(tmp_path, {"hinge": "healthy"}, SHAPE)


def in_training(root: Path) -> tuple[Path, dict[str, Any]]:
    """The scratch folder of that training, two groups of one lane with two checkpoints each, and its job."""
    run, execution = (read_json(root / place("hinge"), "") for place in (layout.run, layout.executions))
    place = root / ".seesaw" / "scratch" / f"{run['fingerprint'][:32]}-torch-cpu"
    stored = records.read(root / layout.records("hinge"))
    at = dict(zip(execution["timeline"]["step"], execution["timeline"]["at"], strict=True))
    for group in range(2):
        for checkpoint, steps in ((25, (1, 10, 20)), (40, (30, 40))):
            chosen = [int(step) for step in stored.steps if step in steps]
            rows = np.searchsorted(stored.steps, chosen)
            columns = tuple((measure, "") for measure in MEASURES)
            values = np.stack([stored.series(measure)[rows][:, group : group + 1] for measure in MEASURES], 1)
            early = 7 * (1 - group)  # the first group is done a little earlier: the row's time is the last group's
            times = np.array([at[step] - early for step in chosen])
            (place / f"group-{group}").mkdir(parents=True, exist_ok=True)
            save_blocks(
                place / f"group-{group}" / f"records-{checkpoint:08d}.npz", {"steps": Block(columns, np.array(chosen), times, values)}
            )
    whole = np.stack([stored.series(measure) for measure in MEASURES], 1)
    columns = tuple((measure, "") for measure in MEASURES)
    write_curves(root / layout.curves("hinge"), Block(columns, stored.steps, np.array([at[int(step)] for step in stored.steps]), whole))
    kept = {key: run[key] for key in ("variant", "fingerprint", "config", "data", "seeds", "steps")}
    known = {key: value for key, value in execution.items() if key not in ("ended_at", "timeline")}
    return place, {"root": str(root), "run": kept, "execution": known, "groups": 2, "place": str(place), "parent": os.getpid()}


def points_of(store: tracking.Store, run_id: str) -> set[tracking.Point]:
    return {point for key in store.client.get_run(run_id).data.metrics for point in store.points(run_id, key)}


def lives(store: tracking.Store) -> list[tracking.Found]:
    return [run for run in store.search() if tracking.LIVE in run.tags]


def test_only_what_every_group_has_saved_is_sent_and_its_points_are_those_of_sync(root: Path) -> None:
    _, job = in_training(root)
    follower = live.Follower(job)
    follower.send({0: 40, 1: 25})
    store = tracking.open_store(root)
    (parent,) = lives(store)
    steps = {point.step for point in points_of(store, parent.id)}
    assert steps == {step for step in read_json(root / layout.executions("hinge"), "")["timeline"]["step"] if step <= 25}
    follower.send({1: 40})
    (result,), _ = projection.read_results(root)
    plan = projection.variant_run(result)
    shown = points_of(store, parent.id)
    assert shown
    assert shown <= set(plan.points)
    for run_id, lane in zip(follower.runs[1:], plan.children, strict=True):
        sent = points_of(store, run_id)
        assert {point.key for point in sent} == set(MEASURES)
        assert sent == {point for point in lane.points if point.key in MEASURES}
    children = {run.tags["seed"]: run.tags["mlflow.parentRunId"] for run in store.search() if run.parent}
    assert children == {"0": parent.id, "3": parent.id}


def test_a_training_taken_up_again_goes_on_in_the_same_run(root: Path) -> None:
    _, job = in_training(root)
    live.Follower(job).send({0: 25, 1: 25})
    store = tracking.open_store(root)
    (before,) = lives(store)
    assert store.end_unfed() == 1
    again = live.Follower(job)
    again.send({0: 40, 1: 40})
    (after,) = lives(store)
    assert (after.id, len(store.search())) == (before.id, 3)
    found = store.client.get_run(after.id)
    assert (found.info.status, tracking.PARTIAL in found.data.tags) == ("RUNNING", False)
    assert {point.step for point in points_of(store, after.id)} >= {10, 40}


def test_sync_replaces_the_live_run_by_the_finished_one(root: Path) -> None:
    place, job = in_training(root)
    live.Follower(job).send({0: 25, 1: 25})
    store = tracking.open_store(root)
    with held(place, "it"):  # another process would hold it; a lock is held by whoever opened it
        assert store.is_fed(lives(store)[0])
    node.sync(root)
    assert lives(store) == []
    kinds = sorted(run.tags["seesaw.kind"] for run in store.search())
    assert kinds == ["comparison", "lane", "lane", "variant"]
    assert node.sync(root, verify=True).unchanged == 2
    late = live.Follower(job)
    late.send({0: 40, 1: 40})
    assert (late.runs, lives(store)) == ([], [])  # the result is shown already


def test_a_training_that_stopped_without_outputs_is_ended_as_partial(root: Path) -> None:
    _, job = in_training(root)
    job["run"]["fingerprint"] = "e" * 64
    live.Follower(job).send({0: 25, 1: 25})
    summary = node.sync(root)
    store = tracking.open_store(root)
    (stopped,) = lives(store)
    family = [run for run in store.search() if stopped.id in (run.id, run.parent)]
    ends = {(store.client.get_run(run.id).info.status, run.tags[tracking.PARTIAL]) for run in family}
    assert (ends, len(family)) == ({("KILLED", "true")}, 3)
    assert any("KILLED" in note for note in summary.notes)
    assert node.sync(root).notes == []


@pytest.mark.parametrize(("age", "status"), [(tracking.PATIENCE - 60, "RUNNING"), (tracking.PATIENCE + 60, "KILLED")])
def test_another_hosts_training_is_ended_by_its_heartbeat_alone(root: Path, age: int, status: str) -> None:
    store = tracking.open_store(root)
    whose = json.dumps({"host": f"not {socket.gethostname()}", "scratch": "/nowhere"})
    beat = str(int(time.time()) - age)
    tags = {"seesaw.kind": "variant", "fingerprint": "d" * 64, tracking.LIVE: whose, tracking.HEARTBEAT: beat}
    run_id = store.client.create_run(store.experiment, STARTED, tags).info.run_id
    store.sweep()
    store.end_unfed()
    info = store.client.get_run(run_id).info
    assert info.status == status
    assert info.end_time == (None if status == "RUNNING" else int(beat) * 1000)


def family() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "stages.store.live" in " ".join(child.cmdline())]


@pytest.mark.parametrize("fault", ["hang", "error", "drop before"])
def test_a_server_that_fails_costs_nothing_but_the_view(root: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every notice is taken at once; the process is in the middle of its trouble when the training ends, and ends with it."""
    place, job = in_training(root)
    with faulty.server(lambda number: fault) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        with feed.following(place, job) as take:
            process = calling(take, server, place)
            for step in range(26, 20_026):  # far more notices than the pipe holds
                take(0, {"event": "saved", "step": step})
            assert process.is_running()
        assert family() == []
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_server_that_dies_in_the_middle_of_a_call_costs_nothing_but_the_view(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the first call and never answers it; from then on nobody listens. The process says so, and waits for the next try."""
    place, job = in_training(root)
    with contextlib.ExitStack() as alive:
        server = alive.enter_context(faulty.server(lambda number: "hang"))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
        with feed.following(place, job) as take:
            process = calling(take, server, place)
            alive.close()
            await_that(lambda: "not sent, tried again" in (place / "live.log").read_text(), place)
            take(0, {"event": "saved", "step": 40})
            assert process.is_running()
        assert family() == []


def calling(take: Callable[[int, dict[str, Any]], None], server: faulty.Served, place: Path) -> psutil.Process:
    """The live view's process, once both groups have saved and its first call has reached the server."""
    for group in range(2):
        take(group, {"event": "saved", "step": 25})
    (process,) = family()
    await_that(lambda: bool(server.seen), place)
    return process


def await_that(true: Callable[[], bool], place: Path) -> None:
    """Fails with what the process said when it does not come true."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, (place / "live.log").read_text()
        time.sleep(0.05)


def test_a_server_that_comes_back_is_sent_everything(root: Path) -> None:
    """Errors first, then a store: what was not taken is sent again."""
    _, job = in_training(root)
    follower = live.Follower(job)
    real, follower.store = tracking.open_store(root), None
    with faulty.server(lambda number: "error") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server.address)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with pytest.raises(SeesawError, match="MLflow at http"):
            follower.send({0: 25, 1: 25})
    follower.send({0: 40, 1: 40})
    assert {point.step for point in points_of(real, follower.runs[0])} >= {10, 20, 30, 40}


def test_it_is_asked_for_by_a_server_or_a_word_and_never_changes_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = []
    for uri, word in (("", ""), ("http://tracking:5000", ""), ("http://tracking:5000", "0"), ("", "1"), ("sqlite:///x.db", "")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        monkeypatch.setenv(feed.SWITCH, word)
        answers.append(feed.wanted())
    assert answers == [False, True, False, True, False]
    monkeypatch.setenv(feed.SWITCH, "yes")
    with pytest.raises(SeesawError, match="SEESAW_LIVE is 'yes': 0 or 1 is needed"):
        feed.wanted()


def test_notices_are_read_however_the_pipe_cuts_them() -> None:
    reading, writing = os.pipe()
    notices = live.Notices(reading)
    for piece in (b"0 25\n1 2", b"5\n0 40\n"):
        os.write(writing, piece)
        assert notices.wait(5)
    assert notices.steps == {0: 40, 1: 25}
    assert notices.wait(0)
    os.close(writing)
    assert not notices.wait(5)
    os.close(reading)
