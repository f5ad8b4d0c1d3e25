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
    "seesaw evaluate --samples PATH": "tests/test_evaluate.py::test_a_folder_of_images_scores_like_the_array_it_holds",
    "seesaw remedy": "tests/test_remedy.py::test_it_writes_a_document_and_a_picture_and_shows_a_table",
    "seesaw remedy overpowered": "tests/test_remedy.py::test_it_writes_a_document_and_a_picture_and_shows_a_table",
    "seesaw tune": "tests/test_tune.py::test_the_command_tunes_two_variants_for_real",
    "seesaw tune --trials 8": "tests/test_tune.py::test_the_command_tunes_two_variants_for_real",
    "seesaw compare --sensitivity": "tests/test_sensitivity.py::test_reruns_are_beside_the_project_and_happen_once",
    "seesaw compare --sensitivity [--top 3]": "tests/test_sensitivity.py::test_reruns_are_beside_the_project_and_happen_once",
    "seesaw compare --aa K": "tests/test_calibrate.py::test_scores_do_not_depend_on_the_processes",
    "seesaw compare --aa 100": "tests/test_calibrate.py::test_scores_do_not_depend_on_the_processes",
    "seesaw compare --aa 400": "tests/test_calibrate.py::test_scores_do_not_depend_on_the_processes",
    "seesaw doctor": "tests/test_doctor.py::test_a_good_checkout_has_no_grave_finding",
    "make retrain": "tests/test_retrain.py::test_make_retrain_succeeds_on_every_outcome_of_the_gate",
    "seesaw retrain": "tests/test_retrain.py::test_a_second_clone_restores_everything_and_trains_nothing",
    "seesaw promote": "tests/test_promote.py::test_a_better_challenger_is_promoted_and_its_rise_is_written_down",
    "seesaw rollback": "tests/test_promote.py::test_rollback_restores_the_previous_entry_and_the_fallen_one_stays_out",
    "seesaw sample -n 64 -o grid.png": "tests/test_export.py::test_samples_are_a_picture_or_an_array_and_the_seed_decides",
    "seesaw export r3 --format pt2": "tests/test_export.py::test_the_exported_program_equals_the_generator",
    "seesaw export champion --format pt2": "tests/test_export.py::test_the_exported_program_equals_the_generator",
    "seesaw export champion --format pt2 -o generator.pt2": "tests/test_export.py::test_the_exported_program_equals_the_generator",
    "seesaw run --live": "tests/test_run.py::test_a_training_is_seen_in_a_real_server_while_it_lasts_and_ends_as_partial_when_stopped",
    "seesaw run --quiet": "tests/test_run.py::test_with_nothing_to_do_no_stage_is_called",
    "seesaw run -j": "a word of an option; see seesaw run -j 2",
    "seesaw run -j 2": "tests/test_run.py::test_everything_is_made_and_dvc_has_nothing_to_do",
    "seesaw run -j N": "tests/test_run.py::test_everything_is_made_and_dvc_has_nothing_to_do",
    "seesaw sync --all-revs": "tests/test_run.py::test_what_dvc_recorded_is_shown_from_its_cache",
    "seesaw sync --verify": "tests/test_sync.py::test_verify_mends_a_point_a_child_and_an_image",
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
