"""A child that ends with its parent: no orphan goes on writing."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(expected: int | None = None) -> None:
    """Ask the kernel (Linux) for SIGTERM when the parent ends; at once when the parent is no longer the expected one. Nothing elsewhere."""
    parent = expected or os.getppid()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
