"""`seesaw ui` with a real server on the loopback address: what it prints, what it serves, and that nothing is left running."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import synthetic

from stages import sync as node
from stages import ui
from stages.errors import SeesawError
from stages.store import tracking

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
FATES = {"hinge": "healthy", "wgan_free": "non_finite"}
SHAPE = synthetic.Shape(seeds=(0, 1), steps=20, record_every=10, snapshots=(0, 20))


def get(url: str, body: dict[str, Any] | None = None) -> bytes:
    """An answer of the server."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return bytes(answer.read())


class Served(NamedTuple):
    """A running `seesaw ui`."""

    root: Path
    summary: node.SyncSummary
    process: subprocess.Popen[str]
    pages: dict[str, str]  # what it printed: name to address

    @property
    def address(self) -> str:
        """The server alone."""
        return self.pages["compare"].partition("/#")[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`seesaw ui` in a process of its own on a synced tree; afterwards SIGTERM ends it and every process it started."""
    program = "import sys; from pathlib import Path; from stages.ui import ui; ui(Path(sys.argv[1]), 0, open_browser=False)"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        root = synthetic.write_results(tmp_path_factory.mktemp("served"), FATES, SHAPE)
        summary = node.sync(root)
        environment = os.environ | {"PYTHONPATH": str(Path(ui.__file__).parent.parent)}
        process = subprocess.Popen([sys.executable, "-c", program, str(root)], env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        printed = list(itertools.takewhile(lambda line: not line.startswith("Ctrl-C"), process.stdout))
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 2
    yield Served(root, summary, process, dict(line.split() for line in printed))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_the_server_serves_the_pages_it_prints(served: Served) -> None:
    compare = urllib.parse.unquote_plus(served.pages["compare"])
    assert all(run_id in compare for run_id in served.summary.runs.values())
    assert b"<div id=" in get(served.address)
    wanted = {"experiment_ids": [served.summary.experiment], "max_results": 100}
    assert len(json.loads(get(f"{served.address}/api/2.0/mlflow/runs/search", wanted))["runs"]) == 2 * 3 + 1


def test_the_server_listens_on_the_loopback_address_alone(served: Served) -> None:
    port = urllib.parse.urlsplit(served.address).port
    heard = {one.laddr.ip for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.laddr.port == port}
    assert heard == {"127.0.0.1"}


def test_sync_through_the_server_is_exact_and_idempotent(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "through the server")
    assert node.sync(served.root).created == 3
    verified = node.sync(served.root, verify=True)
    assert (verified.unchanged, verified.experiment != served.summary.experiment) == (3, True)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_prepared_views_open_in_a_browser(served: Served, tmp_path: Path) -> None:
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=2000,2400", f"--user-data-dir={tmp_path}"]
    seen = {}
    for name in ("variants", "charts"):
        arguments = [*command, "--virtual-time-budget=30000", "--dump-dom", served.pages[name]]
        seen[name] = subprocess.run(arguments, capture_output=True, text=True, timeout=180, check=True).stdout
    assert all(word in seen["variants"] for word in ("viewing a shared view", "wgan_free", "non_finite", "failed_lanes"))
    assert all(word in seen["charts"] for word in ("Group by: lane.variant", "Group: hinge", "g_gradient_norm", "Signs"))


def test_a_named_server_is_only_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    store = tracking.Store(None, "http://tracking:5000/", tmp_path, "7")
    monkeypatch.setattr(tracking, "open_store", lambda _: store)
    monkeypatch.setattr(ui, "pages", lambda *_: {"compare": "/#/compare-runs"})
    ui.ui(tmp_path, open_browser=False)
    assert capsys.readouterr().out == "compare   http://tracking:5000/#/compare-runs\n"


def test_nothing_synced_yet_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write_results(tmp_path, FATES, SHAPE)
    store = tracking.Store(None, "", tmp_path, "1")
    monkeypatch.setattr(tracking.Store, "of", lambda *_: [])
    with pytest.raises(SeesawError, match="run `seesaw sync` first"):
        ui.pages(store, tmp_path)


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((ui.HOST, 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        assert ui.free_port(wanted) not in (0, wanted)
    assert ui.free_port(wanted) == wanted


def test_a_server_that_cannot_start_is_said_with_its_log(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], start_new_session=True)
    with pytest.raises(SeesawError, match=r"ui\.log says why"):
        ui.wait_until_up(process, "http://127.0.0.1:9", tmp_path / "ui.log")
    ui.end_group(process)
    assert process.returncode == 3
