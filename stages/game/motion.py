"""How a player turns its gradient into a step: the optimiser, its learning-rate schedule, its gradient's bound."""

import math
from collections.abc import Callable

from torch import Tensor

from stages.game.build import Flat
from stages.game.optimizers import Optimizer, optimizer
from stages.game.spec import Rules
from stages.game.tape import Tape

FACTORS: dict[str, Callable[[float], float]] = {"linear": lambda t: 1 - t, "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2}


def motion(player: Flat, lr: float, rules: Rules, done: Callable[[], float], tape: Tape) -> Optimizer:
    """The optimiser that the rules name, wrapped only in what they ask for. `done()` is the share of the run before this step."""
    moved = optimizer(player.vector, lr, rules, tape)
    if rules.schedule != "constant":
        moved = Scheduled(moved, FACTORS[rules.schedule], done, tape)
    return Clipped(moved, player, rules.gradient_clip) if rules.gradient_clip > 0 else moved


class Scheduled:
    """`schedule`: the learning rate times a factor of t, the share of the run's generator steps already done::

        linear    1 - t
        cosine    ½ (1 + cos πt)

    The first step has the full rate, the last one of N has 1/N of it (linear): zero is reached at the end of the run, which is known.
    Both players' rates follow it; D's steps within one turn share a rate. Source: cosine, Loshchilov & Hutter 2017, eq. 5, one period
    without restarts, lowest rate 0.
    """

    def __init__(self, inner: Optimizer, factor: Callable[[float], float], done: Callable[[], float], tape: Tape) -> None:
        self.tape = tape
        self.inner, self.lr, self.factor, self.done = inner, inner.lr, factor, done
        self.state = inner.state

    def direction(self, gradient: Tensor) -> Tensor:
        self.tape.do(self._set)
        return self.inner.direction(gradient)

    def _set(self) -> None:
        self.inner.lr = self.lr * self.factor(self.done())


class Clipped:
    """`gradient_clip` c: the gradient g of a player, all its parameters together, within a lane::

        g <- g min(1, c / ‖g‖)

    Before the optimiser; recorded norms are those before. A gradient that is not finite is not repaired. Under Adam a bound that always
    acts changes little, since Adam divides by the gradient's size itself. torch's clip_grad_norm_ adds 1e-6 to ‖g‖; here it is exact.
    Source: Pascanu et al. 2013, algorithm 1.
    """

    def __init__(self, inner: Optimizer, player: Flat, largest: float) -> None:
        self.inner, self.player, self.largest = inner, player, largest
        self.lr, self.state = inner.lr, inner.state

    def direction(self, gradient: Tensor) -> Tensor:
        norms = self.player.lane_norms(gradient).norm(dim=0)  # [L]
        return self.inner.direction(gradient * self.player.spread((self.largest / norms).clamp(max=1)))
