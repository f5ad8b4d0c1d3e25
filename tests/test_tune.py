"""`seesaw tune`: the same trials, compute and seeds for every variant, never the test part; a study that can be taken up again."""

import json
import shlex
from pathlib import Path

import numpy as np
import projects
import pytest
import torch
from scipy import linalg

from stages import objective, tune
from stages.check import check
from stages.errors import SeesawError
from stages.game import restore
from stages.game.streams import stream
from stages.prepare import prepare
from stages.store import arrays, identity, layout, side, snapshots
from stages.store.config import parse, read_config, read_yaml
from stages.train import make_plan as training_plan

PARAMS = projects.TINY.replace(
    "variants:\n",
    "variants:\n  critic: {loss: {name: wasserstein}, penalty: {name: gradient_penalty, weight: 10.0}, constraint: {name: none}, "
    "rules: {critic_steps: 5}}\n",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with three variants and prepared data, in which nothing was trained."""
    place = projects.project(tmp_path_factory.mktemp("tune") / "p", PARAMS)
    config = read_config(place / "params.yaml")
    check(config, place)
    prepare(config, place)
    return place


@pytest.fixture
def config(folder):
    return read_config(folder / "params.yaml")


@pytest.fixture
def quick(monkeypatch, folder):
    """Trials without training: the score is a function of the values and the seed; studies begin empty. Holds what was asked for."""
    asked = []

    def scores(name, place):
        params = read_yaml(place / "params.yaml")
        asked.append((name, params))
        rules = params["variants"][name]["rules"]
        first, count = params["train"]["first_seed"], params["train"]["seeds"]
        rate = rules["generator_lr"]
        return [None if rate > 5e-3 and seed > first else abs(np.log(rate / 1e-3)) + seed / 1e4 for seed in range(first, first + count)]

    monkeypatch.setattr(side, "ensure", lambda *words, **more: True)
    monkeypatch.setattr(objective, "validation_scores", scores)
    for path in (folder / ".seesaw" / "tune").glob("*.json"):
        path.unlink()
    return asked


def study(folder, name):
    return json.loads(tune.place_of(folder, name).read_text())


def test_every_trial_of_every_variant_costs_the_same(folder, config, quick):
    done = tune.tune(config, [], folder, 5, 3, 40)
    budget = done[0]["settings"]["budget"]
    cheapest = min(one["trials"][0]["flops_per_step"] for one in done)
    assert budget == 40 * cheapest
    assert {len(one["trials"]) for one in done} == {5}
    for one in done:
        for trial in one["trials"]:
            assert budget - trial["flops_per_step"] < trial["flops"] <= budget
            assert trial["flops"] == trial["steps"] * trial["flops_per_step"]
    written = {name: params["train"]["steps"] for name, params in quick}
    assert written["critic"] < written["hinge"] <= 40
    assert [params["train"]["steps"] for name, params in quick if name == "r1"] == [
        trial["steps"] for trial in study(folder, "r1")["trials"]
    ]


def test_a_choice_that_costs_less_gets_more_steps(folder, config, quick):
    """The count is of the trial's own critic steps, not of the variant's as it is written."""
    trials = tune.tune(config, ["critic"], folder, 12, 3, 40)[0]["trials"]
    by_steps = {trial["values"]["rules.critic_steps"]: trial["flops_per_step"] for trial in trials}
    assert len(by_steps) > 1
    assert [by_steps[key] for key in sorted(by_steps)] == sorted(by_steps.values())


def test_the_budget_does_not_depend_on_what_is_tuned(folder, config):
    plans = [tune.make_plan(config, folder, 2, 3, 40, names) for names in ([], ["critic"], ["hinge", "r1"])]
    assert len({plan.budget for plan in plans}) == 1


def test_the_counted_cost_is_the_one_of_the_run(folder, config):
    cost, entry = tune._cost(config, "critic", {}, folder)
    assert entry == read_yaml(folder / "params.yaml")["variants"]["critic"]
    assert cost > tune._cost(config, "critic", {"rules.critic_steps": 1}, folder)[0] > 0


@pytest.mark.parametrize(("first", "seeds"), [(0, 8), (998, 8), (5000, 3), (1000, 3)])
def test_tuning_seeds_are_never_reported_ones(folder, first, seeds):
    params = read_yaml(folder / "params.yaml")
    config = parse({**params, "train": params["train"] | {"first_seed": first, "seeds": seeds}})
    plan = tune.make_plan(config, folder, 2, 5, 40)
    assert len(plan.seeds) == 5
    assert min(plan.seeds) >= tune.FIRST_SEED
    assert not set(plan.seeds) & set(range(first, first + seeds))


def test_trials_are_laid_without_the_test_part_and_on_the_tuning_seeds(folder, config, quick):
    tune.tune(config, ["hinge"], folder, 2, 3, 40)
    place = side.folder(folder, "tune-hinge")
    assert sorted(path.name for path in (place / layout.PREPARED).iterdir()) == ["card.json", "train.npy", "validation.npy"]
    with pytest.raises(SeesawError, match=r"test\.npy is missing"):
        arrays.part("test", place)
    for _, params in quick:
        assert (params["train"]["first_seed"], params["train"]["seeds"]) == (1000, 3)
        assert list(params["variants"]) == ["hinge"]


def test_the_first_trial_is_the_variant_as_it_is_written(folder, config, quick):
    first = tune.tune(config, ["r1"], folder, 1, 3, 40)[0]["trials"][0]
    assert first["values"] == {"penalty.weight": 1.0, "rules.discriminator_lr": 1e-3, "rules.generator_lr": 1e-3}


def test_a_study_taken_up_again_is_the_study_that_was_not_stopped(folder, config, quick, monkeypatch):
    whole = tune.tune(config, ["r1"], folder, 6, 3, 40)
    text = tune.place_of(folder, "r1").read_bytes()
    tune.place_of(folder, "r1").unlink()
    real, left = objective.validation_scores, [3]

    def stopped(*words):
        left[0] -= 1
        if left[0] < 0:
            raise SeesawError("stopped")
        return real(*words)

    monkeypatch.setattr(objective, "validation_scores", stopped)
    with pytest.raises(SeesawError, match="stopped"):
        tune.tune(config, ["r1"], folder, 6, 3, 40)
    assert len(study(folder, "r1")["trials"]) == 3
    monkeypatch.setattr(objective, "validation_scores", real)
    assert tune.tune(config, ["r1"], folder, 6, 3, 40) == whole
    assert tune.place_of(folder, "r1").read_bytes() == text


def test_more_trials_go_on_from_fewer_and_fewer_are_read_from_more(folder, config, quick):
    few = tune.tune(config, ["r1"], folder, 3, 3, 40)
    many = tune.tune(config, ["r1"], folder, 5, 3, 40)
    assert many[0]["trials"][:3] == few[0]["trials"]
    assert len(quick) == 5
    assert tune.tune(config, ["r1"], folder, 3, 3, 40) == few


def test_another_setting_begins_a_study_anew(folder, config, quick, capsys):
    tune.tune(config, ["r1"], folder, 2, 3, 40)
    tune.tune(config, ["r1"], folder, 2, 4, 40)
    assert "r1: data, code or settings are not those of the study" in capsys.readouterr().out
    assert [len(trial["per_seed"]) for trial in study(folder, "r1")["trials"]] == [4, 4]


def test_failed_lanes_are_worst():
    assert tune.score([1.0, 3.0, 2.0]) == 2.0
    assert tune.score([1.0, None, 2.0]) == 2.0
    assert tune.score([1.0, None, None]) is None
    trials = [{"score": score} for score in (None, 3.0, 2.0, 2.0)]
    assert tune.best(trials) == 2
    assert tune.best(trials[:1]) == 0


def test_the_adopted_entry_says_that_it_was_tuned_and_a_later_change_shows(folder, config, quick):
    done = tune.tune(config, ["r1", "hinge"], folder, 5, 3, 40)
    words = shlex.split(tune.adoption(config, done, read_yaml(folder / "params.yaml")))
    assert words[:3] == ["dvc", "exp", "run"]
    params = read_yaml(folder / "params.yaml")
    for word in words[4::2]:
        key, _, value = word.removeprefix("+").partition("=")
        *path, last = key.split(".")
        place = params
        for step in path:
            place = place.setdefault(step, {})
        assert word.startswith("+") == (last not in place)
        place[last] = (
            type(place[last])(value)
            if last in place
            else int(value)
            if last == "trials"
            else value
            if path[-1] == "tuned"
            else float(value)
        )
    adopted = parse(params)
    for one in done:
        variant = adopted.variant(one["variant"])
        assert identity.tuning(variant) == "tuned"
        assert (variant.tuned.trials, variant.tuned.study) == (5, one["digest"])
        values = one["trials"][one["best"]]["values"]
        assert variant.rules.generator_lr == values["rules.generator_lr"]
    assert identity.tuning(adopted.variant("critic")) == "defaults"
    params["variants"]["r1"]["penalty"]["weight"] = 0.5
    assert identity.tuning(parse(params).variant("r1")) == "changed"


def test_the_note_alone_is_no_other_result(folder, config):
    params = read_yaml(folder / "params.yaml")
    note = {"study": "s1", "trials": 4, "values": identity.values(config.variant("hinge"))}
    noted = parse({**params, "variants": {**params["variants"], "hinge": params["variants"]["hinge"] | {"tuned": note}}})
    plain, told = (training_plan(one, one.variant("hinge"), folder) for one in (config, noted))
    assert plain.fingerprint == told.fingerprint
    assert told.resolved["tuned"] == note


def test_half_a_note_is_refused(folder):
    params = read_yaml(folder / "params.yaml")
    params["variants"]["hinge"]["tuned"] = {"study": "s1", "trials": 4}
    with pytest.raises(SeesawError, match=r"variants\.hinge\.tuned needs study, trials and values"):
        parse(params)


@pytest.mark.parametrize(
    ("names", "trials", "seeds", "steps", "said"),
    [
        (["hing"], 2, 3, 40, "did you mean 'hinge'"),
        ([], 0, 3, 40, "at least 1 trial and 3 seeds"),
        ([], 2, 2, 40, "at least 1 trial and 3 seeds"),
        ([], 2, 3, 0, "--steps 0: at least 1"),
        (["critic"], 1, 3, 1, "does not pay one step of critic"),
    ],
)
def test_what_cannot_be_done_is_one_line(folder, config, quick, names, trials, seeds, steps, said):
    with pytest.raises(SeesawError, match=said) as raised:
        tune.tune(config, names, folder, trials, seeds, steps)
    assert "\n" not in str(raised.value)


def test_the_score_is_the_frechet_distance_to_the_validation_part(folder, config):
    """A real trial, by hand: moments by NumPy, the matrix root by SciPy, on the averaged generator's samples."""
    for path in (folder / ".seesaw" / "tune").glob("*.json"):
        path.unlink()
    shown = (folder / layout.PREPARED / "test.npy").read_bytes()
    (folder / layout.PREPARED / "test.npy").write_bytes(b"nobody reads this")
    try:
        trial = tune.tune(config, ["hinge"], folder, 1, 3, 20)[0]["trials"][0]
    finally:
        (folder / layout.PREPARED / "test.npy").write_bytes(shown)
    place = side.folder(folder, "tune-hinge")
    run = json.loads((place / layout.run("hinge")).read_text())
    assert (run["seeds"], [lane["seed"] for lane in run["lanes"]]) == ([1000, 1001, 1002], [1000, 1001, 1002])
    assert run["cost"]["flops"] == trial["flops"]
    items = np.array(arrays.part("validation", folder))
    held = items[np.sort(np.random.default_rng([config.evaluate.seed, 2]).permutation(len(items))[: config.evaluate.samples])]
    players = restore.players(run, snapshots.read(place / layout.snapshot("hinge", trial["steps"])))
    noise = torch.randn(len(held), 2, generator=stream(config.evaluate.seed, "tune/noise"))
    for samples, score in zip(restore.sample(players.ema, noise).numpy(), trial["per_seed"], strict=True):
        one, two = np.cov(held.T.astype(np.float64)), np.cov(samples.T.astype(np.float64))
        gap = held.mean(0, dtype=np.float64) - samples.mean(0, dtype=np.float64)
        assert score == pytest.approx(gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real), rel=1e-6)
    assert not (folder / "results" / "runs").exists()
    assert not (folder / "dvc.lock").exists()


def test_the_command_tunes_two_variants_for_real(folder):
    for path in (folder / ".seesaw" / "tune").glob("*.json"):
        path.unlink()
    words = ("tune", "hinge", "r1", "--trials", "2", "--steps", "20")
    first = projects.seesaw(folder, *words).stdout
    assert "2 variants x 2 trials x 3 seeds (1000..1002)" in first
    assert "dvc exp run -S" in first
    kept = {name: tune.place_of(folder, name).read_bytes() for name in ("hinge", "r1")}
    again = projects.seesaw(folder, *words).stdout
    assert again.split("variant ")[-1] == first.split("variant ")[-1]
    assert {name: tune.place_of(folder, name).read_bytes() for name in kept} == kept
    assert all(Path(path).suffix == ".json" for path in (folder / ".seesaw" / "tune").iterdir())
