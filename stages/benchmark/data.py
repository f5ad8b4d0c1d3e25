"""What the number of items costs: folders of images, each ten times the one before, prepared and trained on for real."""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stages.benchmark import project
from stages.benchmark.tables import Section
from stages.errors import SeesawError
from stages.store import layout
from stages.store.files import read_json

SIDE, STEPS, SMALLEST, FACTOR = 8, 200, 1000, 10
BLOCK = 4096  # bytes that a small file takes on most file systems, and images drawn at a time


def data(seconds: float, device: str, items: int) -> Section:
    """`prepare` and `train` on folders of up to so many images, one in ten of each for the folder before it."""
    sizes = [items]
    while sizes[0] >= FACTOR * SMALLEST:
        sizes.insert(0, sizes[0] // FACTOR)
    return Section(
        "data",
        "Items of data",
        f"A folder of {SIDE} x {SIDE} grey PNG files, one process at a time: `prepare`, then `train` of a dcgan, 2 lanes, "
        f"{STEPS} steps. MiB are the most that one process held; `own` leaves out the pages of mapped files, which processes share and the "
        "system takes back.",
        ("items", "prepare s", "items/s", "prepare MiB", "prepare own MiB", "train s", "step ms", "train MiB", "train own MiB"),
        [_row(count) for count in sizes],
    )


def _row(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        place = project.lay(
            Path(folder), {"source": "images", "path": "images", "size": SIDE}, seeds=2, lanes_per_group=2, steps=STEPS, snapshots=2
        )
        draw(place / "images", count)
        prepared = project.run(place, "prepare", SEESAW_WORKERS="1")
        trained = project.run(place, "train", project.NAME, "--quiet", SEESAW_WORKERS="1")
        timeline = read_json(place / layout.executions(project.NAME), "run the benchmark again")["timeline"]
    return {
        "items": f"{count:,}",
        "prepare s": prepared.seconds,
        "items/s": count / prepared.seconds,
        "prepare MiB": prepared.peak,
        "prepare own MiB": prepared.own,
        "train s": trained.seconds,
        "step ms": (timeline["at"][-1] - timeline["at"][0]) / (timeline["step"][-1] - timeline["step"][0]),
        "train MiB": trained.peak,
        "train own MiB": trained.own,
    }


def draw(folder: Path, count: int) -> None:
    """So many images of noise, some thousands at a time; SeesawError where the disk has no room for as many files."""
    folder.mkdir(parents=True)
    disk = os.statvfs(folder)
    if disk.f_favail < count or disk.f_bavail * disk.f_frsize < 2 * count * BLOCK:
        raise SeesawError(f"{count:,} files have no room in {folder.parent}: set TMPDIR to a larger disk, or a smaller --items")
    rng = np.random.default_rng(0)
    for start in range(0, count, BLOCK):
        images = rng.integers(0, 256, (min(BLOCK, count - start), SIDE, SIDE), dtype=np.uint8)
        for index, image in enumerate(images, start):
            Image.fromarray(image).save(folder / f"{index:08d}.png", compress_level=1)
