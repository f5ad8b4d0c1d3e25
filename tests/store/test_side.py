"""Side projects, with a made-up command line that writes down how it was called."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.errors import SeesawError
from stages.store import side
from stages.store.config import read_config

PARAMS = {
    "train": {"steps": 10, "snapshots": 1},
    "variants": {name: {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}} for name in ("a", "b")},
    "compare": {"baseline": "a"},
}
DVC = """
stages:
  train:
    foreach: ${variants}
    do:
      cmd: exec python -m stages.cli train ${key}
      deps: [data/prepared, stages/code.py, "stages/${item.loss.name}.py"]
      params: [train, "variants.${key}"]
      outs: ["results/runs/${key}.json"]
"""
CLI = """
import json, os, pathlib, signal, sys, time
here = pathlib.Path.cwd()
with (here / "calls.txt").open("a") as file:
    file.write(" ".join(sys.argv[1:]) + "\\n")
mode = (here / "stages" / "mode.txt").read_text()
if mode == "fail":
    sys.exit(1)
if mode == "wait":
    def stop(number, frame):
        (here / "stopped.txt").write_text("once")
        sys.exit(1)
    signal.signal(signal.SIGTERM, stop)
    (here / "waiting.txt").touch()
    time.sleep(60)
(here / "results" / "runs").mkdir(parents=True, exist_ok=True)
(here / "results" / "runs" / f"{sys.argv[2]}.json").write_text("{}")
"""

CALLER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
from pathlib import Path
from stages.errors import SeesawError
from stages.store import side
try:
    with side.stoppable("seesaw tune"):
        side.ensure(Path({place!r}), "train", "a")
except SeesawError as error:
    print(error)
    sys.exit(1)
"""


@pytest.fixture
def root(tmp_path) -> Path:
    for name, text in (
        ("dvc.yaml", DVC),
        ("stages/cli.py", CLI),
        ("stages/code.py", ""),
        ("stages/hinge.py", ""),
        ("stages/mode.txt", "work"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "stages/__init__.py").touch()
    prepared = tmp_path / "data" / "prepared"
    prepared.mkdir(parents=True)
    for name in ("card.json", "train.npy", "test.npy"):
        (prepared / name).write_text(name)
    return tmp_path


def lay(root: Path, params=PARAMS, names=("card.json", "train.npy")) -> Path:
    return side.lay(root, side.folder(root, "x"), params, [root / "data/prepared" / name for name in names])


def calls(place: Path) -> list[str]:
    return (place / "calls.txt").read_text().splitlines() if (place / "calls.txt").exists() else []


def test_a_side_project_lies_out_of_sight_and_holds_what_it_is_given(root):
    place = lay(root)
    assert place == root / ".seesaw" / "side" / "x"
    assert sorted(path.name for path in (place / "data/prepared").iterdir()) == ["card.json", "train.npy"]
    assert read_config(place / "params.yaml").train.steps == 10
    lay(root, names=("card.json", "test.npy"))
    assert sorted(path.name for path in (place / "data/prepared").iterdir()) == ["card.json", "test.npy"]
    assert (root / "data/prepared/train.npy").read_text() == "train.npy"


def test_params_that_are_wrong_lay_nothing(root):
    with pytest.raises(SeesawError, match=r"unknown key train\.step"):
        lay(root, {**PARAMS, "train": {"step": 10}})
    assert not side.folder(root, "x").exists()


def test_a_node_runs_once(root):
    place = lay(root)
    assert side.ensure(place, "train", "a") is True
    assert side.ensure(lay(root), "train", "a") is False
    assert side.ensure(place, "train", "b", quiet=True) is True
    assert calls(place) == ["train a", "train b --quiet"]


@pytest.mark.parametrize("what", ["code", "part", "params", "variant", "data", "output"])
def test_what_dvc_yaml_declares_makes_it_run_again(root, what):
    place = lay(root)
    side.ensure(place, "train", "a")
    params = json.loads(json.dumps(PARAMS))
    if what in ("code", "part"):
        (root / "stages" / {"code": "code.py", "part": "hinge.py"}[what]).write_text("# another")
    elif what == "params":
        params["train"]["steps"] = 11
    elif what == "variant":
        params["variants"]["a"]["rules"] = {"generator_lr": 1e-5}
    elif what == "data":
        (root / "data/prepared/card.json").write_text("another")
    else:
        (place / "results/runs/a.json").unlink()
    assert side.ensure(lay(root, params), "train", "a") is True
    assert side.ensure(place, "train", "a") is False


def test_another_variants_entry_does_not(root):
    side.ensure(lay(root), "train", "a")
    params = json.loads(json.dumps(PARAMS))
    params["variants"]["b"]["rules"] = {"generator_lr": 1e-5}
    assert side.ensure(lay(root, params), "train", "a") is False


def test_a_node_that_fails_is_not_taken_for_done(root):
    place = lay(root)
    (root / "stages/mode.txt").write_text("fail")
    with pytest.raises(SeesawError, match="train a ended with 1"):
        side.ensure(place, "train", "a")
    (root / "stages/mode.txt").write_text("work")
    assert side.ensure(place, "train", "a") is True


def test_ctrl_c_stops_the_node_once_and_says_how_to_go_on(root):
    place = lay(root)
    (root / "stages/mode.txt").write_text("wait")
    code = CALLER.format(place=str(place))
    home = str(Path(side.__file__).resolve().parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=home, env={**os.environ, "PYTHONPATH": home}
    )
    for _ in range(600):
        if (place / "waiting.txt").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "stopped; what is done is kept. `seesaw tune` goes on from there\n")
    assert (place / "stopped.txt").read_text() == "once"


def test_a_program_of_the_users_own_is_found_from_a_side_project(tmp_path):
    (tmp_path / "params.yaml").write_text("evaluate: {features: 'file:own/net.pt2', trust: true}\n")
    assert side.params_of(tmp_path)["evaluate"]["features"] == f"file:{tmp_path.resolve() / 'own/net.pt2'}"
    (tmp_path / "params.yaml").write_text("evaluate: {features: auto}\n")
    assert side.params_of(tmp_path)["evaluate"]["features"] == "auto"
