"""The MLflow side on its own: limits, half-built runs, the experiment, where artifacts lie."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from stages.errors import SeesawError
from stages.store import tracking
from stages.store.tracking import Data, Point, Run

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tracking.Store:
    """A store of its own with an empty experiment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        return tracking.open_store(tmp_path_factory.mktemp("checkout with a space, é and #"))


def run(fingerprint: str, points: Sequence[Point] = (), **more: Any) -> Run:
    """A small run."""
    return Run(
        kind="variant", name="hinge", fingerprint=fingerprint, start=1000, end=5000, tags={"variant": "hinge"}, points=points, **more
    )


def test_calls_keep_mlflows_limits_and_lose_nothing() -> None:
    params, metrics = list(range(250)), list(range(2345))
    slices = list(tracking.calls(params, metrics))
    assert all(len(some) <= 100 and len(some) + len(others) <= 1000 for some, others in slices)
    assert [item for some, _ in slices for item in some] == params
    assert [item for _, others in slices for item in others] == metrics


def test_points_that_are_not_finite_are_named_and_never_sent(store: tracking.Store) -> None:
    points = [Point("loss", 1.0, 10, 1), Point("loss", math.nan, 20, 2), Point("loss", math.inf, 30, 3), Point("auc", -math.inf, 30, 3)]
    run_id = store.build(run("nan", points), "p")
    stored = store.client.get_run(run_id)
    assert store.points(run_id, "loss") == points[:1]
    assert set(stored.data.metrics) == {"loss"}
    assert stored.data.tags["non_finite"] == "auc from step 3 (1 points), loss from step 2 (2 points)"


def test_long_values_are_cut_with_a_mark_and_verify_agrees(store: tracking.Store) -> None:
    long = run("long", params={f"p{i}": "v" * 7000 for i in range(130)}, data=Data("digits", "d" * 64, "data/prepared", (1, 8, 8)))
    run_id = store.build(long, "p")
    stored = store.client.get_run(run_id)
    assert {len(value) for value in stored.data.params.values()} == {6000}
    assert len(stored.data.params) == 130
    assert [item.dataset.digest for item in stored.inputs.dataset_inputs] == ["d" * 36]
    assert store.differences(run_id, long) == []


def test_more_than_one_call_of_points_is_stored_whole(store: tracking.Store) -> None:
    many = run("many", [Point(f"m{i}", float(step), 1000 + step, step) for i in range(3) for step in range(900)])
    run_id = store.build(many, "p")
    assert store.differences(run_id, many) == []
    assert (store.client.get_run(run_id).info.start_time, store.client.get_run(run_id).info.end_time) == (1000, 5000)


def test_differences_name_what_differs(store: tracking.Store) -> None:
    run_id = store.build(run("other", [Point("loss", 1.0, 10, 1)], params={"a": "1"}), "p")
    changed = Run("variant", "r3", "other", 1000, 6000, {"variant": "r3"}, {"a": "2"}, [Point("loss", 1.5, 10, 1)])
    assert store.differences(run_id, changed) == ["times", "name", "tags", "params", "points"]


def test_the_projection_comes_last_and_half_built_runs_go(store: tracking.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(tracking.Store, "fill", dying)
    with pytest.raises(OSError, match="disk full"):
        store.build(run("half"), "p")
    monkeypatch.undo()
    half = store.of("half")
    assert [("projection" in found.tags, tracking.BUILDING in found.tags) for found in half] == [(False, True)]
    assert store.sweep() == 1
    assert store.of("half") == []


@pytest.mark.parametrize(("age", "left"), [(tracking.PATIENCE - 60, 1), (tracking.PATIENCE + 60, 0)])
def test_what_another_machine_builds_is_left_to_it_for_a_while(store: tracking.Store, age: int, left: int) -> None:
    tags = {"seesaw.kind": "variant", "fingerprint": f"far{age}", tracking.BUILDING: f"far:0 {int(time.time()) - age}"}
    created = store.client.create_run(store.experiment, 1000, tags)
    store.sweep()
    assert len(store.of(f"far{age}")) == left
    if left:
        store.client.delete_run(created.info.run_id)


def test_deleting_takes_the_children_along_and_can_be_repeated(store: tracking.Store) -> None:
    child = Run("lane", "hinge · seed 0", "family", 1000, 5000, {"seed": "0"})
    parent = store.build(run("family", children=[child]), "p")
    found = next(each for each in store.of("family") if each.id == parent)
    assert len(store.of("family")) == 2
    store.delete(found)
    store.delete(found)
    assert store.of("family") == []


def test_the_store_of_a_temporary_experiment_is_the_main_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    main = tmp_path.resolve()
    assert tracking.tracking_uri(main / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1") == f"sqlite:///{main / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert tracking.tracking_uri(main) == "http://tracking:5000"


def test_artifacts_of_two_stores_never_share_a_folder(tmp_path: Path) -> None:
    own = tracking.artifact_folder(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "seesaw")
    other = tracking.artifact_folder("sqlite:////elsewhere/mlflow.db", tmp_path, "seesaw")
    assert own == tmp_path / ".seesaw" / "mlflow" / "seesaw"
    assert other is not None
    assert other.parent == own.parent
    assert other != own
    assert tracking.artifact_folder("http://tracking:5000", tmp_path, "seesaw") is None


def test_a_deleted_experiment_comes_back(store: tracking.Store) -> None:
    store.client.delete_experiment(store.experiment)
    assert tracking.experiment_id(store.client, store.uri, store.main) == store.experiment
    assert store.client.get_experiment(store.experiment).lifecycle_stage == "active"


def test_a_broken_store_is_said_in_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(SeesawError, match=r"delete .*mlflow\.db\* and run `seesaw sync`") as caught:
        tracking.open_store(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_lock_held_elsewhere_is_named(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / ".seesaw" / "locks").mkdir(parents=True)
    with (
        FileLock(tmp_path / ".seesaw" / "locks" / "sync.lock"),
        pytest.raises(SeesawError, match=r"sync\.lock"),
        tracking.exclusive(tmp_path, "sync", timeout=0.1),
    ):
        pass
