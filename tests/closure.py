"""The import closure of a module inside `stages`, read from the source: what a node's result can depend on."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ("losses", "penalties", "constraints", "networks", "datasets")
# Modules that cannot alter an output: the words of an error, the live line, where a folder lies, whose parent, how processes run,
# whether a file was edited.
PLUMBING = {
    *("stages/errors.py", "stages/draw/progress.py", "stages/draw/board.py"),
    *("stages/store/feed.py", "stages/store/processes.py", "stages/store/parent.py", "stages/store/places.py", "stages/store/steady.py"),
}


def closure(*starts: str) -> set[str]:
    """Paths (relative to the project) of every module of `stages` that these files import, directly or not, themselves included."""
    found: set[str] = set()
    waiting = [path for path in starts]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += imported(path)
    return {path for path in found if not path.endswith("__init__.py")}


def imported(path: str) -> list[str]:
    """Files of `stages` that one file imports, also inside functions (but not those for type checking alone)."""
    files: list[str] = []
    for node in _statements(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "stages":
            files += [file for name in node.names for file in _files(f"{node.module}.{name.name}", node.module)]
        elif isinstance(node, ast.Import):
            files += [file for name in node.names if name.name.startswith("stages") for file in _files(name.name, name.name)]
    return files


def _statements(tree: ast.AST) -> list[ast.AST]:
    kept: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        kept += [node, *_statements(node)]
    return kept


def _files(*modules: str) -> list[str]:
    """The first of these dotted names that is a file."""
    for module in modules:
        path = Path(*module.split(".")).with_suffix(".py")
        if (ROOT / path).is_file():
            return [path.as_posix()]
    return []
