"""Every remedy's command leaves a params.yaml that is valid and says something else about that variant."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import pytest

from stages.game.build import objective
from stages.game.combinations import data_mistakes
from stages.measure.remedies import REMEDIES, applied, chosen, command, fitting
from stages.measure.verdict_rules import FLAGS, SEVERITY
from stages.store.config import parse, read_config, read_yaml

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"
EXTRA = """
  clipped_written:
    {loss: {name: label_smoothing, real_target: 0.8}, penalty: {name: none}, constraint: {name: clip, bound: 0.02}, rules: {beta1: 0.5}}
  normed:          {loss: {name: minimax}, penalty: {name: none}, constraint: {name: none}, discriminator: {normalisation: batch}}
  ahead: {loss: {name: hinge}, penalty: {name: none}, constraint: {name: none}, rules: {method: extra_gradient, order: simultaneous}}
  spread:          {loss: {name: minimax}, penalty: {name: none}, constraint: {name: none}, discriminator: {minibatch_std: true}}
  decayed:         {loss: {name: hinge}, penalty: {name: lecam, weight: 0.3, decay: 0.9}, constraint: {name: spectral_norm, iterations: 2}}
"""


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """The default params.yaml with variants whose entries write more than they must."""
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(PARAMS.read_text(encoding="utf-8").rstrip() + EXTRA, encoding="utf-8")
    return path


def setting(config, name):
    variant = dataclasses.asdict(config.variant(name))
    return {**variant, "steps": config.train.steps, "batch": config.train.batch, "shape": (1, 8, 8), "best_step": 400}


def changed(params, line, folder):
    """The configuration after `dvc exp run` has set its parameters, by dvc's own code."""
    from dvc.utils.hydra import apply_overrides

    words = shlex.split(line)
    assert words[:3] == ["dvc", "exp", "run"]
    shutil.copy(params, folder / "params.yaml")
    apply_overrides(folder / "params.yaml", [words[i + 1] for i, word in enumerate(words) if word == "-S"])
    return read_config(folder / "params.yaml")


NAMES = [
    "minimax",
    "hinge",
    "hinge_sn",
    "wgan_clip",
    "wgan_gp",
    "wgan_free",
    "r3",
    "overpowered",
    "clipped_written",
    "normed",
    "ahead",
    "spread",
    "decayed",
]


@pytest.mark.parametrize("name", NAMES)
def test_every_fitting_remedy_is_valid_and_changes_something(name, params, tmp_path):
    """And what a branch of `seesaw remedy` plays is what dvc would train."""
    config, raw = read_config(params), read_yaml(params)
    own = setting(config, name)
    words = (*SEVERITY, *(flag.verdict for flag in FLAGS))
    found = fitting(words, own, name, raw["variants"][name])
    assert found
    for remedy, row in zip(found, chosen(words, own), strict=True):
        after = changed(params, remedy["command"], tmp_path)
        assert parse(applied(row.changes(own), name, raw)) == after, remedy
        assert raw == read_yaml(params)
        assert (after.variant(name), after.train) != (config.variant(name), config.train), remedy
        objective(after.variant(name))  # the parts can be built, and their combination is not refused
        assert list(data_mistakes(after.variant(name), (1, 8, 8), after.train.batch)) == []
        others = {key: value for key, value in after.variants.items() if key != name}
        assert others == {key: value for key, value in config.variants.items() if key != name}


@pytest.mark.parametrize("word", [word for word in SEVERITY if word != "healthy"])
def test_every_failure_has_remedies_for_the_plainest_game(word, params):
    config = read_config(params)
    found = fitting((word,), setting(config, "minimax"), "minimax", read_yaml(params)["variants"]["minimax"])
    assert found
    assert len({remedy["name"] for remedy in found}) == len(found)


def test_a_healthy_lane_needs_none(params):
    assert fitting(("healthy",), setting(read_config(params), "minimax"), "minimax", {}) == []


def test_a_remedy_that_is_already_there_or_not_allowed_is_not_offered(params):
    config = read_config(params)

    def names(variant, word):
        return {remedy["name"] for remedy in fitting((word,), setting(config, variant), variant, read_yaml(params)["variants"][variant])}

    assert "non_saturating" in names("minimax", "discriminator_wins")
    assert "non_saturating" not in names("non_saturating", "discriminator_wins")
    assert "fewer_critic_steps" in names("overpowered", "discriminator_wins")
    assert "fewer_critic_steps" not in names("minimax", "discriminator_wins")
    assert "add_r1" not in names("ns_r1", "oscillating")
    assert "add_r1" not in names("normed", "oscillating")  # a penalty on input gradients and batch norm in D are refused together
    assert "add_r1" not in names("spread", "oscillating")
    assert "extra_gradient" in names("hinge", "oscillating")
    assert "extra_gradient" not in names("ahead", "oscillating")
    assert "extra_gradient" not in names("overpowered", "oscillating")  # it takes three D steps
    assert "spectral_norm" not in names("hinge_sn", "oscillating")
    assert "add_gradient_penalty" in names("wgan_free", "oscillating")


def test_keys_are_set_added_and_removed():
    written = {
        "loss": {"name": "hinge"},
        "penalty": {"name": "none"},
        "constraint": {"name": "clip", "bound": 0.01},
        "rules": {"beta1": 0.5},
    }
    changes = {"penalty.name": "r1", "penalty.weight": 1.0, "constraint.name": "none", "rules.beta1": 0.0, "rules.critic_steps": 2}
    assert shlex.split(command(changes, "v", written))[3::2] == ["-S"] * 6
    assert shlex.split(command(changes, "v", written))[4::2] == [
        "variants.v.penalty.name=r1",
        "+variants.v.penalty.weight=1",
        "variants.v.constraint.name=none",
        "variants.v.rules.beta1=0",
        "+variants.v.rules.critic_steps=2",
        "~variants.v.constraint.bound",
    ]


def test_a_longer_run_names_this_variant_s_stages_alone():
    assert command({"train.steps": 2000}, "v", {}) == "dvc exp run diagnose@v evaluate@v -S train.steps=2000"


def test_every_remedy_answers_known_words():
    known = {*SEVERITY, *(flag.verdict for flag in FLAGS)} - {"healthy"}
    assert all(set(remedy.answers) <= known for remedy in REMEDIES)
