"""The metrics of two sets of features: closed forms, slow references, other libraries, staged failures, ties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import polynomial_kernel
from sklearn.neighbors import NearestNeighbors

from stages.measure import distances
from stages.measure.baseline import gaussian_mixture
from stages.measure.features import Encoded
from stages.measure.frechet import Moments, frechet, frechet_infinity, intercept, moments
from stages.measure.kernel import kernel_distance
from stages.measure.neighbours import memorisation
from stages.measure.quality import METRICS, Space, average, cloud, floors, panel, score, splits, summary
from stages.measure.sliced import directions, projected, sliced_wasserstein, squared_wasserstein
from stages.measure.spread import jackknife_error, standard_error, without_blocks


def normal(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def space(d: int) -> Space:
    return Space(torch.zeros(d, dtype=torch.float64))


def scored(real: torch.Tensor, fake: torch.Tensor) -> dict[str, float | None]:
    where = space(real.shape[1])
    return score(cloud(Encoded(real), where), cloud(Encoded(fake), where))


def gaussian(mean: list[float], covariance: np.ndarray) -> Moments:
    return Moments(torch.tensor(mean, dtype=torch.float64), torch.from_numpy(np.linalg.cholesky(covariance).T.copy()))


class TestFrechet:
    def test_one_dimension_is_the_difference_of_means_and_of_deviations(self) -> None:
        # d² = (m₁ − m₂)² + (s₁ − s₂)²
        one, two = gaussian([1.0], np.array([[4.0]])), gaussian([-2.0], np.array([[0.25]]))
        assert frechet(one, two) == pytest.approx(9.0 + 1.5**2, rel=1e-12)

    def test_commuting_covariances_differ_by_the_roots_of_their_eigenvalues(self) -> None:
        turn = np.linalg.qr(np.arange(9.0).reshape(3, 3) + np.eye(3))[0]
        first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 25.0])
        one, two = (gaussian([0.0] * 3, turn @ np.diag(values) @ turn.T) for values in (first, second))
        assert frechet(one, two) == pytest.approx(1.0 + 1.0 + 4.0, rel=1e-10)  # Σ (√a − √b)²

    def test_moments_are_those_of_numpy_whatever_the_block(self, monkeypatch: pytest.MonkeyPatch) -> None:
        x = normal(50, 4) * torch.tensor([1.0, 10.0, 0.1, 3.0]) + 1000.0
        monkeypatch.setattr("stages.measure.frechet.BLOCK", 7)
        mean, factor = moments(x)
        np.testing.assert_allclose(mean, x.numpy().mean(0), rtol=1e-12)
        np.testing.assert_allclose((factor.T @ factor).numpy(), np.cov(x.numpy().T), rtol=1e-9, atol=1e-9)

    def test_agrees_with_torchmetrics_on_the_same_moments(self) -> None:
        from torchmetrics.image.fid import _compute_fid

        one, two = normal(200, 16), normal(300, 16, 1) * 1.5 + 0.3
        theirs = _compute_fid(one.mean(0), one.T.cov(), two.mean(0), two.T.cov()).item()
        assert frechet(moments(one), moments(two)) == pytest.approx(theirs, rel=1e-4)

    def test_fewer_samples_than_dimensions_equals_the_same_samples_without_the_idle_dimensions(self) -> None:
        one, two = normal(6, 3), normal(7, 3, 1) + 1.0
        turn = torch.linalg.qr(normal(40, 40, 2)).Q[:3]  # three directions of forty: distances do not change
        assert frechet(moments(one @ turn), moments(two @ turn)) == pytest.approx(frechet(moments(one), moments(two)), rel=1e-9)

    def test_a_constant_output_costs_the_variance_of_the_data(self) -> None:
        real, point = normal(100, 5), torch.zeros(20, 5)
        expected = real.mean(0).square().sum() + real.var(0).sum()
        assert frechet(moments(real), moments(point)) == pytest.approx(expected.item(), rel=1e-12)

    def test_extrapolation_recovers_the_intercept_of_an_exact_line(self) -> None:
        x = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
        value, error = intercept(x, 3.0 + 5.0 * x)
        assert value == pytest.approx(3.0, rel=1e-12)
        assert error == pytest.approx(0.0, abs=1e-9)

    def test_extrapolation_standard_error_is_scipys(self) -> None:
        from scipy.stats import linregress

        x, y = np.array([0.1, 0.2, 0.4, 0.5]), np.array([1.0, 1.3, 1.1, 1.9])
        fit = linregress(x, y)
        value, error = intercept(torch.from_numpy(x), torch.from_numpy(y))
        assert (value, error) == (pytest.approx(fit.intercept, rel=1e-10), pytest.approx(fit.intercept_stderr, rel=1e-10))

    def test_extrapolation_removes_most_of_the_bias_of_the_generated_side(self) -> None:
        # the reference is the exact standard normal, so all bias comes from the number of samples
        exact, pool = Moments(torch.zeros(8, dtype=torch.float64), torch.eye(8, dtype=torch.float64)), normal(3000, 8)
        plain = frechet(exact, moments(pool[:300]))
        value, _ = frechet_infinity([exact], pool, 300, torch.Generator().manual_seed(0))
        assert abs(value) < 0.25 * plain

    @pytest.mark.parametrize(("smallest", "total"), [(1, 30), (30, 30), (29, 30)])
    def test_extrapolation_refuses_sizes_that_give_no_line(self, smallest: int, total: int) -> None:
        with pytest.raises(ValueError, match="at least 3 different sizes"):
            frechet_infinity([moments(normal(9, 2))], normal(total, 2), smallest, torch.Generator())

    def test_one_sample_has_no_covariance(self) -> None:
        with pytest.raises(ValueError, match="at least 2"):
            moments(normal(1, 3))


class TestKernel:
    def test_agrees_with_a_double_loop(self) -> None:
        x, y = normal(5, 3), normal(4, 3, 1)

        def k(a: torch.Tensor, b: torch.Tensor) -> float:
            return float((a @ b / 3 + 1) ** 3)

        within_x = np.mean([k(x[i], x[j]) for i in range(5) for j in range(5) if i != j])
        within_y = np.mean([k(y[i], y[j]) for i in range(4) for j in range(4) if i != j])
        assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * np.mean([k(a, b) for a in x for b in y]), rel=1e-10)

    def test_agrees_with_torchmetrics_and_scikit_learn_on_the_same_features(self) -> None:
        from torchmetrics.image.kid import poly_mmd

        x, y = normal(60, 8), normal(60, 8, 1) + 0.5
        assert kernel_distance(x, y) == pytest.approx(poly_mmd(x, y).item(), rel=1e-4)
        cross = polynomial_kernel(x.numpy(), y.numpy(), degree=3, gamma=1 / 8, coef0=1).mean()
        own = [
            (np.sum(g) - np.trace(g)) / (60 * 59) for g in (polynomial_kernel(v.numpy(), degree=3, gamma=1 / 8, coef0=1) for v in (x, y))
        ]
        assert kernel_distance(x, y) == pytest.approx(sum(own) - 2 * cross, rel=1e-9)

    def test_is_unbiased(self) -> None:
        values = [kernel_distance(normal(20, 4, 2 * s), normal(20, 4, 2 * s + 1)) for s in range(200)]
        assert abs(np.mean(values)) < 4 * standard_error(values)
        assert min(values) < 0


def slow_neighbours(real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
    """The definitions, by scikit-learn's neighbours and direct distances."""

    def balls(x: np.ndarray, k: int) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(x).kneighbors(x)[0][:, k]

    between = np.sqrt(((real[:, None] - fake[None]) ** 2).sum(-1))
    return {
        "precision": float((between <= balls(real, 3)[:, None]).any(0).mean()),
        "recall": float((between <= balls(fake, 3)[None]).any(1).mean()),
        "density": float((between <= balls(real, 5)[:, None]).sum() / (5 * len(fake))),
        "coverage": float((between.min(1) <= balls(real, 5)).mean()),
    }


