"""The table of staged games: which data, which game, and whether thresholds may look at it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.staged import made as making
from stages.store.config import Config, parse, read_yaml
from stages.store.files import sha256_json

TABLE = Path(__file__).with_name("games.yaml")
VARIANT = "staged"  # the one variant of a game's project
OF_VARIANT = ("loss", "penalty", "constraint", "rules", "generator", "discriminator")
LANES = 4
SPLITS = ("tune", "report")


@dataclass(frozen=True)
class StagedGame:
    """One entry: `params` is what its project's params.yaml holds, `made` what data are made for it (none: the project's own source)."""

    name: str
    split: str
    params: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """`params` as every node reads it."""
        return parse(self.params)

    @property
    def digest(self) -> str:
        """sha256 of what is played."""
        return sha256_json({**self.params, "made": self.made} if self.made else self.params)

    @property
    def source(self) -> str:
        """What the data are, in a word."""
        return f"made {self.made['kind']}" if self.made else str(self.params["data"]["source"])


def staged_games(table: Path = TABLE) -> dict[str, StagedGame]:
    """Every game of the table by name; SeesawError for an entry that is not of the form."""
    raw = read_yaml(table)
    return {name: _game(name, entry, raw["bases"]) for name, entry in raw["games"].items()}


def _game(name: str, entry: Mapping[str, Any], bases: Mapping[str, Any]) -> StagedGame:
    unknown = set(entry) - {"split", "base", "made", "data", "train", "evaluate", *OF_VARIANT}
    if unknown or entry.get("split") not in SPLITS or entry.get("base") not in bases:
        raise SeesawError(f"staged game {name}: split (tune, report) and base (one of {', '.join(bases)}) are needed; unknown: {unknown}")
    base = bases[entry["base"]]
    made = entry.get("made", base.get("made", {}))
    if made:
        making.check(name, made)
    train = {"seeds": LANES, "lanes_per_group": LANES, **base["train"], **entry.get("train", {})}
    variant = {"penalty": {"name": "none"}, "constraint": {"name": "none"}, **{key: entry[key] for key in OF_VARIANT if key in entry}}
    params = {
        "data": {**base["data"], **entry.get("data", {})},
        "train": train,
        "evaluate": {**base.get("evaluate", {}), **entry.get("evaluate", {})},
        "compare": {"baseline": VARIANT},
        "variants": {VARIANT: variant},
    }
    return StagedGame(name, entry["split"], params, made)
