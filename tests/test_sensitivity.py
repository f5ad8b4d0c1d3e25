"""`seesaw compare --sensitivity`: reruns beside the project, two spaces, and what is said about the ranking."""

import json

import numpy as np
import projects
import pytest

from stages import sensitivity
from stages.check import check
from stages.errors import SeesawError
from stages.evaluate import evaluate
from stages.prepare import prepare
from stages.sensitivity import Condition, chosen, estimate, sentence, summary, table
from stages.store import arrays, layout, side
from stages.store.config import read_config
from stages.store.files import write_json

COMPARISON = {"ranking": [{"variant": name} for name in ("r1", "hinge")], "baseline": "hinge", "alpha": 0.05, "seeds": [0, 1]}


def condition(factor: float, *columns) -> Condition:
    return Condition(factor, "identity", "frechet", np.array(columns, np.float64).T)


def of(baseline: str, seeds: int):
    return {"baseline": baseline, "alpha": 0.05, "seeds": list(range(seeds))}


def test_the_baseline_is_always_among_the_chosen():
    ranking = {"ranking": [{"variant": name} for name in "abcde"], "baseline": "e"}
    assert chosen(ranking, 3) == ["a", "b", "c", "e"]
    assert chosen(ranking | {"baseline": "b"}, 3) == ["a", "b", "c"]
    with pytest.raises(SeesawError, match="ranks one variant"):
        chosen({"ranking": [{"variant": "a"}], "baseline": "a"}, 3)


def test_what_changes_is_named_with_its_condition():
    near, far = np.linspace(1.0, 1.3, 8), np.linspace(5.0, 5.3, 8)
    conditions = [condition(1.0, near, far), condition(0.5, near, far), condition(2.0, far, near)]
    found = summary(["a", "b"], of("b", 8), conditions)
    assert found["verdict"] == "unstable"
    assert found["text"] == "ranking not stable: a and b under rates x2, frechet in identity change places"
    assert found["swaps"] == [{"before": "a", "after": "b", "condition": "rates x2, frechet in identity", "kind": "changed"}]
    assert [row["variant"] for row in found["conditions"][2]["rows"]] == ["b", "a"]
    against = [one["rows"][0 if i < 2 else 1]["against_baseline"]["conclusion"] for i, one in enumerate(found["conditions"])]
    assert against == ["better", "better", "worse"]


def test_a_swap_of_what_was_never_separated_leaves_the_ranking_stable():
    lean = np.where(np.arange(8) < 5, 1.1, 1 / 1.1)
    conditions = [condition(1.0, np.ones(8), lean), condition(2.0, lean, np.ones(8))]
    found = summary(["a", "b"], of("b", 8), conditions)
    assert found["verdict"] == "stable"
    assert found["text"].startswith("ranking stable: nothing that the paired test separates changes places; swaps that the paired test")
    assert "a and b under rates x2" in found["text"]


def test_too_few_seeds_are_not_called_stable():
    conditions = [condition(1.0, [1, 1, 1], [2, 2, 2]), condition(2.0, [2, 2, 2], [1, 1, 1])]
    found = summary(["a", "b"], of("b", 3), conditions)
    assert found["verdict"] == "not_testable"
    assert "not testable with 3 seeds, at least 6 needed" in found["text"]


def test_nothing_changes_is_said_with_the_number_of_conditions():
    conditions = [condition(factor, [1, 1, 1], [2, 2, 2]) for factor in (1.0, 0.5, 2.0)]
    assert sentence([], ["a", "b"], conditions, of("b", 3)) == "ranking stable: the order is the same under all 3 conditions"


