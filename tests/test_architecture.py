"""Who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest
from closure import ROOT, closure, imported

NODES = {
    "check",
    "prepare",
    "train",
    "worker",
    "diagnose",
    "evaluate",
    "compare",
    "report",
    "sync",
    "promote",
    "sample",
    "retrain",
    "run",
    "ui",
    "doctor",
    "conventions",
    "remedy",
    "branch",
    "calibrate",
    "sensitivity",
    "tune",
    "published",
    "bench",
}
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "stages").rglob("*.py"))
HOMES = {
    "mlflow": ("stages/store/tracking", "stages/store/served.py"),  # served.py is what MLflow runs
    "typer": "stages/cli.py",
    "yaml": "stages/store/config.py",
    "optuna": "stages/store/study.py",
    "matplotlib": "stages/draw/",
    "plotly": "stages/draw/",
    "jinja2": "stages/draw/",
    "rich": "stages/draw/",
}
HELPERS = {"diagnosis", "benchmark"}  # folders of one node's own modules
SHARED = "generators"  # what several nodes share that is no library: files and measures together
LIBRARY = ("game", "measure", "store", "draw")


def outside(path: str) -> set[str]:
    """Top-level names of everything outside the project that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def folder(path: str) -> str:
    parts = Path(path).parts
    return parts[1] if len(parts) > 2 else parts[1].removesuffix(".py")


@pytest.mark.parametrize("path", FILES)
def test_a_library_stays_in_its_home(path):
    for name, home in HOMES.items():
        if name in outside(path):
            assert path.startswith(home), f"{path} imports {name}, which belongs to {home}"


@pytest.mark.parametrize("path", [path for path in FILES if folder(path) in LIBRARY])
def test_the_library_imports_no_node(path):
    assert not {folder(other) for other in imported(path)} & (NODES | HELPERS | {SHARED})


@pytest.mark.parametrize("path", [path for path in FILES if folder(path) == SHARED])
def test_what_nodes_share_imports_the_library_alone(path):
    assert {folder(other) for other in imported(path)} <= {*LIBRARY, SHARED, "errors"}


@pytest.mark.parametrize("path", [path for path in FILES if folder(path) in NODES - {"run", "retrain"}])
def test_no_node_imports_another(path):
    others = {folder(other) for other in imported(path)} & NODES - {folder(path)}
    assert not others, f"{path} imports {others}: nodes speak through files"


@pytest.mark.parametrize("path", [path for path in FILES if folder(path) in ("game", "measure")])
def test_game_and_measure_know_tensors_only(path):
    assert not outside(path) & {"pathlib", "os", "json", "shutil", "logging", "subprocess", "socket", "time", "mlflow", "typer", "yaml"}
    reached = {folder(other) for other in imported(path)}
    assert reached <= {"game", "measure"}, f"{path} imports {reached}"


@pytest.mark.parametrize("path", [path for path in FILES if folder(path) == "measure"])
def test_measure_never_imports_the_training_loop(path):
    assert not closure(path) & {"stages/game/loop.py", "stages/game/steps.py", "stages/game/game.py"}


@pytest.mark.parametrize("path", FILES)
def test_importing_a_module_does_nothing(path):
    """At the top of a module stand only imports, definitions, constants and docstrings."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
    for node in tree.body:
        if isinstance(node, ast.Expr):
            call = node.value
            registered = isinstance(call, ast.Call) and ast.unparse(call.func) in ("_Loader.add_implicit_resolver",)
            assert registered or isinstance(call, ast.Constant), f"{path}:{node.lineno} runs on import"
        else:
            assert isinstance(node, allowed), f"{path}:{node.lineno} runs on import"


@pytest.mark.parametrize("path", FILES)
def test_no_function_is_longer_than_fifty_lines(path):
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            words = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (words.count("\n") + 1 if words else 0)
            assert length <= 50, f"{path}:{node.lineno} {node.name} has {length} lines"


def test_commands_are_short_and_lazy():
    """A command has at most 15 lines; torch, mlflow and pandas wait until it runs."""
    tree = ast.parse((ROOT / "stages/cli.py").read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert max(node.end_lineno - node.lineno + 1 for node in functions) <= 15
    tops = {name for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)) for name in [ast.unparse(node)]}
    assert not [line for line in tops if any(word in line for word in ("torch", "mlflow", "pandas", "stages import"))]
