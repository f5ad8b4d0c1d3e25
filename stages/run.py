"""`seesaw run`: the pipeline as `dvc repro` runs it, then MLflow, then what came out on the terminal."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.store import layout, processes
from stages.store.config import Config
from stages.store.files import read_json


def run(config: Config, root: Path, targets: Sequence[str]) -> None:
    """`dvc repro TARGETS`, then `seesaw sync`, then the verdict table. SeesawError when a stage fails: its own line stands above."""
    begun = time.monotonic()
    reproduce(root, targets)
    from stages.sync import sync  # mlflow is slow to import, and dvc may have failed

    print(sync(root, progress=lambda name: print(f"mlflow   {name}", flush=True)))
    if (root / layout.COMPARISON).exists():
        print(verdict_table(config, root))
    print(f"report   {root / layout.REPORT / 'index.html'}")
    print("compare  seesaw ui    (MLflow on these runs; Ctrl-C ends it)")
    print(f"done in {time.monotonic() - begun:.0f} s")


def reproduce(root: Path, targets: Sequence[str]) -> None:
    """dvc repro, with this interpreter's folder first on PATH so that the stages find it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if processes.call([sys.executable, "-m", "dvc", "repro", *targets], root, environment) != 0:
        raise SeesawError("dvc repro did not finish; the lines above say why. Run the same command again: finished stages are kept")


def verdict_table(config: Config, root: Path) -> str:
    """The ranking as lines of text: verdict, score against the floor, lanes that failed, cost."""
    comparison = read_json(root / layout.COMPARISON, "run `dvc repro compare`")
    rows = [_row(entry, comparison) for entry in comparison["ranking"]]
    header = ("rank", "variant", "verdict", comparison["primary"], "interval", "x floor", "failed", "GFLOP")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join(["", lines[0], "-" * len(lines[0]), *lines[1:], ""])


def _row(entry: Mapping[str, Any], comparison: Mapping[str, Any]) -> tuple[str, ...]:
    number = lambda value, form: "-" if value is None else format(value, form)  # noqa: E731
    return (
        str(entry["rank"]),
        entry["variant"],
        entry["verdict"] + (" (in doubt)" if entry["doubt"] else ""),
        number(entry["median"], ".3g"),
        f"{number(entry['low'], '.3g')} .. {number(entry['high'], '.3g')}",
        number(entry["floor_ratio"], ".1f"),
        f"{entry['failed']}/{entry['lanes']}",
        number(entry["flops"] / 1e9, ".0f"),
    )
