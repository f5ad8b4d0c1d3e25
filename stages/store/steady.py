"""Whether params.yaml still says what a node began with.

DVC writes into dvc.lock the values that it finds when a node ends, not those that the node began with: a params.yaml edited during a
training would be recorded as what that training was made with, and the training would never be made again.
"""

import os
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store.config import Config, read_config

KEYS = {  # what dvc records of params.yaml for each node (dvc.yaml, `params`)
    "prepare": ("data", "evaluate.features", "evaluate.trust"),
    "train": ("train", "variants.{variant}"),
    "diagnose": ("diagnose", "variants.{variant}"),
    "evaluate": ("evaluate", "compare.primary"),
    "compare": ("compare", "variants"),
    "report": ("report", "variants"),
}


def insist(config: Config, root: Path, node: str, variant: str = "") -> None:
    """SeesawError where params.yaml now says something else than `config` at the keys of this node. Asked of nodes that dvc runs."""
    if "DVC_STAGE" not in os.environ:
        return
    now = read_config(root / "params.yaml")
    keys = [key.format(variant=variant) for key in KEYS[node]]
    changed = [key for key in keys if _at(config, key) != _at(now, key)]
    if changed:
        raise SeesawError(
            f"params.yaml was edited while this stage ran ({', '.join(changed)}): what it made is of the values from before, and dvc would "
            "write down the new ones. Run `dvc repro` again; a training whose values are put back goes on from its checkpoint"
        )


def _at(config: Config, key: str) -> Any:
    first, _, rest = key.partition(".")
    part = getattr(config, first)
    if not rest:
        return part
    return part.get(rest) if isinstance(part, dict) else getattr(part, rest)
