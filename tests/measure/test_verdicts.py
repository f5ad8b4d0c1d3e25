"""Staged lanes get the verdict they were staged for; the order of the rules; what healthy does not depend on; how lanes make a variant."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.measure.course import NAMES, Glimpse, turns
from stages.measure.doubts import too_short
from stages.measure.facts import Lane, Series, SnapshotQuality, Standards, facts
from stages.measure.features import Encoded
from stages.measure.glance import fidelity, gap, look, standards, yardstick
from stages.measure.verdict_rules import RULES, SEVERITY
from stages.measure.verdicts import Judgement, judge, judge_variant

STANDARDS = Standards(floor=1.0, floor_precision=0.9, floor_coverage=1.0, baseline=2.0, untrained=50.0, floor_density=1.0)
STEPS = (0, 200, 400, 600, 800, 1000)
RECORDED = np.arange(10, 1001, 10)
ORDER = [  # the order in which a lane's fate and then its cause are asked for
    *("non_finite", "late_collapse", "healthy", "undertrained", "mode_collapse", "oscillating"),
    *("vanishing_gradient", "exploding_gradient", "discriminator_wins", "generator_wins"),
]


def quality(distances, precision=0.8, coverage=0.9, density=0.9, shares=None, spread=0.2):
    """One look at each of STEPS."""
    mixes = shares or [(0.25, 0.25, 0.25, 0.25)] * len(distances)
    return [
        SnapshotQuality(step, distance, spread, precision, coverage, density, mix)
        for step, distance, mix in zip(STEPS, distances, mixes, strict=False)
    ]


def glimpses(energies, on=0.1, shares=None, to_end=1.0):
    """One glimpse at each 25th of the run, its energies and shares of data given at evenly spread moments and straight in between."""
    at, steps = np.linspace(0, 1, 25), np.linspace(0, 1000, 25)
    spread = lambda given: np.interp(at, np.linspace(0, 1, len(np.atleast_1d(given))), np.atleast_1d(given))  # noqa: E731
    mixes = [shares[k % len(shares)] for k in range(25)] if shares else [(0.25, 0.25, 0.25, 0.25)] * 25
    return [
        Glimpse(int(step), float(energy), float(share), mix, to_end * (index < 24), 1.0)
        for index, (step, energy, share, mix) in enumerate(zip(steps, spread(energies), spread(on), mixes, strict=True))
    ]


def series(early, late):
    """A record that goes from `early` to `late` on a straight line in logarithm."""
    return Series(RECORDED, np.geomspace(early, late, len(RECORDED)))


def calm():
    """Records of a game in balance."""
    return {
        "auc": series(0.7, 0.7),
        "saturation": series(0.4, 0.4),
        "sample_movement": series(0.1, 0.05),
        "d_gradient_norm": series(1, 1.5),
        "g_gradient_norm": series(1, 1.5),
        "g_loss": series(0.7, 0.8),
    }


def lane(looks, records=None, probe_auc=0.99, steps=1000, **more):
    return Lane(0, True, steps, None, looks, {**calm(), **(records or {})}, probe_auc, **more)


GOOD = quality([50, 20, 5, 2.0, 1.6, 1.5])
STUCK = quality([50, 30, 30.2, 29.9, 30.1, 30.0], precision=0.05, coverage=0.05)
STAGED = {
    "non_finite": replace(lane(GOOD), finite=False, steps=412, reason="discriminator loss is nan"),
    "late_collapse": lane(quality([50, 20, 4, 2.0, 2.1, 40])),
    "healthy": lane(GOOD),
    "undertrained": lane(quality([50, 45, 40, 35, 28, 21])),
    "mode_collapse": lane(quality([50, 30, 30.2, 29.9, 30.1, 30.0], precision=0.85, coverage=0.2, density=1.1)),
    "oscillating": lane(STUCK, glimpses=glimpses([5, 0.5, 4, 0.6, 4, 0.5, 4, 0.6, 4])),
    "vanishing_gradient": lane(STUCK, {"auc": series(1, 1), "sample_movement": series(0.1, 1e-6)}),
    "exploding_gradient": lane(STUCK, {"g_gradient_norm": series(0.01, 1e6)}),
    "discriminator_wins": lane(STUCK, {"auc": series(1, 1), "g_loss": series(0.7, 20)}),
    "generator_wins": lane(STUCK, {"auc": series(0.5, 0.5)}, probe_auc=0.999),
    "undetermined": lane(STUCK, {"auc": series(0.8, 0.8)}),
}


def verdict(one, against=STANDARDS):
    return judge(facts(one, against))


@pytest.mark.parametrize("word", STAGED)
def test_a_staged_lane_gets_its_verdict_without_doubt(word):
    found = verdict(STAGED[word])
    assert (found.verdict, found.doubt) == (word, None)


def test_the_table_asks_in_the_stated_order_and_every_word_has_a_severity():
    assert [rule.verdict for rule in RULES] == ORDER
    assert sorted(SEVERITY) == sorted([*ORDER, "undetermined"])
    assert all(rule.source and rule.meaning for rule in RULES)


def test_shares_that_go_round_are_an_oscillation_though_the_energy_stands():
    found = verdict(lane(STUCK, glimpses=glimpses([5, 1, 1, 1], shares=[(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.5, 0.5)])))
    assert found.verdict == "oscillating"
    assert [item.measure for item in found.evidence[:2]] == ["share_reach", "share_rounds"]
    assert found.evidence[0].value == 1.0  # all of the mass changes mode


def test_a_collapse_whose_modes_take_turns_goes_round():
    looks = quality([50, 30, 30.2, 29.9, 30.1, 30.0], precision=0.85, coverage=0.2, density=1.1)
    assert verdict(lane(looks, glimpses=glimpses([5, 1, 1, 1], shares=[(1.0, 0.0)]))).verdict == "mode_collapse"
    assert verdict(lane(looks, glimpses=glimpses([5, 1, 1, 1], shares=[(1.0, 0.0), (0.0, 1.0)]))).verdict == "oscillating"


def test_shares_that_jitter_make_no_rounds():
    """A tenth of the samples to and fro: a path of 1.5, and a reach of a tenth."""
    found = facts(lane(STUCK, glimpses=glimpses([5, 1, 1], shares=[(1.0, 0.0), (0.9, 0.1)])), STANDARDS)
    assert found["share_reach"].value == pytest.approx(0.1)
    assert found["share_rounds"].value == pytest.approx(1.4)  # 14 moves of 0.1 from two fifths of the run on, over twice a half


def test_fate_comes_before_cause():
    """A lane with several troubles is named by the first rule of the table."""
    troubles = {"auc": series(1, 1), "sample_movement": series(0.1, 1e-6), "g_gradient_norm": series(0.01, 1e6)}
    assert verdict(lane(quality([50, 20, 4, 2.0, 2.1, 40]), troubles)).verdict == "late_collapse"
    assert verdict(lane(quality([50, 45, 40, 35, 28, 21]), troubles)).verdict == "undertrained"
    assert verdict(lane(quality([50, 30, 30, 30, 30, 30], 0.85, 0.2), troubles)).verdict == "mode_collapse"
    assert verdict(lane(STUCK, troubles)).verdict == "vanishing_gradient"
    assert verdict(lane(STUCK, {**troubles, "sample_movement": series(0.1, 0.1)})).verdict == "exploding_gradient"


@given(word=st.sampled_from(sorted(STAGED)), step=st.integers(1, 1000))
@settings(max_examples=40, deadline=None)
def test_non_finite_beats_everything(word, step):
    found = verdict(replace(STAGED[word], finite=False, steps=step, reason="a loss is nan"))
    assert (found.verdict, found.doubt) == ("non_finite", None)


any_record = st.lists(st.floats(0, 1e300) | st.just(math.nan) | st.just(math.inf), min_size=len(RECORDED), max_size=len(RECORDED))


@given(values=st.dictionaries(st.sampled_from(sorted(calm())), any_record), probed=st.none() | st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_good_samples_are_healthy_whatever_the_gradients_do(values, probed):
    wild = {name: Series(RECORDED, np.array(numbers)) for name, numbers in values.items()}
    assert verdict(lane(GOOD, wild, probed)).verdict == "healthy"
    assert verdict(replace(lane(GOOD), records={})).verdict == "healthy"


def test_good_is_the_most_lenient_of_floor_baseline_and_untrained():
    assert Standards(1.0, None, None, None, None).good == 3.0
    assert Standards(1.0, None, None, 5.0, 20.0).good == 5.0
    assert Standards(0.0, None, None, 0.0, 20.0).good == 2.0
    assert Standards(1.0, None, None, 5.0, 200.0, untrained_counts=False).good == 5.0  # images: a far beginning excuses nothing


def test_a_good_distance_with_half_the_modes_missing_is_not_healthy():
    """Four opposite modes of eight have the mean and covariance of all eight: the distance alone would be fooled."""
    found = verdict(lane(quality([50, 20, 1.6, 1.5, 1.5, 1.5], coverage=0.4)))
    assert found.verdict == "mode_collapse"


def test_precision_through_an_outlier_s_ball_is_no_mode_collapse():
    looks = quality([50, 30, 30.2, 29.9, 30.1, 30.0], precision=0.85, coverage=0.02, density=0.05)
    assert verdict(lane(looks)).verdict == "undetermined"


@pytest.mark.parametrize(
    ("energies", "on", "word"),
    [
        ([5, 3, 2, 1.5, 1.0], 0.1, "undertrained"),
        ([5, 2, 2, 2, 2], (0, 0.1, 0.2, 0.3, 0.4), "undertrained"),  # single samples come nearer while the whole stands
        ([5, 2, 2, 2, 2], 0.1, "undetermined"),
        ([5, 2, 2, 2.5, 3], (0, 0.1, 0.2, 0.3, 0.4), "undetermined"),  # ... but not while it gets worse
        ([5, 2.4, 2, 1.8, 1.7], (0.5, 0.5, 0.45, 0.3, 0.2), "undetermined"),  # nor while samples leave the data
    ],
)
def test_a_lane_that_still_improves_is_undertrained(energies, on, word):
    assert verdict(lane(STUCK, glimpses=glimpses(energies, on))).verdict == word


@pytest.mark.parametrize(("distances", "word"), [([50, 40, 30, 30, 25, 21], "undertrained"), ([50, 40, 12, 30, 25, 21], "undetermined")])
def test_the_way_down_of_a_swing_is_no_progress(distances, word):
    """Glimpses fall to the end in both; in the second the snapshots had been much lower."""
    looks = quality(distances, precision=0.05, coverage=0.05)
    assert verdict(lane(looks, glimpses=glimpses([5, 3, 2, 1.7, 1.5]))).verdict == word


@pytest.mark.parametrize(("gaps", "word"), [([9, 8, 7, 6, 5, 4], "undertrained"), ([9, 8, 3, 6, 5, 4], "undetermined")])
def test_samples_that_creep_up_to_tight_modes_still_improve(gaps, word):
    """Energy has long been right (0.04 of its first); in the second the gap had been lower before."""
    looks = [replace(look, gap=gap, gap_spread=0.1) for look, gap in zip(STUCK, gaps, strict=True)]
    assert verdict(lane(looks, glimpses=glimpses([5, 0.2, 0.2, 0.2, 0.2]))).verdict == word


@pytest.mark.parametrize(("away", "word"), [(1.0, "discriminator_wins"), (0.001, "undetermined")])
def test_a_generator_that_never_moved_is_not_beaten(away, word):
    records = {"auc": series(1, 1), "sample_movement": series(1e-5, 1e-5)}
    assert verdict(lane(STUCK, records, glimpses=glimpses([5, 5], to_end=away))).verdict == word


def test_a_game_that_goes_round_has_not_collapsed_late():
    """It is good each time it passes: one snapshot alone is no level that was lost."""
    passing = quality([50, 30, 2.0, 30, 2.0, 30], precision=0.5, coverage=0.5)
    assert verdict(lane(passing, glimpses=glimpses([5, 0.3, 5, 0.3, 5, 0.3, 5, 0.3, 5]))).verdict == "oscillating"
    assert verdict(lane(quality([50, 30, 2.0, 2.1, 2.0, 30]))).verdict == "late_collapse"


def test_a_late_collapse_that_the_glimpses_do_not_see_is_none():
    """One unlucky snapshot among glimpses that stay where they were."""
    looks = quality([50, 20, 4, 2.0, 2.1, 10])
    assert verdict(lane(looks, glimpses=glimpses([5, 1, 0.5, 0.5, 0.5]))).verdict != "late_collapse"
    assert verdict(lane(looks, glimpses=glimpses([5, 1, 0.5, 0.5, 5]))).verdict == "late_collapse"


@pytest.mark.parametrize(("spread", "word"), [(0.2, "late_collapse"), (3.0, "undetermined")])
def test_a_collapse_that_another_draw_may_let_pass_is_none(spread, word):
    """Good is 5: a final distance of 9 is 20 spreads of 0.2 beyond, and less than 2 of 3."""
    looks = [replace(one, spread=spread if one.step == 1000 else 0.2) for one in quality([50, 20, 4, 1.5, 1.5, 9])]
    assert verdict(lane(looks)).verdict == word


def test_good_for_a_moment_only_is_not_healthy():
    assert verdict(lane(GOOD, glimpses=glimpses([5, 1, 0.1, 0.1, 0.1]))).verdict == "healthy"
    assert verdict(lane(GOOD, glimpses=glimpses([5, 4, 5, 4, 5, 4, 5]))).verdict != "healthy"


def test_samples_that_move_on_have_not_vanished():
    """A step may be a hundredth of an early one and still carry them far."""
    records = {"auc": series(1, 1), "sample_movement": series(0.1, 1e-6)}
    assert verdict(lane(STUCK, records, glimpses=glimpses([5, 1, 1], to_end=0.01))).verdict == "vanishing_gradient"
    assert verdict(lane(STUCK, records, glimpses=glimpses([5, 1, 1], to_end=0.3))).verdict == "discriminator_wins"


def test_a_gradient_that_was_zero_early_has_no_growth():
    """A hinge that is satisfied has no gradient: nothing to compare with."""
    early = Series(RECORDED, np.where(RECORDED <= 200, 0.0, 1.0))
    found = facts(lane(STUCK, {"d_gradient_norm": early}), STANDARDS)["d_gradient_growth"]
    assert found.value is None
    assert "zero early" in found.text


@pytest.mark.parametrize(
    ("values", "count"), [([1, 2, 1, 2], 0), ([1, 3, 1, 3], 2), ([9, 1, 1.5, 4, 1], 2), ([1, 2, 4, 8], 0), ([8, 1, 2, 1], 0)]
)
def test_turns_count_changes_by_a_factor_of_three(values, count):
    assert turns(values, 3.0) == count


def test_too_few_glimpses_say_nothing():
    found = facts(lane(STUCK, glimpses=glimpses([5, 1])[:6]), STANDARDS)
    assert found["glimpses"].value == 5
    assert all(found[name].value is None for name in NAMES)


def test_a_discriminator_that_ranks_samples_above_data_has_lost():
    assert verdict(lane(STUCK, {"auc": series(0.01, 0.01)}, probe_auc=0.999)).verdict == "generator_wins"


def test_recovering_from_a_bad_turn_is_not_undertrained():
    assert verdict(lane(quality([50, 20, 12, 40, 30, 25], precision=0.1, coverage=0.1))).verdict != "undertrained"


def test_a_swing_that_ends_low_is_not_undertrained():
    """It went up by 27 once, so that the 29 it came down at the end say nothing."""
    looks = quality([68, 76, 62, 89, 63, 60], precision=0.01, coverage=0.02)
    assert verdict(lane(looks)).verdict not in ("undertrained", "healthy")


def test_a_small_fall_below_the_floor_is_no_late_collapse():
    """Distances below the floor are sampling error: 0.2 to 0.9 with a floor of 1 is no change."""
    assert verdict(lane(quality([50, 20, 0.2, 0.9, 0.9, 0.9], spread=0.01))).verdict == "healthy"


def test_a_late_collapse_within_the_spread_is_none():
    assert verdict(lane(quality([50, 20, 1.1, 2.5, 2.5, 2.5], spread=2.0))).verdict == "healthy"


def test_a_fall_to_samples_that_still_pass_is_no_collapse():
    found = verdict(lane(quality([50, 20, 1.0, 1.0, 2.5, 2.9])))
    assert found.verdict == "healthy"


@pytest.mark.parametrize("steps", [20, 199])
def test_a_short_run_is_told_so_and_no_cause_is_guessed(steps):
    looks = [SnapshotQuality(step, 40.0, 0.2, 0.85, 0.2, 1.0) for step in (0, steps // 2, steps)]
    causes = {"auc": series(1, 1), "sample_movement": series(0.1, 1e-6), "g_gradient_norm": series(0.01, 1e6)}
    found = verdict(lane(looks, causes, steps=steps))
    assert found.verdict == "undetermined"
    assert "too short a run to judge" in found.doubt


def test_a_short_run_that_improves_is_undertrained_with_doubt():
    looks = [SnapshotQuality(step, value, 0.2, 0.1, 0.1, 0.1) for step, value in ((0, 50.0), (50, 40.0), (100, 30.0))]
    found = verdict(lane(looks, steps=100))
    assert found.verdict == "undertrained"
    assert "too short" in found.doubt


def test_values_near_a_threshold_are_doubted_on_both_sides():
    good = STANDARDS.good
    above, below = (verdict(lane(quality([50, 20, 5.2, 5.1, 5.1, good * factor]))) for factor in (1.05, 0.95))
    assert below.verdict == "healthy"
    assert "near its threshold" in below.doubt
    assert above.verdict != "healthy"
    assert "nearly healthy" in above.doubt


def test_evidence_carries_value_threshold_relation_and_steps():
    found = verdict(STAGED["discriminator_wins"])
    by_name = {item.measure: item.as_json() for item in found.evidence}
    auc = by_name["auc_late"]
    assert (auc["value"], auc["threshold"], auc["relation"]) == (1.0, 0.99, "above")
    assert auc["steps"] == [760, 1000]
    assert by_name["distance_over_good"]["relation"] == "above"  # why it is not healthy stands beside the cause
    assert by_name["saturation_late"]["relation"] is None  # raw measures are evidence, not judges
    assert len(by_name) == len(found.evidence)


@pytest.mark.parametrize("word", STAGED)
def test_evidence_is_json_without_nan_or_infinity(word):
    for item in verdict(STAGED[word]).evidence:
        assert json.dumps(item.as_json(), allow_nan=False)


def test_an_infinite_ratio_says_so_in_words():
    found = verdict(lane(STUCK, {"auc": series(1, 1), "sample_movement": Series(RECORDED, np.where(RECORDED < 500, 0.1, 0.0))}))
    item = next(item for item in found.evidence if item.measure == "movement_drop").as_json()
    assert (found.verdict, item["value"]) == ("vanishing_gradient", None)
    assert "infinite" in item["text"]


def test_overfitting_is_a_flag_beside_the_verdict():
    found = verdict(lane(GOOD, overfit_auc=0.75, overfit_counts=(1000, 200)))
    assert (found.verdict, found.flags) == ("healthy", ("discriminator_overfit",))
    few = verdict(lane(GOOD, overfit_auc=0.75, overfit_counts=(10, 5)))  # 0.25 is 1.5 standard errors of so few items
    assert few.flags == ()


def test_the_standard_error_of_the_overfitting_measure_is_that_of_equal_laws():
    """√((m+n+1)/(12mn)) against 4000 simulated AUCs of two samples of one law; its own error there is 1.1%, so 5% is 4 of them."""
    rng = np.random.default_rng(0)
    one, two = rng.random((4000, 30, 1)), rng.random((4000, 1, 20))
    simulated = (one > two).mean((1, 2)).std()
    fact = facts(lane(GOOD, overfit_auc=0.6, overfit_counts=(30, 20)), STANDARDS)["overfit_over_error"]
    assert 0.1 / fact.value == pytest.approx(simulated, rel=0.05)


def test_a_missing_measure_is_named_and_never_a_number():
    known = facts(replace(lane(STUCK), records={}, probe_auc=None), STANDARDS)
    assert known["auc_late"].value is None
    assert "no finite record" in known["auc_late"].text
    assert judge(known).verdict == "undetermined"


def test_a_lane_that_died_before_its_first_record_is_judged_all_the_same():
    none = Series(np.empty(0, int), np.empty(0))
    found = verdict(replace(STAGED["non_finite"], records=dict.fromkeys(calm(), none), steps=3))
    assert (found.verdict, found.evidence[0].steps) == ("non_finite", (3,))


def test_samples_that_are_not_finite_are_a_non_finite_verdict():
    looks = [*GOOD[:-1], SnapshotQuality(1000, None, None, None, None, finite=False)]
    assert verdict(lane(looks)).verdict == "non_finite"


def lanes_of(**counts):
    return [Judgement(word, (), (), ()) for word, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"healthy": 8}, "healthy"),
        ({"healthy": 5, "mode_collapse": 3}, "healthy"),
        ({"healthy": 4, "mode_collapse": 4}, "mode_collapse"),  # not more than half are healthy
        ({"healthy": 3, "undertrained": 2, "mode_collapse": 2, "non_finite": 1}, "mode_collapse"),  # a tie goes to the worse
        ({"undetermined": 1, "oscillating": 1}, "oscillating"),
        ({"non_finite": 1, "discriminator_wins": 3, "healthy": 4}, "discriminator_wins"),
    ],
)
def test_lanes_make_a_variant(counts, expected):
    lanes = lanes_of(**counts)
    assert judge_variant(lanes).verdict == judge_variant(lanes[::-1]).verdict == expected
    assert judge_variant(lanes).counts == judge_variant(lanes[::-1]).counts == counts


def test_a_variant_doubts_where_its_lanes_disagree_or_doubt():
    assert judge_variant(lanes_of(healthy=8)).doubt is None
    assert "only 5 of 8 lanes" in judge_variant(lanes_of(healthy=5, oscillating=3)).doubt
    doubting = [Judgement("healthy", (too_short(10, 1),), (), ())] * 2
    assert "2 of 2 lanes doubt: too short" in judge_variant(doubting).doubt


def test_the_gap_is_the_median_distance_to_the_nearest_real_item():
    """Samples shifted by 3 from a grid of spacing 10 along one axis; quantiles ½ ± 1/(2√n) of a ladder of n known distances."""
    real = torch.arange(10, dtype=torch.float64)[:, None] * 10
    stick = yardstick(Encoded(real), None, False, np.random.default_rng(0))
    assert gap(stick, real + 3).gap == pytest.approx(3.0)
    ladder = gap(stick, 10 + torch.linspace(0, 4, 401, dtype=torch.float64)[:, None])
    assert ladder.gap == pytest.approx(2.0)
    assert ladder.gap_spread == pytest.approx(4 * 0.5 / math.sqrt(401), rel=1e-6)


# The looks themselves: staged samples, judged through the real measures.


def mixture(count, modes, rng, std=0.05):
    """Points of a ring of 8 Gaussians, of these modes only."""
    chosen = rng.choice(modes, count)
    angle = chosen * math.tau / 8
    return torch.from_numpy(np.stack([np.cos(angle), np.sin(angle)], 1) + std * rng.standard_normal((count, 2)))


def test_a_staged_collapse_is_precise_and_does_not_cover():
    rng = np.random.default_rng(1)
    stick = yardstick(Encoded(mixture(400, range(8), rng)), None, False, rng)
    whole, part = (fidelity(stick, Encoded(mixture(400, modes, rng))) for modes in (range(8), [0, 1]))
    floors = standards(stick, Encoded(mixture(2000, range(8), rng)), 400, None, None, rng)
    assert whole.precision > 0.9 * floors.floor_precision
    assert part.precision > 0.9 * floors.floor_precision
    assert whole.coverage > 0.9 * floors.floor_coverage
    assert part.coverage < 0.4 * floors.floor_coverage  # two modes of eight: a quarter


def test_a_known_mixture_is_judged_by_its_modes():
    rng = np.random.default_rng(2)
    points, weights = mixture(400, range(8), rng), torch.ones(8)
    stick = yardstick(Encoded(points, torch.zeros(400).long(), torch.ones(400).bool()), weights, True, rng)
    modes = torch.arange(400) % 4
    found = fidelity(stick, Encoded(points, modes, modes < 2))
    assert (found.precision, found.coverage, found.density) == (0.5, 0.5, None)


def test_points_that_coincide_have_no_precision():
    """The point mass of Dirac-GAN: every ball has radius 0."""
    stick = yardstick(Encoded(torch.zeros(50, 1)), None, False, np.random.default_rng(0))
    seen = look(stick, 5, Encoded(torch.full((40, 1), 0.5)), Encoded(torch.full((40, 1), 0.5)))
    assert (seen.precision, seen.coverage) == (None, None)
    assert seen.distance == pytest.approx(0.25)  # squared distance of two points
    assert seen.spread == 0.0


def test_shares_sum_to_one_and_tell_which_cell():
    rng = np.random.default_rng(3)
    stick = yardstick(Encoded(mixture(400, [0, 4], rng)), None, False, rng)
    left, right = (look(stick, 1, one, one).shares for one in (Encoded(mixture(100, [0], rng)), Encoded(mixture(100, [4], rng))))
    assert sum(left) == pytest.approx(1.0)
    assert sum(min(a, b) for a, b in zip(left, right, strict=True)) == 0.0


def test_the_page_on_verdicts_states_every_rule_with_its_thresholds():
    page = (Path(__file__).resolve().parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")
    page = page.split("## The rules")[1].split("\n## ")[0]
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    for rule in RULES:
        for condition in (one for way in rule.ways for one in way):
            assert f"`{condition.measure}`" in rows[rule.verdict]
            assert f"{condition.threshold:g}" in rows[rule.verdict]
