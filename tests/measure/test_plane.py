"""D over the plane: where its slope sends a generated point is known for a linear D."""

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from stages.game.losses.relativistic import relativistic
from stages.measure.plane import axes, grid, pull

SLOPE = torch.tensor([3.0, -4.0], dtype=torch.float64)


def linear(x: torch.Tensor) -> torch.Tensor:
    """D(x) = 3 x1 - 4 x2, `[1, P, 2]` to `[1, P]`."""
    return x @ SLOPE


def saturating(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return -softplus(fake)


def non_saturating(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return softplus(-fake)


def test_a_linear_critic_pushes_along_its_slope():
    """-grad of softplus(-b) by x is sigmoid(-b) w; of -softplus(b) it is sigmoid(b) w."""
    points = torch.tensor([[0.0, 0.0], [1.0, 0.5], [-2.0, 1.0]], dtype=torch.float64)
    logits, away = pull(linear, non_saturating, points, None)
    assert logits.tolist() == pytest.approx([0.0, 1.0, -10.0])
    torch.testing.assert_close(away, torch.sigmoid(-logits)[:, None] * SLOPE)
    _, flat = pull(linear, saturating, points, None)
    torch.testing.assert_close(flat, torch.sigmoid(logits)[:, None] * SLOPE)
    assert float(flat[2].norm()) < 1e-3 < float(away[2].norm())  # the saturating loss leaves nothing where D is sure


def test_a_relativistic_loss_is_averaged_over_real_logits():
    """Of softplus(-(b - a)) the push is the mean over a of sigmoid(a - b), times w."""
    points = torch.tensor([[0.2, 0.1]], dtype=torch.float64)
    real = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    logits, away = pull(linear, relativistic().generator, points, real)
    torch.testing.assert_close(away[0], torch.sigmoid(real - logits[0]).mean() * SLOPE)


def test_the_push_is_the_slope_of_the_loss():
    """Against finite differences, for a D that is not linear."""

    def critic(x: torch.Tensor) -> torch.Tensor:
        return torch.sin(2 * x[..., 0]) * x[..., 1] ** 2

    point = torch.tensor([[0.4, -0.7]], dtype=torch.float64)
    step = torch.eye(2, dtype=torch.float64) * 1e-6
    loss = lambda x: float(non_saturating(critic(x), critic(x)))  # noqa: E731
    slope = [(loss(point + e) - loss(point - e)) / 2e-6 for e in step]
    assert pull(critic, non_saturating, point, None)[1][0].tolist() == pytest.approx([-s for s in slope], rel=1e-6)


def test_the_window_has_room_and_the_grid_goes_row_by_row():
    x, y = axes(np.array([[0.0, 5.0], [4.0, 5.0]]), 3)
    assert (x.tolist(), y.tolist()) == ([-1.0, 2.0, 5.0], [4.0, 5.0, 6.0])
    assert grid(x, y)[:4].tolist() == [[-1, 4], [2, 4], [5, 4], [-1, 5]]


@pytest.mark.parametrize(("real", "count"), [(np.zeros((3, 1)), 5), (np.zeros((0, 2)), 5), (np.zeros((3, 2)), 1)])
def test_other_points_are_refused(real, count):
    with pytest.raises(ValueError, match=r"\[n, 2\]"):
        axes(real, count)
