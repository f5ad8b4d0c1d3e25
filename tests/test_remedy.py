"""`seesaw remedy` for real: a tiny project trained and diagnosed, its games forked; what it writes, what it refuses, what Ctrl-C leaves."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import projects
import psutil
import pytest
import torch

from stages import branch
from stages.errors import SeesawError
from stages.forks.outcome import judge
from stages.forks.plan import NOTHING, Asked, _step, make_plan
from stages.forks.table import table
from stages.game.loop import play_turn
from stages.game.spec import Rules
from stages.remedy import _write_job
from stages.store import layout, snapshots
from stages.store.config import read_config
from stages.store.files import read_json, write_json

BURST = """  burst:
    {loss: {name: wasserstein}, penalty: {name: none}, constraint: {name: none},
     rules: {optimizer: sgd, generator_lr: 0.6, discriminator_lr: 0.6}}
"""
PARAMS = projects.TINY.replace("snapshots: 2", "snapshots: 4") + BURST


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project with `hinge` and a variant whose lanes die."""
    folder = projects.project(tmp_path_factory.mktemp("remedy") / "p", PARAMS)
    for words in (["check"], ["prepare"], *([node, name] for name in ("hinge", "burst") for node in ("train", "diagnose"))):
        projects.seesaw(folder, *words)
    return folder


def plan(root: Path, variant="hinge", **asked):
    return make_plan(read_config(root / "params.yaml"), variant, root, Asked(**asked))


def refused(root: Path, variant="hinge", **asked) -> str:
    with pytest.raises(SeesawError) as error:
        plan(root, variant, **asked)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def tried(root):
    """Two remedies on `hinge` from its middle, once."""
    done = projects.seesaw(root, "remedy", "hinge", "--step", "10", "--steps", "10", "--try", "lower_rates", "--try", "spectral_norm")
    return root / ".seesaw" / "remedies" / "hinge-seed0-step10", done


