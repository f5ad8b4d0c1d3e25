"""No constraint."""

from torch import nn

from stages.game.vocabulary import Constraint


def none() -> Constraint:
    """The absent constraint: D's weights go where the optimiser takes them."""
    return Constraint(_nothing, _nothing, _nothing)


def _nothing(discriminator: nn.Module) -> None:
    """Leave the weights alone."""
