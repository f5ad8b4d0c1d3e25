"""`seesaw bench`: every section measures what its columns say; how long things take is no matter of tests."""

import pytest

from stages import bench
from stages.benchmark import cases, overhead, tables, timing
from stages.errors import SeesawError


@pytest.fixture
def small(monkeypatch):
    """One small game in place of all."""
    monkeypatch.setattr(overhead, "SHAPES", ((1, 8, 8),))
    monkeypatch.setattr(cases, "PENALTIES", {"r1": {"weight": 1.0}})


def rows(section):
    """A section's rows, measured with the least effort; every row has every column or says that it was not measured."""
    shown = []
    found = bench.bench([section], 0.0, shown.append)["sections"][section]
    assert found["title"] in shown[1]
    for row in found["rows"]:
        assert set(row) <= set(found["columns"])
    return found["rows"]


def test_overheads_are_shares_of_a_run(small):
    found = {row["what"]: row for row in rows("overhead")}
    assert list(found) == ["tier 1", "tier 2", "both tiers", "checkpoints", "snapshots", "live tracking"]
    for what in ("tier 1", "tier 2", "checkpoints", "snapshots"):
        assert found[what]["share"] == pytest.approx(found[what]["steps"] * found[what]["times"] / 1000)
    assert found["both tiers"]["share"] == pytest.approx(found["tier 1"]["share"] + found["tier 2"]["share"])
    assert found["tier 1"]["times"] == 101
    assert found["tier 2"]["times"] == 4
    assert found["live tracking"]["share"] is None


def test_what_is_timed_in_turn_runs_in_turn():
    seen = []
    times = timing.in_turn({name: lambda name=name: seen.append(name) for name in "ab"}, 0.0, rounds=4)
    first = seen[4:].index("b")
    assert seen[:4] == ["a", "a", "b", "b"]  # each once unseen, once to count the repeats
    assert first > 0
    assert set(seen[4 : 4 + first]) == {"a"}
    assert {len(part.seconds) for part in times.values()} == {4}


def test_times_are_compared_round_by_round():
    slow, fast = timing.Times((2.0, 40.0, 6.0)), timing.Times((1.0, 20.0, 2.0))
    assert slow.median == 6.0
    assert slow.against(fast) == 2.0
    assert slow.beyond(fast) == 4.0
    assert timing.Times((1.0, 2.0, 3.0)).spread == 0.5


def test_a_section_that_does_not_exist_is_named():
    with pytest.raises(SeesawError, match="no section 'stpe': machine, "):
        bench.bench(["stpe"], 0.0, print)


def test_tables_are_written_between_their_markers(tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- bench:step -->\nold\n<!-- /bench:step -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        tables.write_between(document, "step", "new \\1\n")
    assert document.read_text(encoding="utf-8") == "before\n<!-- bench:step -->\nnew \\1\n<!-- /bench:step -->\nafter\n"
    with pytest.raises(SeesawError, match="no place for the table"):
        tables.write_between(document, "other", "x")


def test_numbers_are_shown_with_three_digits_and_what_is_missing_is_said():
    shown = tables.markdown(
        tables.Section("s", "Title", "Note.", ("a", "share", "yes"), [{"a": 12345.6, "share": 0.0123, "yes": True}, {}])
    )
    assert "| 12,346 | 1.2% | yes |" in shown
    assert "| not measured | not measured | not measured |" in shown
