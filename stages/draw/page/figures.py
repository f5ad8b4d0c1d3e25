"""Two small figures laid out here and drawn by the template: the interval beside each rank, and the critical differences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, EDGE, TOP, ROW = 720, 150, 46, 22  # of the critical-difference figure, in its own units


def intervals(ranking: Sequence[Mapping[str, Any]], floor: float | None) -> dict[str, Any]:
    """Places in percent on one logarithmic axis: `rows` by variant (dots, median, low, high), `floor`, `ticks`.

    Empty rows where a value does not exist or is not above 0.
    """
    rows = {row["variant"]: [v for v in (*row["per_lane"], row["low"], row["high"], row["median"]) if v and v > 0] for row in ranking}
    values = [value for found in rows.values() for value in found] + ([floor] if floor else [])
    if not values:
        return {"rows": {}, "floor": None, "ticks": []}
    low, high = math.log10(min(values)), math.log10(max(values))
    room = 0.04 * (high - low) or 0.1

    def place(value: float | None) -> float | None:
        return round(100 * (math.log10(value) - low + room) / (high - low + 2 * room), 2) if value and value > 0 else None

    placed = {
        row["variant"]: {
            "dots": [place(value) for value in row["per_lane"] if place(value) is not None],
            **{key: place(row[key]) for key in ("median", "low", "high")},
        }
        for row in ranking
    }
    return {"rows": placed, "floor": place(floor), "ticks": [(place(t), f"{t:g}") for t in _ticks(10 ** (low - room), 10 ** (high + room))]}


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the ends; powers of ten alone where those are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{m}e{d}") for d in decades for m in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= tick <= high]
    return inside if len(inside) <= 7 else [tick for tick in inside if math.isclose(math.log10(tick) % 1, 0, abs_tol=1e-9)] or inside[:7]


def critical_difference(comparison: Mapping[str, Any]) -> dict[str, Any] | None:
    """Demšar's figure: an axis of mean ranks, a name at each, bars over what the test does not tell apart. None for one variant."""
    distance = comparison["ranks"]["critical_difference"]
    ranked = sorted(comparison["ranking"], key=lambda row: (row["mean_rank"], row["variant"]))
    if distance is None or len(ranked) < 2:
        return None
    count = len(ranked)

    def x(rank: float) -> float:
        return round(EDGE + (WIDTH - 2 * EDGE) * (rank - 1) / (count - 1), 1)

    bars = _bars(comparison["ranks"]["groups"], {row["variant"]: row["mean_rank"] for row in ranked}, x)
    first = TOP + 14 + 9 * len(bars) + 10
    half = (count + 1) // 2
    names = [
        {"variant": row["variant"], "rank": row["mean_rank"], "x": x(row["mean_rank"]), "left": i < half, "gravity": row["verdict"],
         "y": first + ROW * (i if i < half else count - 1 - i)}
        for i, row in enumerate(ranked)
    ]  # fmt: skip
    ticks = [(x(rank), rank) for rank in range(1, count + 1)]
    scale = (x(1), min(x(1 + distance), WIDTH - 4.0))
    return {"width": WIDTH, "height": first + ROW * half, "edge": EDGE, "top": TOP, "ticks": ticks, "names": names, "bars": bars,
            "scale": scale}  # fmt: skip


def _bars(groups: Sequence[Sequence[str]], ranks: Mapping[str, float], x: Any) -> list[dict[str, float]]:
    ends = [(min(ranks[name] for name in group), max(ranks[name] for name in group)) for group in groups]
    return [{"x1": x(low) - 4, "x2": x(high) + 4, "y": TOP + 12 + 9 * i} for i, (low, high) in enumerate(ends)]
