"""A child that ends with its parent: no orphan goes on writing."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(expected: int | None = None) -> None:
    """Ask the kernel (Linux) for SIGTERM when the parent ends; at once when the parent is no longer the expected one. Nothing elsewhere.

    Where nobody is expected by number, the parent is dvc, or was: see `orphaned`.
    """
    parent = expected or os.getppid()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent or (expected is None and orphaned()):
            os.kill(os.getpid(), signal.SIGTERM)


def orphaned() -> bool:
    """Whether dvc ended while this process started: dvc and its stages are one process group, and who adopts an orphan is of another."""
    return os.getpgid(os.getppid()) != os.getpgid(0)
