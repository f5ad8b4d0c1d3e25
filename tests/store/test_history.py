"""Past results: read from the history of dvc.lock and DVC's cache, without checkout."""

import hashlib
import json
import shutil
from pathlib import Path

import projects
import pytest
import synthetic

from stages import sync as node
from stages.errors import SeesawError
from stages.store import history, layout, tracking
from stages.store.files import read_json

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
FATES = {"hinge": "healthy", "wgan_free": "non_finite"}
SHAPE = synthetic.Shape(seeds=(0, 3), steps=20, record_every=10, snapshots=(0, 20))
PLACES = (layout.run, layout.executions, layout.records, layout.curves, layout.diagnostics, layout.scores, layout.metrics, layout.samples)


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with made-up results as dvc would have recorded them, committed once."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_store, tmp_path / tracking.DATABASE)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    projects.git(tmp_path, "init", "-q")
    synthetic.write_results(tmp_path, FATES, SHAPE)
    commit(tmp_path)
    return tmp_path


def commit(root: Path) -> None:
    """What `dvc repro` and `git commit` leave: outputs in the cache, their md5s in dvc.lock, the lock in git."""
    paths = [place(variant) for variant in FATES for place in PLACES] + [layout.COMPARISON, layout.REPORT, layout.PREPARED]
    outs = [{"path": path.as_posix(), "hash": "md5", "md5": cached(root, root / path)} for path in paths]
    (root / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": {"all": {"cmd": "true", "outs": outs}}}))
    projects.git(root, "add", "dvc.lock")
    projects.git(root, "commit", "-q", "-m", "results")


def cached(root: Path, path: Path) -> str:
    """Put a file or a folder into the cache; its md5."""
    if path.is_dir():
        entries = [
            {"md5": cached(root, each), "relpath": each.relative_to(path).as_posix()} for each in sorted(path.rglob("*")) if each.is_file()
        ]
        return stored(root, json.dumps(entries).encode(), ".dir")
    return stored(root, path.read_bytes(), "")


def stored(root: Path, content: bytes, ending: str) -> str:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + ending
    place = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return md5


def ids(root: Path) -> dict[str, set[str]]:
    """Fingerprint to the parent runs that show it."""
    found: dict[str, set[str]] = {}
    for run in tracking.open_store(root).search():
        if run.parent is None:
            found.setdefault(run.tags["fingerprint"], set()).add(run.id)
    return found


def test_what_git_remembers_is_shown_as_it_was_and_built_once(root: Path) -> None:
    first = node.sync(root)
    before = ids(root)
    store = tracking.open_store(root)
    gone = store.search()
    for run in gone:
        store.delete(run)
    synthetic.write_variant(root, "hinge", "healthy", SHAPE, salt=1)
    synthetic.write_joins(root, FATES, SHAPE)
    commit(root)
    said: list[str] = []
    summary = node.sync(root, progress=said.append, all_revs=True)
    estimate = next(line for line in said if line.startswith("history:"))
    assert "2 states of dvc.lock hold 1 results besides the present ones; 0 are shown already, 1 to build" in estimate
    assert said.index(estimate) == 3  # what the workspace holds comes first, what the history holds is built after the estimate
    after = ids(root)
    assert set(before) < set(after)
    assert all(len(runs) == 1 for runs in after.values())
    assert summary.notes == []
    comparisons = [run for run in tracking.open_store(root).search() if run.tags["seesaw.kind"] == "comparison"]
    old = [run for run in comparisons if run.tags["fingerprint"] in before]
    assert (len(comparisons), len(old)) == (2, 1)
    former = read_json(root / layout.run("wgan_free"), "")["fingerprint"]
    assert json.loads(old[0].tags["runs"])["wgan_free"] in after[former]
    assert first.runs.keys() == summary.runs.keys()
    said.clear()
    again = node.sync(root, progress=said.append, all_revs=True)
    assert (again.created, again.replaced, again.deleted) == (0, 0, 0)
    assert "1 are shown already, 0 to build: about 0 points" in said[0]
    assert node.sync(root, verify=True, all_revs=True).unchanged == again.unchanged


def test_a_past_run_is_the_one_that_sync_made_at_its_time(root: Path) -> None:
    node.sync(root)
    before = ids(root)
    synthetic.write_variant(root, "hinge", "healthy", SHAPE, salt=1)
    commit(root)
    node.sync(root, all_revs=True)
    kept = ids(root)
    variants = {fingerprint for fingerprint, runs in before.items() if kept.get(fingerprint) == runs}
    assert len(variants) >= 2  # neither variant of the first commit was built again


def test_what_the_cache_lost_is_named_and_the_rest_is_shown(root: Path) -> None:
    lost = hashlib.md5((root / layout.records("hinge")).read_bytes(), usedforsecurity=False).hexdigest()
    former = read_json(root / layout.run("wgan_free"), "")["fingerprint"]
    for variant, verdict in FATES.items():
        synthetic.write_variant(root, variant, verdict, SHAPE, salt=1)
    synthetic.write_joins(root, FATES, SHAPE)
    commit(root)
    (root / ".dvc/cache/files/md5" / lost[:2] / lost[2:]).unlink()
    summary = node.sync(root, all_revs=True)
    (note,) = summary.notes
    name = projects.git(root, "rev-parse", "HEAD~1")[:9]
    assert f"hinge at {name} (results/records/hinge.parquet)" in note
    assert "wgan_free" not in note
    assert former in ids(root)
    assert not [path for path in root.rglob("*") if path.is_symlink()]


def test_results_of_another_version_are_named_and_left_out(root: Path) -> None:
    for variant, key, fingerprint in (("hinge", "seeds", "a" * 64), ("wgan_free", "cost", "b" * 64)):
        run, execution = (read_json(root / place(variant), "") for place in (layout.run, layout.executions))
        del run[key]
        (root / layout.run(variant)).write_text(json.dumps(run | {"fingerprint": fingerprint}))
        (root / layout.executions(variant)).write_text(json.dumps(execution | {"fingerprint": fingerprint}))
    commit(root)
    for variant, verdict in FATES.items():
        synthetic.write_variant(root, variant, verdict, SHAPE, salt=1)
    commit(root)
    (note,) = [note for note in node.sync(root, all_revs=True).notes if "version" in note]
    assert note.startswith("of another version, left out:\n  hinge at ")
    assert "wgan_free, bbbbbbbbb (KeyError: 'cost')" in note
    assert not {"a" * 64, "b" * 64} & set(ids(root))


def test_without_git_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(SeesawError, match="--all-revs reads the history of a git checkout"):
        list(history.commits(tmp_path))
