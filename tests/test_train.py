"""The node `train@v` for real: processes, checkpoints, kills, outputs."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import projects
import pytest
import torch

from stages.game import restore
from stages.game.game import Game
from stages.game.glimpses import FEWEST, RAW, SAMPLES, Glimpses, looks
from stages.game.spec import variant
from stages.game.streams import stream
from stages.store import arrays, layout, records, snapshots, tensors

IMAGES = {
    "name": "images",
    "loss": {"name": "hinge", "arguments": {}},
    "penalty": {"name": "none", "arguments": {}},
    "constraint": {"name": "none", "arguments": {}},
    **{player: {"network": "mlp", "width": 4, "depth": 1} for player in ("generator", "discriminator")},
    "rules": {},
}
LONG = projects.TINY.replace("steps: 20", "steps: 400").replace("seeds: 2", "seeds: 4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project whose `hinge` was trained."""
    folder = projects.project(tmp_path_factory.mktemp("train") / "p")
    for words in (["check"], ["prepare"], ["train", "hinge"]):
        projects.seesaw(folder, *words)
    return folder


def test_the_run_says_what_was_made(trained):
    run = json.loads((trained / layout.run("hinge")).read_text())
    assert run["seeds"] == [0, 1]
    assert run["snapshots"] == [0, 10, 20]
    assert [lane["status"] for lane in run["lanes"]] == ["finished", "finished"]
    assert run["data"]["digest"] == arrays.read_card(trained)["digest"]
    assert run["cost"]["flops"] == run["cost"]["flops_per_step"] * 20 > 0
    assert run["cost"]["samples_seen"] == 20 * 16 * 3


def test_records_hold_every_recorded_step_and_measure(trained):
    found = records.read(trained / layout.records("hinge"))
    assert found.steps.tolist() == [1, 5, 10, 15, 20]
    assert found.seeds.tolist() == [0, 1]
    for measure in ("d_loss", "g_loss", "auc", "accuracy", "overfit_auc", "real_logit_spread", "d_root_over_epsilon", "g_update_ratio"):
        assert np.isfinite(found.series(measure)).all(), measure
    assert found.layers("g_update_ratio") == found.layers("g_gradient_norm")
    assert found.layers("d_gradient_norm") == ["hidden.0.weight", "hidden.0.bias", "out.weight", "out.bias"]
    layers = np.stack([found.series("d_gradient_norm", layer) for layer in found.layers("d_gradient_norm")])
    np.testing.assert_allclose(np.sqrt((layers**2).sum(0)), found.series("d_gradient_norm"), rtol=1e-5)


def test_probed_steps_stand_in_the_same_file(trained):
    found = records.read(trained / layout.records("hinge"))
    assert found.steps_of("d_drive").tolist() == [2, 20]
    assert found.layers("d_dead_units") == ["hidden.2"]
    for measure in ("g_own_predicted", "d_cross_change", "g_snr", "d_turn_cosine", "d_real_gradient_norm"):
        assert np.isfinite(found.series(measure)).all(), measure
    assert not found.has("d_penalty_gradient_norm")


def test_snapshots_hold_every_lane(trained):
    for step in (0, 10, 20):
        found = snapshots.read(trained / layout.snapshot("hinge", step))
        assert {name.split("/")[0] for name in found} == {"generator", "ema", "discriminator"}
        assert {tensor.shape[0] for tensor in found.values()} == {2}


def test_glimpses_are_what_a_snapshot_s_networks_answer(trained):
    """A run of 20 steps has one at 0 and one at its end: the average and G itself on the glimpses' own noise, and nothing of the game's."""
    seen = snapshots.read(trained / layout.glimpses("hinge"))
    assert seen["steps"].tolist() == [0, 20]
    assert seen["finite"].all()
    run = json.loads((trained / layout.run("hinge")).read_text())
    noise = torch.randn(SAMPLES, 2, generator=stream(0, "glimpses"))
    for at, step in enumerate((0, 20)):
        players = restore.players(run, snapshots.read(trained / layout.snapshot("hinge", step)))
        torch.testing.assert_close(seen["ema"][:, at], restore.sample(players.ema, noise))
        torch.testing.assert_close(seen["raw"][:, at], restore.sample(players.generator, noise[:RAW]))


