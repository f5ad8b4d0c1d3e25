"""One process of a comparison: plays lanes or a plain loop when told to, on the threads it was given.

Started by `stages.benchmark.against` as `python -m stages.benchmark.player CASE`; reads `lanes N` or `plain N` (turns to play) in lines on
standard input, and answers each with a line of JSON when it is done.
"""

import json
import resource
import sys
from collections.abc import Callable, Iterable

import torch

from stages.benchmark import cases
from stages.benchmark.cases import Case
from stages.benchmark.plain import PlainLoop


def main(case: str, threads: str, lines: Iterable[str]) -> None:
    """Serve until the input ends; `threads` 0 leaves torch's default."""
    if int(threads):
        torch.set_num_threads(int(threads))
    asked = json.loads(case)
    works = _works(Case(**{**asked, "shape": tuple(asked["shape"])}))
    for line in lines:
        which, turns = line.split()
        for _ in range(int(turns)):
            works[which]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(json.dumps({"threads": torch.get_num_threads(), "peak_mib": peak}) + "\n")
        sys.stdout.flush()


def _works(case: Case) -> dict[str, Callable[[], None]]:
    """Each made when first asked for, so that a process holds only what it plays."""
    made: dict[str, Callable[[], None]] = {}

    def lanes() -> None:
        made.setdefault("lanes", made.get("lanes") or cases.turn(case))()

    def plain() -> None:
        if "plain" not in made:
            loop, data = PlainLoop(case), cases.items(case)
            made["plain"] = lambda: loop.turn(data)
        made["plain"]()
        cases.wait(case.device)

    return {"lanes": lanes, "plain": plain}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin)
