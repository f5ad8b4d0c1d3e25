"""What a report is made of: the content of results files, gathered by the node `report`, drawn here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.draw.page.words import Words

Cells = Sequence[float | None]


@dataclass(frozen=True)
class Band:
    """A measure over the steps: median, least and greatest over the lanes; None where no lane is finite."""

    steps: Sequence[int]
    median: Cells
    low: Cells
    high: Cells


@dataclass(frozen=True)
class Layers:
    """A measure per layer: `values[layer][step]`, the median over the lanes."""

    names: Sequence[str]
    steps: Sequence[int]
    values: Sequence[Cells]


@dataclass(frozen=True)
class Incident:
    """Where a lane's gradients first were not finite: (player `D` or `G`, layer, how many values), in the records' order."""

    step: int
    layers: Sequence[tuple[str, str, int]]


@dataclass(frozen=True)
class VariantMaterial:
    """Everything the report shows of one variant."""

    run: Mapping[str, Any]
    scores: Mapping[str, Any]
    diagnosis: Mapping[str, Any]
    bands: Mapping[str, Band]  # by measure
    layers: Mapping[str, Layers]  # by measure, `g_gradient_norm` and `d_gradient_norm`
    samples: Mapping[int, bytes]  # PNG by step
    incidents: Mapping[int, Incident] = field(default_factory=dict)  # by seed, of lanes whose gradients were not finite

    @property
    def name(self) -> str:
        """The variant's name."""
        return str(self.run["variant"])

    @property
    def trials(self) -> int:
        """Trials behind the variant's values; 0 at defaults and where a value was changed since it was tuned."""
        return int(self.run["config"]["tuned"]["trials"]) if self.run.get("tuning") == "tuned" else 0

    def tuning(self, words: Words) -> str:
        """Where the variant's values come from."""
        return words(f"tuning.{self.run.get('tuning', 'defaults')}", trials=self.trials)


@dataclass(frozen=True)
class Material:
    """The whole report: the comparison, and the variants in ranked order (those that are not comparable come last)."""

    title: str
    comparison: Mapping[str, Any]
    variants: Sequence[VariantMaterial]

    @property
    def equally_tuned(self) -> bool:
        """Whether every variant got the same number of trials."""
        return len({variant.trials for variant in self.variants}) <= 1
