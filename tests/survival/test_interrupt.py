"""Ctrl-C typed at a real terminal: one stop, a checkpoint, words on how to go on, and the terminal as it was."""

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time

import kills
import projects
import pytest

from stages.store import layout, processes

ENDS = 60.0  # seconds: on an idle machine it is under one; the limit is for busy ones


class Terminal:
    """A command in the foreground of a pseudo-terminal."""

    def __init__(self, folder, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        environment = projects.environment(SEESAW_CHECKPOINT_SECONDS="0.1", SEESAW_WORKERS="2", TERM="xterm")
        self.process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=folder,
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.said = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.master, 4096):
                self.said += piece
        except OSError:
            return

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> str:
        """Everything that was said, once the command has ended; the terminal's settings are those of the start."""
        self.process.wait(timeout=ENDS)
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.slave)
        self.reader.join(timeout=10)
        os.close(self.master)
        return self.said.decode(errors="replace")


def wait_for(folder, pattern: str, count: int, terminal: Terminal) -> None:
    deadline = time.monotonic() + 120
    while len({path.parent for path in (folder / ".seesaw/scratch").glob(pattern)}) < count:
        assert terminal.process.poll() is None, terminal.said.decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("words", [("stages.cli", "train", "hinge"), ("stages.cli", "run", "train@hinge")], ids=["train", "run"])
def test_one_ctrl_c_stops_with_a_checkpoint_and_says_how_to_go_on(undisturbed, tmp_path, words):
    folder = tmp_path / "p"
    shutil.copytree(undisturbed.folder, folder, symlinks=True)
    params = (folder / "params.yaml").read_text().replace("steps: 20", "steps: 200000").replace("seeds: 2", "seeds: 4")
    (folder / "params.yaml").write_text(params)
    _old_run(folder).unlink()
    terminal = Terminal(folder, *words)
    wait_for(folder, "*/group-*/state-*.safetensors", 2, terminal)
    newest = max(path.name for path in (folder / ".seesaw/scratch").glob("*/group-0/state-*.safetensors"))
    terminal.type(b"\x03")
    said = terminal.end()
    assert said.count("a checkpoint stands. `dvc repro` (or `make run`) goes on from there") == 1
    assert "Traceback" not in said
    assert said.endswith("\n")
    assert said.count("\x1b[?25l") <= said.count("\x1b[?25h")  # a cursor that was hidden is shown again
    assert said.count("\x1b[?1049h") == said.count("\x1b[?1049l")
    assert terminal.process.returncode == 1
    kept = sorted(path.name for path in (folder / ".seesaw/scratch").glob("*/group-0/state-*.safetensors"))
    assert kept[-1] >= newest
    assert not _old_run(folder).exists()
    assert kills.living(folder) == []


DEAF = """
import json, signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as during one long operation in native code: no handler of Python runs
print(json.dumps({"event": "start", "step": 0}), flush=True)
time.sleep(600)
"""
ASKED = """
import sys
from pathlib import Path
from stages.errors import SeesawError
from stages.store import processes
try:
    processes.run_all("deaf", [Path(sys.argv[1])], lambda job, message: print("started", flush=True), "stopped")
except SeesawError as error:
    print(error)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_whose_turn_has_no_end_in_sight_is_not_waited_for(tmp_path, number):
    """What was saved before stands, and the words say that something was cut short."""
    (tmp_path / "deaf.py").write_text(DEAF)
    (tmp_path / "job.json").write_text("{}")
    environment = projects.environment(PYTHONPATH=os.pathsep.join([str(projects.ROOT), str(tmp_path)]))
    command = [sys.executable, "-c", ASKED, str(tmp_path / "job.json")]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        process.send_signal(number)
        assert process.communicate(timeout=300)[0] == f"stopped{processes.CUT}\n"
    assert process.returncode == 0
    assert kills.living(tmp_path) == []


def _old_run(folder):
    return folder / layout.run("hinge")
