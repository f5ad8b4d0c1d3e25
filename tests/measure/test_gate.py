"""The gate's arithmetic: the interval, the guards, the median lane."""

import math
from dataclasses import astuple

import numpy as np
import pytest

from stages.measure import gate

RULE = gate.Rule(min_effect=0.02, margin=0.05, floor_factor=3.0, alpha=0.05)


def scores(level: float, lanes: int = 4, draws: int = 5, seed: int = 0, noise: float = 0.01, **shares: float) -> dict[str, np.ndarray]:
    """Fréchet distances about `level`, and shares that are the same in every lane and draw."""
    rng = np.random.default_rng(seed)
    table = {"frechet": level * np.exp(noise * rng.standard_normal((lanes, draws)))}
    return table | {name: np.full((lanes, draws), shares.get(name, 0.5)) for name in gate.SHARES}


def test_the_median_lane_counts_a_failed_lane_as_worst() -> None:
    assert gate.median_lane({0: 3.0, 1: 1.0, 2: 2.0}) == 2
    assert gate.median_lane({0: 3.0, 1: 1.0, 2: 2.0, 3: None}) == 2  # 1, 2 | 3, none: the better of the two middle ones
    assert gate.median_lane({0: None, 1: 1.0, 2: None}) is None
    assert gate.median_lane({5: 1.0, 3: 1.0, 4: 1.0}) == 4
    with pytest.raises(ValueError, match="a lane is needed"):
        gate.median_lane({})


def test_the_effect_is_the_share_by_which_the_geometric_mean_falls() -> None:
    champion, challenger = np.full((2, 3), 8.0), np.full((3, 3), 6.0)
    assert astuple(gate.effect(champion, challenger, 0.05)) == pytest.approx((0.25, 0.25, 0.25))
    spread = gate.effect(champion * [[1.1], [0.9]], challenger, 0.05)
    assert spread.low < spread.value < spread.high


def test_noise_that_both_sides_share_does_not_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    shared = np.exp(rng.standard_normal(6))
    base = np.exp(0.01 * rng.standard_normal((4, 6)))
    same = gate.effect(base, 0.9 * base[::-1], 0.05)
    moved = gate.effect(base * shared, 0.9 * base[::-1] * shared, 0.05)
    assert astuple(moved) == pytest.approx(astuple(same))


@pytest.mark.parametrize(("lane", "draw", "both"), [(0.3, 0.0, 0.05), (0.05, 0.2, 0.05), (0.2, 0.2, 0.2)])
def test_the_interval_covers_at_least_as_often_as_it_says(lane: float, draw: float, both: float) -> None:
    """Crossed random effects of lanes and of draws (independent for the two sides: the hardest case): nominal 90%."""
    rng = np.random.default_rng(2)
    covered, tries = 0, 600
    for _ in range(tries):
        sides = [
            np.exp(lane * rng.standard_normal((4, 1)) + draw * rng.standard_normal((1, 8)) + both * rng.standard_normal((4, 8)))
            for _ in range(2)
        ]
        found = gate.effect(sides[0], 0.8 * sides[1], 0.1)
        covered += found.low <= 0.2 <= found.high
    assert covered / tries > 0.9 - 3 * math.sqrt(0.09 / tries)


@pytest.mark.parametrize("broken", [np.full((1, 4), 1.0), np.full((4, 1), 1.0), np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_there_is_no_interval_without_lanes_draws_or_positive_scores(broken: np.ndarray) -> None:
    whole = {name: np.broadcast_to(table, (4, broken.shape[1])) for name, table in scores(1.0, draws=1).items()}
    assert gate.effect(np.ones((4, broken.shape[1])), broken, 0.05) is None
    judged = gate.against(whole, {name: broken if name == "frechet" else np.full(broken.shape, 0.5) for name in whole}, 0.5, RULE)
    assert not judged.promoted
    assert "no interval" in judged.reason


def test_a_better_challenger_wins_and_a_worse_or_equal_one_does_not() -> None:
    champion = scores(8.0)
    assert gate.against(champion, scores(6.0, seed=1), 0.5, RULE).promoted
    for level in (8.0, 9.0):
        assert not gate.against(champion, scores(level, seed=1), 0.5, RULE).promoted


def test_an_effect_below_the_least_one_does_not_win_however_certain_it_is() -> None:
    champion, challenger = scores(8.0, noise=0.0), scores(8.0 * 0.985, noise=0.0)
    assert not gate.against(champion, challenger, 0.5, RULE).promoted
    assert gate.against(champion, challenger, 0.5, gate.Rule(0.01, 0.05, 3.0, 0.05)).promoted


@pytest.mark.parametrize(
    ("name", "before", "now", "held"),
    [
        ("recall", 0.6, 0.54, False),
        ("recall", 0.6, 0.56, True),
        ("coverage", 0.6, 0.5, False),
        ("coverage", 0.5, 0.9, True),
        ("memorisation", 0.5, 0.6, False),
        ("memorisation", 0.5, 0.3, True),
        ("memorisation", 0.1, 0.42, True),  # still within the margin of what real items have (0.4)
    ],
)
def test_a_guard_stops_what_the_score_would_let_pass(name: str, before: float, now: float, held: bool) -> None:
    judged = gate.against(scores(8.0, **{name: before}), scores(5.0, seed=1, **{name: now}), 0.4, RULE)
    assert judged.promoted is held
    assert [guard.passed for guard in judged.guards if guard.name == name] == [held]
    assert held or name in judged.reason


def test_a_guard_without_a_value_asks_for_nothing_and_says_so() -> None:
    champion = scores(8.0)
    unmeasured = {**scores(5.0, seed=1), "recall": np.full((4, 5), np.nan)}
    judged = gate.against(champion, unmeasured, None, RULE)
    assert judged.promoted
    assert {guard.name for guard in judged.guards if "not measured" in guard.text} == {"recall", "memorisation"}


def test_failed_lanes_must_not_become_more() -> None:
    champion, challenger = scores(8.0), scores(5.0, seed=1)
    challenger["frechet"][0] = np.nan
    assert not gate.against(champion, challenger, 0.5, RULE).promoted
    champion["frechet"][2] = np.nan
    assert gate.against(champion, challenger, 0.5, RULE).promoted


@pytest.mark.parametrize(
    ("level", "verdict", "floor", "passes"),
    [(5.0, "healthy", 2.0, True), (7.0, "healthy", 2.0, False), (5.0, "oscillating", 2.0, False), (5.0, "healthy", None, False)],
)
def test_without_a_champion_absolute_guards_decide(level: float, verdict: str, floor: float | None, passes: bool) -> None:
    judged = gate.absolute(scores(level, noise=0.0), verdict, floor, RULE)
    assert judged.promoted is passes
    assert judged.effect is None


def test_without_a_champion_a_failed_half_is_not_good_enough() -> None:
    broken = scores(1.0)
    broken["frechet"][:2] = np.nan
    assert gate.median(broken["frechet"]) is None
    assert not gate.absolute(broken, "healthy", 10.0, RULE).promoted
