"""The table of staged games: which data, which game, and whether thresholds may look at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store.config import Config, parse, read_yaml
from stages.store.files import sha256_json

TABLE = Path(__file__).with_name("games.yaml")
VARIANT = "staged"  # the one variant of a game's project
OF_VARIANT = ("loss", "penalty", "constraint", "rules", "generator", "discriminator")
LANES = 4
SPLITS = ("tune", "report")


@dataclass(frozen=True)
class StagedGame:
    """One entry: `params` is what its project's params.yaml holds."""

    name: str
    split: str
    params: Mapping[str, Any]

    @property
    def config(self) -> Config:
        """`params` as every node reads it."""
        return parse(self.params)

    @property
    def digest(self) -> str:
        """sha256 of what is played."""
        return sha256_json(self.params)


def staged_games(table: Path = TABLE) -> dict[str, StagedGame]:
    """Every game of the table by name; SeesawError for an entry that is not of the form."""
    raw = read_yaml(table)
    return {name: _game(name, entry, raw["bases"]) for name, entry in raw["games"].items()}


def _game(name: str, entry: Mapping[str, Any], bases: Mapping[str, Any]) -> StagedGame:
    unknown = set(entry) - {"split", "base", "data", "train", "evaluate", *OF_VARIANT}
    if unknown or entry.get("split") not in SPLITS or entry.get("base") not in bases:
        raise SeesawError(f"staged game {name}: split (tune, report) and base (one of {', '.join(bases)}) are needed; unknown: {unknown}")
    base = bases[entry["base"]]
    train = {"seeds": LANES, "lanes_per_group": LANES, **base["train"], **entry.get("train", {})}
    variant = {"penalty": {"name": "none"}, "constraint": {"name": "none"}, **{key: entry[key] for key in OF_VARIANT if key in entry}}
    params = {
        "data": {**base["data"], **entry.get("data", {})},
        "train": train,
        "evaluate": {**base.get("evaluate", {}), **entry.get("evaluate", {})},
        "compare": {"baseline": VARIANT},
        "variants": {VARIANT: variant},
    }
    return StagedGame(name, entry["split"], params)
