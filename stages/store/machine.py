"""What of this machine a command may use: settings of the environment, never parameters, since they must not make a result stale."""

import os

from stages.errors import SeesawError


def workers() -> int:
    """`SEESAW_WORKERS`, or the number of processors this process may use."""
    given = os.environ.get("SEESAW_WORKERS", "")
    if given and not (given.isdigit() and int(given) > 0):
        raise SeesawError(f"SEESAW_WORKERS is {given!r}: a whole number above 0 is needed")
    return int(given) if given else len(os.sched_getaffinity(0))


def device() -> str:
    """`SEESAW_DEVICE`, or `cpu`."""
    given = os.environ.get("SEESAW_DEVICE", "cpu")
    if given not in ("cpu", "cuda"):
        raise SeesawError(f"SEESAW_DEVICE is {given!r}: cpu or cuda is needed")
    return given
