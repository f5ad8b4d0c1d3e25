"""What a training gives the live view: notices of checkpoints, into a pipe that never blocks, to a process of its own (`store/live.py`).

A notice says that the records of a group up to a step are durable; the process reads them from scratch. The pipe is the queue, and the
kernel bounds it: a notice that does not fit is dropped, because the next one says more. The process is told nothing else, is waited for
never, and ends when the training does, whatever its server does.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store.files import write_json

SWITCH = "SEESAW_LIVE"
DURABLE = ("start", "saved", "end")  # messages of a worker whose step a checkpoint vouches for
TIMEOUTS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # where the user says nothing
Take = Callable[[int, Mapping[str, Any]], None]


def wanted() -> bool:
    """SEESAW_LIVE is 1; or it is not set, and MLFLOW_TRACKING_URI names a server."""
    given = os.environ.get(SWITCH, "")
    if given not in ("", "0", "1"):
        raise SeesawError(f"{SWITCH} is {given!r}: 0 or 1 is needed")
    return given == "1" or (given == "" and os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"))


@contextmanager
def following(place: Path, told: Mapping[str, Any]) -> Iterator[Take]:
    """A function that takes workers' messages; `told` is what the live runs are made from. Afterwards nothing is left running."""
    if not wanted():
        yield lambda group, message: None
        return
    write_json(place / "live.json", {**told, "place": str(place), "parent": os.getpid()})
    feed = Feed(place)
    try:
        yield feed.take
    finally:
        feed.close()


class Feed:
    """The process is started by the first checkpoint: a training that is over before costs nothing."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.known: dict[int, int] = {}  # durable step of each group, as far as it is not yet said
        self.process: subprocess.Popen[bytes] | None = None

    def take(self, group: int, message: Mapping[str, Any]) -> None:
        """One message of a worker."""
        if message["event"] not in DURABLE or message["step"] == 0:
            return
        if self.process is None and message["event"] == "saved":
            self.process = start(self.place)
        self.known[group] = message["step"]
        if self.process is not None:
            self.known = {group: step for group, step in self.known.items() if not self._said(group, step)}

    def _said(self, group: int, step: int) -> bool:
        """Whether the notice fitted into the pipe, or nobody reads it any more."""
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            os.write(self.process.stdin.fileno(), f"{group} {step}\n".encode())
        except BlockingIOError:
            return False
        except BrokenPipeError:
            return True
        return True

    def close(self) -> None:
        """End the process at once: what it has not sent, `seesaw sync` shows from the outputs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdin is not None
            self.process.stdin.close()


def start(place: Path) -> "subprocess.Popen[bytes]":
    """`python -m stages.store.live` with its own log; the write end of its standard input never blocks."""
    code = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**TIMEOUTS, **os.environ, "PYTHONPATH": code, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "stages.store.live", str(place / "live.json")]
    with (place / "live.log").open("ab") as log:
        # A group of its own, out of Ctrl-C's reach, but not a session: Linux shares processors between sessions first (autogroup), and a
        # priority counts within one only. In a session of its own this process took 15% of a training's time.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, process_group=0, bufsize=0)
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


def read_notices(text: str) -> dict[int, int]:
    """The last step of each group in lines of notices."""
    return {int(group): int(step) for group, step in (line.split() for line in text.splitlines())}


def read_job(path: Path) -> dict[str, Any]:
    """What `following` wrote for the process."""
    job: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return job
