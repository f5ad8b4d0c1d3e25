"""One group of games: both players of every lane, their optimisers, G's average, and the state a checkpoint holds."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from stages.game.augmentation import ada, diffaugment
from stages.game.balance import Balance, balance
from stages.game.build import Flat, Objective, discriminator, generator, objective
from stages.game.combinations import data_mistakes
from stages.game.motion import motion
from stages.game.optimizers import Optimizer
from stages.game.spec import Rules, Variant
from stages.game.tape import Tape
from stages.game.views import InstanceNoise, Veil

EMA_RAMP = 0.05  # the half-life is at most this share of the steps already done (Karras et al. 2020, G's average)


class Game:
    """All lanes of a group. `step` counts generator steps done; `critic_step` counts D updates.

    `alive` is false for a lane from the first step whose losses were not finite; `died_at` holds that step (0: alive). A dead lane's
    weights move no more.
    """

    def __init__(
        self,
        variant: Variant,
        shape: tuple[int, ...],
        latent: int,
        batch: int,
        steps: int,
        seeds: Sequence[int],
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        salt: str = "",
    ) -> None:
        """`salt` names other noise streams: a twin of the game with the same initial weights and batches, and other noise."""
        self.variant, self.shape, self.latent, self.batch, self.steps, self.salt = variant, shape, latent, batch, steps, salt
        self.seeds = tuple(seeds)
        self.objective: Objective = objective(variant)
        for mistake in data_mistakes(variant, shape, batch):
            raise ValueError(mistake)
        self.tape = Tape()
        rules = variant.rules
        self.generator = Flat(generator(variant.generator, shape, latent, seeds, dtype).to(device))
        self.discriminator = Flat(
            discriminator(variant.discriminator, shape, seeds, self.objective.constraint, dtype, rules.pack).to(device)
        )
        self.generator_optimizer: Optimizer = motion(self.generator, rules.generator_lr, rules, self.done, self.tape)
        self.discriminator_optimizer: Optimizer = motion(self.discriminator, rules.discriminator_lr, rules, self.done, self.tape)
        self.balance: Balance = balance(self.like, len(seeds), rules)
        self.veils: tuple[Veil, ...] = veils(self.like, len(seeds), rules, steps)
        self.ema = self.generator.vector.clone()
        self.ema_buffers = [buffer.clone() for buffer in self.generator.module.buffers()]
        self.penalty_state: Mapping[str, Tensor] = {
            name: torch.full((len(seeds),), value, dtype=dtype, device=device) for name, value in self.objective.penalty.state.items()
        }
        self.alive = torch.ones(len(seeds), dtype=torch.bool, device=device)
        self.died_at = torch.zeros(len(seeds), dtype=torch.int64, device=device)
        self.step = 0
        self.critic_step = 0

    def done(self) -> float:
        """The share of the run before the present turn."""
        return self.step / self.steps

    @property
    def like(self) -> Tensor:
        """A tensor with the game's device and dtype."""
        return self.generator.vector

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name; tensors are the game's own, not copies."""
        named: dict[str, Tensor] = {
            "generator": self.generator.vector,
            "discriminator": self.discriminator.vector,
            "ema": self.ema,
            "alive": self.alive,
            "died_at": self.died_at,
            "step": torch.tensor(self.step),
            "critic_step": torch.tensor(self.critic_step),
        }
        for role, optimiser in (("generator", self.generator_optimizer), ("discriminator", self.discriminator_optimizer)):
            named |= {f"{role}_optimizer/{name}": tensor for name, tensor in optimiser.state.items()}
            module: nn.Module = getattr(self, role).module
            named |= {f"{role}_buffer/{name}": tensor for name, tensor in module.named_buffers()}
        named |= {f"ema_buffer/{index}": tensor for index, tensor in enumerate(self.ema_buffers)}
        named |= {f"balance/{name}": tensor for name, tensor in self.balance.state.items()}
        named |= {f"veil/{index}/{name}": tensor for index, veil in enumerate(self.veils) for name, tensor in veil.state.items()}
        return named | {f"penalty/{name}": tensor for name, tensor in self.penalty_state.items()}

    @torch.no_grad()
    def load_state(self, saved: Mapping[str, Tensor]) -> None:
        """Take up a state that `state` gave; ValueError when names or shapes are of another game."""
        mine = self.state()
        if mine.keys() != saved.keys() or any(mine[name].shape != saved[name].shape for name in mine):
            raise ValueError("this checkpoint is of another game: its names or shapes differ")
        for name, tensor in mine.items():
            tensor.copy_(saved[name])
        self.step, self.critic_step = int(saved["step"]), int(saved["critic_step"])

    @torch.no_grad()
    def average(self) -> None:
        """Move G's average after step t: half-life min(h N, 0.05 t) steps; parameters and batch statistics alike."""
        weight = self.tape.number(self._newest, self.like)
        self.ema.lerp_(self.generator.vector, weight)
        for average, buffer in zip(self.ema_buffers, self.generator.module.buffers(), strict=True):
            average.lerp_(buffer, weight)

    def _newest(self) -> float:
        """The weight in the average of G as it is now."""
        half_life = min(self.variant.rules.ema_half_life * self.steps, EMA_RAMP * self.step)
        return 1 - 0.5 ** (1 / half_life) if half_life > 0 else 1.0

    def count_step(self) -> None:
        """A generator step is done."""
        self.step += 1

    def count_critic_step(self) -> None:
        """A D update is done."""
        self.critic_step += 1

    def keep_penalty_state(self, held: Mapping[str, Tensor]) -> None:
        """Write the penalty's state where it was held before this turn, so that it stays in one place."""
        if self.penalty_state is not held:
            for name, tensor in self.penalty_state.items():
                held[name].copy_(tensor)
            self.penalty_state = held

    def snapshot(self) -> dict[str, Tensor]:
        """Weights and buffers of G, its average and D under `generator/`, `ema/`, `discriminator/`: copies on the CPU, lane axis first."""
        names = self.generator.names
        buffers = [name for name, _ in self.generator.module.named_buffers()]
        tensors = {f"generator/{name}": tensor for name, tensor in self.generator.module.state_dict().items()}
        tensors |= {f"ema/{name}": piece for name, piece in zip(names, self.generator.split(self.ema), strict=True)}
        tensors |= {f"ema/{name}": buffer for name, buffer in zip(buffers, self.ema_buffers, strict=True)}
        tensors |= {f"discriminator/{name}": tensor for name, tensor in self.discriminator.module.state_dict().items()}
        return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def veils(like: Tensor, lanes: int, rules: Rules, steps: int) -> tuple[Veil, ...]:
    """What the rules put between a sample and D: augmentation first, then instance noise."""
    asked: list[Veil] = []
    if rules.augment == "diffaugment":
        asked.append(diffaugment(like, lanes))
    if rules.augment == "ada":
        asked.append(ada(like, lanes, rules, steps))
    if rules.instance_noise > 0:
        asked.append(InstanceNoise(rules.instance_noise, rules.instance_noise_share * steps))
    return tuple(asked)