def test_failed_lanes_are_counted_and_shown():
    found = summary(["a", "b"], of("b", 3), [condition(1.0, [1, 1, np.nan], [2, 2, 2])])
    first = next(row for row in found["conditions"][0]["rows"] if row["variant"] == "a")
    assert (first["failed"], first["median"], first["per_lane"]) == (1, 1.0, [1.0, 1.0, None])
    assert "1/3" in table(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny ring with two trained and scored variants, and the part of a comparison that is read."""
    place = projects.project(tmp_path_factory.mktemp("sensitivity") / "p")
    config = read_config(place / "params.yaml")
    check(config, place)
    prepare(config, place)
    for name in config.variants:
        projects.seesaw(place, "train", name, "--quiet")
        evaluate(config, name, place)
    write_json(place / layout.COMPARISON, COMPARISON)
    return place


@pytest.fixture
def config(folder):
    return read_config(folder / "params.yaml")


def test_reruns_are_beside_the_project_and_happen_once(folder, config, monkeypatch, capsys):
    before = projects.digests(folder)
    monkeypatch.setattr(sensitivity, "FACTORS", (1.0, 2.0))
    found = sensitivity.sensitivity(config, folder, 2)
    place = side.folder(folder, "sensitivity")
    text = (place / "sensitivity.json").read_bytes()
    assert projects.digests(folder) == before
    assert not (folder / "dvc.lock").exists()
    assert [(one["rates"], one["metric"]) for one in found["conditions"]] == [
        (1.0, "frechet"),
        (1.0, "sliced_wasserstein"),
        (2.0, "frechet"),
        (2.0, "sliced_wasserstein"),
    ]
    run, rerun = (json.loads((root / layout.run("hinge")).read_text()) for root in (folder, place / "rates-x2"))
    assert rerun["seeds"] == run["seeds"]
    rates = ("generator_lr", "discriminator_lr")
    assert [rerun["config"]["rules"][key] for key in rates] == [2 * run["config"]["rules"][key] for key in rates]
    assert {key: value for key, value in rerun["config"]["rules"].items() if key not in rates} == {
        key: value for key, value in run["config"]["rules"].items() if key not in rates
    }
    scores = json.loads((place / "rates-x2" / layout.scores("hinge")).read_text())
    last = next(e for e in scores["snapshots"] if (e["step"], e["generator"], e["part"]) == (20, "ema", "test"))
    shown = next(row for row in found["conditions"][2]["rows"] if row["variant"] == "hinge")
    assert shown["per_lane"] == [lane["metrics"]["frechet"]["value"] for lane in last["lanes"]]
    said = capsys.readouterr().out
    assert "r1, hinge: 2 trainings, about" in said
    assert found["text"] in said
    monkeypatch.setattr(side, "_call", lambda *words: pytest.fail("what is done is not done again"))
    assert sensitivity.sensitivity(config, folder, 2) == found
    assert (place / "sensitivity.json").read_bytes() == text


def test_the_estimate_is_the_time_that_the_trainings_took(folder):
    for name in ("hinge", "r1"):
        path = folder / layout.executions(name)
        execution = json.loads(path.read_text())
        path.write_text(json.dumps(execution | {"seconds": 45.0}))
    assert "4 trainings, about 3.0 min" in estimate(["r1", "hinge"], folder)


def test_results_of_other_settings_are_refused(folder, config):
    path = folder / layout.run("r1")
    text = path.read_text()
    for change in (lambda run: run["config"]["rules"].update(generator_lr=0.5), lambda run: run["config"].update(steps=21)):
        run = json.loads(text)
        change(run)
        path.write_text(json.dumps(run))
        with pytest.raises(SeesawError, match="results/ holds r1 of other settings or data"):
            sensitivity.sensitivity(config, folder, 2)
    path.write_text(text)
    with pytest.raises(SeesawError, match="--top 1"):
        sensitivity.sensitivity(config, folder, 1)


def test_images_get_a_second_seeded_random_space_over_the_same_arrays(tmp_path):
    """Another network where the first space is one."""
    params = projects.TINY.replace("source: ring", "source: digits").replace("features: auto", "features: random")
    root = projects.project(tmp_path / "p", params)
    config = read_config(root / "params.yaml")
    prepare(config, root)
    card = arrays.read_card(root)
    files = sensitivity._pinned(root, tmp_path / "second")
    second = json.loads(files[1].read_text())
    assert second["features"]["digest"] != card["features"]["digest"]
    assert (second["features"]["name"], second["features"]["seed"]) == ("random", card["features"]["seed"] + 1)
    assert {key: value for key, value in second.items() if key != "features"} == {
        key: value for key, value in card.items() if key != "features"
    }
    assert sensitivity.second_name(card) == "random (seed 1)"
    assert sensitivity.second_name({"features": {"name": "classifier", "seed": 0}}) == "random (seed 0)"