@pytest.mark.parametrize(("steps", "count"), [(20, 1), (200, 8), (1000, 24), (100_000, 24)])
def test_glimpses_are_few_and_reach_from_the_start_to_the_end(steps, count):
    at = looks(steps)
    assert (at[0], at[-1], len(at)) == (0, steps, count + 1)
    assert at == sorted(set(at))


def test_an_image_s_glimpses_are_its_levels():
    """Half-way between two grey values is 128 of 256; 128 KiB hold 5 images of 3 x 96 x 96, so that the fewest are kept."""
    game = Game(variant(IMAGES), (3, 96, 96), 2, 4, 10, [0])
    seen = Glimpses(game, whole_levels=True).take(game)
    assert seen["ema"].dtype == torch.uint8
    assert seen["ema"].shape == (1, FEWEST, 3, 96, 96)
    with torch.no_grad():
        game.generator.vector.fill_(torch.nan)
    broken = Glimpses(game, whole_levels=True).take(game)
    assert not broken["finite"].any()
    assert broken["raw"].unique().tolist() == [128]


def test_wall_clock_lives_in_the_execution_alone(trained):
    execution = json.loads((trained / layout.executions("hinge")).read_text())
    assert execution["timeline"]["step"] == [1, 5, 10, 15, 20]
    assert execution["started_at"] <= execution["timeline"]["at"][0] <= execution["timeline"]["at"][-1] <= execution["ended_at"]
    others = [path for path in (trained / "results").rglob("*.json") if "executions" not in path.parts]
    assert others
    assert not [path for path in others if execution["host"] in path.read_text() or str(execution["started_at"])[:8] in path.read_text()]


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    """SIGKILL of the node alone in mid-training: its workers end, the next run goes on, every output is the undisturbed one."""
    quick = {"SEESAW_CHECKPOINT_SECONDS": "0.2"}
    whole, killed = (projects.project(tmp_path / name, LONG) for name in ("whole", "killed"))
    for folder in (whole, killed):
        projects.seesaw(folder, "check")
        projects.seesaw(folder, "prepare")
    projects.seesaw(whole, "train", "r1", **quick)
    _kill_in_training(killed, signal.SIGKILL, quick)
    projects.seesaw(killed, "train", "r1", **quick, SEESAW_WORKERS="1")
    assert projects.digests(killed) == projects.digests(whole)
    assert json.loads((killed / layout.executions("r1")).read_text())["resumes"] == 1


def test_a_request_to_stop_leaves_a_checkpoint_and_says_so(tmp_path):
    """The training is far longer than any delay of this test, so that it is surely stopped in its middle."""
    folder = projects.project(tmp_path / "p", LONG.replace("steps: 400", "steps: 1000000"))
    projects.seesaw(folder, "check")
    projects.seesaw(folder, "prepare")
    said = _kill_in_training(folder, signal.SIGINT, {})
    assert "a checkpoint stands" in said
    assert not (folder / layout.run("r1")).exists()
    assert list((folder / ".seesaw/scratch").glob("*/group-0/state-*.safetensors"))


def test_ctrl_c_on_a_terminal_reaches_the_workers_once(tmp_path):
    """It goes to every process in the foreground group; passed on as well it would be the second signal, which ends at once."""
    folder = projects.project(tmp_path / "p", LONG.replace("steps: 400", "steps: 1000000"))
    projects.seesaw(folder, "check")
    projects.seesaw(folder, "prepare")
    said = _kill_in_training(folder, signal.SIGINT, {}, whole_group=True)
    assert "a checkpoint stands" in said
    assert len(list((folder / ".seesaw/scratch").glob("*/group-*/state-*.safetensors"))) == 2


