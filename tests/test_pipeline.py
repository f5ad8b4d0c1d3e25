"""A tiny real pipeline: dvc repro from nothing, again, and with one thing changed."""

import ast
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import projects
import pytest
from closure import CATALOGUE, PLUMBING, ROOT, closure

from stages.store.config import read_yaml

STARTS = {
    "prepare": ["stages/prepare.py"],
    "train": ["stages/train.py", "stages/worker.py"],
    "diagnose": ["stages/diagnose.py"],
    "evaluate": ["stages/evaluate.py"],
    "compare": ["stages/compare.py"],
    "report": ["stages/report.py"],
}


@contextmanager
def changed(folder: Path, old: str, new: str) -> Iterator[None]:
    """params.yaml with other words in the block, and as it was after it."""
    path = folder / "params.yaml"
    before = path.read_text()
    assert old in before
    path.write_text(before.replace(old, new))
    try:
        yield
    finally:
        path.write_text(before)


def declared(stage: str) -> list[str]:
    entry = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    return [dep for dep in entry.get("do", entry)["deps"] if dep.startswith("stages/")]


def in_catalogue(path: str) -> bool:
    """A part that is found by its name: declared through `${item...}` or as a folder."""
    folder, name = path.split("/")[-2:]
    return folder in CATALOGUE and not name.startswith("_")


@pytest.mark.parametrize("stage", STARTS)
def test_the_declared_code_is_the_import_closure(stage):
    needed = {path for path in closure(*STARTS[stage]) - PLUMBING if not in_catalogue(path)}
    folders = {dep for dep in declared(stage) if not dep.endswith(".py")}
    covered = {path for path in needed if any(path.startswith(f"{folder}/") for folder in folders)}
    files = {dep for dep in declared(stage) if dep.endswith(".py") and "${" not in dep and "/_" not in dep}
    assert needed - covered <= set(declared(stage)), "not declared in dvc.yaml"
    assert files <= needed, "declared in dvc.yaml and not imported"


@pytest.mark.parametrize("kind", ["losses", "penalties"])
def test_what_catalogue_files_share_is_declared(kind):
    shared = {f"stages/game/{kind}/{path.name}" for path in (ROOT / "stages/game" / kind).glob("_*.py") if path.name != "__init__.py"}
    assert shared <= set(declared("train"))


@pytest.mark.parametrize(
    "path", sorted(path for kind in ("losses", "penalties", "constraints") for path in (ROOT / "stages/game" / kind).glob("*.py"))
)
def test_a_catalogue_file_imports_only_declared_shared_files(path):
    modules = {
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("stages")
    }
    allowed = {"stages.game.vocabulary", "stages.game.lanes"}
    assert all(module in allowed or re.fullmatch(r"stages\.game\.\w+\._\w+", module) for module in modules), modules


def test_every_command_begins_with_exec():
    """Else a shell stands between dvc and the node, and the node does not learn of dvc's death."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    assert {entry.get("do", entry)["cmd"].split()[0] for entry in stages.values()} == {"exec"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny project after its first `dvc repro`."""
    folder = projects.project(tmp_path_factory.mktemp("pipeline") / "p")
    projects.dvc(folder, "repro", "--quiet")
    return folder


@pytest.fixture(scope="module")
def first_digests(made):
    """What the first run left, before any test changed it."""
    return projects.digests(made)


def ran(done) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", done.stdout))


def test_everything_is_made(made, first_digests):
    stages = read_yaml(made / "dvc.lock")["stages"]
    assert set(stages) == {"check", "prepare", "compare", "report"} | {
        f"{node}@{v}" for node in ("train", "diagnose", "evaluate") for v in ("hinge", "r1")
    }
    assert "results/comparison.json" in first_digests
    assert (made / "results/report/index.html").stat().st_size > 10_000
    assert json.loads((made / "results/comparison.json").read_text())["baseline"] == "hinge"
    for variant in ("hinge", "r1"):
        assert 0 < len(json.loads((made / f"results/metrics/{variant}.json").read_text())) <= 8


def test_nothing_to_do_does_nothing(made):
    assert ran(projects.dvc(made, "repro")) == set()


def test_the_report_is_all_that_a_word_of_the_report_stales(made):
    with changed(made, "title: Tiny", "title: Another"):
        assert ran(projects.dvc(made, "repro")) == {"check", "report"}


def test_one_variants_parameter_stales_that_variant_and_the_joins(made):
    with changed(made, "weight: 1.0", "weight: 2.0"):
        assert ran(projects.dvc(made, "repro")) == {"check", "train@r1", "diagnose@r1", "evaluate@r1", "compare", "report"}


