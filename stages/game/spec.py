"""What defines one variant of the game: small frozen types without tensors, so that configuration can speak them without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid", "silu"]
Normalisation = Literal["none", "batch", "layer"]


@dataclass(frozen=True)
class Part:
    """A named part of the catalogue and the arguments of its factory: `{name: r1, weight: 10}`."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Player:
    """The shape of one player's network."""

    network: str = "auto"  # auto: dcgan for images of at least 8 pixels a side, else mlp
    width: int = 32  # channels at the highest resolution (images), units of a hidden layer (mlp)
    depth: int = 2  # hidden layers (mlp), residual blocks a resolution (resnet)
    activation: Activation = "relu"
    normalisation: Normalisation = "none"
    minibatch_std: bool = False  # discriminator: its last layer also sees how much the batch's features vary (Karras et al. 2018)


@dataclass(frozen=True)
class Rules:
    """How the two players take turns, and how each one moves.

    method, schedule, gradient_clip, balance, augment and instance_noise act while training alone: measures of a snapshot see bare
    samples and the losses' own landscape. pack and minibatch_std are part of D wherever it is asked.
    """

    critic_steps: int = 1  # discriminator updates before the generator's
    generator_steps: int = 1
    order: Literal["alternating", "simultaneous"] = "alternating"
    method: Literal["gradient", "extra_gradient", "consensus"] = "gradient"  # which direction a move takes
    consensus_weight: float = 1.0  # of ∇ ½‖v‖² (method consensus)
    optimizer: Literal["adam", "rmsprop", "sgd", "optimistic_adam", "optimistic_rmsprop", "optimistic_sgd"] = "adam"
    generator_lr: float = 2e-4
    discriminator_lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    epsilon: float = 1e-8
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # of both learning rates, down to zero over the run
    gradient_clip: float = 0.0  # largest gradient norm of a player's lane; 0: no bound
    lazy_interval: int = 1  # every I-th discriminator step adds I x penalty
    ema_half_life: float = 0.02  # of the generator's average, as a share of the run
    instance_noise: float = 0.0  # standard deviation at the start of the noise on D's inputs, in the games' scale
    instance_noise_share: float = 1.0  # share of the run after which that noise has gone, linearly
    balance: Literal["none", "adaptive"] = "none"  # adaptive: D rests while it is too far ahead
    balance_threshold: float = 0.95  # running AUC of D above which it rests
    balance_memory: float = 0.9  # of that running mean, per D step
    pack: int = 1  # samples of a lane that D judges together
    augment: Literal["none", "diffaugment", "ada"] = "none"  # of every image that D sees
    augment_target: float = 0.6  # ada: mean sign of D's real logits above which D is taken to overfit
    augment_ramp: float = 0.5  # ada: share of the run in which the probability can go from 0 to 1


@dataclass(frozen=True)
class Tuned:
    """The note that `seesaw tune` leaves in a variant's entry: which study chose its values, by digest."""

    study: str = ""
    trials: int = 0
    values: str = ""  # digest of the whole variant that the study chose: a value changed since shows


@dataclass(frozen=True)
class Variant:
    """One entry of `variants`, resolved against `train`: everything that decides its result but the data and the code."""

    name: str
    loss: Part
    penalty: Part
    constraint: Part
    rules: Rules
    generator: Player
    discriminator: Player
    tuned: Tuned | None = None  # says where the values come from; no part of what decides the result


def network_for(player: Player, shape: tuple[int, ...]) -> str:
    """The network's name for data of that shape: `auto` is dcgan for images of at least 8 pixels a side, else mlp."""
    if player.network != "auto":
        return player.network
    return "dcgan" if len(shape) == 3 and min(shape[1:]) >= 8 else "mlp"


def variant(entry: Mapping[str, Any]) -> Variant:
    """A Variant from the plain values that `dataclasses.asdict` gives (runs/v.json's `config`; other keys there are left alone)."""
    loss, penalty, constraint = (Part(entry[kind]["name"], entry[kind]["arguments"]) for kind in ("loss", "penalty", "constraint"))
    generator, discriminator = (Player(**entry[role]) for role in ("generator", "discriminator"))
    return Variant(entry["name"], loss, penalty, constraint, Rules(**entry["rules"]), generator, discriminator)