def _kill_in_training(folder, number, more, whole_group=False) -> str:
    """Start training, wait for a checkpoint of every group (or the first steps), send the signal; what was said on standard error."""
    command, environment = [sys.executable, "-m", "stages.cli", "train", "r1"], projects.environment(**more)
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    pattern = "*/group-*/state-*.safetensors" if more else "*/group-*/snapshot-00000000.safetensors"
    deadline = time.monotonic() + 240
    while len({path.parent for path in (folder / ".seesaw/scratch").glob(pattern)}) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    said = process.communicate(timeout=240)[1]
    _wait_until_no_worker_lives(folder)
    return said


def _wait_until_no_worker_lives(folder):
    deadline = time.monotonic() + 120
    while any(str(folder) in line for line in _command_lines()):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)


def _command_lines():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "stages.worker" in line:
            yield line


def test_two_at_once_and_one_says_who_holds_it(trained):
    from filelock import FileLock

    run = json.loads((trained / layout.run("hinge")).read_text())
    place = next((trained / ".seesaw/scratch").glob(f"{run['fingerprint'][:32]}*"))
    with FileLock(place / "lock"):
        said = projects.seesaw(trained, "train", "hinge", expect=1).stderr
    assert "is being made by another process" in said
    assert str(place / "lock") in said


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    from stages.store.scratch import Checkpoints

    kept = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        kept.save(step, {"step": np.array(step)}, {})
    (tmp_path / "state-00000003.safetensors").write_bytes(b"broken")
    step, state = kept.latest()
    assert (step, int(state["step"])) == (2, 2)
    assert kept.latest()[0] == 2


def test_tensors_are_byte_stable(tmp_path):
    named = {"b": np.arange(6.0).reshape(2, 3), "a": np.array(True)}
    tensors.write(tmp_path / "1", named)
    tensors.write(tmp_path / "2", dict(reversed(named.items())))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"SEESAW_DEVICE": "tpu"}, "SEESAW_DEVICE is 'tpu': cpu or cuda is needed"),
        ({"SEESAW_WORKERS": "0"}, "SEESAW_WORKERS is '0': a whole number above 0"),
    ],
)
def test_settings_of_the_machine_are_checked(trained, words, expected):
    assert expected in projects.seesaw(trained, "train", "r1", expect=1, **words).stderr


def test_an_unknown_variant_is_one_line(trained):
    done = projects.seesaw(trained, "train", "hinje", expect=1)
    assert done.stderr == "seesaw: unknown variant 'hinje': params.yaml has hinge, r1; did you mean 'hinge'?\n"


def test_params_edited_while_a_training_runs_are_not_written_down_as_its_own(tmp_path):
    """dvc records the values it finds when a stage ends: the training ends with an error instead, and is not lost."""
    folder = projects.project(tmp_path / "p", LONG)
    projects.dvc(folder, "repro", "-q", "prepare")
    params = folder / "params.yaml"
    command = [sys.executable, "-m", "dvc", "repro", "train@hinge"]
    with subprocess.Popen(
        command, cwd=folder, env=projects.environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as run:
        wait_until(lambda: list((folder / ".seesaw/scratch").glob("*/group-*/job.json")))
        params.write_text(LONG.replace("steps: 400", "steps: 300"))
        said = run.communicate()[1]
    assert "seesaw: params.yaml was edited while this stage ran (train)" in said
    assert run.returncode != 0
    assert "train@hinge" not in (folder / "dvc.lock").read_text()
    assert not (folder / layout.run("hinge")).exists()
    params.write_text(LONG)
    projects.dvc(folder, "repro", "-q", "train@hinge")
    assert json.loads((folder / layout.executions("hinge")).read_text())["resumes"] == 1
    assert json.loads((folder / layout.run("hinge")).read_text())["steps"] == 400


def wait_until(found):
    deadline = time.monotonic() + 300
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)
