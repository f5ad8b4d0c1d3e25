"""Optimisers on one flat vector: `direction(gradient)` moves their state and returns the step that is subtracted, lr included."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from stages.game.spec import Rules
from stages.game.tape import Tape


class Optimizer(Protocol):
    """State as named tensors, so that a checkpoint can hold it; a step count as an int64 tensor. `lr` may be set before each direction."""

    state: dict[str, Tensor]
    lr: float

    def direction(self, gradient: Tensor) -> Tensor:
        """The step d of θ <- θ - d for this gradient; moves the state."""
        ...


class Sgd:
    """d = lr g."""

    def __init__(self, like: Tensor, lr: float, rules: Rules, tape: Tape) -> None:
        self.lr, self.tape = lr, tape
        self.state: dict[str, Tensor] = {}

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient * self.tape.number(lambda: self.lr, gradient)


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with bias correction; ε is added outside the root.

    m <- β1 m + (1-β1) g;  v <- β2 v + (1-β2) g²;  d = lr m̂ / (√v̂ + ε), m̂ = m / (1-β1^t), v̂ = v / (1-β2^t).
    """

    def __init__(self, like: Tensor, lr: float, rules: Rules, tape: Tape) -> None:
        self.tape = tape
        self.lr, self.beta1, self.beta2, self.epsilon = lr, rules.beta1, rules.beta2, rules.epsilon
        self.state = {"mean": torch.zeros_like(like), "square": torch.zeros_like(like), "count": torch.zeros((), dtype=torch.int64)}

    def direction(self, gradient: Tensor) -> Tensor:
        mean, square, count = self.state["mean"], self.state["square"], self.state["count"]
        self.tape.do(lambda: count.add_(1))
        mean_left = self.tape.number(lambda: self.lr / (1 - self.beta1 ** int(count)), gradient)
        square_left = self.tape.number(lambda: (1 - self.beta2 ** int(count)) ** 0.5, gradient)
        mean.lerp_(gradient, 1 - self.beta1)
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        denominator = square.sqrt().div_(square_left).add_(self.epsilon)
        return torch.div(mean, denominator, out=denominator).mul_(mean_left)


class RmsProp:
    """RMSprop without momentum or centring: v <- β2 v + (1-β2) g²;  d = lr g / (√v + ε) (Tieleman & Hinton 2012; WGAN's optimiser)."""

    def __init__(self, like: Tensor, lr: float, rules: Rules, tape: Tape) -> None:
        self.tape = tape
        self.lr, self.beta2, self.epsilon = lr, rules.beta2, rules.epsilon
        self.state = {"square": torch.zeros_like(like)}

    def direction(self, gradient: Tensor) -> Tensor:
        square = self.state["square"]
        square.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        return gradient.mul(self.tape.number(lambda: self.lr, gradient)).div_(square.sqrt().add_(self.epsilon))


class Optimistic:
    """The optimistic form of an optimiser: it subtracts 2 d_t - d_{t-1}, d the plain form's steps, d_{-1} = 0.

    θ <- θ - 2 d_t + d_{t-1}: the step guesses that the other player will repeat its last move. With sgd of rate h
    on the bilinear game x y it contracts by √((1 + √(1 - 4h²)) / 2) a step for h <= ½, and converges for every h < 1/√3, where
    simultaneous sgd grows for every h. For Adam and RMSprop no convergence is claimed.
    Source: Daskalakis et al. 2018 (Training GANs with optimism), section 2 (optimistic mirror descent) and algorithm 1 (optimistic Adam).
    """

    def __init__(self, plain: Optimizer, like: Tensor) -> None:
        self.plain = plain
        self.state = plain.state | {"previous": torch.zeros_like(like)}

    @property
    def lr(self) -> float:
        """The plain form's learning rate."""
        return self.plain.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.plain.lr = value

    def direction(self, gradient: Tensor) -> Tensor:
        step, previous = self.plain.direction(gradient), self.state["previous"]
        ahead = 2 * step - previous
        previous.copy_(step)
        return ahead


def second_moment(state: Mapping[str, Tensor], rules: Rules) -> Tensor | None:
    """v̂ of an optimiser's state, as it stands under the root: Adam's with its bias correction, RMSprop's v; None for sgd.

    The optimistic, scheduled and clipped forms keep the plain one's state.
    """
    square, count = state.get("square"), state.get("count")
    if square is None or count is None:
        return square
    return square / (1 - rules.beta2 ** int(count))


FORMS: dict[str, type] = {"sgd": Sgd, "adam": Adam, "rmsprop": RmsProp}


def optimizer(like: Tensor, lr: float, rules: Rules, tape: Tape | None = None) -> Optimizer:
    """The optimiser that the rules name, for a vector like this one; what changes from step to step goes through the tape."""
    name = rules.optimizer.removeprefix("optimistic_")
    plain: Optimizer = FORMS[name](like, lr, rules, tape or Tape())
    return plain if name == rules.optimizer else Optimistic(plain, like)
