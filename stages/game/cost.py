"""What a generator step costs: floating-point operations counted as they run."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from stages.game.game import Game
from stages.game.loop import play_turn

EVALUATIONS = {"gradient": 1, "extra_gradient": 2, "consensus": 2}  # how often a method goes through its batch in one move


class FlopCount(TorchDispatchMode):
    """Adds up the operations of matrix products and convolutions, backwards and double backwards included (2 a multiply-add).

    The formulas are torch.utils.flop_counter's; its own mode hooks modules, which autograd.grad by a leaf refuses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler at the first operation, which takes longer than many a training."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def flops_per_step(game: Game, items: Tensor) -> float:
    """Mean count of one generator step with its discriminator steps, over one lazy interval; plays the game on."""
    turns = game.variant.rules.lazy_interval
    with FlopCount() as count:
        for _ in range(turns):
            play_turn(game, lambda indices: items[indices], len(items))
    return count.total / turns


def samples_per_step(game: Game) -> int:
    """Real and generated samples of one lane that go through a player in one generator step."""
    rules = game.variant.rules
    in_generator_step = 2 if game.objective.loss.generator_reads_real else 1
    once = game.batch * (2 * rules.critic_steps + in_generator_step * rules.generator_steps)
    return once * EVALUATIONS[rules.method]


def parameters(game: Game) -> dict[str, int]:
    """Parameters of one lane's players."""
    return {role: getattr(game, role).vector.numel() // len(game.seeds) for role in ("generator", "discriminator")}


def zeros(shape: tuple[int, ...], count: int = 4) -> Tensor:
    """Data whose values do not matter to the count."""
    return torch.zeros((count, *shape))
