"""What makes a result the same result: its fingerprint."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.game.spec import Variant
from stages.store.config import read_yaml
from stages.store.files import sha256_json


def declared_code(root: Path, stage: str, names: Mapping[str, str]) -> list[str]:
    """The `stages/...` paths that dvc.yaml declares as deps of a `foreach` stage, its templates filled from `names`."""
    stages = read_yaml(root / "dvc.yaml")["stages"]
    if stage not in stages:
        raise SeesawError(f"{root / 'dvc.yaml'} has no stage {stage!r}")
    deps = stages[stage].get("do", stages[stage])["deps"]
    filled = [_fill(dep, names) for dep in deps]
    return sorted(dep for dep in filled if dep.startswith("stages/"))


def code_digests(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """md5 of each path's content; a folder's is over its .py files by name. SeesawError names a path that is missing."""
    return {path: _md5(root / path) for path in paths}


def fingerprint(resolved: Mapping[str, Any], data_digest: str, code: Mapping[str, str]) -> str:
    """sha256 of (resolved variant with seeds, data digest, md5s of the declared code)."""
    return sha256_json({"variant": resolved, "data": data_digest, "code": code})


def values(variant: Variant) -> str:
    """A short digest of everything that a variant's entry and `train` decide of it, the note of `seesaw tune` and its name apart."""
    entry = dataclasses.asdict(variant)
    return "v" + sha256_json({key: entry[key] for key in entry if key not in ("name", "tuned")})[:12]


def tuning(variant: Variant) -> str:
    """Where a variant's values come from: `defaults`, `tuned`, or `changed` where one of them is no longer what the study chose."""
    if variant.tuned is None:
        return "defaults"
    return "tuned" if variant.tuned.values == values(variant) else "changed"


def _fill(text: str, names: Mapping[str, str]) -> str:
    for name, value in names.items():
        text = text.replace("${" + name + "}", value)
    return text


def _md5(path: Path) -> str:
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if not path.is_dir():
        raise SeesawError(f"{path} is declared in dvc.yaml and missing: restore it with `git checkout -- {path}`")
    whole = hashlib.md5(usedforsecurity=False)
    for file in sorted(path.rglob("*.py")):
        whole.update(f"{file.relative_to(path).as_posix()}\n".encode() + file.read_bytes())
    return whole.hexdigest()
