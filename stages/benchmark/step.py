"""What one step costs: network by penalty by lanes, with the operations counted and the share of the machine's limit reached."""

from dataclasses import replace
from typing import Any

from stages.benchmark import cases, timing
from stages.benchmark.cases import Case
from stages.benchmark.machine import product_speed
from stages.benchmark.tables import Section

LANES = (1, 2, 4, 8, 16)


def step(seconds: float, device: str) -> Section:
    """Every network of the catalogue, three penalties, 1 to 16 lanes; one thread on a CPU."""
    limit = product_speed(device, seconds)
    rows = [
        row
        for network, shape in cases.SHAPES.items()
        for penalty in cases.PENALTIES
        for row in _rows(Case(network, shape, penalty, device=device), seconds, limit)
    ]
    if device == "cpu":
        rows.append({"game": "any, on a GPU", "penalty": "any", "lanes": "any"})
    return Section(
        "step",
        "One step",
        "One generator step with its discriminator step, batch 64, players of width 16, one thread; the lane counts of a game in turn. "
        f"The limit is the matrix product of one thread, {limit:,.0f} GFLOP/s, measured just before.",
        ("game", "penalty", "lanes", "ms a step", "ms a lane", "images/s", "MFLOP a lane", "GFLOP/s", "of the limit", "spread"),
        rows,
    )


def _rows(case: Case, seconds: float, limit: float) -> list[dict[str, Any]]:
    """One game with each number of lanes."""
    each = {lanes: replace(case, lanes=lanes) for lanes in LANES}
    times = timing.in_turn({str(lanes): cases.turn(one) for lanes, one in each.items()}, seconds)
    alone = cases.flops(each[1])
    return [_row(one, times[str(lanes)], alone, limit) for lanes, one in each.items()]


def _row(case: Case, seen: timing.Times, flops: float, limit: float) -> dict[str, Any]:
    speed = flops * case.lanes / seen.median / 1e9
    return {
        "game": case.label,
        "penalty": case.penalty,
        "lanes": case.lanes,
        "ms a step": 1000 * seen.median,
        "ms a lane": 1000 * seen.median / case.lanes,
        "images/s": case.lanes * case.batch / seen.median,
        "MFLOP a lane": flops / 1e6,
        "GFLOP/s": speed,
        "of the limit": speed / limit,
        "spread": seen.spread,
    }


def scaling(seconds: float, device: str) -> Section:
    """The cost against batch, resolution, steps and items of data, everything else at its default; the lanes are `step`'s rows."""
    rows = []
    for what, several in SCALES.items():
        each = [replace(Case(device=device), **change) for change in several]
        times = timing.in_turn({str(index): cases.turn(case) for index, case in enumerate(each)}, seconds)
        rows += [_scaled(what, case, times[str(index)], times["0"], each[0]) for index, case in enumerate(each)]
    return Section(
        "scaling",
        "Scaling",
        "dcgan, no penalty, 4 lanes, batch 64, 28 x 28, 4,096 items, but for what the row says (steps: mlp on 2 numbers; items: 8 x 8); "
        "`cost` is the time relative to the first row's, `work` the operations relative to its.",
        ("what", "value", "ms a step", "cost", "work", "spread"),
        rows,
    )


SCALES: dict[str, list[dict[str, Any]]] = {
    "batch": [{"batch": batch} for batch in (16, 64, 256)],
    "side": [{"shape": (1, side, side)} for side in (8, 16, 32, 64)],
    "steps": [{"turns": turns, "network": "mlp", "shape": (2,)} for turns in (10, 100, 1_000)],
    "items": [{"items": items, "shape": (1, 8, 8)} for items in (1_000, 10_000, 100_000, 1_000_000)],
}


def _scaled(what: str, case: Case, seen: timing.Times, first: timing.Times, smallest: Case) -> dict[str, Any]:
    value = {"batch": case.batch, "side": case.shape[-1], "items": case.items, "steps": case.turns}[what]
    work = cases.flops(case) * case.turns / (cases.flops(smallest) * smallest.turns)
    return {
        "what": what,
        "value": f"{value:,}",
        "ms a step": 1000 * seen.median / case.turns,
        "cost": seen.median / first.median,
        "work": work,
        "spread": seen.spread,
    }
