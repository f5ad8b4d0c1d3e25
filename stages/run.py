"""`seesaw run`: the pipeline as `dvc repro` runs it, then MLflow, then what came out on the terminal."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.errors import SeesawError
from stages.store import layout, mending, pipeline, processes
from stages.store.config import Config
from stages.store.files import read_json

if TYPE_CHECKING:
    from stages.sync import SyncSummary

SHOWN = ("rank", "variant", "verdict", "doubt", "median", "low", "high", "floor_ratio", "failed", "lanes", "flops")


@dataclass(frozen=True)
class Options:
    """How to run: stages at once, what is printed, and whether MLflow follows trainings while they last."""

    jobs: int = 1
    quiet: bool = False
    as_json: bool = False
    live: bool = False


def run(config: Config, root: Path, targets: Sequence[str], options: Options = Options()) -> None:
    """Make what is stale, bring MLflow there, print the verdict table (as JSON on standard output where asked).

    SeesawError when a stage fails: its own lines stand above. With `jobs` above 1 everything that does not wait for it is made and shown
    all the same.
    """
    begun = time.monotonic()
    settings = {"SEESAW_QUIET": options.quiet, "SEESAW_LIVE": options.live}
    os.environ.update({name: "1" for name, wanted in settings.items() if wanted})
    failures = make(root, targets, options)
    from stages.sync import sync  # mlflow is slow to import, and dvc may have failed

    loud = not (options.quiet or options.as_json)
    summary = sync(root, progress=lambda name: print(f"mlflow   {name}", flush=True) if loud else None)
    comparison = read_json(root / layout.COMPARISON, "") if (root / layout.COMPARISON).exists() else None
    seconds = time.monotonic() - begun
    print(as_json(root, summary, comparison, seconds) if options.as_json else as_text(root, summary, comparison, seconds, options.quiet))
    if failures:
        raise SeesawError("not everything was made; run the same command again, finished stages are kept\n" + "\n".join(failures))


def make(root: Path, targets: Sequence[str], options: Options) -> list[str]:
    """`dvc repro TARGETS`, or stages side by side; what failed, in lines."""
    if options.jobs < 1:
        raise SeesawError(f"-j is {options.jobs}: a whole number above 0 is needed")
    mend(root)
    if options.jobs > 1:
        from stages.parallel import side_by_side

        return side_by_side(root, targets, options.jobs, options.quiet)
    reproduce(root, targets, options)
    return []


def mend(root: Path) -> None:
    """What a killed dvc left cut off, on which the next one would fail; a line for each on standard error."""
    for line in mending.mend(root):
        print(f"mended   {line}", file=sys.stderr, flush=True)


def reproduce(root: Path, targets: Sequence[str], options: Options = Options()) -> None:
    """dvc repro, with this interpreter's folder first on PATH so that stages find it; it speaks on standard error where JSON is asked."""
    command = [sys.executable, "-m", "dvc", "repro", *(["--quiet"] if options.quiet else []), *targets]
    out = sys.stderr if options.as_json else None
    if processes.call(command, root, pipeline.environment(), out) != 0:
        raise SeesawError("dvc repro did not finish; the lines above say why. Run the same command again: finished stages are kept")


def as_text(root: Path, summary: "SyncSummary", comparison: Mapping[str, Any] | None, seconds: float, quiet: bool) -> str:
    """What came out, for a person; quiet: the verdict table alone."""
    table = [verdict_table(comparison)] if comparison is not None else []
    if quiet:
        return "\n".join(table).strip("\n")
    report = root / layout.REPORT / "index.html"
    where = [f"report   {report}", "compare  seesaw ui    (MLflow on these runs; Ctrl-C ends it)"]
    return "\n".join([str(summary), *table, *where, f"done in {seconds:.0f} s"])


def as_json(root: Path, summary: "SyncSummary", comparison: Mapping[str, Any] | None, seconds: float) -> str:
    """What came out, for a program: the ranking, the runs in MLflow, the report."""
    ranking = [{key: entry[key] for key in SHOWN} for entry in comparison["ranking"]] if comparison is not None else None
    primary = comparison["primary"] if comparison is not None else None
    found = {"primary": primary, "ranking": ranking, "mlflow": asdict(summary), "report": str(root / layout.REPORT / "index.html")}
    return json.dumps({**found, "seconds": round(seconds, 1)}, indent=2)


def verdict_table(comparison: Mapping[str, Any]) -> str:
    """The ranking as lines of text: verdict, score against the floor, lanes that failed, cost."""
    rows = [_row(entry) for entry in comparison["ranking"]]
    header = ("rank", "variant", "verdict", comparison["primary"], "interval", "x floor", "failed", "GFLOP")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join(["", lines[0], "-" * len(lines[0]), *lines[1:], ""])


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
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
