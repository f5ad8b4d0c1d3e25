"""What the live view costs a training: the default run, whole, with it and without it in turn."""

import json
import shutil
import statistics
import tempfile
from pathlib import Path

from stages.benchmark import project
from stages.store import layout
from stages.store.files import read_json, write_json

ROUNDS, STEPS = 3, 1000
SWITCH = "SEESAW_LIVE"


def live_share() -> float:
    """Median over the rounds of the time between first and last recorded step with the live view by the same without it, less 1.

    8 seeds of dcgan on 8 x 8 digits, two groups; the store is a local sqlite database that is there already, as after a first sync. Every
    round has seeds of its own, so that its runs are new ones; the order within a round changes.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = project.lay(Path(folder), {"source": "digits"}, steps=STEPS)
        project.run(place, "prepare")
        project.run(place, "train", project.NAME, "--quiet")
        project.run(place, "sync")
        ratios = []
        for index in range(1, ROUNDS + 1):
            seconds = {live: _trained(place, live, index) for live in ("01" if index % 2 else "10")}
            ratios.append(seconds["1"] / seconds["0"])
    return statistics.median(ratios) - 1


def _trained(place: Path, live: str, index: int) -> float:
    """Seconds that the steps of one training take."""
    params = json.loads((place / "params.yaml").read_text(encoding="utf-8"))
    params["train"]["first_seed"] = index * params["train"]["seeds"]
    write_json(place / "params.yaml", params)
    shutil.rmtree(place / ".seesaw" / "scratch", ignore_errors=True)  # a training that is done would be taken from there
    project.run(place, "train", project.NAME, "--quiet", **{SWITCH: live})
    timeline = read_json(place / layout.executions(project.NAME), "run the benchmark again")["timeline"]
    return float(timeline["at"][-1] - timeline["at"][0]) / 1000