class TestNeighbours:
    @pytest.mark.parametrize("dimensions", [3, 12])  # by a tree, by every pair
    @pytest.mark.parametrize("offset", [0.0, 50.0])
    def test_agrees_with_the_definitions(self, offset: float, dimensions: int) -> None:
        real, fake = normal(80, dimensions) + offset, 1.2 * normal(90, dimensions, 1) + 0.4 + offset
        measured, slow = scored(real, fake), slow_neighbours(real.numpy(), fake.numpy())
        assert {name: measured[name] for name in slow} == pytest.approx(slow, abs=1e-12)

    def test_small_blocks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real, fake = normal(150, 12), normal(140, 12, 1) + 0.4
        whole = scored(real, fake)
        monkeypatch.setattr(distances, "BLOCK", 1)
        monkeypatch.setattr(distances, "ROWS", 7)
        assert scored(real, fake) == pytest.approx(whole, rel=1e-12)

    def test_staged_collapse_is_precise_and_recalls_little(self) -> None:
        real = torch.cat([normal(60, 2, s) * 0.1 + torch.tensor(c) for s, c in enumerate([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0], [5.0, 5.0]])])
        measured = scored(real, normal(240, 2, 9) * 0.1)  # one of four modes
        assert measured["precision"] > 0.9
        assert measured["recall"] < 0.3
        assert measured["coverage"] < 0.3

    def test_noise_around_the_data_recalls_and_is_not_precise(self) -> None:
        measured = scored(normal(200, 2) * 0.1, normal(200, 2, 1) * 3.0)
        assert measured["precision"] < 0.1
        assert measured["recall"] > 0.9

    def test_one_repeated_real_item_is_precise_and_recalls_only_itself(self) -> None:
        real = normal(50, 4)
        measured = scored(real, real[7:8].repeat(50, 1))
        assert measured["precision"] == 1.0
        assert measured["recall"] == pytest.approx(1 / 50)  # balls of radius 0 hold exact hits

    def test_equal_sets_score_full_marks_despite_rounding(self) -> None:
        real = (normal(300, 64) * 0.01 + 7.0).float().double()
        order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
        measured = scored(real, real[order])
        assert [measured[name] for name in ("precision", "recall", "coverage")] == [1.0, 1.0, 1.0]

    def test_a_set_of_identical_items_matches_itself_and_nothing_else(self) -> None:
        here, there = torch.ones(20, 3), torch.ones(20, 3) + 1e-3
        assert scored(here, here)["coverage"] == 1.0
        assert scored(here, there)["precision"] == 0.0
        assert scored(here, here)["frechet"] == 0.0

    def test_a_distant_outlier_does_not_blur_the_others(self) -> None:
        real, fake = normal(50, 2), normal(50, 2, 1) + 100.0
        far = torch.cat([fake[:-1], torch.full((1, 2), 1e9)])
        assert scored(real, far)["precision"] == 0.0

    def test_too_few_samples_have_no_balls(self) -> None:
        measured = scored(normal(5, 2), normal(5, 2, 1))
        assert measured["precision"] is None
        assert measured["frechet"] is not None

    def test_non_finite_samples_are_refused(self) -> None:
        broken = normal(10, 2)
        broken[3, 1] = torch.inf
        with pytest.raises(ValueError, match="NaN or infinity"):
            cloud(Encoded(broken), space(2))


