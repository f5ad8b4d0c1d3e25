"""The rule of "restored": on single measures, on pairs of distances, on counts of streams."""

import math

import pytest

from stages.measure.facts import Fact, SnapshotQuality
from stages.measure.restoration import TARGETS, Stream, back, better, enough, goals, restored
from stages.measure.verdict_rules import HEALTHY, RULES, SEVERITY
from stages.measure.verdicts import healthy

BOTH, ONLY_BACK, ONLY_BETTER, NEITHER = Stream(True, True), Stream(True, False), Stream(False, True), Stream(False, False)


def known(**values):
    measures = {c.measure for rule in RULES for way in rule.ways for c in way} | {c.measure for c in HEALTHY}
    filled = {**dict.fromkeys(measures), "finite": 1.0, **values}
    return {name: Fact(value, (), "") for name, value in filled.items()}


def quality(distance, spread=0.0):
    return SnapshotQuality(10, distance, spread, None, None)


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ([BOTH, BOTH, BOTH, NEITHER], True),
        ([BOTH, BOTH, NEITHER, NEITHER], False),
        ([BOTH, BOTH, ONLY_BACK, ONLY_BETTER], False),  # both parts in the same stream, not three of each somewhere
        ([ONLY_BACK] * 4, False),
        ([ONLY_BETTER] * 4, False),
        ([BOTH] * 6 + [NEITHER] * 2, True),
        ([BOTH] * 5 + [NEITHER] * 3, False),
        ([], False),
    ],
)
def test_three_quarters_of_the_streams_by_both_parts(streams, expected):
    assert restored(streams) is expected


def test_the_share_includes_its_bound():
    assert [enough(count, 4) for count in range(5)] == [False, False, False, True, True]


@pytest.mark.parametrize(
    ("one", "nothing", "expected"),
    [
        (quality(5.0, 3.0), quality(15.01, 4.0), True),  # 10.01 over 2 √(9 + 16) = 10
        (quality(5.0, 3.0), quality(15.0, 4.0), False),  # exactly the spreads is not more
        (quality(67.7, 0.1), quality(69.0, 0.1), False),  # thirteen spreads, and a fiftieth of the way to good
        (quality(62.0, 0.1), quality(69.0, 0.1), True),
        (quality(10.0), quality(5.0), False),
        (quality(5.0, None), quality(5.1, None), True),
        (quality(None), quality(5.0), False),
        (quality(5.0), quality(None), True),  # that one died
        (quality(None), quality(None), False),
        (quality(math.inf), quality(5.0), False),
    ],
)
def test_better_means_outside_the_spread_and_a_tenth_of_the_way(one, nothing, expected):
    """Good is 8.4: a tenth of the way from 69 is 6.06."""
    assert better(one, nothing, 8.4) is expected


@pytest.mark.parametrize("word", SEVERITY)
def test_every_verdict_has_goals_with_its_own_rule_s_thresholds(word):
    wanted = goals(word)
    assert wanted
    assert all(wanted)
    if word not in TARGETS:
        assert [c.measure for group in wanted for c in group] == ["distance_over_good"]
        return
    own = {(c.measure, c.threshold): c.relation for rule in RULES if rule.verdict == word for way in rule.ways for c in way}
    found = [c for group in wanted for c in group]
    assert {c.measure for c in found} == set(TARGETS[word])
    assert all(own[c.measure, c.threshold] != c.relation for c in found)


@pytest.mark.parametrize("word", TARGETS)
def test_a_lane_that_holds_its_verdict_is_not_back(word):
    """At the rule's own values the lane is not back; with every target moved across its threshold it is."""
    rule = next(rule for rule in RULES if rule.verdict == word)
    asked = [way for way in rule.ways if any(c.measure in TARGETS[word] for c in way)]
    assert asked  # a collapse that glimpses alone saw is asked the same as another: a fork has no glimpses
    for way in asked:
        inside = {c.measure: c.threshold + 0.25 if c.relation == "above" else c.threshold - 0.25 for c in way}
        outside = {c.measure: c.threshold - 0.25 if c.relation == "above" else c.threshold + 0.25 for c in way}
        others = {
            c.measure: c.threshold - 0.25 if c.relation == "above" else c.threshold + 0.25
            for other in rule.ways
            if other is not way
            for c in other
        }
        assert not back(goals(word), known(**{**others, **inside}))
        held = {"finite": 1.0} if word == "non_finite" else {}
        assert back(goals(word), known(**(others | outside | held)))


def test_the_threshold_itself_still_belongs_to_an_above_rule():
    assert not back(goals("discriminator_wins"), known(auc_late=0.99))
    assert back(goals("discriminator_wins"), known(auc_late=0.9899))


def test_either_measure_frees_a_vanishing_gradient_and_both_gradients_must_calm_down():
    assert back(goals("vanishing_gradient"), known(auc_late=1.0, movement_drop=3.0))
    assert back(goals("vanishing_gradient"), known(auc_late=0.8, movement_drop=1e4))
    assert not back(goals("exploding_gradient"), known(d_gradient_growth=1e4, g_gradient_growth=2.0))
    assert back(goals("exploding_gradient"), known(d_gradient_growth=9.0, g_gradient_growth=2.0))


def test_an_unknown_measure_or_a_dead_stream_is_never_back():
    assert not back(goals("discriminator_wins"), known(auc_late=None))
    assert not back(goals("discriminator_wins"), known(auc_late=0.7, finite=0.0))


def test_healthy_asks_for_all_three_where_they_exist():
    assert healthy(known(distance_over_good=0.9, precision_over_floor=0.6, coverage_over_floor=0.6))
    assert healthy(known(distance_over_good=0.9))  # precision and coverage of one point are not defined
    assert not healthy(known(distance_over_good=0.9, precision_over_floor=0.6, coverage_over_floor=0.4))
    assert not healthy(known(distance_over_good=1.0, precision_over_floor=0.6, coverage_over_floor=0.6))
