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