class TestNearest:
    """Every tie and every double: points of a small lattice, several times over."""

    def setup_method(self) -> None:
        choose = torch.Generator().manual_seed(3)
        self.x, self.y = (torch.randint(0, 4, (n, 3), generator=choose).float() for n in (60, 90))
        self.exact = (self.x.double()[:, None] - self.y.double()[None]).square().sum(2)

    @pytest.mark.parametrize("tree", [0, 8])
    def test_bounds_hold_the_exact_distance(self, tree: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(distances, "TREE", tree)
        low, index = distances.nearest(self.x, self.y, torch.zeros(3, dtype=torch.float64))
        exact = self.exact.min(1).values
        assert bool((low <= exact).all())
        torch.testing.assert_close(low, exact, rtol=1e-13, atol=1e-12)
        assert torch.equal(self.exact[torch.arange(60), index], exact)

    @pytest.mark.parametrize("tree", [0, 8])
    def test_a_point_is_not_its_own_neighbour_and_a_double_is(self, tree: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(distances, "TREE", tree)
        high = distances.radii(self.x, torch.zeros(3, dtype=torch.float64), (1, 4))
        own = (self.x.double()[:, None] - self.x.double()[None]).square().sum(2).fill_diagonal_(torch.inf).sort(1).values
        exact = torch.stack([own[:, 0], own[:, 3]])
        assert bool((high >= exact).all())
        torch.testing.assert_close(high, exact, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("dimensions", [6, 12])  # by a tree, by every pair
class TestMemorisation:
    @pytest.fixture(autouse=True)
    def train_set(self, dimensions: int) -> None:
        self.train = normal(200, dimensions)
        self.centre = torch.zeros(dimensions, dtype=torch.float64)
        self.spacing = distances.radii(self.train, self.centre, (1,))[0]

    def share(self, fake: torch.Tensor) -> float:
        return memorisation(self.train, self.spacing, fake, self.centre)

    def test_copies_count_and_far_samples_do_not(self, dimensions: int) -> None:
        assert self.share(self.train[:50]) == 1.0
        assert self.share(self.train[:50] + 1e-6) == 1.0
        assert self.share(normal(50, dimensions, 1) + 100.0) == 0.0

    def test_half_copies_lie_between_the_floor_and_one(self, dimensions: int) -> None:
        fresh = normal(200, dimensions, 1)
        floor = self.share(fresh)
        assert 0.0 < floor < 1.0
        assert self.share(torch.cat([self.train[:100], fresh[:100]])) == pytest.approx((1.0 + self.share(fresh[:100])) / 2)

    def test_a_copy_of_a_duplicated_item_counts(self) -> None:
        train = torch.cat([self.train, self.train[:1]])
        spacing = distances.radii(train, self.centre, (1,))[0]
        assert memorisation(train, spacing, train[:1], self.centre) == 1.0


class TestSlicedWasserstein:
    def test_a_shift_costs_its_length_over_the_root_of_the_dimension(self) -> None:
        # every projection is moved by u·v, and the mean of (u·v)² over the sphere is |v|²/d
        x, lines = normal(100, 3), directions(3, torch.Generator().manual_seed(0), 20_000)
        distance = sliced_wasserstein(projected(x, lines), projected(x + torch.tensor([3.0, 0.0, 0.0]), lines))
        assert distance == pytest.approx(math.sqrt(9 / 3), rel=0.02)

    def test_unequal_counts_equal_repeated_samples(self) -> None:
        x, y = normal(2, 4).sort(1).values, normal(2, 6, 1).sort(1).values
        repeated = squared_wasserstein(x.repeat_interleave(3, 1), y.repeat_interleave(2, 1))
        torch.testing.assert_close(squared_wasserstein(x, y), repeated)

    def test_one_dimension_is_scipys_on_unequal_counts(self) -> None:
        from scipy.stats import wasserstein_distance

        shifted = normal(6, 1) + 100.0  # all of y right of x: the distance of order 1 is the difference of means, and bounds order 2 below
        lines = torch.ones(1, 1, dtype=torch.float64)
        distance = sliced_wasserstein(projected(normal(5, 1, 1), lines), projected(shifted, lines))
        order_one = wasserstein_distance(normal(5, 1, 1)[:, 0].numpy(), shifted[:, 0].numpy())
        assert order_one <= distance <= order_one + 1.0


class TestSpread:
    def test_the_jackknife_of_a_mean_is_its_standard_error_when_blocks_are_single_items(self) -> None:
        values = normal(10, 1)[:, 0]
        left_out = [values[keep].mean().item() for keep in without_blocks(10, 10)]
        assert jackknife_error(left_out) == pytest.approx(standard_error(values.tolist()), rel=1e-9)

    def test_blocks_partition_the_items(self) -> None:
        kept = list(without_blocks(23, 10))
        missing = torch.cat([torch.tensor(sorted(set(range(23)) - set(keep.tolist()))) for keep in kept])
        assert sorted(missing.tolist()) == list(range(23))

    @pytest.mark.parametrize("estimate", [standard_error, jackknife_error])
    def test_one_value_has_no_spread(self, estimate) -> None:
        with pytest.raises(ValueError, match="at least 2"):
            estimate([1.0])

    def test_the_reported_spread_matches_repetition_with_fresh_data(self) -> None:
        def one(seed: int) -> dict[str, float | None]:
            real, fakes = normal(80, 3, 1000 + seed), [normal(40, 3, 5000 + 10 * seed + i) * 1.3 for i in range(4)]
            judged = panel(Encoded(real[:40]), Encoded(real[40:]), space(3))
            clouds = [cloud(Encoded(fake), space(3)) for fake in fakes]
            return summary([judged.score(each) for each in clouds], judged.real_errors(clouds[0]))["frechet"]

        runs = [one(seed) for seed in range(60)]
        true = float(np.std([run["value"] for run in runs], ddof=1))
        assert np.mean([run["spread"] for run in runs]) == pytest.approx(true, rel=0.4)  # 60 repetitions know the deviation to about 10%

    def test_a_metric_without_a_value_in_one_draw_has_none(self) -> None:
        assert average([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": None}]) == {"a": 2.0, "b": None}
        assert summary([{"b": None}, {"b": 1.0}], {})["b"]["spread"] is None


class TestFloors:
    def test_identical_distributions_meet_their_floor(self) -> None:
        real, where = Encoded(normal(400, 4)), space(4)
        floor = floors(splits(real, 200, torch.Generator().manual_seed(0), 5), where)
        judged = panel(*splits(real, 200, torch.Generator().manual_seed(1), 1)[0], where)
        values = [judged.score(cloud(Encoded(normal(200, 4, seed)), where)) for seed in range(10, 20)]
        for name in ("frechet", "precision", "recall", "coverage", "density"):
            assert average(values)[name] == pytest.approx(floor[name], rel=0.25)
        assert floor["frechet"] > 0.0

    def test_halves_are_disjoint_and_need_enough_items(self) -> None:
        one, two = splits(Encoded(torch.arange(10.0)[:, None]), 5, torch.Generator().manual_seed(0), 1)[0]
        assert sorted(torch.cat([one.features, two.features])[:, 0].tolist()) == list(range(10))
        with pytest.raises(ValueError, match="cannot be cut"):
            splits(Encoded(normal(9, 1)), 5, torch.Generator(), 1)

    def test_unequal_halves_are_refused(self) -> None:
        with pytest.raises(ValueError, match="equal sizes"):
            panel(Encoded(normal(9, 1)), Encoded(normal(8, 1)), space(1))


class TestBaseline:
    def test_it_lands_near_the_mixture_it_was_fitted_on(self) -> None:
        rng = np.random.default_rng(0)
        train = rng.normal(size=(400, 2)) * 0.1 + rng.choice([-2.0, 2.0], size=(400, 1))
        drawn = gaussian_mixture(train, 300, np.random.default_rng(1))
        assert drawn.shape == (300, 2)
        near = np.minimum(np.linalg.norm(drawn - 2.0, axis=1), np.linalg.norm(drawn + 2.0, axis=1))
        assert (near < 0.5).mean() > 0.95

    def test_images_keep_their_shape_and_constant_data_come_back(self) -> None:
        assert gaussian_mixture(np.zeros((30, 1, 4, 4), np.uint8), 7, np.random.default_rng(0)).shape == (7, 1, 4, 4)
        assert (gaussian_mixture(np.full((5, 3), 2.0), 4, np.random.default_rng(0)) == 2.0).all()

    def test_one_item_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 2"):
            gaussian_mixture(np.zeros((1, 2)), 3, np.random.default_rng(0))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(7, 30), st.integers(1, 6), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_properties(seed: int, n: int, d: int, stretch: float, shift: float) -> None:
    real, fake = normal(n, d, seed), normal(n, d, seed + 1) * stretch + shift
    measured = scored(real, fake)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert scored(real[order], fake) == pytest.approx(measured, rel=1e-8, abs=1e-8)  # the order of items means nothing
    assert set(measured) <= set(METRICS)
    assert all(0.0 <= measured[name] <= 1.0 for name in ("precision", "recall", "coverage"))
    assert measured["density"] >= 0.0
    back = scored(fake, real)
    assert back["frechet"] == pytest.approx(measured["frechet"], rel=1e-8, abs=1e-10)
    assert back["precision"] == measured["recall"]
    assert scored(real, real)["frechet"] == pytest.approx(0.0, abs=1e-12 * n * d)
    moved = scored(real + 3.0, fake + 3.0)  # Fréchet and neighbours know distances only
    assert [moved[name] for name in ("precision", "recall", "density", "coverage")] == [
        measured[name] for name in ("precision", "recall", "density", "coverage")
    ]
    assert moved["frechet"] == pytest.approx(measured["frechet"], rel=1e-7, abs=1e-9)
