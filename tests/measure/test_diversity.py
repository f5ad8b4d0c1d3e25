"""Diversity in closed form: lattices, copies, entropies."""

import math

import pytest
import torch

from stages.measure.diversity import effective_modes, spacing


def lattice(side, step):
    axis = torch.arange(side).double() * step
    return torch.cartesian_prod(axis, axis)


@pytest.mark.parametrize("step", [1e-3, 1.0, 250.0])
def test_a_lattice_has_its_step(step):
    assert spacing(lattice(12, step) + 1e4 * step) == pytest.approx(step)


def test_copies_lie_at_zero_exactly_and_half_of_them_decide():
    points = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)).double() + 1e3
    assert spacing(points.repeat(2, 1)) == 0.0
    few = torch.cat([points, points[:5]])  # 10 of 45 have a copy
    assert 0.5 * spacing(points) < spacing(few) <= spacing(points)


def test_it_is_the_median_of_every_pair_s_smallest():
    points = torch.randn(700, 5, generator=torch.Generator().manual_seed(1)).double()
    every = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(math.inf)
    assert spacing(points) == pytest.approx(every.min(1).values.quantile(0.5).item(), rel=1e-12)


def test_samples_drawn_together_lie_nearer_in_proportion():
    points = torch.randn(200, 4, generator=torch.Generator().manual_seed(2)).double()
    assert spacing(0.3 * points + 7) / spacing(points) == pytest.approx(0.3)


def test_fewer_than_two_have_no_distance():
    assert spacing(torch.zeros(1, 3)) is None


def test_effective_modes_count_equal_ones():
    assert effective_modes([0.25] * 4) == pytest.approx(4.0)
    assert effective_modes([0.0, 1.0, 0.0]) == 1.0
    assert effective_modes([0.1, 0.1]) == pytest.approx(2.0)  # the rest lies in no mode
    assert effective_modes([0.9, 0.1]) == pytest.approx(math.exp(0.9 * math.log(1 / 0.9) + 0.1 * math.log(10)))
    assert effective_modes([0.0, 0.0]) is None
