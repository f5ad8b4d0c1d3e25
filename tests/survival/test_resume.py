"""train(2N) == train(N) + resume(N), by the worker's own loop and real checkpoint files, over the whole catalogue."""

import dataclasses
import typing

import games
import inside
import numpy as np
import pytest
import torch

from stages.game.build import objective
from stages.game.spec import Activation, Normalisation, Rules
from stages.store import catalogue, scratch, tensors
from stages.worker import Job

STEPS, HALF = 8, 4
NETWORKS = catalogue.names("network")


def choices() -> list[dict]:
    """games.EVERYTHING, every network with every normalisation and constraint, and every divergence."""
    pairs = [
        {"network": network, "generator_normalisation": normalisation, "discriminator_normalisation": normalisation}
        for network in NETWORKS
        if network != "linear"
        for normalisation in typing.get_args(Normalisation)
    ]
    held = [
        {"network": network, "constraint": constraint, "generator_normalisation": "none"}
        for network in NETWORKS
        for constraint in games.CONSTRAINTS
    ]
    return [*games.EVERYTHING, *pairs, *held]


def shown(choice: dict) -> str:
    return "-".join(f"{value}" for value in choice.values()) or "plain"


def job(tmp_path, choice: dict, place: str) -> Job:
    """What the node would write for that variant."""
    of = games.variant(**choice)
    shape = games.SHAPES[of.generator.network]
    prepared = tmp_path / "prepared"
    prepared.mkdir(exist_ok=True)
    np.save(prepared / "validation.npy", games.data(shape, 20).numpy())
    return Job(
        dataclasses.asdict(of),
        [3, 5],
        STEPS,
        4,
        3,
        record_every=3,
        probe_every=100,
        snapshots=[0, HALF, STEPS],
        prepared=str(prepared),
        place=str(tmp_path / place),
        device="cpu",
        parent=0,
    )


def everything(place) -> tuple[dict, dict]:
    """What a finished group hands over: arrays by file, records without their times."""
    group = scratch.Checkpoints(place)
    files = {path.name: tensors.read(path) for path in place.glob("*.safetensors") if not path.name.startswith("state-")}
    files["final"] = group.final(STEPS)
    return files, {table: (block.columns, block.steps.tolist(), block.values) for table, block in group.blocks().items()}


@pytest.mark.parametrize("choice", choices(), ids=shown)
def test_going_on_from_a_checkpoint_gives_the_same_files(tmp_path, choice, capsys):
    data = games.data(games.SHAPES[games.variant(**choice).generator.network])
    whole, halves = job(tmp_path, choice, "whole"), job(tmp_path, choice, "halves")
    inside.played(whole, data, STEPS)
    assert inside.played(halves, data, HALF).step in (HALF, HALF + 1)  # a probe's two turns are not torn apart
    assert not (tmp_path / "halves" / f"state-{STEPS:08d}.safetensors").exists()
    inside.played(halves, data, STEPS)
    (expected, rows), (found, again) = everything(tmp_path / "whole"), everything(tmp_path / "halves")
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].keys() == expected[name].keys()
        for key, array in expected[name].items():
            np.testing.assert_array_equal(found[name][key], array, err_msg=f"{name} {key}")
    assert again.keys() == rows.keys()
    for table in rows:
        assert again[table][:2] == rows[table][:2]
        np.testing.assert_array_equal(again[table][2], rows[table][2])


def test_every_word_of_the_catalogue_and_of_the_rules_is_resumed():
    """A new loss, network or rule joins by itself; a new word of a rule that nobody plays fails here."""
    played = choices()
    for kind in ("loss", "penalty", "constraint", "network"):
        assert {choice.get(kind) for choice in played} >= set(catalogue.names(kind))
    hints = typing.get_type_hints(Rules)
    defaults = {field.name: field.default for field in dataclasses.fields(Rules)}
    for name, hint in hints.items():
        words = set(typing.get_args(hint)) - {defaults[name]}
        assert words <= {choice.get(name) for choice in played}, name
    switched = ("critic_steps", "generator_steps", "gradient_clip", "lazy_interval", "instance_noise", "pack")
    assert all(any(choice.get(name, defaults[name]) != defaults[name] for choice in played) for name in switched)
    assert "batch" in typing.get_args(Normalisation)
    assert "relu" in typing.get_args(Activation)


def test_every_choice_has_a_meaning():
    for choice in choices():
        assert objective(games.variant(**choice)).loss


def test_a_checkpoint_is_saved_at_the_latest_one_turn_after_its_time(tmp_path, monkeypatch, capsys):
    """A clock that goes one second a turn, checkpoints every three: never more than three turns and the probe's one are lost."""
    from stages import worker

    turns: list[int] = []
    saved: list[int] = []
    play, save = worker.Observer.play, scratch.Checkpoints.save
    monkeypatch.setattr(worker, "CHECKPOINT_SECONDS", 2.5)
    monkeypatch.setattr(worker.time, "monotonic", lambda: float(len(turns)))
    monkeypatch.setattr(worker.Observer, "play", lambda self: (turns.append(1), play(self))[1])
    monkeypatch.setattr(scratch.Checkpoints, "save", lambda self, step, *rest: (saved.append(step), save(self, step, *rest))[1])
    long = dataclasses.replace(job(tmp_path, {}, "long"), steps=40, snapshots=[0, 40])
    inside.played(long, games.data((3,)), 40)
    assert saved[-1] == 40
    assert max(np.diff([0, *saved])) <= 4
    assert len(saved) >= 10


@pytest.fixture(autouse=True)
def _quiet_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
