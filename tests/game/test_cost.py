"""Counted operations against the count by hand."""

import games
import pytest

from stages.game import cost


def test_the_count_is_that_of_the_matrix_products():
    """mlp 3 -> 4 -> 1 in D, 3 -> 4 -> 3 in G, batch 4, one D step and one G step, 2 operations a multiply-add.

    D's step: G forward (B(3*4 + 4*3)), D forward on 2B, D backward: weights of both layers and the hidden gradient.
    G's step: G and D forward on B, D backward by its input only, G backward: weights of both layers and the hidden gradient.
    """
    batch, g, d = 4, 3 * 4 + 4 * 3, 3 * 4 + 4 * 1
    d_step = batch * g + 2 * batch * d + 2 * batch * (d + 4 * 1)
    g_step = batch * (g + d) + batch * d + batch * (g + 4 * 3)
    one = games.game(games.variant("hinge"), [0])
    assert cost.flops_per_step(one, cost.zeros(one.shape).double()) == 2 * (d_step + g_step)


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1_r2", "gradient_penalty"])
def test_penalties_cost_more_and_lazy_ones_less(penalty):
    def count(name, interval):
        one = games.game(games.variant("hinge", name, lazy_interval=interval), [0])
        return cost.flops_per_step(one, cost.zeros(one.shape).double())

    free, lazy, full = count("none", 1), count(penalty, 4), count(penalty, 1)
    assert free < lazy < full
    assert lazy - free == pytest.approx((full - free) / 4, rel=0.01)


def test_samples_are_counted_by_role():
    assert cost.samples_per_step(games.game(games.variant("hinge", critic_steps=5), [0])) == 4 * (2 * 5 + 1)
    assert cost.samples_per_step(games.game(games.variant("relativistic"), [0])) == 4 * (2 + 2)
    assert cost.samples_per_step(games.game(games.variant(order="simultaneous", method="extra_gradient"), [0])) == 2 * 4 * (2 + 1)


def test_extra_gradient_costs_twice_and_consensus_more():
    def count(**rules):
        one = games.game(games.variant("hinge", order="simultaneous", **rules), [0])
        return cost.flops_per_step(one, cost.zeros(one.shape).double())

    assert count(method="extra_gradient") == 2 * count()
    assert count(method="consensus") > 2 * count()
