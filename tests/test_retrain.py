"""The scheduled job with real parts: git, dvc, a DVC remote in a folder, a bare git remote, MLflow; and the files that start it."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import projects
import pytest

from stages import retrain as node
from stages.promote import Decision
from stages.store import github, versions
from stages.store.config import read_yaml

PARAMS = """
data: {source: array, path: data/items.npy}
train:
  seeds: 2
  steps: 20
  batch: 16
  latent: 2
  lanes_per_group: 2
  record_every: 10
  snapshots: 1
  generator: {network: auto, width: 8, depth: 1, activation: relu, normalisation: none}
  discriminator: {network: auto, width: 8, depth: 1, activation: leaky_relu, normalisation: none}
evaluate: {features: auto, trust: false, samples: 32, draws: 2}
diagnose: {samples: 32}
compare: {baseline: hinge, primary: frechet}
report: {title: Tiny}
variants:
  hinge: {loss: {name: hinge}, penalty: {name: none}, constraint: {name: none}}
  r1: {loss: {name: non_saturating}, penalty: {name: r1, weight: 1.0}, constraint: {name: none}}
"""
ITEMS = (
    "import numpy as np, sys; np.save('data/items.npy', np.random.default_rng(0).standard_normal((int(sys.argv[1]), 2)).astype('float32'))"
)
CROWN = """
from pathlib import Path
from stages import promote
from stages.generators.judging import prepare_setting
from stages.measure import gate
from stages.store import champion
from stages.store.config import read_config
root, config = Path.cwd(), read_config()
found = promote.challenger(config, root)
setting = prepare_setting(config.evaluate, root)
judged = gate.Judgement(True, "crowned by hand", None, ())
champion.crown(root, promote.entry_of(found, found.lane, setting, judged, promote.measure(setting, found.made), config), found.made)
"""
PERSON = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "t"), ("EMAIL", "t@example.org"))}


def python(folder: Path, code: str, *words: str) -> None:
    """Run code in the folder."""
    projects.subprocess.run([projects.sys.executable, "-c", code, *words], cwd=folder, env=projects.environment(), check=True)


def trained(lines: str) -> set[str]:
    """The variants whose training dvc ran."""
    return {line.split("train@")[1].rstrip("':") for line in lines.splitlines() if line.startswith("Running stage 'train@")}


def retrain(folder: Path, expect: int, **more: str) -> str:
    """The job's lines."""
    return projects.seesaw(folder, "retrain", expect=expect, **PERSON, **more).stdout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first`: a project with results and a champion, pushed to `git` (bare) and `storage` (dvc); `second`: a clone of it."""
    world = tmp_path_factory.mktemp("world")
    first = projects.project(world / "first", PARAMS)
    python(first, ITEMS, "300")
    projects.dvc(first, "add", "data/items.npy")
    projects.dvc(first, "remote", "add", "-d", "storage", str(world / "storage"))
    projects.dvc(first, "repro", "-q")
    python(first, CROWN)
    projects.git(first, "add", "-A")
    projects.git(first, "commit", "-q", "-m", "results")
    projects.git(world, "clone", "-q", "--bare", str(first), "git")
    projects.dvc(first, "push", "--run-cache")
    projects.git(world, "clone", "-q", "git", "second")
    return world


def test_a_second_clone_restores_everything_and_trains_nothing(world: Path) -> None:
    second, page = world / "second", world / "page.md"
    lines = retrain(second, 20, CI="true", GITHUB_STEP_SUMMARY=str(page), GITHUB_OUTPUT=str(world / "output"))
    assert trained(lines) == set()
    assert "Running stage" not in lines
    assert lines.count("gate=nothing") == 1
    assert "created 3, replaced 0" in lines  # two variants and their comparison
    assert lines.count("models:/seesaw@champion is version 1") == 2  # sync brought it about, the gate found it so
    assert "propose  nothing changed" in lines
    assert projects.digests(second) == projects.digests(world / "first")
    assert "gate=nothing" in page.read_text()
    summary = (second / ".seesaw/summary.md").read_text()
    assert summary in page.read_text()
    assert summary.splitlines()[:3] == (second / "results/report/report.md").read_text().splitlines()[:3]
    assert (world / "output").read_text() == "gate=nothing\n"


def test_one_variants_parameter_trains_that_variant_and_the_job_proposes_what_came_out(world: Path) -> None:
    second = world / "second"
    params = second / "params.yaml"
    params.write_text(params.read_text().replace("weight: 1.0", "weight: 2.0"))
    projects.git(second, "commit", "-q", "-a", "-m", "heavier")
    head, status = projects.git(second, "rev-parse", "HEAD"), projects.git(second, "status", "--porcelain")
    done = projects.seesaw(second, "retrain", expect=None, CI="true", **PERSON)
    lines = done.stdout
    assert done.returncode in (0, 10, 20), done.stderr
    assert trained(lines) == {"r1"}
    branch = next(word for word in lines.split() if word.startswith("retrain/"))
    assert projects.git(second, "rev-parse", "HEAD") == head
    assert status == ""
    names = projects.git(world / "git", "diff", "--name-only", head.strip(), branch).split()
    assert "dvc.lock" in names
    assert {name.split("/")[0] for name in names} <= {"dvc.lock", "champion.json", "champion"}
    again = projects.seesaw(second, "retrain", expect=None, CI="true", **PERSON).stdout
    assert trained(again) == set()
    assert f"branch {branch.rstrip(';')} proposes them already" in again


def test_new_data_train_every_variant_once_and_without_a_remote_it_says_so(world: Path) -> None:
    second = world / "second"
    projects.git(second, "checkout", "-q", "--", ".")
    projects.dvc(second, "remote", "remove", "storage")
    python(second, ITEMS, "400")
    projects.dvc(second, "add", "data/items.npy")
    done = projects.seesaw(second, "retrain", expect=None)
    lines = done.stdout
    assert done.returncode in (0, 10), done.stderr
    assert sorted(line for line in lines.splitlines() if "Running stage 'train@" in line) == [
        f"Running stage 'train@{v}':" for v in ("hinge", "r1")
    ]
    assert lines.count("no DVC remote") == 1
    assert "commit them yourself" in lines


def test_a_failed_run_is_pushed_and_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finished before the failure reaches the remote, and the error is the job's."""
    called: list[str] = []
    monkeypatch.setattr(versions, "has_dvc_remote", lambda root: True)
    monkeypatch.setattr(versions, "dvc", lambda root, *words: called.append(" ".join(words)) or 0)
    monkeypatch.setattr(versions, "imports", lambda root: ["data/raw.dvc"])

    def broken(root: Path, targets: list[str]) -> None:
        raise node.SeesawError("dvc repro did not finish")

    monkeypatch.setattr(node, "reproduce", broken)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    with pytest.raises(node.SeesawError, match="did not finish"):
        node.retrain(None, tmp_path)  # type: ignore[arg-type]
    assert called == ["pull --run-cache --allow-missing", "update data/raw.dvc", "push --run-cache"]
    assert "did not finish" in (tmp_path / "page.md").read_text()


def test_imports_are_the_pointers_with_a_dependency(tmp_path: Path) -> None:
    projects.git(tmp_path, "init", "-q")
    (tmp_path / "own.dvc").write_text("outs:\n- md5: abc\n  path: own\n")
    (tmp_path / "theirs.dvc").write_text(
        "md5: abc\nfrozen: true\ndeps:\n- path: https://example.org/x\nouts:\n- md5: abc\n  path: theirs\n"
    )
    projects.git(tmp_path, "add", "-A")
    assert versions.imports(tmp_path) == ["theirs.dvc"]


class GitHub(http.server.BaseHTTPRequestHandler):
    """Answers as the pull-request API does, and remembers what it was asked."""

    asked: list[tuple[str, str | None, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(json.dumps({"html_url": "https://example.org/pull/7"}).encode())

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    GitHub.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small git checkout with a bare origin, and a champion.json that is new."""
    for name in ("GH_TOKEN", "GITHUB_TOKEN", "GITHUB_REPOSITORY", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in PERSON.items():
        monkeypatch.setenv(name, value)
    here = tmp_path / "here"
    here.mkdir()
    projects.git(here, "init", "-q", "-b", "main")
    (here / "dvc.lock").write_text("a\n")
    projects.git(here, "add", "-A")
    projects.git(here, "commit", "-q", "-m", "begin")
    projects.git(tmp_path, "clone", "-q", "--bare", str(here), "origin")
    projects.git(here, "remote", "add", "origin", str(tmp_path / "origin"))
    (here / "champion.json").write_text("{}\n")
    (here / "other.txt").write_text("not proposed\n")
    return here


DECISION = Decision("promoted", "hinge is the champion")


def test_without_ci_or_a_token_nothing_is_pushed(checkout: Path) -> None:
    assert "commit them yourself" in node.propose(checkout, DECISION)
    assert projects.git(checkout, "ls-remote", "--heads", "origin").count("\n") == 1


def test_a_branch_holds_what_changed_and_is_pushed_once(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    before = projects.git(checkout, "status", "--porcelain")
    assert "is pushed (no GH_TOKEN" in node.propose(checkout, DECISION)
    assert "proposes them already" in node.propose(checkout, DECISION)
    assert projects.git(checkout, "status", "--porcelain") == before
    branch = projects.git(checkout.parent / "origin", "branch", "--list", "retrain/*").strip()
    assert projects.git(checkout.parent / "origin", "diff", "--name-only", "main", branch).split() == ["champion.json"]


def test_a_token_opens_a_pull_request(checkout: Path, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GH_TOKEN": "secret", "GITHUB_REPOSITORY": "me/gan", "GITHUB_API_URL": api, "GITHUB_REF_NAME": "main"}.items():
        monkeypatch.setenv(name, value)
    assert "pull request https://example.org/pull/7" in node.propose(checkout, DECISION)
    path, authorization, body = GitHub.asked[0]
    assert (path, authorization, body["base"], body["title"]) == ("/repos/me/gan/pulls", "Bearer secret", "main", "Retrained: promoted")
    assert "hinge is the champion" in body["body"]


def test_a_pull_request_that_is_refused_leaves_the_branch(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GH_TOKEN": "x", "GITHUB_REPOSITORY": "me/gan", "GITHUB_API_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    assert "open it by hand" in node.propose(checkout, DECISION)
    assert "retrain/" in projects.git(checkout, "ls-remote", "--heads", "origin")


def test_a_long_summary_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page"))
    assert github.summary("é" * github.LONGEST_SUMMARY)
    assert (tmp_path / "page").stat().st_size < 1 << 20
    assert (tmp_path / "page").read_text().rstrip().endswith("artifacts")


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (10, 0), (20, 0), (1, 2)])
def test_make_retrain_succeeds_on_every_outcome_of_the_gate(tmp_path: Path, code: int, expected: int) -> None:
    """The target itself, with a `seesaw` that only ends with a code."""
    shutil.copy(projects.ROOT / "Makefile", tmp_path)
    place = tmp_path / ".venv" / "bin"
    place.mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    (place / "seesaw").write_text(f"#!/bin/sh\ntest $1 = retrain && exit {code}\n")
    for name in ("seesaw", "python", ".run"):
        (place / name).touch(mode=0o755)
        (place / name).chmod(0o755)
    assert subprocess.run(["make", "-s", "retrain"], cwd=tmp_path, capture_output=True, check=False).returncode == expected


class TestWorkflows:
    """What GitHub will read."""

    FOLDER = projects.ROOT / ".github" / "workflows"

    @pytest.mark.parametrize("name", ["test", "retrain"])
    def test_only_make_targets_are_run(self, name: str) -> None:
        steps = self.steps(name)
        commands = [step["run"].strip() for step in steps if "run" in step]
        assert commands == [f"make {name}"]
        assert all("@" in step["uses"] for step in steps if "uses" in step)
        assert steps[0]["with"]["fetch-depth"] == 0

    @pytest.mark.parametrize("name", ["test", "retrain"])
    def test_a_job_has_a_limit_and_says_what_it_may_do(self, name: str) -> None:
        workflow = self.read(name)
        assert workflow["permissions"]
        assert "concurrency" in workflow
        assert all(0 < job["timeout-minutes"] <= 360 for job in workflow["jobs"].values())

    def test_retraining_is_never_cut_off_and_keeps_what_came_out_of_a_failure(self) -> None:
        workflow = self.read("retrain")
        minute, hour = workflow["on"]["schedule"][0]["cron"].split()[:2]
        assert int(minute) % 2 == 1
        assert hour.isdigit()
        assert "workflow_dispatch" in workflow["on"]
        assert workflow["concurrency"]["cancel-in-progress"] is False
        assert workflow["permissions"] == {"contents": "write", "pull-requests": "write"}
        assert "inputs.runner" in workflow["jobs"]["retrain"]["runs-on"]
        kept = self.steps("retrain")[-1]
        assert kept["if"] == "always()"
        assert "upload-artifact" in kept["uses"]

    @pytest.mark.parametrize("name", ["test", "retrain"])
    def test_it_fits_githubs_schema(self, name: str) -> None:
        pytest.importorskip("check_jsonschema")
        words = ("check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(self.FOLDER / f"{name}.yml"))
        assert "ok" in projects.command(projects.ROOT, *words).stdout

    def read(self, name: str) -> Any:
        return read_yaml(self.FOLDER / f"{name}.yml")

    def steps(self, name: str) -> list[dict[str, Any]]:
        (job,) = self.read(name)["jobs"].values()
        return job["steps"]
