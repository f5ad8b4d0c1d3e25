"""The words every part of the game speaks: loss, penalty, constraint, critic, draws. Tensors only; no file, no config, no print.

Shapes: L lanes, B samples a lane. Data is `[L, B, ...]`, logits are `[L, B]`. A lane never sees another lane's numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor, nn

Logits = Tensor  # [L, B]


class GanLoss(NamedTuple):
    """A pair of pure functions in logits: `(real_logits, fake_logits) -> per-sample loss`, all `[L, B]`; the step averages over B.

    `discriminator` is minimised by D, `generator` by G. A generator's loss that depends on real logits (relativistic forms) sets
    `generator_reads_real`: the step then draws a fresh real batch for it; otherwise it passes the fake logits twice.
    `logistic` says that a logit's sign is D's decision (BCE family, hinge), so that accuracy means something.
    """

    discriminator: Callable[[Logits, Logits], Tensor]
    generator: Callable[[Logits, Logits], Tensor]
    generator_reads_real: bool = False
    logistic: bool = False


class Critic(Protocol):
    """D as a penalty sees it: data `[L, B, ...]` to logits `[L, B]`.

    Asking twice for the very same tensor object returns the first answer (the loss's forward is reused by the penalty).
    """

    def __call__(self, x: Tensor) -> Logits: ...


class Draws(Protocol):
    """Random numbers of one purpose at one substep; lane l's depend on its seed alone."""

    def normal(self, *shape: int) -> Tensor:
        """Standard normal `[L, *shape]`."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1) `[L, *shape]`."""
        ...


State = Mapping[str, Tensor]  # declared per-lane state, each `[L]`


@dataclass(frozen=True)
class Penalty:
    """A term added to D's loss: `weight * mean over B of value(...)`, per lane.

    `value(critic, real, fake, rng, state) -> [L, B]`, per sample and without the weight. `fake` carries no graph to G. Every call to
    `critic` is differentiable twice. `differentiates_input` says that the value holds a gradient of D by its input, at points of its own
    (D must not mix samples then); `input_gradient` that those points are `real` and `fake` themselves, which then require grad.
    `state` declares per-lane numbers and their initial values; `update(state, real_logits, fake_logits) -> state` moves them once a D step.
    """

    value: Callable[[Critic, Tensor, Tensor, Draws, State], Tensor]
    weight: float
    input_gradient: bool = False
    differentiates_input: bool = False
    state: Mapping[str, float] = field(default_factory=dict)
    update: Callable[[State, Logits, Logits], State] | None = None


@dataclass(frozen=True)
class Constraint:
    """What acts on D's weights: `attach` once when D is built, `before_step` and `after_step` around each D update."""

    attach: Callable[[nn.Module], None]
    before_step: Callable[[nn.Module], None]
    after_step: Callable[[nn.Module], None]
