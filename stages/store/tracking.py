"""MLflow's side of the projection: the only module that imports mlflow, and only inside functions (its import takes seconds).

A `Run` says what a run must show; a `Store` finds, builds, reads and deletes runs. What a run shows is decided by `stages/sync.py`.

Decisions:
- A run that is whole carries the tag `projection`, written last. A run of ours without it is half built: it is deleted and built again.
- A run that follows a training (store/live.py) has no `projection` either: sync replaces it, or ends it once nobody feeds it.
- MLflow deletes softly: a replaced run stays in its bin until `mlflow gc`; its local artifacts are removed at once.
- Points that are not finite are never sent (MLflow would keep NaN, and turn infinities into 1.8e308); the tag `non_finite` names them.
"""

import hashlib
import io
import json
import logging
import math
import os
import re
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from stages.errors import SeesawError, printable
from stages.store.files import replacing
from stages.store.places import main_checkout

DATABASE = "mlflow.db"
PRIVATE = Path(".seesaw")
ARTIFACTS = PRIVATE / "mlflow"
LOCKS = PRIVATE / "locks"
EXPERIMENT = "seesaw"
NOTE = "mlflow.note.content"  # a run's or an experiment's description, in markdown
PATIENCE = 900  # seconds without a sign of life after which another machine's half-built run counts as abandoned
CALL, CALL_PARAMS = 1000, 100  # MLflow's limits for one call: items in all, params among them
LONGEST = {"param": 6000, "tag": 8000, "experiment": 20000, "digest": 36}
BUILDING = "seesaw.building"  # tag of a half-built parent run: who builds it, and since when
LIVE = "seesaw.live"  # tag of a parent run that follows a training: {"host", "scratch"}
HEARTBEAT = "seesaw.heartbeat"  # tag of the same: when it was last fed, in Unix seconds
PARTIAL = "partial"  # tag of a run that ended without outputs
TABLE = "ranking.json"  # in the form of MLflow's log_table, which would import pandas
RUN_ID = re.compile(r"[0-9a-f]{32}")
# A dead server is reported within seconds instead of MLflow's minutes; nothing is sent to anyone but the store; no line for every run.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


class Point(NamedTuple):
    """One value of one curve; `at` in Unix milliseconds."""

    key: str
    value: float
    at: int
    step: int


class Image(NamedTuple):
    """One image of the image grid."""

    key: str
    step: int
    at: int
    path: Path | bytes  # of a file, or the file's bytes


@dataclass(frozen=True)
class Data:
    """The data a run was trained on; `digest` is cut to MLflow's 36 characters."""

    name: str
    digest: str
    source: str
    shape: Sequence[int] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """Everything a run shows. `children` are nested runs; `artifacts` are files at the top of its artifact folder."""

    kind: str  # variant, lane or comparison
    name: str
    fingerprint: str
    start: int
    end: int
    tags: Mapping[str, str]
    params: Mapping[str, str] = field(default_factory=dict)
    points: Sequence[Point] = ()
    images: Sequence[Image] = ()
    data: Data | None = None
    artifacts: Sequence[Path] = ()
    table: Mapping[str, Sequence[Any]] | None = None  # columns of TABLE
    children: Sequence["Run"] = ()


class Found(NamedTuple):
    """A run of ours that the store holds."""

    id: str
    tags: Mapping[str, str]

    @property
    def parent(self) -> str | None:
        """The run it is nested in."""
        return self.tags.get("mlflow.parentRunId")


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the sqlite store at the main checkout's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{main_checkout(root) / DATABASE}"


@contextmanager
def exclusive(root: Path, name: str, timeout: float = 600.0) -> Iterator[None]:
    """A file lock in the main checkout's `.seesaw/locks`; SeesawError when another process keeps it longer than `timeout` seconds."""
    folder = main_checkout(root) / LOCKS
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f"{name}.lock", timeout=timeout):
            yield
    except Timeout:
        raise SeesawError(f"another process has held {folder / name}.lock for {timeout:.0f} s: wait for it, or end it") from None


@contextmanager
def speaking(uri: str) -> Iterator[None]:
    """MLflow's own errors as one line that names the store and the remedy."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        local = uri.startswith("sqlite")
        remedy = f"delete {uri[10:]}* and run `seesaw sync`" if local else "see that it runs, or unset MLFLOW_TRACKING_URI, and sync again"
        raise SeesawError(f"MLflow at {uri}: {' '.join(str(error).split())[:300]}: {remedy}") from error


def open_store(root: Path) -> "Store":
    """The store with this project's experiment, both created when missing."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    uri, main = tracking_uri(root), main_checkout(root)
    if uri.startswith("sqlite:///"):
        with exclusive(main, "store"):
            create_database(Path(uri.removeprefix("sqlite:///")), main / ARTIFACTS)
    with speaking(uri):
        client = MlflowClient(uri)
        return Store(client, uri, main, experiment_id(client, uri, main))


