"""dvc as a process: what is stale, which stage waits for which, one stage made; always `python -m dvc`, this interpreter first on PATH."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from stages.errors import SeesawError

EDGE = re.compile(r'"(.+?)"\s*->\s*"(.+?)"')
NODE = re.compile(r'^"([^"]+)";')
# dvc ends when this program does, and its stage with it: a stage that knows that dvc runs it watches its parent
CHILD = """\
import runpy, sys
from stages.store.parent import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
runpy.run_module("dvc", run_name="__main__", alter_sys=True)
"""


def environment(**more: str) -> dict[str, str]:
    """This process's own, for dvc: its folder first on PATH, so that stages find the same python; one thread a process."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **more}


def asked(root: Path, *words: str) -> str:
    """What a dvc command prints; SeesawError with its last line when it fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise SeesawError(f"dvc {' '.join(words)} failed: {' '.join(tail) or 'no message'}")
    return done.stdout


def graph(root: Path) -> dict[str, set[str]]:
    """Every stage with the stages that it waits for."""
    return read_graph(asked(root, "dag", "--dot"))


def read_graph(dot: str) -> dict[str, set[str]]:
    """Stages and their parents from what `dvc dag --dot` prints: an arrow goes from a stage to one that waits for it."""
    found: dict[str, set[str]] = {}
    for text in dot.splitlines():
        if edge := EDGE.search(text):
            parent, child = edge.groups()
            found.setdefault(parent, set())
            found.setdefault(child, set()).add(parent)
        elif node := NODE.search(text.strip()):
            found.setdefault(node.group(1), set())
    return found


def stale(root: Path) -> set[str]:
    """Stages whose command, dependencies, parameters or outputs are not those of dvc.lock (what waits for them may follow)."""
    return set(json.loads(asked(root, "status", "--json") or "{}"))


def ancestors(parents: Mapping[str, set[str]], targets: set[str]) -> set[str]:
    """The targets and all that they wait for, directly or not."""
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents.get(name, set())
    return found


def descendants(parents: Mapping[str, set[str]], starts: set[str]) -> set[str]:
    """The starts and all that waits for them, directly or not."""
    found = set(starts)
    while True:
        more = {name for name, needs in parents.items() if needs & found} - found
        if not more:
            return found
        found |= more


def begin(root: Path, stage: str, log: Path, **more: str) -> "subprocess.Popen[bytes]":
    """`dvc repro -s STAGE` as the leader of a session of its own, its output in `log`; it waits for other dvc processes' locks."""
    code = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", CHILD, str(os.getpid()), "--wait-for-lock", "repro", "-s", stage]
    with log.open("wb") as lines:
        return subprocess.Popen(
            command,
            cwd=root,
            env=environment(PYTHONPATH=code, **more),
            stdout=lines,
            stderr=lines,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def interrupt(process: "subprocess.Popen[bytes]", number: int = signal.SIGINT) -> None:
    """A signal for dvc and its stage, as Ctrl-C on a terminal sends it to both."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has ended
