"""Two at once in one checkout: each ends well or says who holds what, and nothing is corrupted."""

import os
import shutil
import subprocess
import sys

import kills
import projects
import pytest

from stages import parallel
from stages.errors import SeesawError

HELD = (
    "is busy, it is being blocked by",
    "Unable to acquire lock",
    "is being made by another process",
    "another prepare is writing",
    "`seesaw run -j` is at work here (process ",
)


def start(folder, *words: str, **more: str) -> subprocess.Popen:
    environment = projects.environment(**more)
    return subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def copied(undisturbed, folder, node: str | None):
    shutil.copytree(undisturbed.folder, folder, symlinks=True)
    if node:
        kills.rewind(folder, undisturbed.lock, node)
    return folder


@pytest.mark.parametrize(
    "words",
    [("dvc", "repro"), ("stages.cli", "run", "train@hinge"), ("stages.cli", "run", "-j", "2")],
    ids=["dvc repro", "seesaw run", "run -j"],
)
def test_two_of_the_same_at_once(undisturbed, tmp_path, words):
    """Both begin before a training that neither has made. Afterwards one more run leaves exactly the undisturbed outputs."""
    folder = copied(undisturbed, tmp_path / "p", "train@hinge")
    both = [start(folder, *words) for _ in range(2)]
    said = [one.communicate(timeout=300)[0] for one in both]
    assert 0 in [one.returncode for one in both]
    for one, text in zip(both, said, strict=True):
        assert one.returncode == 0 or any(words in text for words in HELD), text
        assert "Traceback" not in text
    projects.dvc(folder, "repro", "--quiet")
    assert projects.digests(folder) == undisturbed.digests


def test_a_second_run_side_by_side_says_who_is_at_work(tmp_path):
    """Whoever holds the logs is named by its number; once it has ended, however it did, the next one begins."""
    logs = tmp_path / ".seesaw/logs"
    code = "import sys, pathlib, stages.parallel as p\nwith p.only_one(pathlib.Path(sys.argv[1])): print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(logs)], cwd=projects.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        first.stdout.readline()
        with pytest.raises(SeesawError, match=rf"is at work here \(process {first.pid}\)"), parallel.only_one(logs):
            raise AssertionError("both hold it")
        first.kill()
    with parallel.only_one(logs):
        assert (logs / "holder").read_text() == str(os.getpid())


def test_a_sync_during_a_training(undisturbed, tmp_path):
    """The training replaces results that the sync reads: both end well, and the results are the training's."""
    folder = copied(undisturbed, tmp_path / "p", None)
    shutil.rmtree(folder / ".seesaw", ignore_errors=True)
    before = projects.digests(folder)
    training = start(folder, "stages.cli", "train", "hinge", SEESAW_CHECKPOINT_SECONDS="0")
    sync = start(folder, "stages.cli", "sync")
    said = [one.communicate(timeout=300)[0] for one in (training, sync)]
    assert [training.returncode, sync.returncode] == [0, 0], said
    assert projects.digests(folder) == before
    assert "created" in said[1]
