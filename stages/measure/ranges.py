"""What `seesaw tune` may choose, and between which bounds: the same learning rates for every variant, and what belongs to its parts.

A range fits a variant that has the part it belongs to (`None`: every variant). Bounds of weights are in this project's conventions
(docs/conventions.md). Nothing else is tuned: networks, batch and optimiser stay equal conditions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Setting = Mapping[str, Any]  # a resolved variant, as runs/v.json's `config` holds it
Values = dict[str, Any]  # key below `variants.v` to its value
DIGITS = 3  # significant digits of a chosen number: what params.yaml says is what was tried


@dataclass(frozen=True)
class Range:
    """A key below `variants.v`; log-uniform between `low` and `high`, or one of `choices` where there are any."""

    key: str
    part: str | None  # loss, penalty or constraint
    names: tuple[str, ...]  # of that part
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def holds(self, value: Any) -> bool:
        """Whether a value could have been chosen."""
        return value in self.choices if self.choices else self.low <= value <= self.high


RANGES = (
    Range("rules.generator_lr", None, (), 1e-4, 1e-2),
    Range("rules.discriminator_lr", None, (), 1e-4, 1e-2),
    Range("rules.critic_steps", "loss", ("wasserstein",), choices=(1, 2, 5)),
    Range("loss.real_target", "loss", ("label_smoothing",), choices=(0.8, 0.9, 1.0)),
    Range("penalty.weight", "penalty", ("r1", "r2", "r1_r2"), 0.01, 10.0),
    Range("penalty.weight", "penalty", ("gradient_penalty", "dragan"), 0.1, 100.0),
    Range("penalty.weight", "penalty", ("lecam",), 0.001, 1.0),
    Range("constraint.bound", "constraint", ("clip",), 0.003, 0.3),
)


def fitting(setting: Setting) -> list[Range]:
    """The ranges of a variant, in the table's order. D's steps stay one where the method looks ahead: it asks for one each."""
    ahead = setting["rules"]["method"] == "extra_gradient"
    fits = [one for one in RANGES if one.part is None or setting[one.part]["name"] in one.names]
    return [one for one in fits if not (ahead and one.key == "rules.critic_steps")]


def present(setting: Setting, ranges: list[Range]) -> Values:
    """The values that a variant has now."""
    return {one.key: _at(setting, one.key) for one in ranges}


def _at(setting: Setting, key: str) -> Any:
    section, name = key.split(".")
    return setting[section][name] if section == "rules" else setting[section]["arguments"][name]


def rounded(value: Any) -> Any:
    """A number to `DIGITS` significant digits, anything else as it is; bounds have fewer, so it stays between them."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
