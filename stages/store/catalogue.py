"""The catalogue is the folders: a part's name is its file's name, and its arguments are its factory's keywords.

Read with `ast`, so that a configuration is checked without importing torch. The factory of
`stages/game/losses/hinge.py` is the function `hinge`; its keyword-only arguments are the keys that params.yaml may set.
"""

import ast
import functools
from pathlib import Path
from typing import Any

GAME = Path(__file__).resolve().parent.parent / "game"
KINDS = {"loss": "losses", "penalty": "penalties", "constraint": "constraints", "network": "networks"}
TYPES: dict[str, type] = {"float": float, "int": int, "str": str, "bool": bool}


def names(kind: str) -> list[str]:
    """Every part of a kind (`loss`, `penalty`, `constraint`, `network`): public files of its folder, sorted."""
    return sorted(path.stem for path in (GAME / KINDS[kind]).glob("*.py") if not path.stem.startswith("_"))


@functools.cache
def arguments(kind: str, name: str) -> dict[str, tuple[type, Any]]:
    """Keyword-only arguments of a part's factory: name to (type, default); no default reads as `...`."""
    tree = ast.parse((GAME / KINDS[kind] / f"{name}.py").read_text(encoding="utf-8"))
    factory = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    pairs = zip(factory.args.kwonlyargs, factory.args.kw_defaults, strict=True)
    return {argument.arg: (_type(argument), _default(default)) for argument, default in pairs}


def _type(argument: ast.arg) -> type:
    return TYPES[argument.annotation.id if isinstance(argument.annotation, ast.Name) else "str"]


def _default(node: ast.expr | None) -> Any:
    return ... if node is None else ast.literal_eval(node)
