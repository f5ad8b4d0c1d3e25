"""Stages side by side: the schedule on its own, then a small real dvc pipeline of shell commands."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import projects
import psutil
import pytest

from stages import parallel
from stages.errors import SeesawError
from stages.store import pipeline

CODE = str(Path(parallel.__file__).parent.parent)
# `left` and `right` end only when both are under way at once; `bad` fails, `after` waits for it; `last` waits for everything good
MEETING = "touch {own}.on; for i in $(seq 600); do test -e {other}.on && break; sleep 0.1; done; test -e {other}.on && echo {own} > {own}"
PIPELINE = f"""
stages:
  first: {{cmd: echo 1 > first, outs: [first]}}
  left: {{cmd: "{MEETING.format(own="left", other="right")}", deps: [first], outs: [left]}}
  right: {{cmd: "{MEETING.format(own="right", other="left")}", deps: [first], outs: [right]}}
  bad: {{cmd: "echo this is why; exit 3", deps: [first], outs: [bad]}}
  after: {{cmd: cp bad after, deps: [bad], outs: [after]}}
  last: {{cmd: cat left right > last, deps: [left, right], outs: [last]}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A git and dvc checkout with that pipeline."""
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    projects.git(tmp_path, "init", "-q")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    return tmp_path


def run(folder: Path, slots: int, *targets: str) -> subprocess.Popen[str]:
    """`side_by_side` in a process of its own; it prints what failed."""
    program = f"import sys, pathlib, stages.parallel as p; print(p.side_by_side(pathlib.Path('.'), sys.argv[1:], {slots}))"
    environment = projects.environment(PYTHONPATH=CODE)
    return subprocess.Popen(
        [sys.executable, "-c", program, *targets], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_independent_stages_run_at_once_and_a_failure_takes_only_its_descendants_along(small: Path) -> None:
    printed, log = run(small, 3).communicate(timeout=300)
    assert (small / "last").read_text() == "left\nright\n"
    assert "bad failed" in printed
    assert "after was not begun: it waits for what failed" in printed
    assert "left" not in printed
    assert "bad | this is why\n" in log
    assert "last | done\n" in log
    repro = projects.dvc(small, "repro", "last")
    assert "Running stage" not in repro.stdout
    text = (small / "dvc.yaml").read_text().replace("exit 3", "echo mended > bad")
    (small / "dvc.yaml").write_text(text)
    assert run(small, 2).communicate(timeout=300)[0] == "[]\n"
    assert "Running stage" not in projects.dvc(small, "repro").stdout
    printed, log = run(small, 2).communicate(timeout=300)
    assert (printed, log) == ("[]\n", "")


def test_a_target_brings_its_ancestors_and_nothing_else(small: Path) -> None:
    assert run(small, 2, "right", "left").communicate(timeout=300)[0] == "[]\n"
    assert {name for name in ("first", "left", "right", "bad", "after", "last") if (small / name).exists()} == {"first", "left", "right"}


def test_ctrl_c_ends_every_stage(small: Path) -> None:
    (small / "dvc.yaml").write_text("stages: {long: {cmd: exec sleep 1000, outs: [long]}, also: {cmd: exec sleep 1001, outs: [also]}}\n")
    process = run(small, 2)
    deadline = time.monotonic() + 120
    while sum("sleep" in child.name() for child in psutil.Process(process.pid).children(recursive=True)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=150)
    assert "stopped: what was finished is kept" in said
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_the_schedule_keeps_the_order_and_never_begins_what_waits_for_a_failure() -> None:
    schedule = parallel.Schedule({"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}})
    order = []
    while ready := schedule.ready():
        order += ready
        schedule.begun.update(ready)
        for name in ready:
            schedule.end(name, name != "c")
    assert order == ["a", "b", "c"]
    assert schedule.never() == ["d"]


def test_only_stale_stages_and_what_waits_for_them_are_needed() -> None:
    parents = {"check": set(), "train@a": {"check"}, "train@b": {"check"}, "evaluate@a": {"train@a"}, "compare": {"evaluate@a", "train@b"}}
    assert parallel.needed(parents, {"train@a"}, []) == {"train@a": set(), "evaluate@a": {"train@a"}, "compare": {"evaluate@a"}}
    assert parallel.needed(parents, {"train@a", "train@b"}, ["evaluate"]) == {"train@a": set(), "evaluate@a": {"train@a"}}
    assert parallel.needed(parents, {"train@a"}, ["train@b"]) == {}
    with pytest.raises(SeesawError, match="no stage is called trian"):
        parallel.needed(parents, set(), ["trian"])


def test_the_graph_is_what_dvc_prints(small: Path) -> None:
    parents = pipeline.graph(small)
    assert parents == {"first": set(), "left": {"first"}, "right": {"first"}, "bad": {"first"}, "after": {"bad"}, "last": {"left", "right"}}


def test_the_tail_of_a_log_is_its_whole_lines_and_the_last_state_of_a_bar(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n10%\r50%\r99%\ntwo")
    tail = parallel.Tail(log)
    assert tail.news() == ["one", "99%"]
    with log.open("ab") as file:
        file.write(b" is whole\nUse `dvc push` to send your updates\n\n")
    assert tail.news() == ["two is whole"]
    assert tail.news() == []


def test_a_stage_gets_its_share_of_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: dict[str, str] = {}
    monkeypatch.setenv("SEESAW_WORKERS", "8")
    monkeypatch.setattr(pipeline, "begin", lambda root, name, log, **more: begun.setdefault(name, more["SEESAW_WORKERS"]))
    work = parallel.Work(tmp_path, parallel.Schedule({}), 3, tmp_path, tmp_path, parallel.Silent(sys.stderr))
    work.begin("alone", 1)
    work.begin("one of three", 3)
    assert begun == {"alone": "8", "one of three": "2"}
    assert os.environ["SEESAW_WORKERS"] == "8"
