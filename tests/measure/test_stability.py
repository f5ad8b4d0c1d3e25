"""When a ranking is stable: swaps by mean rank, and which of them the paired test gives a meaning."""

import numpy as np
import pytest

from stages.measure import paired, stability

ALPHA = 0.05
RNG = np.random.default_rng(0)
SEED = np.exp(0.3 * RNG.normal(size=(8, 1)))  # what a seed does to every variant alike


def scores(*middles: float, n: int = 8, spread: float = 0.01) -> np.ndarray:
    """`[n, K]` scores about these middles, far apart beside their spread."""
    return np.array(middles) * SEED[:n] * np.exp(spread * RNG.normal(size=(n, len(middles))))


def shown(found):
    return [(swap.condition, swap.before, swap.after, swap.kind) for swap in found]


def test_the_same_order_everywhere_is_stable():
    found = stability.swaps([scores(1, 2, 3), scores(10, 20, 30), scores(1, 5, 6)], ALPHA)
    assert found == []
    assert stability.verdict(found) == "stable"


def test_a_swap_of_separated_variants_is_a_change_and_says_where():
    found = stability.swaps([scores(1, 2, 3), scores(1, 2, 3), scores(2, 1, 3)], ALPHA)
    assert shown(found) == [(2, 0, 1, "changed")]
    assert stability.verdict(found) == "unstable"


def test_a_swap_that_was_never_separated_is_not_a_change():
    """Five seeds of eight one way, then five the other: mean ranks cross, no sign-flip test can tell the two apart."""
    lean = np.where(np.arange(8) < 5, 1.1, 1 / 1.1)
    ahead, behind = np.stack([np.ones(8), lean], axis=1), np.stack([np.ones(8), 1 / lean], axis=1)
    found = stability.swaps([ahead, behind], ALPHA)
    assert shown(found) == [(1, 0, 1, "not_separated")]
    assert stability.verdict(found) == "stable"


def test_separation_under_one_condition_is_enough():
    """Undecided as declared, clearly the other way elsewhere: a conclusion that does not carry over."""
    lean = np.where(np.arange(8) < 5, 1.1, 1 / 1.1)
    found = stability.swaps([np.stack([np.ones(8), lean], axis=1), scores(2, 1)], ALPHA)
    assert shown(found) == [(1, 0, 1, "changed")]


def test_few_seeds_cannot_say():
    found = stability.swaps([scores(1, 2, n=5), scores(2, 1, n=5)], ALPHA)
    assert shown(found) == [(1, 0, 1, "not_testable")]
    assert stability.verdict(found) == "not_testable"
    assert stability.swaps([scores(1, 2, n=5), scores(1, 2, n=5)], ALPHA) == []


def test_equal_mean_ranks_have_no_order_to_swap():
    tied = np.array([[1.0, 2.0], [2.0, 1.0]] * 4)
    assert stability.swaps([tied, scores(2, 1)], ALPHA) == []
    assert stability.swaps([scores(2, 1), tied], ALPHA) == []


def test_failed_lanes_are_the_worst_of_their_seed():
    values = scores(1, 2, 3)
    values[:, 0] = np.nan
    np.testing.assert_allclose(stability.mean_ranks(values), [3, 1, 2])
    found = stability.swaps([scores(1, 2, 3), values], ALPHA)
    assert {(swap.before, swap.after, swap.kind) for swap in found} == {(0, 1, "changed"), (0, 2, "changed")}


def test_the_family_is_every_pair_within_a_condition():
    values = scores(1, 1.01, 1.02, spread=0.02)
    pairs = [(0, 1), (0, 2), (1, 2)]
    logs = np.log(values)
    expected = paired.max_t(np.stack([logs[:, a] - logs[:, b] for a, b in pairs], axis=1)).p
    np.testing.assert_allclose([one.p for one in stability.tested(values, pairs, ALPHA)], expected)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_the_verdict_does_not_depend_on_the_order_of_the_variants(order):
    declared, other = scores(1, 2, 3), scores(2, 1, 3)
    found = stability.swaps([declared[:, order], other[:, order]], ALPHA)
    assert [(order[swap.before], order[swap.after], swap.kind) for swap in found] == [(0, 1, "changed")]
