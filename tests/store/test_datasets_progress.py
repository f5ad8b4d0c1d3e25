"""The line that says how far reading has come."""

import io
from itertools import count

import numpy as np
import pytest

from stages.store.datasets import _progress
from stages.store.datasets._stream import Batch

BATCHES = [Batch(np.zeros((100, 1)))] * 30


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    ticks = count()
    monkeypatch.setattr(_progress.time, "monotonic", lambda: float(next(ticks)))  # one second a look


def test_a_file_gets_a_line_every_five_seconds_with_rate_and_time_left(clock):
    out = io.StringIO()
    assert len(list(_progress.watched(BATCHES, 3000, out))) == 30
    lines = out.getvalue().splitlines()
    assert lines[0] == "prepare: 500 of 3000 items, 100 items/s, 25 s left"
    assert len(lines) == 6 + 1
    assert lines[-1].startswith("prepare: 3000 of 3000 items")


def test_a_terminal_has_one_line_that_is_rewritten(clock):
    out = Terminal()
    list(_progress.watched(BATCHES, None, out))
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().count("\r") == 30 + 1  # and once more at the end
    assert "3000 of 3000" in out.getvalue()


def test_what_is_done_at_once_is_not_talked_about(monkeypatch):
    monkeypatch.setattr(_progress.time, "monotonic", lambda: 0.0)
    out = io.StringIO()
    list(_progress.watched(BATCHES, 3000, out))
    assert out.getvalue() == ""