def test_it_writes_a_document_and_a_picture_and_shows_a_table(tried):
    place, done = tried
    assert sorted(path.name for path in place.iterdir()) == ["remedy.json", "remedy.png"]
    assert (place / "remedy.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    found = read_json(place / "remedy.json", "")
    assert [one["name"] for one in found["branches"]] == [NOTHING, "lower_rates", "spectral_norm"]
    assert (found["seed"], found["step"], found["horizon"], found["streams"][0]) == (0, 10, 10, 0)
    assert len(set(found["streams"])) == 4
    assert "\x1b" not in done.stdout
    assert all(one["name"] in done.stdout for one in found["branches"])
    assert "Adam G/D" in done.stdout
    assert str(place / "remedy.png") in done.stdout


def test_what_was_kept_is_said(tried):
    found = read_json(tried[0] / "remedy.json", "")
    kept = {one["name"]: one["kept"] for one in found["branches"]}
    assert all(kept[NOTHING].values())
    assert kept["lower_rates"] == kept[NOTHING]
    assert [part for part, held in kept["spectral_norm"].items() if not held] == [
        "discriminator",
        "discriminator_averages",
        "generator_averages",
    ]


def test_the_same_command_gives_the_same_bytes_also_as_json(tried, root):
    place, _ = tried
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    words = ("--step", "10", "--steps", "10", "--try", "lower_rates", "--try", "spectral_norm", "--json", "--quiet")
    done = projects.seesaw(root, "remedy", "hinge", *words, SEESAW_WORKERS="3")
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert json.loads(done.stdout) == json.loads(before["remedy.json"])
    assert done.stderr == ""


def test_nothing_changed_is_the_game_s_own_continuation(root, tmp_path):
    """From step 10 on, the first stream plays the lane's own game: bit for bit the snapshot that training left at step 20."""
    given = plan(root, seed=1, step=10, horizon=10, names=("lower_rates",))
    job = branch.Job(**read_json(_write_job(given, given.branches[0], tmp_path), ""))
    scene = branch.read_scene(given.config, job, root)
    game, what = branch.fork(job, scene, root)
    assert all(what.values())
    watch = branch.Watch(game, scene)
    for _ in range(10):
        before = watch.before()
        watch.row(play_turn(game, watch.batches, len(scene.train)), before)
    stored = snapshots.read(root / layout.snapshot("hinge", 20))
    for name, tensor in game.snapshot().items():
        assert torch.equal(tensor[0], stored[name][1]), name
    assert not torch.equal(game.snapshot()["generator/out.weight"][1], stored["generator/out.weight"][1])


def test_its_looks_are_the_diagnosis_s(tried, root):
    """The quality at the fork is the diagnosis's number for that snapshot; so is that of the lane's own stream at step 20."""
    found = read_json(tried[0] / "remedy.json", "")
    quality = read_json(root / layout.diagnostics("hinge"), "")["story"]["quality"]
    at = dict(zip(quality["steps"], quality["lanes"][0], strict=True))
    assert found["before"]["distance"] == at[10]
    assert found["branches"][0]["streams"][0]["distance"] == at[20]


def test_the_command_of_a_branch_is_dvc_s(tried, root):
    found = read_json(tried[0] / "remedy.json", "")
    lines = {one["name"]: one["command"] for one in found["branches"]}
    assert lines[NOTHING] is None
    assert shlex.split(lines["spectral_norm"]) == ["dvc", "exp", "run", "-S", "variants.hinge.constraint.name=spectral_norm"]


def test_unknown_names_end_in_one_line_that_says_what_there_is(root):
    with pytest.raises(SeesawError, match=r"unknown variant 'hing': params.yaml has hinge, r1, burst; did you mean 'hinge'\?"):
        plan(root, "hing")
    assert refused(root, seed=7) == "hinge has no seed 7: it was trained with 0, 1"
    assert refused(root, step=11) == "hinge has no snapshot at step 11: there are 0, 5, 10, 15, 20"
    assert refused(root, horizon=0) == "--steps is 0: at least 1 is needed"
    assert refused(root, names=("ad_r1",)).endswith("; did you mean 'add_r1'?")
    assert refused(root, names=("ad_r1",)).startswith("unknown remedy 'ad_r1': hinge can try ")
    assert "does not fit hinge" in refused(root, names=("lighter_penalty",))
    assert refused(root, names=("more_steps",)) == (
        "remedy more_steps cannot be forked (a longer run is what the branch `change_nothing` plays): "
        "train it anew with `dvc exp run diagnose@hinge evaluate@hinge -S train.steps=40`"
    )
    assert "run `dvc repro train@r1`" in refused(root, "r1")


def test_bad_input_leaves_nothing(root):
    before = {path for path in root.rglob("*") if path.is_file()}
    done = projects.seesaw(root, "remedy", "hinge", "--step", "11", expect=1)
    assert done.stderr == "seesaw: hinge has no snapshot at step 11: there are 0, 5, 10, 15, 20\n"
    assert {path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts} <= before


def test_a_run_of_other_settings_data_or_diagnosis_is_not_forked(root, tmp_path):
    config = read_config(root / "params.yaml")
    other = dataclasses.replace(config, train=dataclasses.replace(config.train, batch=8))
    with pytest.raises(SeesawError, match=r"hinge was trained with other settings than params.yaml holds"):
        make_plan(other, "hinge", root, Asked())
    path = root / layout.diagnostics("hinge")
    kept = path.read_bytes()
    write_json(path, {**json.loads(kept), "fingerprint": "other"})
    assert refused(root) == "the diagnosis of hinge is of another run: run `dvc repro diagnose@hinge`"
    path.write_bytes(kept)


def test_a_healthy_lane_has_nothing_proposed_but_may_be_tried(root):
    path = root / layout.diagnostics("hinge")
    kept = path.read_bytes()
    entry = json.loads(kept)
    for lane in entry["lanes"]:
        lane |= {"verdict": "healthy", "flags": []}
    write_json(path, {**entry, "verdict": "healthy"})
    said = refused(root)
    assert said.startswith("hinge, seed 0, is healthy: no remedy is proposed")
    assert "--try NAME" in said
    assert [one.name for one in plan(root, names=("add_r1",)).branches] == [NOTHING, "add_r1"]
    path.write_bytes(kept)


def test_a_dead_lane_is_forked_from_its_last_living_snapshot(root):
    fate = read_json(root / layout.run("burst"), "")["lanes"][0]
    assert fate["status"] == "non_finite"
    living = [step for step in (0, 5, 10, 15, 20) if step < fate["step"]]
    assert plan(root, "burst").step == living[-1]
    assert refused(root, "burst", step=20) == (
        f"seed 0 of burst was not finite from step {fate['step']} on: fork it at {', '.join(map(str, living))}"
    )
    done = projects.seesaw(root, "remedy", "burst", "--steps", "20", "--try", "lower_rates", "--json")
    found = json.loads(done.stdout)
    nothing, lower = found["branches"]
    assert found["goals"] == [[{"measure": "finite", "side": "above", "threshold": 0.5}]]
    assert nothing["streams"][0]["died_at"] == fate["step"]  # its own stream dies where it died
    assert not nothing["restored"]
    assert nothing["after"]["distance"] is None
    for row in lower["streams"]:
        assert row["back"] == (row["died_at"] is None)
    assert "not finite" in table(found)


def test_a_schedule_that_has_ended_is_not_played_on(root):
    run, rules = read_json(root / layout.run("hinge"), ""), Rules(schedule="linear")
    assert _step(run, rules, 0, 8, None, root) == 10  # the last snapshot before step 20 with eight steps left
    assert _step(run, rules, 0, 5, 15, root) == 15
    assert _step(run, Rules(), 0, 8, None, root) == 20
    with pytest.raises(SeesawError, match=r"the linear schedule of hinge ends at step 20: --steps of at most 5 is needed"):
        _step(run, rules, 0, 8, 15, root)
    with pytest.raises(SeesawError, match=r"ends at step 20: --steps of at most 20 is needed"):
        _step(run, rules, 0, 21, None, root)


def test_a_run_without_stored_games_says_how_to_get_them(root):
    files = list((root / layout.snapshots("hinge")).glob("continuation-*"))
    for path in files:
        path.rename(path.with_suffix(".away"))
    assert refused(root) == "hinge has no stored game to go on from: run `dvc repro -f train@hinge`"
    for path in files:
        path.with_suffix(".away").rename(path)


def test_time_bounds_the_branches_and_then_the_steps(root):
    path = root / layout.run("hinge")
    kept = path.read_bytes()
    run = json.loads(kept)
    run["cost"]["flops_per_step"] = 1e15
    write_json(path, run)
    costly = plan(root)
    assert costly.horizon == 1
    assert len(costly.branches) == 1 + min(3, len(costly.branches) - 1 + len(costly.left_out))
    asked = plan(root, names=("add_r1", "spectral_norm", "lower_rates", "no_momentum"), horizon=7)
    assert (len(asked.branches), asked.horizon) == (5, 7)
    path.write_bytes(kept)


def told(distance, auc, died=None, spread=0.5):
    """What a branch process leaves of a stream."""
    looks = [
        {
            "step": step,
            "distance": value,
            "spread": spread,
            "precision": 0.5,
            "coverage": 0.5,
            "density": None,
            "shares": None,
            "finite": True,
        }
        for step, value in ((0, 60.0), (5, distance), (10, distance))
    ]
    records = {name: [1.0] * 10 for name in ("sample_movement", "d_gradient_norm", "g_gradient_norm")} | {"auc": [auc] * 10}
    return {"seed": 0, "died_at": died, "steps": list(range(1, 11)), "records": records, "looks": looks}


@pytest.mark.parametrize(
    ("streams", "restored", "word"),
    [
        ([(10.0, 0.8, 18)] * 2 + [(10.0, 0.8)] * 2, False, "2 not finite"),  # 8 steps after the fork, before the last look
        ([(10.0, 0.8)] * 3 + [(60.0, 1.0)], True, "RESTORED"),
        ([(10.0, 0.8)] * 2 + [(60.0, 0.8)] * 2, False, "back, not better"),
        ([(10.0, 0.995)] * 4, False, "better, not back"),
        ([(60.0, 1.0)] * 4, False, "no"),
    ],
)
def test_a_branch_is_judged_against_nothing_stream_by_stream(root, streams, restored, word):
    given = plan(root, names=("lower_rates",), step=10, horizon=10)
    diagnosis = json.loads(json.dumps(given.diagnosis))
    diagnosis["lanes"][given.lane]["verdict"] = "discriminator_wins"
    given = dataclasses.replace(given, diagnosis=diagnosis)
    kept = dict.fromkeys(("discriminator", "generator_averages", "discriminator_averages", "shown", "balance", "penalty"), True)
    played = [{"kept": kept, "streams": [told(60.0, 1.0)] * 4}, {"kept": kept, "streams": [told(*one) for one in streams]}]
    found = judge(given, played)
    assert found["branches"][1]["restored"] is restored
    assert (found["winner"] is not None) is restored
    assert word in table(found)
    assert np.isclose(found["branches"][1]["streams"][0]["auc"], streams[0][1])


def test_ctrl_c_leaves_no_process_and_no_file(root):
    begun = [sys.executable, "-m", "stages.cli", "remedy", "hinge", "--seed", "1", "--steps", "1000000", "--try", "add_r1"]
    process = subprocess.Popen(begun, cwd=root, env=projects.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    workers = _wait_for(lambda: [c for c in psutil.Process(process.pid).children(recursive=True) if "stages.branch" in c.cmdline()])
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.endswith("seesaw: stopped; nothing was written\n")
    _wait_for(lambda: not any(worker.is_running() for worker in workers))
    assert not (root / ".seesaw" / "remedies" / "hinge-seed1-step20").exists()


def test_a_killed_command_leaves_no_process(root):
    begun = [sys.executable, "-m", "stages.cli", "remedy", "hinge", "--seed", "1", "--steps", "1000000", "--try", "add_r1", "--quiet"]
    process = subprocess.Popen(begun, cwd=root, env=projects.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    workers = _wait_for(lambda: [c for c in psutil.Process(process.pid).children(recursive=True) if "stages.branch" in c.cmdline()])
    time.sleep(4)  # past the imports, where the kernel has been asked
    process.kill()
    process.wait()
    _wait_for(lambda: not any(worker.is_running() for worker in workers))


def _wait_for(true, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")
