"""Measures of one step against their definitions and closed forms."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from stages.game.losses.hinge import hinge
from stages.game.losses.minimax import minimax
from stages.game.losses.relativistic import relativistic
from stages.measure import step


def logits(seed):
    return torch.randn(3, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).round(decimals=1)


def test_auc_is_scikit_learns_ties_included():
    real, fake = logits(0) + 0.3, logits(1)
    for lane, value in enumerate(step.auc(real, fake)):
        truth = torch.cat([torch.ones(20), torch.zeros(20)])
        assert float(value) == pytest.approx(roc_auc_score(truth, torch.cat([real[lane], fake[lane]])), abs=1e-12)


def test_auc_is_scale_free_half_for_equals_and_nan_for_nan():
    real, fake = logits(0), logits(1)
    torch.testing.assert_close(step.auc(real, fake), step.auc(3 * real + 1, 3 * fake + 1))
    assert step.auc(torch.zeros(2, 4), torch.zeros(2, 4)).tolist() == [0.5, 0.5]
    broken = real.clone()
    broken[1, 0] = float("nan")
    assert step.auc(broken, fake).isnan().tolist() == [False, True, False]


def test_saturation_is_the_analytic_slope():
    """minimax: |∂/∂b (-softplus(b))| = σ(b); hinge: 1."""
    fake = logits(2) * 5
    torch.testing.assert_close(step.saturation(minimax().generator, fake, fake), torch.sigmoid(fake).mean(1))
    assert step.saturation(hinge().generator, fake, fake).tolist() == [1.0, 1.0, 1.0]


def test_saturation_of_a_relativistic_loss_reads_the_real_logits():
    """softplus(a - b): |slope| = σ(a - b)."""
    real, fake = logits(3), logits(4)
    torch.testing.assert_close(step.saturation(relativistic().generator, real, fake), torch.sigmoid(real - fake).mean(1))


def test_norms_are_per_lane_and_add_in_squares():
    pieces = [torch.full((2, 3, 3), 2.0), torch.tensor([[3.0, 4.0], [0.0, 0.0]])]
    found = step.norms(pieces)
    torch.testing.assert_close(found[1:], torch.tensor([[6.0, 6.0], [5.0, 0.0]]))
    torch.testing.assert_close(found[0], torch.tensor([61.0**0.5, 6.0]))


def test_movement_is_the_root_mean_square_over_the_spread():
    before, after = torch.zeros(2, 4, 3), torch.stack([torch.full((4, 3), 0.5), torch.zeros(4, 3)])
    assert step.movement(before, after, 2.0).tolist() == [0.25, 0.0]


def test_accuracy_counts_signs_and_halves_zeros():
    real, fake = torch.tensor([[1.0, 2.0, -1.0, 0.0]]), torch.tensor([[-3.0, 1.0, -1.0, -1.0]])
    assert step.accuracy(real, fake).tolist() == [(2.5 + 3) / 8]
    assert step.accuracy(real * 7, fake * 7).tolist() == step.accuracy(real, fake).tolist()
    assert step.accuracy(real * float("nan"), fake).isnan().all()


def test_spread_is_the_population_deviation():
    assert step.spread(torch.tensor([[1.0, 3.0], [2.0, 2.0]])).tolist() == [1.0, 0.0]


def test_ratios_of_a_weight_of_zero_are_not_numbers():
    assert step.ratios(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([4.0, 0.0, 0.0])).tolist()[:2] == [0.5, float("inf")]


def test_values_that_are_not_finite_are_counted_where_they_are():
    first, second = torch.zeros(2, 3), torch.ones(2, 2, 2)
    first[0, 1], second[0, 1, 1], second[1, 0, 0] = float("nan"), float("inf"), -float("inf")
    assert step.non_finite(torch.cat([first.flatten(), second.flatten()]), torch.tensor([2, 5, 9, 13]), 2).tolist() == [
        [2, 1],
        [1, 0],
        [1, 1],
    ]


def test_the_typical_root_is_the_median_over_a_lanes_parameters():
    """Lane 0: √ of 1, 4, 9 has the median 2; lane 1 is ε² everywhere."""
    squares = [torch.tensor([[1.0, 9.0], [1e-16, 1e-16]], dtype=torch.float64), torch.tensor([[4.0], [1e-16]], dtype=torch.float64)]
    torch.testing.assert_close(step.typical_root(squares, 1e-8), torch.tensor([2e8, 1.0], dtype=torch.float64))


def test_the_typical_root_of_many_parameters_takes_every_nth():
    values = torch.arange(100_000, dtype=torch.float64)[None]
    assert float(step.typical_root([values.square()], 1.0)) == pytest.approx(50_000, rel=1e-3)
