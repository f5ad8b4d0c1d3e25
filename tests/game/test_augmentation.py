"""Augmentation: each transform does what it says, to each image with its lane's probability, and lets gradients through."""

import games
import pytest
import torch

from stages.game import augmentation as a
from stages.game.steps import discriminator_move, draw
from stages.game.streams import lane_draws

SHAPE = (2, 6, 3, 8, 8)
TRANSFORMS = [a.color, a.translate_zero, a.translate_reflect, a.cutout, a.mirror, a.brightness, a.contrast]


def images() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def draws(purpose: str = "t", step: int = 0):
    return lane_draws([3, 4], purpose, step, 0, torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transform_keeps_shape_changes_images_and_is_twice_differentiable(transform):
    x = images().requires_grad_(True)
    y = transform(x, draws())
    assert y.shape == x.shape
    assert not torch.equal(y, x)
    (first,) = torch.autograd.grad((y**3).sum(), x, create_graph=True)
    torch.autograd.grad(first.square().sum(), x)
    e, way = 1e-6, torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ends = [float((transform(x.detach() + sign * way, draws()) ** 3).sum()) for sign in (e, -e)]
    assert float((first.detach() * way).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * e), rel=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_transform_acts_on_each_image_by_its_own_numbers(transform):
    """Another image in the batch or another lane does not enter."""
    x, other = images(), images()
    other[1, 2] = 7.0
    first, second = transform(x, draws()), transform(other, draws())
    same = torch.ones(2, 6, dtype=torch.bool)
    same[1, 2] = False
    assert torch.equal(first[same], second[same])


@pytest.mark.parametrize("border", ["zero", "reflect"])
def test_translation_moves_whole_pixels(border):
    x = torch.arange(5.0).view(1, 1, 1, 1, 5).expand(1, 5, 1, 1, 5)
    moved = a._taken(x, 4, torch.tensor([[-2, -1, 0, 1, 2]]), border)[0, :, 0, 0]
    expected = {
        "zero": [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [2, 3, 4, 0, 0]],
        "reflect": [[2, 1, 0, 1, 2], [1, 0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 3], [2, 3, 4, 3, 2]],
    }
    assert moved.tolist() == expected[border]


def test_shifts_cover_an_eighth_of_the_side_evenly():
    shifts = a._shifts(torch.zeros(2, 30000, 1, 16, 16), 3, lane_draws([0, 1], "s", 0, 0, torch.zeros(())))
    counts = torch.stack([(shifts == value).double().mean() for value in range(-2, 3)])
    assert (shifts.abs() <= 2).all()
    torch.testing.assert_close(counts, torch.full((5,), 0.2, dtype=torch.float64), rtol=0, atol=4 * (0.16 / 60000) ** 0.5)


def test_cutout_removes_at_most_a_half_by_a_half():
    zeros = (a.cutout(torch.ones(2, 200, 1, 8, 8), lane_draws([0, 1], "c", 0, 0, torch.zeros(()))) == 0).sum((2, 3, 4))
    assert int(zeros.max()) == 16
    assert int(zeros.min()) >= 4
    assert len(zeros.unique()) > 2


def test_each_transform_has_its_lanes_probability():
    """Brightness alone, p = 0 and p = 0.3 in two lanes: none and three tenths of the images change."""
    veil = a.Augmentation((a.brightness,), {"probability": torch.tensor([0.0, 0.3])})
    shown = veil.open(lambda purpose: lane_draws([0, 1], purpose, 0, 0, torch.zeros(())), 0)(torch.zeros(2, 20000, 1, 1, 1))
    changed = (shown != 0).flatten(1).double().mean(1)
    assert changed[0] == 0
    assert abs(float(changed[1]) - 0.3) < 4 * (0.21 / 20000) ** 0.5


def test_ada_follows_the_sign_of_the_overfitting_heuristic():
    """augment_ramp N n_D = 0.5 * 10 * 2 D steps from 0 to 1: a tenth a step, up where mean sign > target, down where below, in [0, 1]."""
    one = games.game(games.variant(network="dcgan", augment="ada", augment_ramp=0.5, critic_steps=2), [0, 1], steps=10)
    (veil,) = one.veils
    logits = torch.tensor([[1.0, 2.0, 3.0, -1.0], [1.0, 1.0, 1.0, 1.0]]).double()  # mean signs 0.5 and 1, target 0.6
    paths = []
    for _ in range(12):
        veil.observe(logits)
        paths.append(veil.state["probability"].tolist())
    expected = [[0.0, min(1.0, 0.1 * (n + 1))] for n in range(12)]
    torch.testing.assert_close(torch.tensor(paths), torch.tensor(expected))
    veil.observe(-logits)
    torch.testing.assert_close(veil.state["probability"], torch.tensor([0.0, 0.9]).double())


def test_ada_reads_the_logits_of_the_game():
    one = games.play(games.game(games.variant(network="dcgan", augment="ada", augment_target=-0.9, augment_ramp=0.5), [0, 1], steps=100), 3)
    probability = one.state()["veil/0/probability"]
    assert ((probability > 0) & (probability <= 0.06 + 1e-12)).any()


def test_d_and_g_see_augmented_images_and_the_penalty_is_by_the_pixels_before():
    """R1 under augmentation equals ½ ‖∇_x D(T(x))‖² with T replayed, not the gradient at T(x)."""
    one = games.game(games.variant("non_saturating", "r1", network="dcgan", augment="diffaugment"), [0, 1])
    items = games.data(one.shape)
    given = draw(one, games.batches(items), len(items), "discriminator", 0)
    move = discriminator_move(one, given.again())
    x = given.real.clone().requires_grad_(True)
    logits = one.discriminator.module(given.see(x))
    torch.testing.assert_close(move.real_logits, logits.detach())
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    torch.testing.assert_close(move.penalty, one.objective.penalty.weight * 0.5 * gradient.flatten(2).square().sum(2).mean(1))
    assert not torch.allclose(move.real_logits, one.discriminator.module(given.real).detach())
