"""The live view: a process that shows a training in MLflow while it lasts, started by `store/feed.py`: `python -m stages.store.live JOB`.

It sends only rows that every group's checkpoint has made durable, with the times at which they were recorded: a resumed training records
no such row again, and `seesaw sync` gives the same points from the outputs. A server that is slow, dead or answers nonsense is asked again,
ever more rarely; nothing waits for it, and at most ROWS rows are held in memory. The run carries the tags `seesaw.live` (whose scratch
folder it follows) and `seesaw.heartbeat`; sync replaces it by the finished run, or ends it (`tracking.Store.end_unfed`).
"""

import json
import os
import select
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages.errors import SeesawError
from stages.store import feed, projection, tracking
from stages.store.curves import write_curves
from stages.store.parent import die_with_parent
from stages.store.projection import Clock, Result
from stages.store.records import Block, Records, Table, load_blocks
from stages.store.tracking import Point, Run, Store

BEAT_SECONDS = 60.0
LONGEST_WAIT = 60.0
ROWS = 2000  # recorded steps in one sending, about
NICENESS = 19  # beside a busy worker the scheduler gives it 15 parts of 1039: below 1% of two processors while it works


def main(path: str) -> int:
    """Follow until the training closes the pipe, or ends."""
    job = feed.read_job(Path(path))
    die_with_parent(job["parent"])
    os.nice(NICENESS)
    follower = Follower(job)
    notices = Notices(sys.stdin.fileno())
    failures, pause = 0, BEAT_SECONDS
    while notices.wait(pause):
        try:
            left = follower.send(notices.steps)
            failures, pause = 0, 0.0 if left else BEAT_SECONDS
        except (SeesawError, OSError, ValueError) as error:
            failures += 1
            pause = min(LONGEST_WAIT, 2.0**failures)
            print(f"not sent, tried again in {pause:.0f} s: {error}", flush=True)
    return 0


class Notices:
    """Durable steps by group, as the training says them."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.steps, self.rest = descriptor, dict[int, int](), ""

    def wait(self, seconds: float) -> bool:
        """Wait for something new, but not longer; False once the training has closed the pipe."""
        if select.select([self.descriptor], [], [], seconds)[0]:
            piece = os.read(self.descriptor, 1 << 16)
            whole, _, self.rest = (self.rest + piece.decode()).rpartition("\n")
            self.steps |= feed.read_notices(whole)
            return bool(piece)
        return True


@dataclass
class Rows:
    """Recorded rows of one group that are durable and not yet sent, by table; read from scratch file by file."""

    place: Path
    read: int = 0  # step of the last file taken
    blocks: dict[str, Block] = field(default_factory=dict)

    def load(self, durable: int) -> bool:
        """Take in files up to a durable step, about ROWS rows of them; whether more are left."""
        files = {
            step: path for path in self.place.glob("records-*.npz") if self.read < (step := int(path.stem.rsplit("-", 1)[1])) <= durable
        }
        for step in sorted(files):
            if sum(len(block.steps) for block in self.blocks.values()) >= ROWS:
                return True
            for table, block in load_blocks(files[step]).items():
                self.blocks[table] = Block.join([self.blocks[table], block]) if table in self.blocks else block
            self.read = step
        return False

    def drop(self, table: str, step: int) -> None:
        """Rows up to a step have been sent."""
        if table in self.blocks:
            self.blocks[table] = rows(self.blocks[table], self.blocks[table].steps > step)


def rows(block: Block, chosen: np.ndarray) -> Block:
    """Some rows of a block."""
    return Block(block.columns, block.steps[chosen], block.at[chosen], block.values[chosen])


def joined(groups: Sequence[Rows], table: str, last: int) -> Block | None:
    """Rows up to a step that every group has, side by side along the lanes; a row is done when its last group's is."""
    blocks = [group.blocks.get(table) for group in groups]
    present = [rows(block, block.steps <= last) for block in blocks if block is not None]
    if len(present) < len(groups) or not len(present[0].steps):
        return None
    at = np.max([block.at for block in present], 0)
    return Block(present[0].columns, present[0].steps, at, np.concatenate([block.values for block in present], 2))


