"""The short form of `python -m tests.survival`: a few kills, one for each thing that can be left behind."""

import kills
import pytest
from kills import Kill

SHORT = [
    Kill("train@hinge", "checkpoint", 0.3, "/bin/sh", 1, at_once=True),
    Kill("compare", "placing", 0.2, "/bin/bash", 2, at_once=False),
]


@pytest.mark.parametrize("kill", SHORT, ids=lambda kill: f"{kill.node} {kill.way}")
def test_the_next_run_ends_with_the_same_bytes(undisturbed, tmp_path, monkeypatch, kill):
    monkeypatch.setattr(kills, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step
    outcome = kills.survive(undisturbed, kill, tmp_path / "p")
    assert outcome.trouble == ""
    assert kills.living(tmp_path / "p") == []


def test_a_kill_that_loses_something_is_noticed(undisturbed, tmp_path):
    """The comparison itself: one byte of one output, or one output too many, is trouble."""
    found = dict(undisturbed.digests)
    name = next(iter(found))
    assert kills._different(undisturbed.digests, found) == []
    assert kills._different(undisturbed.digests, found | {name: "x"}) == [name]
    assert kills._different(undisturbed.digests, found | {"results/more": "x"}) == ["results/more"]
    del found[name]
    assert kills._different(undisturbed.digests, found) == [name]
