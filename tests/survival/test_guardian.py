"""A dvc that is killed exactly while it writes a file of its own: the next plain `dvc repro` works, and no guardian outlives its dvc."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

import kills
import projects
import psutil
import pytest

from stages.store import guardian

# dvc that kills its whole process group once it has written the first characters of a file, after the node `compare` has run
CUT = """\
import os, pathlib, runpy, signal, sys
def dying(stream, text):
    stream.write(text)
    stream.flush()
    os.killpg(0, signal.SIGKILL)
def when_made(real, text, name):
    made = pathlib.Path("results/comparison.json")
    wanted = lambda stream: made.exists() and name in pathlib.Path(stream.name).parts
    return lambda value, stream, *rest: dying(stream, text) if wanted(stream) else real(value, stream, *rest)
import dvc.rwlock, dvc.utils.serialize._yaml as lock
name = sys.argv.pop(1)
cut = when_made(dvc.rwlock.json.dump, '{"write": {"/a', name)
dvc.rwlock.json = type("Json", (), dict(vars(dvc.rwlock.json), dump=staticmethod(cut)))
lock._dump = when_made(lock._dump, "schema: '2.0'\\nstages:\\n  check:\\n    c", name)
runpy.run_module("dvc", run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def folder(undisturbed, tmp_path):
    """The project before `compare`."""
    shutil.copytree(undisturbed.folder, tmp_path / "p", symlinks=True)
    kills.rewind(tmp_path / "p", undisturbed.lock, "compare")
    return tmp_path / "p"


def killed(folder, what: str) -> None:
    """`dvc repro`, killed while it writes that file, with all its group."""
    command = [sys.executable, "-c", CUT, what, "repro"]
    with subprocess.Popen(
        command, cwd=folder, env=projects.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        said = process.communicate()[0].decode()
    assert process.returncode == -signal.SIGKILL, said


LEFT = {
    "rwlock": "dvc's list of readers and writers was cut off",
    "dvc.lock": "dvc.lock was cut off",
    "runs": "dvc's list of readers and writers named processes that have ended",  # dvc itself gets over a cut-off file of its cache of runs
}


@pytest.mark.parametrize(("what", "words"), LEFT.items(), ids=list(LEFT))
def test_a_plain_repro_goes_on_after_a_kill_while_dvc_wrote_its_own_file(undisturbed, folder, what, words):
    killed(folder, what)
    said = projects.dvc(folder, "repro").stdout
    assert words in (folder / guardian.MENDED).read_text()
    assert "stages.cli train" not in said
    assert projects.digests(folder) == undisturbed.digests
    kills._until_nobody_lives(folder)
    assert sorted(path.name for path in (folder / guardian.MENDED).parent.glob("guardian-*")) == []


@pytest.mark.parametrize("what", ["rwlock", "dvc.lock"])
def test_without_a_guardian_the_next_seesaw_run_mends_first(undisturbed, folder, what, monkeypatch):
    """As after an outage, which takes the guardian along: dvc alone refuses, and our command says what it mends."""
    monkeypatch.setitem(os.environ, "PYTHONPATH", "")
    (folder / "stages/store/guardian.py").write_text(
        (folder / "stages/store/guardian.py").read_text() + "\ndef main() -> None:\n    return\n"
    )
    killed(folder, what)
    kills._until_nobody_lives(folder)
    assert projects.dvc(folder, "repro", expect=None).returncode != 0
    said = projects.seesaw(folder, "run", "--quiet", "compare").stderr
    assert said.count("mended   ") == 1
    projects.dvc(folder, "repro")
    assert projects.digests(folder) == undisturbed.digests


def test_one_guardian_for_one_dvc_and_it_ends_when_dvc_does(folder, undisturbed):
    """It is in a session of its own, holds none of dvc's streams, and is there while a node works; two nodes share it."""
    kills.rewind(folder, undisturbed.lock, "diagnose@hinge")
    seen: dict[int, int] = {}
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, env=projects.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while process.poll() is None:
            for one in kills.guardians(folder):
                with contextlib.suppress(psutil.Error, ProcessLookupError, OSError):
                    seen[one.pid] = os.getsid(one.pid)
            time.sleep(0.05)
        assert process.communicate(timeout=60)[0]  # it comes to an end: nobody else holds the pipe
    assert len(seen) == 1
    assert seen == {pid: pid for pid in seen}  # each the leader of a session
    kills._until_nobody_lives(folder)
    assert not (folder / guardian.MENDED).exists()  # nothing was wrong
