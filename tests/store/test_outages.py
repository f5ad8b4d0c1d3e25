"""sync against a real MLflow server that is killed, slowed, and loses calls; and a missing store opened by eight processes at once."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import faulty
import psutil
import pytest
import synthetic

from stages import sync as node
from stages import ui
from stages.errors import SeesawError
from stages.store import tracking

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
SHAPE = synthetic.Shape(seeds=(0, 3), steps=20, record_every=10, snapshots=(0, 20))
WHOLE = 2 * 3 + 1  # runs: two variants with two lanes each, a comparison
FIRST = 12  # calls that go well before faults begin: the experiment exists
AT_ONCE = """
import os, sys
from pathlib import Path
import mlflow  # once, before the fork
from mlflow import MlflowClient
from mlflow.store.tracking import sqlalchemy_store
from stages.store import tracking
start, ready = os.pipe()
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        os.close(ready)
        os.read(start, 1)  # returns when the parent closes its end: all eight begin at once
        store = tracking.open_store(Path(sys.argv[1]))
        store.client.create_run(store.experiment)
        os._exit(0)
    children.append(child)
os.close(ready)
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children))
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own environment variables: three tries a call, at once."""
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    for name, value in (("MAX_RETRIES", "2"), ("BACKOFF_FACTOR", "0"), ("BACKOFF_JITTER", "0"), ("TIMEOUT", "20")):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", value)


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path / tracking.DATABASE)
    (tmp_path / tracking.PRIVATE).mkdir()
    return synthetic.write_results(tmp_path, {"hinge": "healthy", "wgan_free": "non_finite"}, SHAPE)


def serving(root: Path) -> AbstractContextManager[str]:
    """A real server on the project's own database."""
    store = tracking.Store(None, f"sqlite:///{root / tracking.DATABASE}", root, "")
    return ui.server(store, root, ui.free_port(0))


def test_lost_calls_and_a_killed_server_leave_nothing_but_the_projection(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = ("error", "drop before", "drop after", "delay")
    with serving(root) as address:

        def often(number: int) -> str:
            return faults[number // 4 % 4] if number > FIRST and number % 4 == 0 else ""

        with faulty.server(often, address) as between:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", between.address)
            complete(root)
            assert {what for _, what in between.seen} == {"", *faults}
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert_exact(root, 3)
        synthetic.write_variant(root, "hinge", "healthy", SHAPE, salt=1)
        with faulty.server(killing(FIRST), address) as dying:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", dying.address)
            with pytest.raises(SeesawError, match="MLflow at http"):
                node.sync(root)
    with serving(root) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        node.sync(root)
        assert_exact(root, 3, history=3)


def killing(last: int) -> faulty.Fault:
    """The server behind is killed when that many calls have been answered."""

    def fault(number: int) -> str:
        if number <= last:
            return ""
        for child in psutil.Process().children(recursive=True):
            child.kill()
        return "drop before"

    return fault


def complete(root: Path) -> None:
    """Sync until one goes through."""
    for _ in range(20):
        try:
            node.sync(root)
        except SeesawError:
            continue
        return
    raise AssertionError("no sync went through")


def assert_exact(root: Path, shown: int, history: int = 0) -> None:
    """Every point, tag and image is the projection's, and no other run of ours is there."""
    assert node.sync(root, verify=True).unchanged == shown
    runs = tracking.open_store(root).search()
    assert len(runs) == WHOLE + history
    assert all("projection" in run.tags for run in runs)


def test_eight_processes_open_a_missing_store_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = str(Path(node.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", code)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", AT_ONCE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    with sqlite3.connect(tmp_path / tracking.DATABASE) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (8,)
        assert connection.execute("SELECT count(*) FROM experiments WHERE name = 'seesaw'").fetchone() == (1,)
