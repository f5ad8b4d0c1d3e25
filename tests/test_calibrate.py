"""Equal arms, trained for real: what they share, what they do not, and that the number of processes changes nothing."""

import json
import os

import numpy as np
import pytest
from projects import TINY as TINY_PARAMS
from typer.testing import CliRunner

from stages import calibrate
from stages.cli import app
from stages.errors import SeesawError
from stages.game.streams import lane_draws
from stages.store.config import parse
from tests import games

TINY = calibrate.Setting(steps=3, batch=8, width=4, depth=1)


def test_twins_share_weights_and_batches_and_not_noise():
    one, two = (games.game(games.variant(), [3, 4]), games.game(games.variant(), [3, 4]))
    two.salt = "/twin"
    assert all(one.state()[name].equal(two.state()[name]) for name in one.state())
    drawn = []
    for game in (one, two):
        indices, data = [], games.data(game.shape)

        def batches(picked, indices=indices, items=data):
            indices.append(picked)
            return items[picked]

        calibrate.play_turn(game, batches, 50)
        drawn.append(indices)
    assert all(a.equal(b) for a, b in zip(*drawn, strict=True))
    assert not one.generator.vector.equal(two.generator.vector)
    again = lane_draws([3, 4], "generator/noise/twin", 0, 0, one.like).normal(4, 3)
    assert not again.equal(lane_draws([3, 4], "generator/noise", 0, 0, one.like).normal(4, 3))


def test_scores_do_not_depend_on_the_processes(monkeypatch):
    monkeypatch.setattr(calibrate, "LANES", 3)
    monkeypatch.setenv("SEESAW_WORKERS", "2")
    said = []
    one, two = calibrate.train_arms(TINY, 5, said.append)
    alone = [calibrate.play_block(calibrate.Block(TINY, seeds, os.getppid())) for seeds in ((0, 1, 2), (3, 4))]
    assert np.array_equal(np.stack([one, two]), np.concatenate(alone, axis=1))
    assert not np.array_equal(one, two)
    assert said[-1] == "5 of 5 pairs of lanes trained"


def test_the_command_writes_its_figures_and_prints_them(tmp_path, monkeypatch):
    """`seesaw compare --aa 100`, its pairs trained for a moment."""
    text = TINY_PARAMS.replace("seeds: 2", "seeds: 6")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    train = calibrate.train_arms
    monkeypatch.setattr(calibrate, "train_arms", lambda setting, lanes, say: train(TINY, lanes, say))
    monkeypatch.setenv("SEESAW_WORKERS", "1")
    done = CliRunner().invoke(app, ["compare", "--aa", "100"])
    assert done.exit_code == 0, done.output
    assert "100 groups of 2 × 6 lanes" in done.stdout
    found = json.loads((tmp_path / ".seesaw" / "calibration.json").read_text())
    assert (found["groups"], found["seeds"]) == (100, 6)


def test_too_few_groups_are_one_line(tmp_path):
    variant = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}
    config = parse({"variants": {"hinge": variant}, "compare": {"baseline": "hinge"}})
    with pytest.raises(SeesawError, match="--aa is 20: at least 100"):
        calibrate.calibrate(config, 20, tmp_path, print)
    assert not list(tmp_path.iterdir())
