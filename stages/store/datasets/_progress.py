"""A line on stderr that says how far a long reading has come: at a terminal it is rewritten, elsewhere a new one every few seconds."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from stages.store.datasets._stream import Batch

QUIET_SECONDS = 1.0  # nothing is said about what is done sooner


def watched(batches: Iterable[Batch], total: int | None, out: TextIO | None = None) -> Iterator[Batch]:
    """The same batches; while they go by, `prepare: 1200 of 100000 items, 3400 items/s, 29 s left`."""
    out = sys.stderr if out is None else out
    terminal = out.isatty()
    started = said = time.monotonic()
    done = 0
    for batch in batches:
        yield batch
        done += len(batch.items)
        now = time.monotonic()
        if now - started >= QUIET_SECONDS and now - said >= (0.2 if terminal else 5.0):
            out.write(f"\r{line(done, total, now - started)}\x1b[K" if terminal else line(done, total, now - started) + "\n")
            out.flush()
            said = now
    if said > started:
        out.write(("\r" if terminal else "") + line(done, done, time.monotonic() - started) + ("\x1b[K\n" if terminal else "\n"))


def line(done: int, total: int | None, seconds: float) -> str:
    """The words for `done` items after so many seconds; without a total there is no time left to tell."""
    rate = done / seconds
    if total is None:
        return f"prepare: {done} items, {rate:.0f} items/s"
    return f"prepare: {done} of {total} items, {rate:.0f} items/s, {max(0.0, total - done) / rate:.0f} s left"
