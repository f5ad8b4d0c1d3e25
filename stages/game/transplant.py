"""A game goes on under other rules: what of its state the new rules leave meaningful is kept, the rest starts anew, and both are said.

Kept always: G, its average, the step counts, who is alive. D is kept where it stays the same network: the same specification, the same
pack, spectral norm on neither side or on both (it is another parametrisation). An optimiser's averages are kept where the player's
gradient at the fork is still the same function; where loss, penalty, D itself or what D is shown changes, gradients may jump by orders of
magnitude, and averages of the old ones would turn that jump into steps of many learning rates: they are reset, with their step count.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from stages.game.game import Game
from stages.game.spec import Variant
from stages.game.views import Veil, View
from stages.game.vocabulary import Draws

SHOWN = ("augment", "augment_target", "augment_ramp", "instance_noise", "instance_noise_share")
BALANCED = ("balance", "balance_threshold", "balance_memory")
MOVED = ("optimizer",)


@dataclass(frozen=True)
class Kept:
    """What a branch takes over from the game that was left; G itself is always kept."""

    discriminator: bool
    generator_averages: bool  # of its optimiser
    discriminator_averages: bool
    shown: bool  # augmentation and noise go on; else theirs begin at the fork
    balance: bool
    penalty: bool  # the penalty's own state


def kept(left: Variant, other: Variant) -> Kept:
    """What `other` keeps of a game of `left`; ValueError where not even G can go on."""
    if left.generator != other.generator:
        raise ValueError("another generator cannot go on from this one's weights: train it anew")
    same_loss, same_penalty = left.loss == other.loss, left.penalty == other.penalty
    same_d = left.discriminator == other.discriminator and _same(left, other, "pack") and _normed(left) == _normed(other)
    seen = same_d and same_loss and _same(left, other, *SHOWN, *MOVED)
    judged = seen and same_penalty and left.constraint == other.constraint and _same(left, other, "lazy_interval")
    return Kept(same_d, seen, judged, _same(left, other, *SHOWN), _same(left, other, *BALANCED), same_penalty)


def transplant(left: Game, branch: Game) -> Kept:
    """`branch` (a fresh game of the same seeds) takes over from `left` what `kept` says, and goes on from its step.

    With equal variants it is `left`, bit for bit. What is new and has a clock (instance noise that fades) counts from the fork.
    """
    what = kept(left.variant, branch.variant)
    before = left.state()
    branch.load_state({name: before[name] if _carried(name, what) else tensor for name, tensor in branch.state().items()})
    if not what.shown:
        branch.veils = tuple(Delayed(veil, left.step) for veil in branch.veils)
    return what


class Delayed:
    """A veil whose clock starts at a later step."""

    def __init__(self, inner: Veil, start: int) -> None:
        self.inner, self.start, self.state = inner, start, inner.state

    def open(self, draws: Callable[[str], Draws], step: int) -> View:
        """The inner veil's view, so many steps later."""
        return self.inner.open(draws, step - self.start)

    def observe(self, real_logits: Tensor) -> None:
        """As the inner veil does."""
        self.inner.observe(real_logits)


def _carried(name: str, what: Kept) -> bool:
    """Whether an entry of `Game.state` is taken over."""
    owners = {
        "discriminator": what.discriminator,
        "discriminator_buffer": what.discriminator,
        "generator_optimizer": what.generator_averages,
        "discriminator_optimizer": what.discriminator_averages,
        "balance": what.balance,
        "veil": what.shown,
        "penalty": what.penalty,
    }
    return owners.get(name.partition("/")[0], True)


def _same(left: Variant, other: Variant, *keys: str) -> bool:
    """Whether both have these rules alike."""
    return all(getattr(left.rules, key) == getattr(other.rules, key) for key in keys)


def _normed(variant: Variant) -> bool:
    return variant.constraint.name == "spectral_norm"
