"""`seesaw ui`: a lean MLflow server on the loopback address, opened on this experiment; all its processes end with it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

from stages.errors import SeesawError
from stages.store import projection, tracking

HOST = "127.0.0.1"
STARTS_WITHIN = 90.0  # seconds; about 8 on an idle machine
ENDS_WITHIN = 10.0


class Ended(Exception):
    """A signal asked to end."""


def ui(root: Path, port: int = 5000, open_browser: bool = True) -> None:
    """Serve the store until Ctrl-C or SIGTERM, and print where to look: the prepared views and the compare page of the variants.

    Where MLFLOW_TRACKING_URI names a server, nothing is started and only the addresses are printed. Another free port is taken when `port`
    is in use. Raises SeesawError when nothing was synced yet or the server does not start.
    """
    store = tracking.open_store(root)
    with tracking.speaking(store.uri):
        paths = pages(store, root)
    if store.uri.startswith("http"):
        show(store.uri.rstrip("/"), paths, open_browser)
        return
    with ended_by_signals(), server(store, root, free_port(port)) as address:
        show(address, paths, open_browser)
        print("Ctrl-C ends the server.", flush=True)
        while True:
            time.sleep(3600)


def pages(store: tracking.Store, root: Path) -> dict[str, str]:
    """What to look at, and where: parts of an address after the server's."""
    results, _ = projection.read_results(root)
    current = {result.run["fingerprint"]: result.projection for result in results}
    variants = [run for fingerprint in current for run in store.of(fingerprint) if run.tags["seesaw.kind"] == "variant"]
    ids = [run.id for run in variants if run.tags.get("projection") == current[run.tags["fingerprint"]]]  # in the order of params.yaml
    if not ids:
        raise SeesawError("MLflow does not show these results as they are now: run `seesaw sync` first (after `dvc repro`)")
    runs = f"/#/experiments/{store.experiment}/runs"
    training = "workflowType=machine_learning"  # MLflow's menu for training runs, not the one for language models
    query = urllib.parse.urlencode({"runs": json.dumps(ids), "experiments": json.dumps([store.experiment])})
    return {
        "variants": f"{runs}?viewStateShareKey=variants&{training}",
        "pictures": f"{runs}?viewStateShareKey=variants&compareRunsMode=CHART&{training}",
        "lanes": f"{runs}?viewStateShareKey=lanes&{training}",
        "charts": f"{runs}?viewStateShareKey=lanes&compareRunsMode=CHART&{training}",
        "compare": f"/#/compare-runs?{query}&{training}",
    }


def show(address: str, paths: dict[str, str], open_browser: bool) -> None:
    """Print the pages, and open the first one."""
    for name, path in paths.items():
        print(f"{name:<10}{address}{path}", flush=True)
    if open_browser:
        webbrowser.open(address + paths["variants"])


def free_port(wanted: int) -> int:
    """`wanted`, or a free port where it is taken."""
    for port in (wanted, 0):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SeesawError(f"no port on {HOST} can be bound: free one, or name another with --port")


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGINT and SIGTERM end the block quietly; the former handlers come back afterwards."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended

    former = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Ended:
        pass
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def server(store: tracking.Store, root: Path, port: int) -> Iterator[str]:
    """The address of an MLflow server over a local store; it and all its processes end with the block."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store.uri,
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--default-artifact-root", str(store.main / tracking.ARTIFACTS)]
    log = store.main / tracking.PRIVATE / "ui.log"
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as lines:
        process = subprocess.Popen(command, cwd=root, env=os.environ | lean, stdout=lines, stderr=lines, start_new_session=True)
        try:
            wait_until_up(process, f"http://{HOST}:{port}", log)
            yield f"http://{HOST}:{port}"
        finally:
            end_group(process)


def wait_until_up(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return once the server answers; SeesawError when it ends or stays silent."""
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):  # noqa: S310
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SeesawError(f"the MLflow server did not start within {STARTS_WITHIN:.0f} s: {log} says why")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and every process of its group: politely, then for good."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
