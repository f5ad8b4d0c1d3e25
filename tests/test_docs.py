"""Every command of README and docs is executed by a test, or stands here with the reason why not."""

import ast
import re
import shutil
import tomllib
from pathlib import Path

import projects
import pytest
from closure import ROOT
from dvc.utils.hydra import apply_overrides

from stages.store.config import read_config, read_yaml

PAGES = ["README.md", "README.zh.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
PROGRAMS = ("make", "dvc", "seesaw", "python", "source", "cp", "git", "pip", "PIP_EXTRA_INDEX_URL", "SEESAW_DEVICE")
OVERRIDES = "tests/test_docs.py::test_every_experiment_of_the_docs_is_a_valid_one"
SHELL = "of the shell, not of this project"
DVCS_OWN = "dvc's own, named for orientation"
SET_UP = "downloads packages: run by hand on a fresh clone before a release, and by CI"
PROGRAMS_RUN = "tests/test_docs.py::test_the_programs_of_the_readme_run"
CALIBRATION = "tests/test_calibrate.py::test_the_command_writes_its_figures_and_prints_them"
# The test beside a command runs it in a tiny project (a ring, networks of 8 units, 10 or 20 steps); PARTLY says where it does less.
WHERE: dict[str, str] = {
    "make run": SET_UP,
    "make test": "it runs this test",
    "PIP_EXTRA_INDEX_URL=<PyTorch's CPU index> make run": SET_UP,
    "PIP_EXTRA_INDEX_URL=<PyTorch's CUDA index> make run": SET_UP,
    "source .venv/bin/activate": SHELL,
    "cp -r ~/my-images/* data/raw/": SHELL,
    "dvc repro": "tests/test_pipeline.py::test_everything_is_made",
    "dvc repro train@hinge": "tests/test_docs.py::test_what_the_readme_runs",
    "dvc repro prepare": "tests/test_docs.py::test_what_the_readme_runs",
    "dvc metrics show": "tests/test_pipeline.py::test_dvc_shows_metrics_plots_and_the_dag",
    "dvc metrics diff": "tests/test_pipeline.py::test_an_experiment_shows_small_differences_and_useful_columns",
    "dvc plots show": "tests/test_pipeline.py::test_dvc_shows_metrics_plots_and_the_dag",
    "dvc plots diff HEAD": "tests/test_pipeline.py::test_an_experiment_shows_small_differences_and_useful_columns",
    "dvc dag": "tests/test_pipeline.py::test_dvc_shows_metrics_plots_and_the_dag",
    "dvc exp show": "tests/test_pipeline.py::test_an_experiment_shows_small_differences_and_useful_columns",
    "dvc exp show --only-changed --drop '^(stages/|data/|results/[^m]|params.yaml|Created|.*(recall|precision|coverage|best|modes))'": (
        "tests/test_pipeline.py::test_an_experiment_shows_small_differences_and_useful_columns"
    ),
    "dvc exp run -S …": "a pattern, not a command",
    "dvc exp run --temp": "tests/test_sync.py::test_an_experiment_in_a_temporary_folder_reaches_the_main_store",
    "seesaw …": "a pattern, not a command",
    "python -m stages.cli …": "a pattern, not a command",
    "seesaw run": "tests/test_docs.py::test_what_the_readme_runs",
    "seesaw sync": "tests/test_sync.py::test_first_sync_shows_the_outputs",
    "seesaw ui": "tests/test_ui.py::test_the_server_serves_the_pages_it_prints",
    "seesaw evaluate --samples PATH": PROGRAMS_RUN,
    "seesaw remedy": "tests/test_remedy.py::test_it_writes_a_document_and_a_picture_and_shows_a_table",
    "seesaw remedy overpowered": "tests/test_remedy.py::test_it_writes_a_document_and_a_picture_and_shows_a_table",
    "seesaw tune": "tests/test_tune.py::test_the_command_tunes_two_variants_for_real",
    "seesaw tune --trials 8": "tests/test_tune.py::test_the_command_tunes_two_variants_for_real",
    "seesaw compare --sensitivity": "tests/test_sensitivity.py::test_reruns_are_beside_the_project_and_happen_once",
    "seesaw compare --sensitivity [--top 3]": "tests/test_sensitivity.py::test_reruns_are_beside_the_project_and_happen_once",
    "seesaw compare --aa K": CALIBRATION,
    "seesaw compare --aa 100": CALIBRATION,
    "seesaw compare --aa 400": CALIBRATION,
    "seesaw doctor": PROGRAMS_RUN,
    "seesaw doctor --mend": "tests/test_doctor.py::test_the_remedy_for_a_lock_file_that_was_cut_off_loses_nothing",
    "make retrain": "tests/test_retrain.py::test_make_retrain_succeeds_on_every_outcome_of_the_gate",
    "seesaw retrain": "tests/test_retrain.py::test_a_second_clone_restores_everything_and_trains_nothing",
    "seesaw promote": PROGRAMS_RUN,
    "seesaw rollback": PROGRAMS_RUN,
    "seesaw sample -n 64 -o grid.png": PROGRAMS_RUN,
    "seesaw export r3 --format pt2": PROGRAMS_RUN,
    "seesaw export champion --format pt2": PROGRAMS_RUN,
    "seesaw export champion --format pt2 -o generator.pt2": PROGRAMS_RUN,
    "seesaw run --live": "tests/test_run.py::test_a_training_is_seen_in_a_real_server_while_it_lasts_and_ends_as_partial_when_stopped",
    "seesaw run --quiet": "tests/test_run.py::test_with_nothing_to_do_no_stage_is_called",
    "seesaw run -j": "a word of an option; see seesaw run -j 2",
    "seesaw run -j 2": "tests/test_run.py::test_everything_is_made_and_dvc_has_nothing_to_do",
    "seesaw run -j N": "tests/test_run.py::test_everything_is_made_and_dvc_has_nothing_to_do",
    "seesaw sync --all-revs": "tests/test_run.py::test_what_dvc_recorded_is_shown_from_its_cache",
    "seesaw sync --verify": PROGRAMS_RUN,
    "seesaw bench": "tests/benchmark/test_bench.py",
    "seesaw bench overhead": "tests/benchmark/test_bench.py",
    "seesaw check": "tests/test_docs.py::test_what_the_readme_runs",
    "seesaw train": "tests/test_docs.py::test_what_the_readme_runs",
    "dvc add": DVCS_OWN,
    "dvc fetch --all-commits": DVCS_OWN,
    "dvc gc": DVCS_OWN,
    "dvc import": DVCS_OWN,
    "dvc import-url": DVCS_OWN,
    "dvc remote add -d storage s3://…": DVCS_OWN,
    "dvc status": DVCS_OWN,
    "dvc update": DVCS_OWN,
    "dvc pull --run-cache": "tests/test_retrain.py::test_a_second_clone_restores_everything_and_trains_nothing",
    "dvc push --run-cache": "tests/test_retrain.py::test_a_failed_run_is_pushed_and_reported",
    "dvc --wait-for-lock repro -s STAGE": "tests/test_parallel.py",
    "git checkout COMMIT champion.json champion": "git's own",
    "pip install dvc-s3": SET_UP,
    "python -m stages.published non_saturating pac2 ns_r1": "tests/test_documented_commands.py",
    "python -m stages.published non_saturating ns_r1 r3": "tests/test_documented_commands.py",
    "python -m stages.published ns_r1": "tests/test_documented_commands.py",
    "python -m tests.survival --kills 100 --seed 0": "an hour; tests/survival/test_kills.py is its short form",
    "python -m stages.conventions": "tests/test_conventions.py::test_page_is_current",
    "python -m stages.figures [FOLDER]": "draws docs/figures from two trainings of minutes",
    "python -m stages.theory": "tests/game/test_theory.py",
    "python -m stages.staged": "trains every staged game: an hour; tests/staged plays a few of them",
    "python -m pytest tests/game/test_losses.py -k squared_hinge": "tests/test_docs.py::test_the_contract_meets_the_readmes_loss",
}


# what the named test leaves out, or does in the command's place
PARTLY: dict[str, str] = {
    "dvc exp run --temp": "a folder laid as dvc lays it is synced; dvc's own experiment is not started",
    "seesaw sync": "the node is called on written results, not the program; test_what_the_readme_runs has the program within `seesaw run`",
    "seesaw ui": "the program's function in a process of its own, on a free port, without opening a browser",
    "seesaw remedy": "another variant (hinge), two remedies, ten steps; the default experiment's ten remedies take a minute",
    "seesaw remedy overpowered": "another variant (hinge), two remedies, ten steps; the default experiment's ten remedies take a minute",
    "seesaw tune": "two variants, two trials of 20 steps",
    "seesaw tune --trials 8": "two variants, two trials of 20 steps",
    "seesaw compare --sensitivity": "the function, on two variants and one of the two factors",
    "seesaw compare --sensitivity [--top 3]": "the function, on two variants and one of the two factors",
    "seesaw compare --aa K": "100 groups of 6 pairs that train 3 steps instead of 400: minutes become seconds, the rates mean nothing",
    "seesaw compare --aa 100": "100 groups of 6 pairs that train 3 steps instead of 400: minutes become seconds, the rates mean nothing",
    "seesaw compare --aa 400": "100 groups, not 400, of pairs that train 3 steps",
    "make retrain": "the Makefile's target with a `seesaw` that only ends with a code; the real `seesaw retrain` has a test of its own",
    "seesaw run --live": "the training's own live view (`seesaw train`, stopped by a signal) in a real server; not `run` itself",
    "seesaw sync --all-revs": "the node is called, on a real git history and dvc cache",
    "dvc push --run-cache": "a double of dvc says that it was called; dvc pull --run-cache runs for real against a folder",
    "seesaw bench": "its sections at the smallest sizes; hours at the default ones",
    "seesaw bench overhead": "its sections at the smallest sizes; minutes at the default ones",
    "seesaw promote": "the gate's outcomes are tested in tests/test_promote.py; here the program",
    "seesaw rollback": "its success is tested in tests/test_promote.py; here the program, which has nothing to go back to",
    "seesaw train": "as dvc calls it: `dvc repro train@hinge`",
    "seesaw check": "as dvc calls it, within `dvc repro`",
    "python -m stages.published non_saturating pac2 ns_r1": "a short ring with other variants; the protocol takes hours",
    "python -m stages.published non_saturating ns_r1 r3": "a short ring with other variants; the protocol takes hours",
    "python -m stages.published ns_r1": "a short ring with other variants; the published protocol takes hours",
    "python -m stages.theory": "the theory's numbers; the tables that the program prints are not compared",
}


def commands(page: str) -> list[str]:
    """Shell commands of fenced bash blocks and of code spans, in the order of the page; `&&` separates two."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    found = [re.sub(r"\s+", " ", part.partition("  #")[0].partition("; ")[0]).strip() for line in lines for part in line.split(" && ")]
    found += [part.strip() for span in spans if " " in span for part in span.split(" && ")]
    translated = [command.replace("路径", "PATH") for command in found]
    return [command for command in translated if re.match(rf"({'|'.join(PROGRAMS)})\b[ =]", command)]


EVERY = sorted({command for page in PAGES for command in commands(page)})
EXPERIMENTS = [command for command in EVERY if command.startswith("dvc exp run") and " -S " in command and "…" not in command]


def test_every_command_is_run_or_excused():
    assert sorted(set(EVERY) - set(EXPERIMENTS) - set(WHERE)) == [], "say in WHERE which test runs it, or why none does"
    assert sorted(set(WHERE) - set(EVERY)) == [], "no page names these any more"


@pytest.mark.parametrize("command", [command for command, where in WHERE.items() if where.startswith("tests/")])
def test_the_named_test_exists_and_speaks_of_the_command(command):
    path, _, name = WHERE[command].partition("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    defined = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)}
    assert not name or name in defined
    words = command.split()
    word = words[2] if command.startswith("python -m") else words[2] if words[1].startswith("--") else words[1]
    assert word.rpartition(".")[2] in source


def test_what_is_left_out_is_said_of_commands_that_a_test_runs():
    assert [command for command in PARTLY if not WHERE.get(command, "").startswith("tests/")] == []


@pytest.mark.parametrize("command", EXPERIMENTS)
def test_every_experiment_of_the_docs_is_a_valid_one(command, tmp_path):
    """dvc's own reading of -S on the default params.yaml, then the check that runs before anything is trained."""
    words = re.findall(r"'[^']*'|\S+", command.removeprefix("dvc exp run "))
    given = [words[i + 1].strip("'") for i, word in enumerate(words) if word == "-S"]
    targets = [word for i, word in enumerate(words) if "@" in word and words[i - 1] != "-S"]
    assert words.count("-S") + len(given) + len(targets) == len(words)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", given)
    changed = read_config(tmp_path / "params.yaml")
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    assert all(target.partition("@")[0] in stages and target.partition("@")[2] in changed.variants for target in targets)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """One variant, its prepared data."""
    params = re.sub(r"\n  r1: .*", "", projects.TINY).replace("steps: 20", "steps: 10")
    return projects.project(tmp_path_factory.mktemp("docs") / "p", params)


def test_what_the_readme_runs(tiny):
    """`dvc repro prepare`, `dvc repro train@hinge`, then `seesaw run` makes what is left, fills MLflow and prints the table."""
    for target, made in (("prepare", "data/prepared/card.json"), ("train@hinge", "results/runs/hinge.json")):
        assert not (tiny / made).exists()
        projects.dvc(tiny, "repro", "--quiet", target)
        assert (tiny / made).exists()
    said = projects.seesaw(tiny, "run").stdout
    assert re.search(r"^1 +hinge ", said, re.MULTILINE)
    assert all((tiny / made).exists() for made in ("mlflow.db", "results/report/index.html", ".seesaw/summary.md"))


def test_the_programs_of_the_readme_run(tiny, tmp_path):
    """After `dvc repro`: samples, exports, somebody else's samples, the gate, sync --verify, doctor, each as a person calls it."""
    projects.dvc(tiny, "repro", "--quiet")
    assert "64" in projects.seesaw(tiny, "sample", "--variant", "hinge", "-n", "64", "-o", str(tmp_path / "grid.png")).stdout
    assert (tmp_path / "grid.png").read_bytes()[:4] == b"\x89PNG"
    projects.seesaw(tiny, "export", "hinge", "--format", "pt2", "-o", str(tmp_path / "generator.pt2"))
    assert (tmp_path / "generator.pt2").stat().st_size > 0
    shutil.copy(tiny / "data" / "prepared" / "validation.npy", tmp_path / "given.npy")
    assert "frechet" in projects.seesaw(tiny, "evaluate", "--samples", str(tmp_path / "given.npy")).stdout
    assert projects.seesaw(tiny, "promote", expect=None).returncode in (0, 10)
    assert projects.seesaw(tiny, "rollback", expect=1).stderr.count("\n") == 1
    assert "created" in projects.seesaw(tiny, "sync", "--verify").stdout
    assert "Traceback" not in projects.seesaw(tiny, "doctor", expect=None).stderr


def test_the_contract_meets_the_readmes_loss(tmp_path):
    """Its own tests, on a copy of the checkout that holds the file."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "game", tmp_path / "tests" / "game", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "stages" / "game" / "losses" / "squared_hinge.py").write_text(found[1], encoding="utf-8")
    done = projects.command(tmp_path, "pytest", "-o", "addopts=", "tests/game/test_losses.py", "-k", "squared_hinge")
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 5


@pytest.mark.parametrize("page", [*PAGES, "docs/README.md"])
def test_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (ROOT / page).parent.joinpath(link).exists()] == []


def test_the_index_names_every_document():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md" and f"({path.name})" not in index] == []


def test_the_citation_is_of_this_version_and_licence():
    citation = read_yaml(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]
