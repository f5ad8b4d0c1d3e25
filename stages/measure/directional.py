"""What an update does to a loss: the first-order change that the gradient predicts, against the change that came. Per lane."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from stages.measure.gradients import inner


class Leg(NamedTuple):
    """One player's update as one loss felt it, `[L]` each."""

    predicted: Tensor  # ∇L · Δ at the start
    change: Tensor  # L(after) - L(before), everything else held: batch, noise, draws, the other player


def leg(gradient: Sequence[Tensor], update: Sequence[Tensor], before: Tensor, after: Tensor) -> Leg:
    """From the loss's gradient by the moved weights, at the start, and its values `[L]` at both ends.

    change - predicted is of second order in Δ: ½ Δᵀ ∇²L Δ + O(‖Δ‖³).
    """
    return Leg(inner(gradient, update), after.double() - before.double())


def drive(own: Tensor, cross: Tensor) -> Tensor:
    """How far a loss is driven by the other player: |cross| / (|own| + |cross|), of first-order changes; `[L]`.

    0: the player's own updates move its loss; ½: both as much; 1: its loss is what the other makes of it. NaN where neither moves it.
    A ratio of changes of one loss, so that the loss's scale drops out. The summary is this project's own.
    """
    return cross.abs() / (own.abs() + cross.abs())