def readme_loss() -> tuple[str, str, str]:
    """The README's worked example: the file's name without its ending, the file, and the entry of params.yaml."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"write `stages/game/losses/(\w+)\.py`:\n\n```python\n(.*?)```.*?```yaml\nvariants:\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1], found[2], found[3]


def test_the_readmes_new_loss_is_one_file_and_one_entry_and_stales_no_other_variant(made):
    name, code, entry = readme_loss()
    params, loss = made / "params.yaml", made / "stages" / "game" / "losses" / f"{name}.py"
    before = params.read_text()
    loss.write_text(code)
    params.write_text(before + entry)
    try:
        staled = ran(projects.dvc(made, "repro"))
        assert staled == {"check", f"train@{name}", f"diagnose@{name}", f"evaluate@{name}", "compare", "report"}
        trained = json.loads((made / f"results/runs/{name}.json").read_text())["config"]["loss"]
        assert trained == {"name": name, "arguments": {"margin": 2.0}}
    finally:
        params.write_text(before)
        loss.unlink()


def test_bad_input_ends_before_any_training_with_one_line(made):
    with changed(made, "{name: hinge}", "{name: hing}"):
        done = projects.dvc(made, "repro", expect=None)
        assert done.returncode != 0
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("seesaw:")]
        assert len(said) == 1
        assert "variants.hinge.loss.name is 'hing'" in said[0]
        assert ran(done) == {"check"}


def test_a_variant_without_a_penalty_is_one_line_and_nothing_runs(made):
    """dvc cannot fill its templates and says so; `seesaw` names the key in params.yaml."""
    with changed(made, "penalty: {name: none}, ", ""):
        done = projects.dvc(made, "repro", expect=None)
        assert done.returncode != 0
        assert "item.penalty.name" in done.stderr
        assert ran(done) == set()
        said = projects.seesaw(made, "run", expect=1).stderr
        assert "variants.hinge has no penalty: every variant states loss, penalty and constraint" in said
        assert said.count("\n") == 1


def test_dvc_shows_metrics_plots_and_the_dag(made):
    shown = json.loads(projects.dvc(made, "metrics", "show", "--json").stdout)[""]["data"]
    assert set(shown) == {"results/metrics/hinge.json", "results/metrics/r1.json"}
    assert "train@hinge" in projects.dvc(made, "dag").stdout
    projects.dvc(made, "plots", "show", "--quiet", "-o", "plots")
    page = (made / "plots" / "index.html").read_text()
    assert all(title in page for title in ("hinge, median and range over lanes", "frechet at the last step", "Gradient norms"))
    assert "DVC_METRIC" not in page


def test_what_the_plot_templates_draw_is_in_the_files(made):
    """A field that no file has would be an empty plot without a word."""
    for template, path in (("curves", "results/curves/hinge.csv"), ("comparison", "results/plots/compare.csv")):
        drawn = set(re.findall(r'"field": "(\w+)"', (ROOT / ".dvc" / "plots" / f"{template}.json").read_text()))
        assert drawn - {"rev"} <= set((made / path).read_text().splitlines()[0].split(","))


@pytest.fixture(scope="module")
def experiment(made):
    """The same project after an experiment with another source and a small number, up to the scores of one variant."""
    projects.git(made, "add", "-A")
    projects.git(made, "commit", "-q", "-m", "made")
    changed = ("-S", "data.source=grid", "-S", "train.rules.generator_lr=1e-5")
    projects.dvc(made, "exp", "run", "--quiet", "-n", "grid", *changed, "evaluate@hinge")
    return made


def test_an_experiment_runs_with_another_source_and_a_small_number(experiment):
    run = json.loads((experiment / "results/runs/hinge.json").read_text())
    assert run["config"]["rules"]["generator_lr"] == 1e-5
    assert json.loads((experiment / "data/prepared/card.json").read_text())["source"] == "grid"


def test_an_experiment_shows_small_differences_and_useful_columns(experiment):
    """`dvc metrics diff` has at most eight numbers a variant, `dvc exp show` the scores and what was changed, `dvc plots diff` both."""
    differ = json.loads(projects.dvc(experiment, "metrics", "diff", "--json").stdout)
    assert list(differ) == ["results/metrics/hinge.json"]
    assert {"frechet", "precision", "coverage"} <= set(differ["results/metrics/hinge.json"])
    assert len(differ["results/metrics/hinge.json"]) <= 8
    assert max(map(len, projects.dvc(experiment, "metrics", "diff", "--md").stdout.splitlines())) < 120
    header, *rows = projects.dvc(experiment, "exp", "show", "--csv").stdout.splitlines()
    assert {"results/metrics/hinge.json:frechet", "results/metrics/r1.json:frechet"} <= set(header.split(","))
    assert any(",grid," in row for row in rows)
    (dropped,) = re.findall(r"dvc exp show --only-changed --drop '(.*)'", (ROOT / "README.md").read_text(encoding="utf-8"))
    header = projects.dvc(experiment, "exp", "show", "--csv", "--only-changed", "--drop", dropped).stdout.splitlines()[0]
    scores = [f"results/metrics/{name}.json:frechet" for name in ("hinge", "r1")]
    assert set(header.split(",")) - {"rev", "typ", "parent"} <= {"Experiment", *scores, "data.source", "train.rules.generator_lr"}
    assert "train.rules.generator_lr" in projects.dvc(experiment, "params", "diff").stdout
    projects.dvc(experiment, "plots", "diff", "--quiet", "HEAD", "-o", "plots")
    page = (experiment / "plots" / "index.html").read_text()
    assert '"rev": "HEAD"' in page
    assert '"rev": "workspace"' in page


def test_twice_from_scratch_is_bit_identical(first_digests, tmp_path):
    """Also with another number of workers; every output but the executions."""
    again = projects.project(tmp_path / "again")
    projects.dvc(again, "repro", "--quiet", SEESAW_WORKERS="1")
    assert projects.digests(again) == first_digests
    assert len(first_digests) > 20
