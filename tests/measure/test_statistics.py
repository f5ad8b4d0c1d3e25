"""Every statistic against SciPy, exact enumeration, a published table or a closed form."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stages.measure import intervals, paired, ranks, trajectory


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# intervals


def test_student_interval_is_scipys():
    values = rng(0).normal(3, 2, 9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    got = intervals.student(values, 0.9)
    assert got == pytest.approx((values.mean(), expected.low, expected.high), rel=1e-12)


def test_geometric_interval_is_the_exponential_of_the_logarithms_interval():
    values = rng(1).lognormal(0, 1, 7)
    low, high = stats.ttest_1samp(np.log(values), 0).confidence_interval(0.95)
    assert intervals.geometric(values, 0.95) == pytest.approx((stats.gmean(values), np.exp(low), np.exp(high)), rel=1e-12)


def test_student_interval_covers_as_often_as_it_says():
    draws = rng(2).normal(size=(4000, 5))
    covered = sum(i.low <= 0 <= i.high for i in (intervals.student(row, 0.95) for row in draws))
    assert abs(covered / 4000 - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 4000)  # four standard errors


@pytest.mark.parametrize(("k", "n"), [(0, 8), (3, 8), (8, 8), (1, 1), (40, 100)])
def test_wilson_interval_is_scipys(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    got = intervals.wilson(k, n, 0.95)
    assert got == pytest.approx((k / n, expected.low, expected.high), abs=1e-12)


@given(st.floats(0, 20), st.integers(1, 20))
def test_wilson_interval_holds_the_proportion(k, n):
    share = min(k, n)
    value, low, high = intervals.wilson(share, n, 0.95)
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1
    assert low < high


@pytest.mark.parametrize("bad", [[1.0], [1.0, np.nan], [[1.0, 2.0]]])
def test_intervals_refuse_what_they_cannot_use(bad):
    with pytest.raises(ValueError, match=r"needed|finite"):
        intervals.student(np.array(bad), 0.95)
    with pytest.raises(ValueError, match="above 0"):
        intervals.geometric(np.array([1.0, 0.0]), 0.95)
    with pytest.raises(ValueError, match="between 0 and n"):
        intervals.wilson(3, 2, 0.95)


# paired


def test_one_hypothesis_is_scipys_exact_permutation_test():
    d = rng(4).normal(0.5, 1, 9)
    expected = stats.permutation_test((d,), lambda x, axis: np.abs(x.sum(axis=axis)), permutation_type="samples", n_resamples=np.inf,
                                      alternative="greater", vectorized=True)  # fmt: skip
    result = paired.max_t(d[:, None])
    assert result.exact
    assert result.p[0] == pytest.approx(expected.pvalue, abs=1e-15)


def slow_max_t(d: np.ndarray) -> np.ndarray:
    """Westfall and Young's step-down by plain loops, on Student's t itself."""
    n, k = d.shape

    def t(x: np.ndarray) -> float:
        spread = x.std(ddof=1)
        return float("inf") if spread == 0 else abs(x.mean()) / (spread / np.sqrt(n))

    observed = [t(d[:, j]) for j in range(k)]
    order = sorted(range(k), key=lambda j: -observed[j])
    p, floor = np.empty(k), 0.0
    for i, j in enumerate(order):
        reached = 0
        for signs in itertools.product((1, -1), repeat=n):
            flipped = d * np.array(signs)[:, None]
            reached += max(t(flipped[:, m]) for m in order[i:]) >= observed[j] * (1 - 1e-9)
        floor = p[j] = max(floor, reached / 2**n)
    return p


@pytest.mark.parametrize("seed", range(4))
def test_max_t_is_the_exhaustive_step_down_on_students_t(seed):
    d = rng(seed).normal([0.0, 0.6, 1.2], 1.0, (6, 3)) + rng(seed + 50).normal(0, 0.5, (6, 1))
    assert paired.max_t(d).p == pytest.approx(slow_max_t(d), abs=1e-15)


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_smallest_p_is_reached_when_all_seeds_agree(n):
    d = -np.linspace(1, 2, n)[:, None] * np.ones((1, 4))
    result = paired.max_t(d)
    assert result.p == pytest.approx(np.full(4, 2.0 / 2**n))
    assert result.smallest == pytest.approx(result.p)


def test_seeds_on_which_nothing_differs_raise_the_smallest_p():
    d = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    result = paired.max_t(d)
    assert result.smallest == pytest.approx([2 / 2**6, 1.0])
    assert result.p[1] == 1.0
    assert paired.max_t(np.zeros((4, 1))).p == 1.0


def test_monte_carlo_agrees_with_enumeration_and_never_gives_zero():
    d = rng(7).normal(0.3, 1, (15, 2))
    got = paired.max_t(d, rng(0))
    flips = paired.all_signs(15)
    statistic = np.abs(flips @ d) / np.sqrt((d * d).sum(axis=0))
    observed = np.abs(d.sum(axis=0)) / np.sqrt((d * d).sum(axis=0))
    first = int(observed.argmax())
    expected = (statistic.max(axis=1) >= observed[first] - 1e-12).mean()
    assert not got.exact
    assert abs(got.p[first] - expected) < 5 * np.sqrt(expected * (1 - expected) / paired.DRAWS)
    assert paired.max_t(np.ones((20, 1)), rng(0)).p[0] >= 1 / (paired.DRAWS + 1)
    with pytest.raises(ValueError, match="generator"):
        paired.max_t(d)


def test_the_family_is_wrong_at_most_alpha_of_the_time():
    noise = rng(8).normal(size=(600, 8, 5)) + rng(9).normal(size=(600, 8, 1))  # five dependent true nulls
    wrong = np.mean([(paired.max_t(d).p <= 0.05).any() for d in noise])
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.1, 50.0))
def test_p_values_do_not_depend_on_scale_or_sign(seed, factor):
    d = rng(seed).normal(size=(6, 3))
    assert np.array_equal(paired.max_t(d).p, paired.max_t(-factor * d).p)


@pytest.mark.parametrize(("alpha", "needed"), [(0.5, 2), (0.05, 6), (0.01, 8), (0.001, 11)])
def test_seeds_needed_is_the_first_that_reaches_alpha(alpha, needed):
    assert paired.seeds_needed(alpha) == needed
    assert paired.smallest_p(needed) <= alpha < paired.smallest_p(needed - 1)


def test_signed_ranks_give_scipys_wilcoxon_statistic_and_rank_failures_highest():
    d = rng(10).normal(0.2, 1, 10)
    r = paired.signed_ranks(d)
    assert min(r[r > 0].sum(), -r[r < 0].sum()) == stats.wilcoxon(d).statistic
    assert paired.signed_ranks(np.array([0.5, -np.inf, 0.0, np.inf])).tolist() == [1.0, -2.5, 0.0, 2.5]
    with pytest.raises(ValueError, match="NaN"):
        paired.signed_ranks(np.array([np.nan]))


def test_welch_and_correlation_are_closed_forms_and_none_where_undefined():
    a, b = rng(11).normal(0, 1, 8), rng(12).normal(1, 3, 8)
    va, vb = a.var(ddof=1) / 8, b.var(ddof=1) / 8
    freedom = (va + vb) ** 2 / (va**2 / 7 + vb**2 / 7)
    assert paired.welch(a, b) == pytest.approx(2 * stats.t.sf(abs(a.mean() - b.mean()) / np.sqrt(va + vb), freedom), rel=1e-10)
    assert paired.welch(a, b) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-10)
    assert paired.correlation(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, rel=1e-10)
    assert paired.welch(a[:1], b) is None
    assert paired.welch(np.ones(3), np.zeros(3)) is None
    assert paired.correlation(np.ones(3), a[:3]) is None


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 2)), np.array([[np.nan]])])
def test_max_t_refuses_other_shapes(bad):
    with pytest.raises(ValueError, match="seeds, hypotheses"):
        paired.max_t(bad)


# ranks


def test_failed_lanes_share_the_worst_rank():
    values = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 2.0, 1.0, np.nan]])
    assert ranks.seed_ranks(values).tolist() == [[1.0, 3.5, 2.0, 3.5], [2.5, 2.5, 1.0, 4.0]]


def test_friedman_is_scipys():
    values = rng(13).normal([0, 0.5, 1, 1.5], 1, (7, 4))
    got = ranks.friedman(values, 0.05)
    assert got.p == pytest.approx(stats.friedmanchisquare(*values.T).pvalue, rel=1e-12)
    assert got.mean_ranks == pytest.approx(stats.rankdata(values, axis=1).mean(axis=0))


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])  # Demšar 2006, table 5(a)
def test_critical_difference_follows_the_published_table(k, q):
    got = ranks.friedman(rng(14).normal(size=(9, k)), 0.05).critical_difference
    assert got == pytest.approx(q * np.sqrt(k * (k + 1) / (6 * 9)), abs=1e-3)


def test_friedman_is_undefined_rather_than_wrong():
    assert ranks.friedman(np.ones((5, 3)), 0.05).p is None
    assert ranks.friedman(np.ones((5, 2)), 0.05).p is None
    assert ranks.friedman(np.ones((5, 1)), 0.05).critical_difference is None


def test_cliques_are_maximal_and_never_nested():
    assert ranks.cliques(np.array([3.0, 1.0, 2.0, 6.0]), 1.5) == [[1, 2], [2, 0]]
    assert ranks.cliques(np.array([1.0, 2.0, 3.0]), 5.0) == [[0, 1, 2]]
    assert ranks.cliques(np.array([1.0, 9.0]), 2.0) == []


def test_chance_of_being_best_counts_seeds_won():
    values = np.tile([[1.0, 2.0], [1.0, np.nan], [3.0, 3.0], [np.nan, np.nan]], (3, 1))
    first, second = ranks.best_chances(values, 0.95) or []
    assert (first.value, second.value) == (7.5 / 12, 1.5 / 12)
    assert first == intervals.wilson(7.5, 12, 0.95)
    assert ranks.best_chances(values[:9], 0.95) is None


def test_a_median_counts_failures_as_worst():
    nan = np.nan
    assert ranks.median_with_failures(np.array([3.0, 1.0, nan])) == 3.0
    assert ranks.median_with_failures(np.array([1.0, 3.0, nan, nan])) is None
    assert ranks.median_with_failures(np.array([4.0, 1.0, 2.0, nan])) == 3.0
    assert ranks.median_with_failures(np.array([])) is None


# trajectory


def test_level_of_an_exponential_decay_is_its_value_halfway():
    steps = [0, 100, 250, 1000]
    assert trajectory.level(steps, 5 * np.exp(-0.003 * np.array(steps))) == pytest.approx(5 * np.exp(-1.5), rel=1e-12)
    assert trajectory.level([7], np.array([3.0])) == 3.0
    assert trajectory.level([0, 1], np.array([1.0, np.nan])) is None
    assert trajectory.level([0, 1], np.array([1.0, 0.0])) is None


def test_affordable_is_the_last_snapshot_within_the_budget():
    assert trajectory.affordable([0, 300, 600], 2.0, 1200.0) == 2
    assert trajectory.affordable([0, 300, 600], 2.0, 1199.0) == 1
    assert trajectory.affordable([300], 2.0, 10.0) is None
