"""Modes: which are found, how they are counted, how far their shares are from the real ones."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.measure.judge import reverse_kl_expected
from stages.measure.modes import modes_expected, modes_found, nearest_mode, reverse_kl

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]], dtype=torch.float64)


def test_three_standard_deviations_are_the_reach_edge_included() -> None:
    samples = torch.tensor([[0.0, 0.0], [10.0, 1.5], [0.0, 8.4], [5.0, 5.0]], dtype=torch.float64)
    modes, good = nearest_mode(samples, CENTRES, torch.tensor(0.5, dtype=torch.float64))
    assert modes.tolist() == [0, 1, -1, -1]  # 1.5 is exactly 3 deviations, 1.6 is more
    assert good.tolist() == [True, True, False, False]


def test_each_axis_may_have_its_own_deviation() -> None:
    samples = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    assert nearest_mode(samples, CENTRES, torch.tensor([1.0, 0.1], dtype=torch.float64))[0].tolist() == [0, -1]


def test_counting_rules() -> None:
    modes = torch.tensor([0] * 20 + [1] * 19 + [-1] * 50)
    assert (modes_found(modes, 3), modes_found(modes, 3, 20)) == (2, 1)
    assert modes_found(torch.full((5,), -1), 3) == 0


def test_reverse_kl_of_known_shares() -> None:
    # p = (3/4, 1/4, 0) against the uniform: ¾ ln(9/4) + ¼ ln(3/4)
    value = reverse_kl(torch.tensor([0, 0, 0, 1, -1]), torch.ones(3))
    assert value == pytest.approx(0.75 * math.log(9 / 4) + 0.25 * math.log(3 / 4), rel=1e-12)


def test_one_mode_of_k_costs_log_k() -> None:
    assert reverse_kl(torch.zeros(7, dtype=torch.int64), torch.ones(8)) == pytest.approx(math.log(8), rel=1e-12)


def test_reverse_kl_is_undefined_without_samples_or_with_a_mode_that_real_data_lack() -> None:
    assert reverse_kl(torch.tensor([-1, -1]), torch.ones(3)) is None
    assert reverse_kl(torch.tensor([0, 2]), torch.tensor([1.0, 1.0, 0.0])) is None
    assert reverse_kl(torch.tensor([0, 1]), torch.tensor([1.0, 1.0, 0.0])) == pytest.approx(0.0, abs=1e-12)


def test_expected_modes_of_an_ideal_generator() -> None:
    # two equal modes and two samples: both seen with probability ½, so 1.5 expected
    assert modes_expected(torch.ones(2), 2) == pytest.approx(1.5, rel=1e-12)
    assert modes_expected(torch.ones(2), 2, at_least=2) == pytest.approx(0.5, rel=1e-12)
    assert modes_expected(torch.ones(1000), 26_000) == pytest.approx(1000 * (1 - 0.999**26_000), rel=1e-12)


def test_expected_divergence_of_an_ideal_generator_is_that_of_every_outcome_weighed() -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 0.0])
    assert reverse_kl_expected(torch.ones(5), 1) == pytest.approx(math.log(5), rel=1e-12)
    outcomes = [torch.tensor(modes) for modes in itertools.product(range(3), repeat=4)]
    chances = [(weights[modes] / 6).double().prod().item() for modes in outcomes]
    assert sum(chances) == pytest.approx(1.0, rel=1e-6)
    values = [reverse_kl(modes, weights) for modes in outcomes]
    assert reverse_kl_expected(weights, 4) == pytest.approx(float(np.dot(chances, values)), rel=1e-6)


def test_expected_divergence_of_many_samples_is_half_a_degree_of_freedom_each() -> None:
    # 2n KL is about a chi-square of k - 1 degrees of freedom (Wilks)
    assert reverse_kl_expected(torch.arange(20.0, 45.0), 100_000) == pytest.approx(24 / 200_000, rel=1e-2)


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60))
def test_reverse_kl_is_never_negative_and_ignores_order(values: list[int]) -> None:
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    value, again = reverse_kl(torch.tensor(values), weights), reverse_kl(torch.tensor(values[::-1]), weights)
    assert value == again
    assert value is None or 0.0 <= value <= math.log(15) + 1e-12
