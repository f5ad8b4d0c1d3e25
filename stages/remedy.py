"""`seesaw remedy VARIANT`: a stored game forked into branches, each under one remedy, "change nothing" among them; which one restores it?

Every branch starts from the same lane of the same snapshot and plays several noise streams (lanes of one program; other seeds, so other
batches and noise; the first is the lane's own). Streams are shared between branches, so that they are compared in pairs. This process
never imports torch: `stages.branch` plays, one process a branch. The rule of "restored": `measure/restoration.py`. What a branch keeps of
the stored state: `game/transplant.py`. Outside the DAG: `.seesaw/remedies/`; the report does not read it.
"""

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.draw.progress import Progress
from stages.forks.outcome import judge
from stages.forks.plan import Asked, Branch, Plan, make_plan
from stages.forks.table import table
from stages.game import spec
from stages.store import processes
from stages.store.config import Config
from stages.store.files import read_json, replacing, write_json

LOOKS = 8  # at samples after the fork
RECORDS = 40
PICTURE = "remedy.png"


def run(config: Config, variant: str, root: Path, asked: Asked, as_json: bool, quiet: bool) -> str:
    """`remedy`, and what the terminal shows of it."""
    plan = make_plan(config, variant, root, asked)
    found = remedy(plan, quiet)
    return json.dumps(found, indent=2, sort_keys=True) if as_json else f"{table(found)}picture: {plan.place / PICTURE}"


def remedy(plan: Plan, quiet: bool = False) -> dict[str, Any]:
    """Fork, play, judge; write remedy.json and remedy.png (docs/formats.md) and return the document. SeesawError leaves nothing."""
    from stages.draw.branches import draw_branches  # Matplotlib takes long to import, and the plan may be refused

    found = judge(plan, _play(plan, quiet))
    with replacing(plan.place / PICTURE) as temporary:
        draw_branches(found, temporary)
    write_json(plan.place / "remedy.json", found)
    return found


def _play(plan: Plan, quiet: bool) -> list[dict[str, Any]]:
    """Every branch in a process of its own; what each left, in the plan's order."""
    folder = Path(tempfile.mkdtemp(prefix="seesaw-remedy-"))
    jobs = [_write_job(plan, branch, folder / branch.name) for branch in plan.branches]
    try:
        _run_jobs(plan, jobs, quiet)
    except processes.Stopped:
        shutil.rmtree(folder)
        raise  # a worker that failed leaves its folder: the error names the file in it
    played = [read_json(job.with_name("branch.json"), "run the command again") for job in jobs]
    shutil.rmtree(folder)
    return played


def _run_jobs(plan: Plan, jobs: Sequence[Path], quiet: bool) -> None:
    """All branches, with one live line over the steps of all."""
    done = dict.fromkeys(range(len(jobs)), 0)
    progress = Progress(f"remedy {plan.run['variant']}", plan.horizon * len(jobs), 1, quiet)

    def show(index: int, message: Mapping[str, Any]) -> None:
        done[index] = message["step"]
        progress.show(0, {"event": "step", "step": sum(done.values())})

    progress.show(0, {"event": "start", "step": 0})
    try:
        processes.run_all("stages.branch", jobs, show, "stopped; nothing was written")
    finally:
        progress.close()


def _write_job(plan: Plan, branch: Branch, place: Path) -> Path:
    config = plan.run["config"]
    write_json(
        place / "job.json",
        {
            "root": str(plan.root),
            "left": dataclasses.asdict(spec.variant(config)),
            "other": dataclasses.asdict(branch.variant),
            "lane": plan.lane,
            "streams": plan.streams,
            "at": plan.step,
            "horizon": plan.horizon,
            "record_every": max(1, min(config["record_every"], plan.horizon // RECORDS)),
            "looks": sorted({round(plan.horizon * index / LOOKS) for index in range(1, LOOKS + 1)} - {0}),
            "device": processes.device(),
            "parent": os.getpid(),
            **{key: config[key] for key in ("batch", "latent", "steps")},
        },
    )
    return place / "job.json"