def create_database(path: Path, artifacts: Path) -> None:
    """An empty MLflow database in WAL mode at `path` unless one is there; whole or not at all (hold the lock `store`)."""
    if path.exists() and path.stat().st_size:
        return
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for talkative in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    for left in ("-wal", "-shm", "-journal"):  # of a deleted database: sqlite would replay them into the new one
        path.with_name(path.name + left).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder, replacing(path) as whole:
        draft = Path(folder) / DATABASE
        SqlAlchemyStore(f"sqlite:///{draft}", str(artifacts)).engine.dispose()
        source, target = sqlite3.connect(draft), sqlite3.connect(whole)
        source.backup(target)
        target.execute("PRAGMA journal_mode=WAL").fetchone()
        source.close()
        target.close()


def artifact_folder(uri: str, main: Path, experiment: str) -> Path | None:
    """Where a local store's artifacts lie, one folder per store and experiment; None for a server, which decides itself."""
    if not uri.startswith("sqlite:///"):
        return None
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", experiment)
    own = uri == f"sqlite:///{main / DATABASE}"
    return main / ARTIFACTS / (name if own else f"{name}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}")


def experiment_id(client: Any, uri: str, main: Path) -> str:
    """The experiment MLFLOW_EXPERIMENT_NAME (or `seesaw`); created, or brought back from MLflow's bin."""
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    found = client.get_experiment_by_name(name)
    if found is None:
        folder = artifact_folder(uri, main, name)
        try:
            return str(client.create_experiment(name, artifact_location=folder.as_uri() if folder else None))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another machine was faster
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def calls(params: Sequence[Any], metrics: Sequence[Any]) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    """Params and metrics in pairs of slices that MLflow takes in one call."""
    while params or metrics:
        first, params = params[:CALL_PARAMS], params[CALL_PARAMS:]
        room = CALL - len(first)
        yield first, metrics[:room]
        metrics = metrics[room:]


def clipped(text: str, longest: int) -> str:
    """`text`, cut to `longest` characters with a mark."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def stored_params(run: Run) -> dict[str, str]:
    """A run's parameters as MLflow can hold them."""
    return {key: clipped(shown(key, value), LONGEST["param"]) for key, value in run.params.items()}


def shown(key: str, text: str) -> str:
    """What may be shown by a page or a terminal: characters that either acts on are escaped, and only a description has lines."""
    return "\n".join(map(printable, text.split("\n"))) if key == NOTE else printable(text)


def finite(points: Iterable[Point]) -> list[Point]:
    """The points MLflow can hold."""
    return [point for point in points if math.isfinite(point.value)]


def non_finite(points: Iterable[Point]) -> str:
    """What `finite` leaves out, in words: `g_loss from step 412 (3 points)`."""
    steps: dict[str, list[int]] = {}
    for point in points:
        if not math.isfinite(point.value):
            steps.setdefault(point.key, []).append(point.step)
    return ", ".join(f"{key} from step {min(at)} ({len(at)} points)" for key, at in sorted(steps.items()))


