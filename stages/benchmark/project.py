"""Small projects in which whole commands are measured: this code and pipeline, params of their own, a folder that is removed."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store import side
from stages.store.processes import worker_environment

LOOK_SECONDS = 0.02
NAME = "bench"  # its one variant
PLAYER = {"network": "dcgan", "width": 16, "depth": 2}


@dataclass(frozen=True)
class Used:
    """What one command took: seconds, and the most memory that one of its processes held at a time (MiB)."""

    seconds: float
    peak: float  # with the pages of mapped files, which processes share and the system takes back when it needs them
    own: float | None  # without them; None where there is no /proc


def lay(folder: Path, data: Mapping[str, Any], **train: Any) -> Path:
    """A project on those data: the default players and rules, non-saturating, no penalty; `train` overrides its part of params.yaml."""
    params = {
        "data": data,
        "train": {
            **{"seeds": 8, "steps": 1000, "batch": 64, "latent": 32, "lanes_per_group": 4, "record_every": 10, "snapshots": 5, **train},
            "generator": {**PLAYER, "activation": "relu", "normalisation": "batch"},
            "discriminator": {**PLAYER, "activation": "leaky_relu", "normalisation": "none"},
            "rules": {"generator_lr": 2e-3, "discriminator_lr": 2e-3},
        },
        "evaluate": {"features": "random", "trust": False, "samples": 32, "draws": 2},
        "diagnose": {"samples": 32},
        "compare": {"baseline": NAME, "primary": "frechet"},
        "report": {"title": "Bench"},
        "variants": {NAME: {"loss": {"name": "non_saturating"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}},
    }
    return side.lay(Path(__file__).resolve().parents[2], folder, params, [])


def run(place: Path, *words: str, **more: str) -> Used:
    """A command of Seesaw's in that project, with more environment, watched; SeesawError when it fails."""
    kept = {name: value for name, value in worker_environment().items() if not name.startswith(("MLFLOW_", "DVC_"))}
    started, own = time.perf_counter(), 0.0
    command = [sys.executable, "-m", "stages.cli", *words]
    process = subprocess.Popen(command, cwd=place, env={**kept, **more}, stderr=subprocess.DEVNULL)
    try:
        while (found := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            own = max(own, _own(process.pid))
            time.sleep(LOOK_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.returncode = os.waitstatus_to_exitcode(found[1])
    if process.returncode:
        raise SeesawError(f"`seesaw {' '.join(words)}` ended with {process.returncode} in the benchmark's project")
    return Used(time.perf_counter() - started, found[2].ru_maxrss / 1024, own or None)


def _own(process: int) -> float:
    """MiB that are not a file's pages, of this process or of the largest of its descendants; 0 where it cannot be known."""
    at = Path(f"/proc/{process}")
    try:
        lines = dict(line.split(":", 1) for line in (at / "status").read_text(encoding="ascii", errors="replace").splitlines())
        children = [child for task in (at / "task").iterdir() for child in (task / "children").read_text(encoding="ascii").split()]
    except OSError:  # it has ended, or there is no /proc
        return 0.0
    return max([int(lines.get("RssAnon", "0").split()[0]) / 1024, *(_own(int(child)) for child in children)])
