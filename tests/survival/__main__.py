"""`python -m tests.survival --kills 100 [--seconds S] [--seed K]`: kill a tiny `dvc repro` so often, and count what was lost."""

import argparse
import contextlib
import itertools
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import kills  # noqa: E402
from kills import Outcome  # noqa: E402


def main() -> int:
    """Print the tally; 1 when anything was lost. Ctrl-C ends it with the tally so far."""
    asked = arguments()
    place = Path(tempfile.mkdtemp(prefix="survival-"))
    begun = time.monotonic()
    whole = kills.template(place / "whole")
    print(f"undisturbed: {time.monotonic() - begun:.0f} s, {len(whole.digests)} outputs", flush=True)
    outcomes: list[Outcome] = []
    with contextlib.suppress(KeyboardInterrupt):
        for one in series(whole, place, asked.seed):
            outcomes.append(one)
            said(one, len(outcomes), time.monotonic() - begun)
            if sum(one.landed for one in outcomes) >= asked.kills or time.monotonic() - begun > asked.seconds:
                break
    print("\n".join(tally(outcomes)))
    lost = [one for one in outcomes if one.trouble]
    if not lost:
        shutil.rmtree(place)
    return int(bool(lost))


def series(whole: kills.Template, place: Path, seed: int) -> Iterator[Outcome]:
    """Kill after kill; the folder of one that lost something stays to be looked at."""
    rng = random.Random(seed)  # noqa: S311
    weighted = [node for node in whole.seconds for _ in range(3 if node.startswith("train") else 1)]
    for number in itertools.count():
        folder = place / f"kill-{number:03d}"
        outcome = kills.survive(whole, kills.draw(rng, whole, rng.choice(weighted)), folder)
        if not outcome.trouble:
            shutil.rmtree(folder)
        yield outcome


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.survival", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=3600.0, help="start no further kill after so many")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def said(one: Outcome, number: int, seconds: float) -> None:
    """One line for one kill."""
    kill = one.kill
    what = one.trouble or one.mended or "; ".join(one.by_itself) or ("survived" if one.landed else "too late")
    print(f"{number:3d} {seconds:6.0f} s  {kill.node:15s} {kill.way:15s} at {kill.moment:.2f}  {what}", flush=True)


def tally(outcomes: list[Outcome]) -> list[str]:
    """Kills that landed, by way and node, and what they cost."""
    landed = [one for one in outcomes if one.landed]
    nodes = list(dict.fromkeys(node for one in landed for node in [one.kill.node.split("@")[0]]))
    counts = Counter((one.kill.way, one.kill.node.split("@")[0]) for one in landed)
    lines = ["", "| way | " + " | ".join(nodes) + " | all |", "|---" * (len(nodes) + 2) + "|"]
    for way in kills.WAYS:
        row = [counts[way, node] for node in nodes]
        lines.append(f"| {way} | " + " | ".join(str(count) for count in [*row, sum(row)]) + " |")
    row = [sum(counts[way, node] for way in kills.WAYS) for node in nodes]
    lines.append("| all | " + " | ".join(str(count) for count in [*row, sum(row)]) + " |")
    return [*lines, "", *figures(outcomes, landed)]


def figures(outcomes: list[Outcome], landed: list[Outcome]) -> list[str]:
    """What the kills cost, in words."""
    unsaved = [one.unsaved for one in landed if one.unsaved is not None]
    resumed = sum(bool(one.resumed) for one in landed)
    shells = Counter(one.kill.shell for one in landed)
    return [
        f"{len(landed)} kills landed ({', '.join(f'{count} under {shell}' for shell, count in sorted(shells.items()))}); "
        f"{len(outcomes) - len(landed)} came too late and count for nothing",
        f"{sum(not one.trouble for one in landed)} survived; {sum(bool(one.trouble) for one in landed)} did not",
        f"{sum(bool(one.by_itself) for one in landed)} left a file of dvc's own cut off, which its guardian mended",
        f"{sum(bool(one.mended) for one in landed)} needed a command that `seesaw doctor` names (a file that dvc left half written)",
        f"{sum(one.half_written for one in landed)} cut a checkpoint off while it was written; {resumed} went on from a checkpoint",
        f"training since the newest checkpoint at the kill: at most {max(unsaved, default=0.0):.2f} s "
        f"(checkpoints every {kills.CHECKPOINT_SECONDS} s)",
        f"the last process of a killed run ended within {max((one.ending for one in landed), default=0.0):.1f} s",
    ]


if __name__ == "__main__":
    sys.exit(main())