@dataclass
class Store:
    """One experiment of one MLflow store. Its methods raise MlflowException: wrap their use in `speaking(store.uri)`."""

    client: Any
    uri: str
    main: Path
    experiment: str

    @property
    def builder(self) -> str:
        """Names this host and checkout: half-built runs of the same builder are dead when the lock `sync` is held."""
        return f"{socket.gethostname()}:{hashlib.sha256(str(self.main).encode()).hexdigest()[:12]}"

    def search(self, condition: str = "", deleted: bool = False) -> list[Found]:
        """Runs of the experiment under one of MLflow's filters, by id."""
        from mlflow.entities import ViewType

        view, token, found = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY, None, []
        while True:
            page = self.client.search_runs([self.experiment], condition, view, max_results=1000, page_token=token)
            found += [Found(run.info.run_id, dict(run.data.tags)) for run in page]
            token = page.token
            if not token:
                return sorted(found)

    def of(self, fingerprint: str) -> list[Found]:
        """Every run of ours with that fingerprint."""
        return [run for run in self.search(f"tags.fingerprint = '{fingerprint}'") if "seesaw.kind" in run.tags]

    def build(self, run: Run, projection: str, parent: str | None = None) -> str:
        """The run and its children, written whole; the tag `projection` comes last. Returns its id."""
        building = {"mlflow.parentRunId": parent} if parent else {BUILDING: f"{self.builder} {int(time.time())}"}
        created = self.client.create_run(self.experiment, run.start, self.tags(run) | building, run.name)
        run_id = created.info.run_id
        for child in run.children:
            self.build(child, projection, run_id)
        self.fill(run_id, run)
        self.client.set_terminated(run_id, "FINISHED", run.end)
        self.client.set_tag(run_id, "projection", projection)
        if parent is None:
            self.client.delete_tag(run_id, BUILDING)
        return run_id

    def start(self, run: Run, tags: Mapping[str, str]) -> str:
        """A run without its children and without anything but tags, RUNNING; its id."""
        return str(self.client.create_run(self.experiment, run.start, self.tags(run) | dict(tags), run.name).info.run_id)

    def revive(self, run_id: str) -> None:
        """A run that was ended is RUNNING again."""
        self.client.update_run(run_id, status="RUNNING")
        if PARTIAL in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, PARTIAL)

    def is_fed(self, run: Found) -> bool:
        """Whether a live run's training goes on: here, its scratch folder is locked; elsewhere, its heartbeat is not old."""
        whose = json.loads(run.tags[LIVE])
        if whose["host"] == socket.gethostname():
            return is_locked(Path(whose["scratch"]) / "lock")
        return time.time() - int(run.tags.get(HEARTBEAT, "0")) <= PATIENCE

    def end_unfed(self) -> int:
        """End live runs that nobody feeds any more, with their lanes: KILLED when last fed, tagged `partial`; how many."""
        running = [run for run in self.search("attributes.status = 'RUNNING'") if LIVE in run.tags]
        unfed = [run for run in running if not self.is_fed(run)]
        for run in unfed:
            for each in (*self.search(f"tags.mlflow.parentRunId = '{run.id}'"), run):
                self.client.set_tag(each.id, PARTIAL, "true")
                self.client.set_terminated(each.id, "KILLED", int(run.tags.get(HEARTBEAT, "0")) * 1000)
        return len(unfed)

    def tags(self, run: Run) -> dict[str, str]:
        """All tags of a run but those that tell how far it is built."""
        tags = dict(run.tags) | {"seesaw.kind": run.kind, "fingerprint": run.fingerprint}
        missing = non_finite(run.points)
        tags |= {"non_finite": missing} if missing else {}
        tags |= {"mlflow.loggedArtifacts": json.dumps([{"path": TABLE, "type": "table"}])} if run.table is not None else {}
        return {key: clipped(shown(key, value), LONGEST["tag"]) for key, value in tags.items()}

    def fill(self, run_id: str, run: Run) -> None:
        """Params, curves, data, images, artifacts and table of a new run."""
        self.log_points(run_id, run.points, stored_params(run))
        if run.data is not None:
            self.client.log_inputs(run_id, [dataset(run.data)])
        for image in run.images:
            self.log_image(run_id, image)
        for path in run.artifacts:
            self.client.log_artifact(run_id, str(path))
        if run.table is not None:
            rows = [list(row) for row in zip(*run.table.values(), strict=True)]
            self.client.log_dict(run_id, {"columns": list(run.table), "data": rows}, TABLE)

    def log_points(self, run_id: str, points: Iterable[Point], params: Mapping[str, str] | None = None) -> None:
        """Points and params in as few calls as MLflow allows; what it holds already changes nothing."""
        from mlflow.entities import Metric, Param

        metrics = [Metric(point.key, point.value, point.at, point.step) for point in finite(points)]
        for some_params, some_metrics in calls([Param(key, value) for key, value in (params or {}).items()], metrics):
            self.client.log_batch(run_id, metrics=some_metrics, params=some_params)

    def log_image(self, run_id: str, image: Image) -> None:
        """One image under its key and step."""
        from PIL import Image as Pillow

        with Pillow.open(io.BytesIO(image.path) if isinstance(image.path, bytes) else image.path) as picture:
            self.client.log_image(run_id, picture.convert("RGB"), key=image.key, step=image.step, timestamp=image.at, synchronous=True)

    def images(self, run_id: str) -> set[tuple[str, int]]:
        """(key, step) of the images a run has in full."""
        names = [Path(item.path).name for item in self.client.list_artifacts(run_id, "images")]
        parts = [re.split(r"[+%]", name) for name in names if not name.endswith(".webp")]
        return {(part[0].replace("~", "/"), int(part[2])) for part in parts if len(part) > 4 and part[1] == "step"}

    def delete(self, run: Found) -> None:
        """Put a run and its children into MLflow's bin: the parent first, so that a cut-off deletion never leaves a whole-looking run."""
        children = self.search(f"tags.mlflow.parentRunId = '{run.id}'")
        for each in (run, *children):
            if self.client.get_run(each.id).info.lifecycle_stage == "active":
                self.client.delete_run(each.id)

    def abandoned(self, run: Found) -> bool:
        """Whether nobody builds or feeds this run any more (the lock `sync` is held, so this checkout builds nothing)."""
        if LIVE in run.tags:
            return not self.is_fed(run)
        builder, _, since = run.tags.get(BUILDING, "").rpartition(" ")
        return builder == self.builder or not since.isdigit() or time.time() - int(since) > PATIENCE

    def sweep(self) -> int:
        """Delete half-built runs that nobody builds any more; how many."""
        running = [run for run in self.search("attributes.status = 'RUNNING'") if BUILDING in run.tags]
        dead = [run for run in running if "projection" not in run.tags and self.abandoned(run)]
        for run in dead:
            self.delete(run)
        return len(dead)

    def differences(self, run_id: str, run: Run) -> list[str]:
        """What a run in the store shows otherwise than `run`, in words: parameters, tags, times, points, data, images, artifacts."""
        stored = self.client.get_run(run_id)
        points = {key: sorted(self.points(run_id, key)) for key in stored.data.metrics}
        datasets = {item.dataset.digest for item in stored.inputs.dataset_inputs}
        files = {Path(item.path).name for item in self.client.list_artifacts(run_id)}
        checks = {
            "times": (stored.info.start_time, stored.info.end_time) == (run.start, run.end),
            "name": stored.info.run_name == run.name,
            "tags": self.tags(run).items() <= stored.data.tags.items(),
            "params": stored.data.params == stored_params(run),
            "points": points == by_key(finite(run.points)),
            "data": datasets == ({run.data.digest[: LONGEST["digest"]]} if run.data else set()),
            "images": self.images(run_id) >= {(image.key, image.step) for image in run.images},
            "artifacts": files >= {path.name for path in run.artifacts} | ({TABLE} if run.table is not None else set()),
        }
        return [name for name, same in checks.items() if not same]

    def points(self, run_id: str, key: str) -> list[Point]:
        """Every stored point of one curve."""
        return [Point(m.key, m.value, m.timestamp, m.step) for m in self.client.get_metric_history(run_id, key)]

    def describe(self, tags: Mapping[str, str]) -> None:
        """Experiment tags (`mlflow.note.content` is the description), written only where they differ."""
        present = self.client.get_experiment(self.experiment).tags
        for key, value in tags.items():
            stored = clipped(shown(key, value), LONGEST["experiment"])
            if present.get(key) != stored:
                self.client.set_experiment_tag(self.experiment, key, stored)

    def clean_artifacts(self) -> int:
        """Remove artifact folders that no run owns, only in this store's own folder under .seesaw/mlflow; how many."""
        name = self.client.get_experiment(self.experiment).name
        folder = artifact_folder(self.uri, self.main, name)
        if folder is None or not folder.is_dir():
            return 0
        present = [path for path in sorted(folder.iterdir()) if RUN_ID.fullmatch(path.name)]  # listed first: a run exists before its folder
        owned = {run.id for run in self.search()} | {run.id for run in self.search(deleted=True) if "seesaw.kind" not in run.tags}
        orphans = [path for path in present if path.name not in owned]
        for path in orphans:
            shutil.rmtree(path)
        return len(orphans)


def is_locked(path: Path) -> bool:
    """Whether a process holds a file lock; a lock that does not exist is held by none."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def by_key(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Curves by key, each sorted; a repeated point counts once, as MLflow keeps it."""
    curves: dict[str, set[Point]] = {}
    for point in points:
        curves.setdefault(point.key, set()).add(point)
    return {key: sorted(curve) for key, curve in curves.items()}


def dataset(data: Data) -> Any:
    """MLflow's entity for the training data."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    tensor = {"type": "tensor", "tensor-spec": {"dtype": "uint8" if len(data.shape) == 3 else "float32", "shape": [-1, *data.shape]}}
    schema = {"mlflow_tensorspec": {"features": json.dumps([tensor]), "targets": None}}
    entity = Dataset(
        name=printable(data.name),
        digest=data.digest[: LONGEST["digest"]],
        source_type="local",
        source=json.dumps({"uri": data.source}),
        schema=json.dumps(schema),
        profile=json.dumps(dict(data.profile), sort_keys=True),
    )
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
