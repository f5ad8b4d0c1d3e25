"""Staged games through the real nodes; the page on verdicts against the file that it was made from."""

import json
import math
import re
from collections import Counter

import pytest
from closure import ROOT

from stages.errors import SeesawError
from stages.staged import confusion
from stages.staged.games import StagedGame, staged_games
from stages.staged.play import is_played, oracle_side, play, rules_side
from stages.staged.truth import label

POINT = {
    "data": {"source": "dirac"},
    "train": {
        "seeds": 1,
        "steps": 200,
        "batch": 2,
        "latent": 1,
        "lanes_per_group": 2,
        "generator": {"network": "linear", "normalisation": "none"},
        "discriminator": {"network": "linear", "normalisation": "none"},
        "rules": {"optimizer": "sgd", "generator_lr": 0.2, "discriminator_lr": 0.2, "order": "simultaneous"},
    },
    "evaluate": {},
    "compare": {"baseline": "staged"},
}
NONE = {"name": "none"}
GAMES = {
    "healthy": {"loss": {"name": "non_saturating"}, "penalty": {"name": "r1", "weight": 1.0}, "constraint": NONE},
    "non_finite": {
        "loss": {"name": "least_squares"},
        "penalty": NONE,
        "constraint": NONE,
        "rules": {"generator_lr": 1e20, "discriminator_lr": 1e20},
    },
}


def staged(word):
    return StagedGame(word, "tune", {**POINT, "variants": {"staged": GAMES[word]}})


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """Both games, played by the nodes and watched by the oracle."""
    folder = tmp_path_factory.mktemp("staged")
    for word in GAMES:
        play(staged(word), folder / word)
    return folder


@pytest.mark.parametrize("word", GAMES)
def test_rules_and_oracle_agree_on_a_staged_game(word, played):
    """Mescheder et al. 2018: Dirac-GAN with R1 converges; a step of 1e20 overflows."""
    (lane,) = confusion.judge_games([staged(word)], played)["lanes"]
    assert (lane["rules"], lane["oracle"]) == (word, word)


def test_what_was_seen_survives_the_file(played):
    """Judging again needs the two files alone; the point's samples move by lr ψ/2 and less, never by nothing (a view would not move)."""
    (lane,), standards = rules_side(played / "healthy")
    assert standards.untrained == pytest.approx(1.0)  # θ starts at 1: the squared distance of two points
    assert lane.records["sample_movement"].values[0] > 1e-3
    (seen,) = oracle_side(played / "healthy")
    assert len(seen["looks"]) == 61
    assert label(seen).label == "healthy"


def test_a_played_game_is_left_alone_until_its_entry_changes(played):
    game = staged("healthy")
    before = (played / "healthy" / "oracle.json").stat().st_mtime_ns
    play(game, played / "healthy")
    assert (played / "healthy" / "oracle.json").stat().st_mtime_ns == before
    assert not is_played(StagedGame("healthy", "tune", {**game.params, "data": {"source": "ring"}}), played / "healthy")


def test_every_game_of_the_table_is_a_valid_configuration():
    games = staged_games().values()
    assert all(game.config.variants for game in games)
    reported = [game for game in games if game.split == "report"]
    assert sum(game.params["train"]["seeds"] for game in reported) >= 120
    assert {game.source for game in reported} == {"ring", "grid", "dirac", "digits", "made mixture", "made digits"}


def test_no_reported_game_is_one_that_thresholds_were_set_on():
    games = staged_games().values()
    tuned = {game.digest for game in games if game.split == "tune"}
    assert not tuned & {game.digest for game in games if game.split == "report"}
    tune, report = ([game for game in games if game.split == split] for split in ("tune", "report"))
    assert not {game.config.train.first_seed for game in tune} & {game.config.train.first_seed for game in report}
    assert not {str(game.made) for game in tune if game.made} & {str(game.made) for game in report if game.made}


def test_an_entry_with_an_unknown_key_is_refused(tmp_path):
    table = tmp_path / "games.yaml"
    table.write_text("bases: {a: {data: {source: ring}, train: {}}}\ngames: {x: {split: tune, base: a, losses: {name: hinge}}}\n")
    with pytest.raises(SeesawError, match="losses"):
        staged_games(table)


@pytest.fixture(scope="module")
def content():
    return json.loads((ROOT / "docs" / "verdicts-confusion.json").read_text(encoding="utf-8"))


def test_the_page_shows_the_table_of_the_file(content):
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    assert confusion.with_passage(page, content) == page


def test_every_picture_of_the_page_is_there():
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    shown = re.findall(r"\((figures/[^)]+)\)", page)
    assert shown
    assert all((ROOT / "docs" / path).stat().st_size < 60_000 for path in shown)


def test_the_file_was_made_by_the_present_rules_oracle_and_games(content):
    remedy = "run `python -m stages.staged` (played games are kept: judging again takes seconds)"
    assert content["rules"] == confusion.rules_digest(), remedy
    assert content["oracle"] == confusion.oracle_digest(), remedy
    assert content["games"] == {game.name: game.digest for game in staged_games().values()}, remedy


def test_the_sums_are_those_of_the_lanes(content):
    for split, found in content["splits"].items():
        rows = [row for row in content["lanes"] if row["split"] == split]
        known = [row for row in rows if row["oracle"] is not None]
        right = sum(row["rules"] == row["oracle"] for row in known)
        assert (found["lanes"], found["judged"], found["right"]) == (len(rows), len(known), right)
        assert found["accuracy"][0] == pytest.approx(right / len(known))
        assert sum(cell["lanes"] for cell in found["matrix"]) == len(rows)
        assert Counter(row["game"] for row in rows).keys() <= staged_games().keys()


def test_what_the_page_promises_of_the_reported_games(content):
    """120 lanes that the oracle names, 30 of them healthy; nine in ten right, no healthy lane called a failure; the page says so."""
    found = content["splits"]["report"]
    assert found["judged"] >= 120
    assert found["healthy"] >= 30
    assert found["accuracy"][0] >= 0.9
    assert found["healthy_called_failures"] == 0
    page = (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8")
    assert f"**{found['right']} of {found['judged']} lanes, {found['accuracy'][0]:.1%}**" in page
    assert f"**No healthy lane of {found['healthy']} is called a failure**" in page


def test_the_table_has_a_row_for_the_oracle_and_a_column_for_the_rules():
    rows = [
        {"game": "a", "oracle": one, "rules": other, "doubt": None}
        for one, other in (("healthy", "healthy"), ("healthy", "undertrained"), (None, "oscillating"))
    ]
    found = confusion.summary(rows)
    assert (found["judged"], found["right"], found["unclear"], found["healthy_called_failures"]) == (2, 1, 1, 0)
    lines = confusion.table(found).splitlines()
    assert lines[0] == "| oracle ↓ rules → | healthy | undertrained | oscillating | lanes |"
    assert lines[2] == "| healthy | **1** | 1 |  | 2 |"
    assert lines[3] == "| unclear |  |  | 1 | 1 |"
    assert not math.isnan(found["accuracy"][0])
