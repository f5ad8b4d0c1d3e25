"""Worker processes of one thread each, so many at once, spoken to in JSON lines; a signal reaches them once, a failure ends them all."""

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from stages.errors import SeesawError
from stages.store.parent import die_with_parent

STOPPED = 75  # exit code of a worker that was asked to stop and did
ENDING_SECONDS = 3.0  # for a worker's turn and its checkpoint, once it is asked to stop; a person who stopped it waits
LOOK_SECONDS = 0.2
CUT = " (cut short: what was not saved yet is made again)"


class Stopped(SeesawError):
    """The command was asked to stop, and its workers did."""


Show = Callable[[int, Mapping[str, Any]], None]  # number of the job, one message of its worker


def workers() -> int:
    """`SEESAW_WORKERS`, or the number of processors this process may use."""
    given = os.environ.get("SEESAW_WORKERS", "")
    if given and not (given.isdigit() and int(given) > 0):
        raise SeesawError(f"SEESAW_WORKERS is {given!r}: a whole number above 0 is needed")
    return int(given) if given else len(os.sched_getaffinity(0))


def device() -> str:
    """`SEESAW_DEVICE`, or `cpu`; no parameter, because it must not make a result stale."""
    given = os.environ.get("SEESAW_DEVICE", "cpu")
    if given not in ("cpu", "cuda"):
        raise SeesawError(f"SEESAW_DEVICE is {given!r}: cpu or cuda is needed")
    return given


def call(command: Sequence[str], place: Path, environment: Mapping[str, str], out: IO[str] | None = None) -> int:
    """A command's exit code. It ends with this process; Ctrl-C, which reaches it too, is waited for, so that it can save its work."""
    parent = os.getpid()
    process = subprocess.Popen(command, cwd=place, env=environment, stdout=out, preexec_fn=lambda: die_with_parent(parent))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def run_all(module: str, jobs: Sequence[Path], show: Show, stopped: str) -> None:
    """`python -m MODULE JOB` for every job file, at most `workers()` at once; the first failure ends the others.

    SeesawError with the last line of a worker's errors when one fails; Stopped, with the words `stopped`, after Ctrl-C or SIGTERM. A worker
    that has not ended ENDING_SECONDS after that is killed: a turn has no end that could be promised, and what was saved before it stands.
    """
    waiting = list(enumerate(jobs))
    running: dict[int, subprocess.Popen[bytes]] = {}
    selector, slots = selectors.DefaultSelector(), workers()
    stopping, cut = _forward_signals(running), ""
    try:
        while waiting or running:
            while waiting and len(running) < slots and not stopping:
                index, job = waiting.pop(0)
                running[index] = _start(module, job)
                if stopping:  # the signal came while this one was being started
                    running[index].send_signal(signal.SIGTERM)
                selector.register(running[index].stdout, selectors.EVENT_READ, index)  # type: ignore[arg-type]
            for key, _ in selector.select(timeout=LOOK_SECONDS):
                code = _read_one(key.fileobj, key.data, running, selector, show)
                if code == STOPPED and not stopping:  # somebody stopped this one alone
                    raise Stopped(stopped)
                if code not in (None, 0) and not stopping:  # asked to stop while it was still importing, a worker just ends
                    raise _failed(key.data, code, jobs[key.data])
            cut = cut or _cut_short(running, stopping)
            if stopping and not running:
                raise Stopped(stopped + cut)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _cut_short(running: Mapping[int, subprocess.Popen[bytes]], stopping: Sequence[float]) -> str:
    """Kill workers that were asked to stop and have not ended in time; the words for it, or none."""
    if not stopping or not running or time.monotonic() - stopping[0] <= ENDING_SECONDS:
        return ""
    for process in running.values():
        process.kill()
    return CUT


def worker_environment() -> dict[str, str]:
    """This process's, with one thread, this code, and an allocator (glibc's) that keeps what is freed.

    A step frees and takes the same megabytes again; faulting every page in anew was measured at 4 to 8% of its time. What the caller's
    environment says about the allocator stands.
    """
    keeping = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
    return {**keeping, **os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": _code_path()}


def _start(module: str, job: Path) -> subprocess.Popen[bytes]:
    """A group of its own: Ctrl-C on a terminal reaches a whole group, and with the signal passed on it would be the second one here."""
    environment = worker_environment()
    command = [sys.executable, "-m", module, str(job)]
    with (job.parent / "stderr.txt").open("wb") as errors:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, process_group=0)


def _code_path() -> str:
    """The workers import the code that this process runs, also in a temporary experiment checkout."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _read_one(
    stream: Any, index: int, running: dict[int, subprocess.Popen[bytes]], selector: selectors.BaseSelector, show: Show
) -> int | None:
    """One line of one worker; its exit code at its end."""
    line = stream.readline()
    if line:
        show(index, json.loads(line))
        return None
    selector.unregister(stream)
    stream.close()
    return running.pop(index).wait()


def _failed(index: int, code: int | None, job: Path) -> SeesawError:
    path = job.parent / "stderr.txt"
    tail = path.read_text(errors="replace").strip().splitlines()[-1:]
    said = " ".join(tail) or ("no message; the disk is full" if shutil.disk_usage(path.parent).free < 1 << 16 else "no message")
    return SeesawError(f"worker {index} ended with {code}: {said} (whole text: {path})")


def _forward_signals(running: Mapping[int, subprocess.Popen[bytes]]) -> list[float]:
    """Ctrl-C and SIGTERM reach the workers once, which save and end; the list fills with the moments of the signals."""
    seen: list[float] = []

    def forward(number: int, frame: Any) -> None:
        seen.append(time.monotonic())
        for process in running.values():
            process.send_signal(signal.SIGTERM)

    signal.signal(signal.SIGINT, forward)
    signal.signal(signal.SIGTERM, forward)
    return seen