class Follower:
    """The live run of one training and what it shows so far."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.place = job, Path(job["place"])
        self.result = Result(job["run"]["variant"], Path(job["root"]), job["run"], job["execution"], {}, "")
        self.groups = [Rows(self.place / f"group-{index}") for index in range(job["groups"])]
        self.timeline: dict[str, list[int]] = {"step": [], "at": []}
        self.store: Store | None = None
        self.runs: list[str] = []  # ids: the variant, then its lanes; empty as long as nothing is shown
        self.beaten = 0.0

    def send(self, durable: dict[int, int]) -> bool:
        """Show what is durable in every group; whether more is left on disk. The errors that `main` catches say that it is not."""
        left = any([group.load(durable.get(index, 0)) for index, group in enumerate(self.groups)])
        last = min(group.read for group in self.groups)
        steps = joined(self.groups, "steps", last)
        store = self.opened()
        with tracking.speaking(store.uri):
            self.runs = self.runs or begin(store, self.result, self.place)
            if self.runs and steps is not None:
                self.show(store, steps)
            self.beat(store)
        return left

    def opened(self) -> Store:
        """The store, opened once."""
        self.store = self.store or tracking.open_store(self.result.root)
        return self.store

    def show(self, store: Store, steps: Block) -> None:
        """Send rows; they are dropped once the store has taken them all, and repeated otherwise (identical points count once)."""
        timeline = {"step": [*self.timeline["step"], *steps.steps.tolist()], "at": [*self.timeline["at"], *steps.at.tolist()]}
        clock = Clock.of({**self.job["execution"], "timeline": timeline})
        last = int(steps.steps[-1])
        probes = joined(self.groups, "probes", last)
        blocks = {"steps": steps} | ({"probes": probes} if probes is not None else {})
        for run_id, points in zip(self.runs, self.points(blocks, clock), strict=True):
            store.log_points(run_id, points)
        self.timeline = timeline
        for group in self.groups:
            for table in ("steps", "probes", "incidents"):
                group.drop(table, last)

    def points(self, blocks: dict[str, Block], clock: Clock) -> list[list[Point]]:
        """New points of the variant's run, then of each lane's: those that sync gives for the same rows."""
        seeds = self.job["run"]["seeds"]
        stored = Records(np.array(seeds), tuple(Table(block.columns, block.steps, block.values) for block in blocks.values()))
        medians = self.place / "live-curves.csv"
        write_curves(medians, blocks["steps"])
        parent = projection.curve_points(medians, clock) + projection.drive_points(stored, clock)
        lanes = projection.lane_curves(stored, clock)
        return [parent, *(lanes[seed] for seed in seeds)]

    def beat(self, store: Store) -> None:
        """Say that the training lives."""
        if self.runs and time.monotonic() - self.beaten >= BEAT_SECONDS / 2:
            store.client.set_tag(self.runs[0], tracking.HEARTBEAT, str(int(time.time())))
            self.beaten = time.monotonic()


def begin(store: Store, result: Result, place: Path) -> list[str]:
    """The ids of a training's live runs, variant first: new, or taken up again. Empty where the finished result is shown already."""
    runs, plan = store.of(result.run["fingerprint"]), live_run(result)
    if any("projection" in run.tags for run in runs):
        return []
    parent = next((run.id for run in runs if tracking.LIVE in run.tags), None)
    whose = json.dumps({"host": socket.gethostname(), "scratch": str(place)})
    mark = {tracking.LIVE: whose, tracking.HEARTBEAT: str(int(time.time()))}
    ids = [taken_up(store, parent, plan, mark)]
    lanes = {run.tags["seed"]: run.id for run in runs if run.parent == ids[0]}
    return ids + [taken_up(store, lanes.get(lane.tags["seed"]), lane, {"mlflow.parentRunId": ids[0]}) for lane in plan.children]


def taken_up(store: Store, run_id: str | None, run: Run, tags: Mapping[str, str]) -> str:
    """A run that was begun before, RUNNING again and complete, or a new one."""
    if run_id is None:
        run_id = store.start(run, tags)
    else:
        store.revive(run_id)
    store.fill(run_id, run)
    return run_id


def live_run(result: Result) -> Run:
    """The variant's run and its lanes' as they begin: what is known before anything is judged."""
    run, tags = result.run, projection.common_tags(result) | projection.verdict_tags(None)
    shared = {
        "fingerprint": run["fingerprint"],
        "start": result.execution["started_at"],
        "end": 0,
        "data": projection.training_data(result),
    }
    params = projection.common_params(result)
    lanes = [
        Run(
            kind="lane",
            name=f"{result.variant} · seed {seed}",
            tags=tags | projection.lane_tags(result.variant, {"seed": seed, "status": "training", "reason": None}),
            params=params | {"seed": str(seed)},
            **shared,
        )
        for seed in run["seeds"]
    ]
    note = {"mlflow.note.content": "In training: curves grow with every checkpoint."}
    return Run(
        kind="variant", name=result.variant, tags=tags | note, params=params | {"seeds": json.dumps(run["seeds"])}, children=lanes, **shared
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
