"""Whether D moves at all."""

from typing import Protocol

from torch import Tensor

from stages.game.spec import Rules


class Balance(Protocol):
    """`state` is per lane and checkpointed."""

    state: dict[str, Tensor]

    def observe(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Called once a D step, before D moves, with its logits `[L, B]`."""
        ...

    def moving(self, lanes: Tensor) -> Tensor:
        """Of these lanes `[L]` (bool), those whose D moves now."""
        ...


class Always:
    """`balance: none`: D moves at every one of its steps."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def observe(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Nothing depends on D's answers."""

    def moving(self, lanes: Tensor) -> Tensor:
        return lanes


class Adaptive:
    """`balance: adaptive`: a lane's D rests while it is too far ahead, judged by a running AUC::

        m <- balance_memory m + (1 - balance_memory) AUC      once a D step, AUC = P(D(x) > D(G(z))) + ½ P(equal) over that step's batch
        D moves in this step only where m <= balance_threshold                m starts at ½

    A resting D keeps its weights; its step is computed all the same, so that m goes on, its optimiser's averages take in the gradient,
    and the step counts as a D step (lazy interval, cost). An AUC is free of scale, so that the rule means the same for every loss.

    Source: the rule is this project's own; loops in practice skip D's step above some accuracy, which asks for a loss whose logit's sign is
    a decision. It hides D's strength rather than curing its cause.
    """

    def __init__(self, like: Tensor, lanes: int, rules: Rules) -> None:
        self.threshold, self.memory = rules.balance_threshold, rules.balance_memory
        self.state = {"auc": like.new_full((lanes,), 0.5)}

    def observe(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        difference = (real_logits[:, :, None] - fake_logits[:, None, :]).sign()  # [L, B, B]
        auc = (1 + difference.mean((1, 2))) / 2
        self.state["auc"].mul_(self.memory).add_((1 - self.memory) * auc)

    def moving(self, lanes: Tensor) -> Tensor:
        return lanes & (self.state["auc"] <= self.threshold)


def balance(like: Tensor, lanes: int, rules: Rules) -> Balance:
    """The balance that the rules name."""
    return Adaptive(like, lanes, rules) if rules.balance == "adaptive" else Always()
