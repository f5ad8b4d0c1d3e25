"""The node `compare` on made-up results trees: contracts of its files, and what it says when it cannot know."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import synthetic
from scipy import stats

from stages.compare import PLOTTED, compare
from stages.errors import SeesawError
from stages.store import layout
from stages.store.config import Config, parse


def config(names, **options) -> Config:
    entry = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}
    names = list(names)
    return parse({"variants": dict.fromkeys(names, entry), "compare": {"baseline": names[0]} | options})


def tree(root: Path, finals: dict[str, list[float | None]], cost: dict[str, float] | None = None) -> Config:
    """A results tree whose last test scores of the averaged generator are these, by variant and seed; earlier ones ten times as large."""
    seeds = len(next(iter(finals.values())))
    shape = synthetic.Shape(seeds=tuple(range(seeds)), snapshots=(0, 50, 100))
    synthetic.write_results(root, list(finals), shape)
    for name, values in finals.items():
        edit(root / layout.scores(name), lambda scores, values=values: set_finals(scores, values))
        if cost:
            edit(root / layout.run(name), lambda run, name=name: run["cost"].update(flops=cost[name]))
    return config(finals)


def set_finals(scores, values):
    for snapshot in scores["snapshots"]:
        for lane, value in zip(snapshot["lanes"], values, strict=True):
            lane["status"] = "ok" if value is not None else "non_finite"
            lane["metrics"] = (
                None if value is None else {"frechet": {"value": value * (1 if snapshot["step"] == 100 else 10), "spread": 0.0}}
            )
    scores["best_step"] = {str(seed): None if value is None else 100 for seed, value in enumerate(values)}


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def lognormal(seed: int, n: int, middle: float = 1.0, spread: float = 0.1) -> list[float]:
    return [float(v) for v in middle * np.exp(spread * np.random.default_rng(seed).normal(size=n))]


def pair(comparison, name):
    return next(p for p in comparison["paired"] if p["variant"] == name)


def row(comparison, name):
    return next(r for r in comparison["ranking"] if r["variant"] == name)


def test_paired_differences_are_scipys_on_the_logarithms(tmp_path):
    base, other = lognormal(0, 8), lognormal(1, 8, 0.5)
    result = compare(tree(tmp_path, {"base": base, "other": other}), tmp_path)
    got = pair(result, "other")
    d = np.log(other) - np.log(base)
    low, high = stats.ttest_rel(np.log(other), np.log(base)).confidence_interval(0.95)
    assert (got["log_ratio"], got["low"], got["high"]) == pytest.approx((d.mean(), low, high), rel=1e-10)
    assert got["p_unpaired"] == pytest.approx(stats.ttest_ind(np.log(other), np.log(base), equal_var=False).pvalue, rel=1e-10)
    assert got["correlation"] == pytest.approx(np.corrcoef(np.log(other), np.log(base))[0, 1], rel=1e-10)
    assert (got["p_adjusted"], got["p_smallest"], got["conclusion"]) == (2 / 2**8, 2 / 2**8, "better")


def test_too_few_seeds_are_not_testable_and_never_equal(tmp_path):
    result = compare(tree(tmp_path, {"base": lognormal(0, 3), "other": lognormal(1, 3, 9.0)}), tmp_path)
    got = pair(result, "other")
    assert got["conclusion"] == "not_testable"
    assert "not testable with 3 seeds, at least 6 needed" in got["text"]
    assert "no difference" not in (tmp_path / layout.COMPARISON).read_text()
    assert "not_testable" in [note["name"] for note in result["notes"]]


def test_what_is_not_shown_is_undecided(tmp_path):
    base = lognormal(0, 8)
    signs = [1.1, 1 / 1.1] * 4
    result = compare(tree(tmp_path, {"base": base, "other": [b * s for b, s in zip(base, signs, strict=True)]}), tmp_path)
    assert pair(result, "other")["conclusion"] == "undecided"
    assert "not shown to differ" in pair(result, "other")["text"]


def test_failed_lanes_rank_worst_and_are_tested_by_signed_ranks(tmp_path):
    finals = {"base": lognormal(0, 8), "frail": [0.1] + [None] * 7, "steady": lognormal(2, 8, 2.0)}
    result = compare(tree(tmp_path, finals), tmp_path)
    assert [r["variant"] for r in result["ranking"]] == ["base", "steady", "frail"]
    frail = row(result, "frail")
    assert (frail["failed"], frail["median"], frail["survivors_only"], frail["low"]) == (7, None, True, None)
    assert frail["mean_rank"] == (1 + 7 * 3) / 8
    low, high = stats.binomtest(7, 8).proportion_ci(0.95, method="wilson")
    assert frail["failure_rate"] == pytest.approx({"value": 7 / 8, "low": low, "high": high})
    got = pair(result, "frail")
    assert (got["test"], got["survivors"], got["log_ratio"]) == ("signed_rank", 1, None)
    assert got["conclusion"] == "worse"
    assert got["correlation"] is None


def test_means_of_survivors_are_flagged(tmp_path):
    values = lognormal(1, 8, 2.0)
    result = compare(tree(tmp_path, {"base": lognormal(0, 8), "frail": [None, *values[1:]]}), tmp_path)
    frail = row(result, "frail")
    assert frail["survivors_only"]
    assert frail["mean"] == pytest.approx(stats.gmean(values[1:]))
    assert "survivors of 7 seeds only" in pair(result, "frail")["text"]
    assert "survivors" in [note["name"] for note in result["notes"]]


def test_a_variant_that_fails_on_every_seed_loses_without_an_invented_score(tmp_path):
    result = compare(tree(tmp_path, {"base": lognormal(0, 8), "dead": [None] * 8}), tmp_path)
    dead = row(result, "dead")
    assert [dead[key] for key in ("median", "mean", "best", "area", "floor_ratio")] == [None] * 5
    assert (pair(result, "dead")["conclusion"], pair(result, "dead")["log_ratio"]) == ("worse", None)


def test_two_that_always_fail_are_not_testable_against_each_other(tmp_path):
    result = compare(tree(tmp_path, {"base": [None] * 8, "dead": [None] * 8}), tmp_path)
    assert (pair(result, "dead")["conclusion"], pair(result, "dead")["informative"]) == ("not_testable", 0)


def test_equal_compute_takes_the_last_snapshot_within_the_cheapest_budget(tmp_path):
    finals = {"base": [2.0] * 3, "dear": [1.0] * 3}
    result = compare(tree(tmp_path, finals, {"base": 100.0, "dear": 190.0}), tmp_path)
    view = result["views"]["compute"]
    assert view["budget"] == 100.0
    assert [(r["variant"], r["step"], r["median"]) for r in view["ranking"]] == [("base", 100, 2.0), ("dear", 50, 10.0)]
    assert result["views"]["steps"][-1] == {"step": 100, "medians": {"base": 2.0, "dear": 1.0}}
    assert result["ranking"][0]["variant"] == "dear"


def test_area_best_and_final_follow_the_trajectory(tmp_path):
    result = compare(tree(tmp_path, {"base": [1.0] * 3, "other": [2.0] * 3}), tmp_path)
    other = row(result, "other")
    # 20, 20, 2 at steps 0, 50, 100: the log mean is three parts of log 20 and one of log 2
    assert other["area"] == pytest.approx(math.exp(0.75 * math.log(20) + 0.25 * math.log(2)))
    assert (other["best"], other["final"]) == (2.0, 2.0)


def test_the_chance_of_being_best_needs_ten_seeds(tmp_path):
    few = compare(tree(tmp_path / "few", {"base": lognormal(0, 8), "other": lognormal(1, 8)}), tmp_path / "few")
    many = compare(tree(tmp_path / "many", {"base": [1.0] * 10, "other": [2.0] * 9 + [0.5]}), tmp_path / "many")
    assert row(few, "base")["best_chance"] is None
    assert "no_best_chance" in [note["name"] for note in few["notes"]]
    assert row(many, "base")["best_chance"]["value"] == 0.9


@pytest.mark.parametrize(
    ("place", "change", "word"),
    [
        (layout.scores, lambda s: s["features"].update(digest="other"), "feature space"),
        (layout.scores, lambda s: s.update(samples=1), "number of samples"),
        (layout.run, lambda r: r["data"].update(digest="other"), "data"),
        (layout.run, lambda r: r.update(seeds=[0, 1, 5]), "seeds"),
        (layout.scores, lambda s: s.update(fingerprint="other"), "different trainings"),
    ],
)
def test_what_cannot_be_compared_is_listed_and_not_ranked(tmp_path, place, change, word):
    conf = tree(tmp_path, {"base": lognormal(0, 3), "other": lognormal(1, 3), "third": lognormal(2, 3)})
    edit(tmp_path / place("other"), change)
    result = compare(conf, tmp_path)
    assert [r["variant"] for r in result["ranking"] + result["paired"]].count("other") == 0
    assert [e["variant"] for e in result["excluded"]] == ["other"]
    assert word in result["excluded"][0]["reason"]
    assert len(result["excluded"][0]["differs"]) == 1


def test_a_baseline_of_mixed_trainings_is_refused(tmp_path):
    conf = tree(tmp_path, {"base": lognormal(0, 3), "other": lognormal(1, 3)})
    edit(tmp_path / layout.scores("base"), lambda s: s.update(fingerprint="other"))
    with pytest.raises(SeesawError, match="different trainings"):
        compare(conf, tmp_path)


def test_only_variants_named_in_params_are_read(tmp_path):
    tree(tmp_path, {"base": lognormal(0, 3), "other": lognormal(1, 3), "removed": lognormal(2, 3)})
    (tmp_path / layout.scores("removed")).write_text("not json")
    result = compare(config(["base", "other"]), tmp_path)
    assert {r["variant"] for r in result["ranking"]} == {"base", "other"}


def test_a_missing_file_says_what_to_do(tmp_path):
    conf = tree(tmp_path, {"base": lognormal(0, 3), "other": lognormal(1, 3)})
    (tmp_path / layout.diagnostics("other")).unlink()
    with pytest.raises(SeesawError, match=r"diagnostics/other.json is missing: run `dvc repro`"):
        compare(conf, tmp_path)


def test_one_variant_alone_is_ranked_without_a_family(tmp_path):
    result = compare(tree(tmp_path, {"base": lognormal(0, 3)}), tmp_path)
    assert (result["paired"], result["ranks"]["critical_difference"], len(result["ranking"])) == ([], None, 1)


def test_files_are_the_same_twice_and_the_table_is_tidy(tmp_path):
    conf = tree(tmp_path, {"base": lognormal(0, 8), "other": lognormal(1, 8), "dead": [None] * 8})
    places = [tmp_path / layout.COMPARISON, tmp_path / layout.COMPARE_PLOT]
    compare(conf, tmp_path)
    first = [place.read_bytes() for place in places]
    compare(conf, tmp_path)
    assert [place.read_bytes() for place in places] == first
    rows = list(csv.DictReader(first[1].decode().splitlines()))
    assert tuple(rows[0]) == PLOTTED
    assert (rows[-1]["variant"], rows[-1]["median"]) == ("dead", "")
