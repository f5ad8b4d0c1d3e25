"""`seesaw bench`: every section measures what its columns say; how long things take is no matter of tests."""

import pytest

from stages import bench
from stages.benchmark import against, answer, cases, data, live, machine, overhead, project, step, tables, timing
from stages.errors import SeesawError
from stages.store import layout, processes
from stages.store.files import read_json


@pytest.fixture
def small(monkeypatch):
    """One small game in place of all."""
    monkeypatch.setattr(overhead, "SHAPES", ((1, 8, 8),))
    monkeypatch.setattr(overhead, "live_share", lambda: 0.005)
    for name, value in {"SHAPES": ((1, 8, 8),), "SEEDS": 2, "GROUP": 2, "WORKERS": 1}.items():
        monkeypatch.setattr(against, name, value)
    monkeypatch.setattr(cases, "SHAPES", {"dcgan": (1, 8, 8), "mlp": (2,)})
    monkeypatch.setattr(cases, "PENALTIES", {"none": {}})
    monkeypatch.setattr(step, "LANES", (1, 3))
    monkeypatch.setattr(
        step,
        "SCALES",
        {"batch": [{"batch": 4}, {"batch": 8}], "steps": [{"turns": 1}, {"turns": 3}], "items": [{"items": 50, "shape": (1, 8, 8)}]},
    )
    monkeypatch.setattr(machine, "SIDE", 64)
    monkeypatch.setattr(machine, "COPIED", 4096)


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
    assert found["live tracking"]["share"] == 0.005
    assert found["live tracking"]["within"] is True


def test_the_limit_is_measured_with_one_thread_and_with_all(small):
    one, every, gpu = rows("machine")
    assert (one["threads"], every["threads"]) == (1, machine.processors())
    assert min(one["GFLOP/s"], one["GB/s"], every["GFLOP/s"], every["GB/s"]) > 0
    assert gpu["GFLOP/s"] is None


def test_a_step_is_timed_for_every_network_penalty_and_number_of_lanes(small):
    *found, gpu = rows("step")
    assert [(row["game"], row["lanes"]) for row in found] == [(name, n) for name in ("dcgan 1x8x8", "mlp 2") for n in (1, 3)]
    for row in found:
        assert row["ms a lane"] == pytest.approx(row["ms a step"] / row["lanes"])
        assert row["images/s"] == pytest.approx(64 * 1000 / row["ms a lane"])
        assert row["GFLOP/s"] == pytest.approx(row["MFLOP a lane"] / row["ms a lane"])
        assert row["of the limit"] > 0
    assert found[0]["MFLOP a lane"] == found[1]["MFLOP a lane"] > 0
    assert "ms a step" not in gpu


def test_scaling_counts_the_work(small):
    found = rows("scaling")
    assert [(row["what"], row["value"], row["work"]) for row in found] == [
        ("batch", "4", 1.0),
        ("batch", "8", 2.0),
        ("steps", "1", 1.0),
        ("steps", "3", 3.0),
        ("items", "50", 1.0),
    ]
    assert found[0]["cost"] == found[2]["cost"] == found[4]["cost"] == 1.0


def test_lanes_and_the_plain_loop_are_played_by_processes_of_their_own(small):
    *found, gpu = rows("plain")
    assert [row["form"] for row in found] == [against.LANES, against.DEFAULT, against.BEST]
    assert found[0]["lanes are"] == "1.00x"
    assert all(row["peak MiB"] > 100 and row["images/s"] > 0 for row in found)
    assert "images/s" not in gpu


def test_the_live_view_is_measured_on_whole_trainings(monkeypatch):
    """One round, a few steps: each training is played, not taken from the one before; the live one has shown its seeds."""
    monkeypatch.setattr(live, "ROUNDS", 1)
    monkeypatch.setattr(live, "STEPS", 20)
    monkeypatch.setenv("SEESAW_CHECKPOINT_SECONDS", "0.01")
    played = []
    trained = live._trained

    def noting(place, switch, index):
        seconds = trained(place, switch, index)
        played.append((switch, read_json(place / layout.run(project.NAME), "")["seeds"], (place / "mlflow.db").exists()))
        return seconds

    monkeypatch.setattr(live, "_trained", noting)
    assert live.live_share() > -1
    assert played == [(switch, list(range(8, 16)), True) for switch in "01"]


def test_items_of_data_are_prepared_and_trained_on_for_real(monkeypatch):
    monkeypatch.setattr(data, "SMALLEST", 30)
    monkeypatch.setattr(data, "STEPS", 20)
    first, second = bench.bench(["data"], 0.0, lambda text: None, items=300)["sections"]["data"]["rows"]
    assert (first["items"], second["items"]) == ("30", "300")
    for row in (first, second):
        assert row["prepare MiB"] > row["prepare own MiB"] > 50
        assert row["train MiB"] > row["train own MiB"] > 50
        assert row["step ms"] > 0


def test_the_command_lines_answer_is_timed_beside_a_bare_python(monkeypatch):
    monkeypatch.setattr(answer, "ROUNDS", 2)
    bare, asked = rows("answer")
    assert asked["seconds"] > bare["seconds"] > 0
    assert asked["within"] == (asked["seconds"] <= answer.BOUND)


def test_a_disk_without_room_is_told_before_anything_is_drawn(tmp_path):
    with pytest.raises(SeesawError, match=r"have no room in .*: set TMPDIR"):
        data.draw(tmp_path / "images", 10**15)
    assert not list((tmp_path / "images").iterdir())


def test_workers_keep_the_memory_that_a_step_frees(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    environment = processes.worker_environment()
    assert environment["OMP_NUM_THREADS"] == "1"
    assert int(environment["MALLOC_MMAP_THRESHOLD_"]) == 32 * 2**20  # glibc takes no more
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "1"  # what the caller says stands


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
