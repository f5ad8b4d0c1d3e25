"""A small process that outlives dvc for a moment: what dvc was writing when it was killed is mended before the next dvc reads it.

Nothing of this project runs when dvc starts, so that a plain `dvc repro` could not mend anything by itself. Each node, which dvc starts,
sees to it that its dvc has one guardian: in a session of its own (what kills dvc's group spares it), with none of dvc's streams, in no
folder of the project. It waits for dvc's end, calls `mending.mend`, and ends.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

from stages.store import mending
from stages.store.parent import orphaned

PATIENCE = 10.0  # seconds for another dvc that holds a lock
LOOK_SECONDS = 0.2  # where the kernel does not tell of a process's end
MENDED = mending.KEPT / "mended.txt"  # what guardians mended: nobody listens to them
PROGRAM = "from stages.store import guardian; guardian.main()"


def stand_by(root: Path) -> None:
    """Keep a copy of dvc.lock, and start a guardian for the dvc that runs this node where it has none yet."""
    if not (root / ".dvc" / "tmp").is_dir():
        return
    mending.keep(root)
    dvc = os.getppid()
    name = root / mending.KEPT / f"guardian-{dvc}"
    name.parent.mkdir(parents=True, exist_ok=True)
    with name.open("a") as held:  # a guardian holds this file's lock as long as it lives
        if mending.taken(held.fileno()):
            watched = _opened(dvc)
            if not orphaned():
                _start(root, name, dvc, watched, held.fileno())
            if watched >= 0:
                os.close(watched)


def _opened(process: int) -> int:
    """A descriptor that can be read once the process has ended, though nobody has waited for it (Linux); -1 elsewhere."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return -1


def _start(root: Path, name: Path, dvc: int, watched: int, held: int) -> None:
    kept = tuple(descriptor for descriptor in (watched, held) if descriptor >= 0)
    code = str(Path(__file__).resolve().parents[2])
    subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root.resolve()), str(name.resolve()), str(dvc), str(watched)],
        cwd="/",
        env={**os.environ, "PYTHONPATH": os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=kept,
        start_new_session=True,
    )


def main() -> None:
    """`ROOT NAME DVC WATCHED`: wait for the end of dvc, mend what it left and write that down, give the name back."""
    root, name, dvc, watched = sys.argv[1:]
    wait(int(dvc), int(watched))
    lines = mending.mend(Path(root), ended=int(dvc), patience=PATIENCE)
    if lines:
        with (Path(root) / MENDED).open("a", encoding="utf-8") as told:
            told.writelines(f"{line}\n" for line in lines)
    Path(name).unlink(missing_ok=True)


def wait(process: int, watched: int) -> None:
    """Until the process has ended: its descriptor tells, or its number, which is looked for now and then."""
    if watched >= 0:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        poll.poll()
        return
    import psutil

    while psutil.pid_exists(process):
        time.sleep(LOOK_SECONDS)
