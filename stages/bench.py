"""`seesaw bench`: what a step costs, against the machine's own limit and against a plain loop; what watching and keeping cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stages.benchmark.against import plain
from stages.benchmark.answer import answer
from stages.benchmark.data import data
from stages.benchmark.machine import described, machine, using_threads
from stages.benchmark.overhead import overhead
from stages.benchmark.step import scaling, step
from stages.benchmark.tables import Section, markdown, write_between
from stages.errors import SeesawError
from stages.store import processes
from stages.store.files import write_json

SECTIONS: dict[str, Callable[[float, str], Section]] = {
    "machine": machine,
    "step": step,
    "scaling": scaling,
    "overhead": overhead,
    "plain": plain,
    "answer": answer,
}
LARGE = 100_000  # images in the largest folder of `data`


def bench(names: Sequence[str], seconds: float, show: Callable[[str], None], items: int = LARGE) -> dict[str, Any]:
    """Measure these sections (all but `data` where none is named), about so many seconds for each row; `show` gets each table when ready.

    `data` takes the time that folders of up to `items` images take. SeesawError for a section that does not exist.
    """
    device = _device()
    known: dict[str, Callable[[float, str], Section]] = {**SECTIONS, "data": partial(data, items=items)}
    chosen = list(dict.fromkeys(names)) or list(SECTIONS)
    for name in chosen:
        if name not in known:
            raise SeesawError(f"bench has no section {name!r}: {', '.join(known)} are allowed")
    about = described(device)
    show(_about(about) + "\n")
    sections = {}
    with using_threads(1):
        for name in chosen:
            section = known[name](seconds, device)
            show(markdown(section))
            sections[name] = asdict(section)
    return {"machine": about, "seconds": seconds, "sections": sections}


def run(
    names: Sequence[str], seconds: float, json_path: Path | None, write: Path | None, show: Callable[[str], None], items: int = LARGE
) -> None:
    """`bench`, its results also as JSON where asked, and its tables in a document between the markers of their names."""
    results = bench(names, seconds, show, items)
    if json_path is not None:
        write_json(json_path, results)
    if write is not None:
        for name, text in _texts(results):
            write_between(write, name, text)


def _texts(results: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "about", _about(results["machine"]) + "\n"
    for name, section in results["sections"].items():
        yield name, markdown(Section(**section))


def _about(facts: Mapping[str, Any]) -> str:
    """The machine in one line."""
    gpu = facts["gpu"] or "no GPU"
    return (
        f"{facts['processor']}, {facts['processors']} processors ({facts['vector_unit']}), {facts['memory_gib']} GiB, {gpu}; "
        f"torch {facts['torch']}, Python {facts['python']}; load before: {facts['load_before']}."
    )


def _device() -> str:
    """`SEESAW_DEVICE`; SeesawError where it is cuda and there is none."""
    device = processes.device()
    if device == "cuda" and not torch.cuda.is_available():
        raise SeesawError("SEESAW_DEVICE is cuda, and torch sees no GPU here: unset it to measure the CPU")
    return device
