"""The sampler: a function of the finished trials and a seed, within its ranges, that learns."""

import math

import numpy as np
import pytest

from stages.measure.ranges import RANGES, Range
from stages.store.study import STARTUP, Tried, suggest

SPACE = [Range("rules.generator_lr", None, (), 1e-4, 1e-2), Range("rules.critic_steps", None, (), choices=(1, 2, 5))]


def score(values) -> float | None:
    """Best at a rate of 1e-3 and one critic step; a rate above 5e-3 fails."""
    rate = values["rules.generator_lr"]
    return None if rate > 5e-3 else abs(math.log(rate / 1e-3)) + values["rules.critic_steps"]


def played(trials: int, base: int = 0) -> list[Tried]:
    finished: list[Tried] = []
    for number in range(trials):
        values = suggest(SPACE, finished, base + number)
        finished.append(Tried(values, score(values)))
    return finished


def test_the_same_seeds_give_the_same_study_and_others_another():
    assert played(8) == played(8)
    assert played(8) != played(8, base=100)


def test_a_suggestion_depends_on_what_was_seen_before():
    seen = played(STARTUP + 1)
    worse = [Tried(trial.values, -(trial.score or 0.0)) for trial in seen]
    seeds = range(20)
    assert [suggest(SPACE, seen, seed) for seed in seeds] != [suggest(SPACE, worse, seed) for seed in seeds]


@pytest.mark.parametrize("seed", range(12))
def test_every_suggestion_lies_within_its_range(seed):
    for one in RANGES:
        value = suggest([one], [], seed)[one.key]
        assert one.holds(value)
        assert value in one.choices or value == float(f"{value:.3g}")


def test_a_failed_trial_is_the_worst_not_forgotten():
    """After trials that failed at high rates the sampler keeps away from them, as it does from a very bad score."""
    rates = np.geomspace(1e-4, 1e-2, 12)
    failed = [Tried({"rules.generator_lr": float(rate), "rules.critic_steps": 1}, None if rate > 1e-3 else 1.0) for rate in rates]
    chosen = [suggest(SPACE, failed, seed)["rules.generator_lr"] for seed in range(40)]
    uninformed = [suggest(SPACE, [], seed)["rules.generator_lr"] for seed in range(40)]
    assert np.mean(np.array(chosen) > 1e-3) < np.mean(np.array(uninformed) > 1e-3)


def test_values_outside_the_ranges_are_not_shown_to_the_sampler():
    """A variant may be written with them: they are a trial, and no error."""
    outside = Tried({"rules.generator_lr": 1.0, "rules.critic_steps": 7}, 0.0)
    assert suggest(SPACE, [outside], 3) == suggest(SPACE, [], 3)
