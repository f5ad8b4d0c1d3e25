"""What the documents tell a reader to paste is accepted, and the ring of docs/results.md is found whole."""

import shutil
from pathlib import Path

import pytest
from documented import ROOT, Command, commands
from projects import seesaw

from stages.check import check
from stages.errors import SeesawError
from stages.evaluate import evaluate
from stages.prepare import prepare
from stages.published import COLUMNS, last_lanes, main, table
from stages.store import layout
from stages.store.files import read_json, write_json

COMMANDS = commands()
NODES = ("train", "diagnose", "evaluate")
TABLES = [command for command in COMMANDS if command.page == "docs/results.md"]
ENTRY = {"step": 10, "generator": "ema", "part": "test"}


def source(command: Command) -> str:
    return next(word.removeprefix("data.source=") for word in command.overrides if word.startswith("data.source="))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: f"{command.page}-{source(command)}")
def test_a_documented_command_is_accepted(command: Command, tmp_path: Path) -> None:
    """By dvc's own override grammar, by the whole of params.yaml's checks, by the parts' own checks; and it names what there is."""
    config = command.config(tmp_path)
    check(config, tmp_path)
    for target in command.targets:
        node, _, variant = target.partition("@")
        assert node in NODES
        config.variant(variant)


def test_the_tables_of_known_modes_follow_the_published_protocol(tmp_path: Path) -> None:
    """2,500 samples a lane of the mixtures, 26,000 of the thousand modes, all draws together; eight seeds of mixtures, four when long."""
    found = [(source(command), command.config(tmp_path)) for command in TABLES]
    samples = {(name, one.evaluate.samples * one.evaluate.draws) for name, one in found if one.data.source != "idx"}
    assert samples == {("ring", 2500), ("grid", 2500), ("stacked_digits", 26000)}
    assert [(name, one.train.seeds) for name, one in found if name in ("ring", "grid")] == [("ring", 8), ("grid", 8), ("grid", 4)]


def test_the_published_ring_is_found_whole_in_a_short_run(tmp_path: Path) -> None:
    """8 of 8 modes with 20 samples each in every lane: what the table promises of R1, at a fraction of its steps."""
    ring = next(command for command in TABLES if source(command) == "ring")
    short = ["train.seeds=2", "train.steps=1500", "train.snapshots=1", "data.items=12000", "data.test=0.25", "train.probe_every=1500"]
    config = ring.config(tmp_path, *short)
    (tmp_path / "stages").symlink_to(ROOT / "stages")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    prepare(config, tmp_path)
    seesaw(tmp_path, "train", "ns_r1", "--quiet")
    lanes = last_lanes(evaluate(config, "ns_r1", tmp_path))
    assert [lane["metrics"]["modes_20"]["value"] for lane in lanes] == [8.0, 8.0]
    assert "| `ns_r1` | 8.0 ± 0.0 | 8.0 ± 0.0 |" in table(tmp_path, ["ns_r1"])


def staged(root: Path, lanes: list[dict[str, float] | None]) -> None:
    floors = {"modes_pooled": 8.0, "modes_20": 7.9, "high_quality": 0.989, "reverse_kl_pooled": 0.0014}
    scored = [None if one is None else {name: {"value": one.get(name)} for name in COLUMNS} for one in lanes]
    early = {**ENTRY, "step": 0, "lanes": []}
    document = {
        "floors": {name: {"value": value} for name, value in floors.items()},
        "snapshots": [early, {**ENTRY, "lanes": [{"metrics": one} for one in scored]}, {**ENTRY, "generator": "raw", "lanes": []}],
    }
    write_json(root / layout.scores("a"), document)
    write_json(root / layout.run("a"), {"cost": {"flops": 3.2e9}})


def test_a_row_is_the_mean_with_its_standard_error_and_a_failed_lane_found_nothing(tmp_path: Path) -> None:
    whole = {"modes_pooled": 8.0, "modes_20": 6.0, "high_quality": 0.9, "reverse_kl_pooled": 0.1}
    staged(tmp_path, [whole, {**whole, "modes_20": 8.0, "reverse_kl_pooled": 0.3}, None])
    row = table(tmp_path, ["a"]).splitlines()[-1]
    # of 8, 8, 0: mean 16/3, standard error 8/3; of 6, 8, 0: 14/3 and sqrt(52) / 3; of .9, .9, 0: .6 and .3; of .1, .3: .2 and .1
    assert row == "| `a` | 5.3 ± 2.7 | 4.7 ± 2.4 | 60.0 ± 30.0 | 0.200 ± 0.100 | 2; 1 of 3 | 3 |"


def test_without_a_sample_that_counts_there_is_no_divergence(tmp_path: Path) -> None:
    staged(tmp_path, [{"modes_pooled": 0.0, "modes_20": 0.0, "high_quality": 0.0}, None])
    assert table(tmp_path, ["a"]).splitlines()[-1] == "| `a` | 0.0 ± 0.0 | 0.0 ± 0.0 | 0.0 ± 0.0 | – | 0; 0 of 2 | 3 |"


def test_data_without_known_modes_are_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged(tmp_path, [None])
    document = read_json(tmp_path / layout.scores("a"), "")
    write_json(tmp_path / layout.scores("a"), {**document, "floors": {"frechet": {"value": 1.0}}})
    with pytest.raises(SeesawError, match="no known modes"):
        table(tmp_path, ["a"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["published"])
    with pytest.raises(SystemExit, match=r"params\.yaml is missing"):
        main()
