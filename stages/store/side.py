"""Projects beside the project: trainings that are no results, under `.seesaw/side/`, out of git's and DVC's sight.

A side project is a folder with a params.yaml of its own and links to this project's code, dvc.yaml and prepared data. Its nodes are
the project's nodes, called as dvc.yaml calls them. What a node needs and makes is read from dvc.yaml too: a node whose declared code,
parameters and inputs are as they were when it ended is not called again, and a training that was stopped goes on from its checkpoint.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store import identity, layout, places
from stages.store.config import parse, read_yaml
from stages.store.files import sha256_file, sha256_json, write_json, write_text

LINKED = ("stages", "dvc.yaml")


def folder(root: Path, *names: str) -> Path:
    """`.seesaw/side/<names>` of the main checkout."""
    return places.main_checkout(root).joinpath(".seesaw", "side", *names)


def lay(root: Path, place: Path, params: Mapping[str, Any], data: Iterable[Path]) -> Path:
    """A side project at `place` with these params (checked) and links to these files of prepared data; what it made before stays.

    Its `data/prepared` holds nothing else: a part that is not given cannot be read there.
    """
    parse(params)
    for name in LINKED:
        link(root / name, place / name)
    prepared, given = place / layout.PREPARED, {path.name: path for path in data}
    for old in prepared.iterdir() if prepared.is_dir() else []:
        if old.name not in given:
            old.unlink()
    for name, path in given.items():
        link(path, prepared / name)
    write_text(place / "params.yaml", json.dumps(params, indent=2) + "\n")
    return place


def link(source: Path, target: Path) -> None:
    """`target` as a symbolic link to `source`, whatever it was before (a file or a link)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    target.symlink_to(source.absolute())


@contextmanager
def stoppable(again: str) -> Iterator[None]:
    """Ctrl-C in the block is one line that names the command which goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise SeesawError(f"stopped; what is done is kept. `{again}` goes on from there") from None


def ensure(place: Path, node: str, variant: str, quiet: bool = False) -> bool:
    """Run a `foreach` node of a variant in a side project unless it was run on the same things; whether it ran.

    SeesawError when it fails.
    """
    stamp = place / ".seesaw" / "done" / f"{node}-{variant}.json"
    needed = _needed(place, node, variant)
    if (
        stamp.exists()
        and json.loads(stamp.read_text(encoding="utf-8")) == needed
        and all(path.exists() for path in _made(place, node, variant))
    ):
        return False
    stamp.unlink(missing_ok=True)
    _call(place, [node, variant, *(["--quiet"] if quiet and node == "train" else [])])
    write_json(stamp, needed)
    shutil.rmtree(place / ".seesaw" / "scratch", ignore_errors=True)
    return True


def _stage(place: Path, node: str) -> Mapping[str, Any]:
    entry: Mapping[str, Any] = read_yaml(place / "dvc.yaml")["stages"][node]["do"]
    return entry


def _needed(place: Path, node: str, variant: str) -> dict[str, Any]:
    """Digests of the code, parameters and files that dvc.yaml declares for the node (of folders, what stands for them)."""
    params = read_yaml(place / "params.yaml")
    parts = params["variants"][variant]
    names = {"key": variant, **{f"item.{kind}.name": parts[kind]["name"] for kind in ("loss", "penalty", "constraint")}}
    keys = [key.replace("${key}", variant) for key in _stage(place, node)["params"]]
    inputs = (layout.CARD, *([] if node == "train" else [layout.run(variant)]))
    return {
        "code": sha256_json(identity.code_digests(place, identity.declared_code(place, node, names))),
        "params": sha256_json({key: _at(params, key) for key in keys}),
        "inputs": {path.as_posix(): sha256_file(place / path) for path in inputs},
    }


def _at(params: Any, key: str) -> Any:
    """The value of a dotted key, None where there is none."""
    for word in key.split("."):
        params = params.get(word) if isinstance(params, Mapping) else None
    return params


def _made(place: Path, node: str, variant: str) -> list[Path]:
    stage = _stage(place, node)
    entries = [entry for key in ("outs", "metrics", "plots") for entry in stage.get(key, [])]
    names = [next(iter(entry)) if isinstance(entry, Mapping) else entry for entry in entries]
    return [place / name.replace("${key}", variant) for name in names]


def _call(place: Path, words: list[str]) -> None:
    """`python -m stages.cli WORDS` in the side project; a process of its own session, told once when this one is stopped."""
    code = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    # DVC_STAGE: a node that knows it is one ends when its parent does
    environment = {**os.environ, "PYTHONPATH": code, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "DVC_STAGE": words[0]}
    environment["SEESAW_PARENT"] = str(os.getpid())  # it is in another process group
    process = subprocess.Popen([sys.executable, "-m", "stages.cli", *words], cwd=place, env=environment, start_new_session=True)
    try:
        ended = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise
    if ended != 0:
        raise SeesawError(f"{' '.join(words)} ended with {ended} in {place}: its own line stands above")


def params_of(root: Path) -> dict[str, Any]:
    """The project's params.yaml as plain values, in which a program of `file:PATH` is found from everywhere."""
    params: dict[str, Any] = read_yaml(root / "params.yaml")
    features = str(_at(params, "evaluate.features") or "")
    if features.startswith("file:"):
        params["evaluate"]["features"] = f"file:{(root / features.removeprefix('file:')).resolve()}"
    return params
