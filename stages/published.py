"""`python -m stages.published` prints the mode counts of the results as rows of docs/results.md: mean ± standard error over lanes.

One column for each rule under which papers count, over all draws together (`evaluate.samples` × `evaluate.draws` samples), at the last
snapshot, of the averaged generator. A lane that failed found nothing: 0 modes and 0% of high quality; it has no divergence.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import SeesawError
from stages.measure.spread import standard_error
from stages.store import layout
from stages.store.config import read_config
from stages.store.files import read_json

COLUMNS = {"modes_pooled": "modes (≥ 1)", "modes_20": "modes (≥ 20)", "high_quality": "% high quality", "reverse_kl_pooled": "reverse KL"}
DECIMALS = {"modes_pooled": 1, "modes_20": 1, "high_quality": 1, "reverse_kl_pooled": 3}
REMEDY = "run `dvc repro`"


def table(root: Path, names: Sequence[str]) -> str:
    """The table of those variants in Markdown, below the floor of the first; SeesawError where modes are not known."""
    scores = {name: read_json(root / layout.scores(name), REMEDY) for name in names}
    flops = {name: read_json(root / layout.run(name), REMEDY)["cost"]["flops"] for name in names}
    floors = scores[names[0]]["floors"]
    if "reverse_kl_pooled" not in floors:
        raise SeesawError("these data have no known modes: set data.source to ring, grid or stacked_digits")
    head = ["", *COLUMNS.values(), "all modes (≥ 1; ≥ 20)", "GFLOP a lane"]
    floor = ["**floor**", *(_number(name, floors[name]["value"]) for name in COLUMNS), "", ""]
    most = round(floors["modes_pooled"]["value"])
    body = [_row(name, last_lanes(scores[name]), most, flops[name]) for name in names]
    rows = [head, ["---"] * len(head), floor, *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def last_lanes(scores: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Lanes of the averaged generator's test entry at the last step."""
    tests = [entry for entry in scores["snapshots"] if (entry["generator"], entry["part"]) == ("ema", "test")]
    lanes: list[Mapping[str, Any]] = max(tests, key=lambda entry: entry["step"])["lanes"]
    return lanes


def _row(name: str, lanes: Sequence[Mapping[str, Any]], most: int, flops: float) -> list[str]:
    found = {metric: [_value(lane, metric) for lane in lanes] for metric in COLUMNS}
    whole = [sum(value is not None and value >= most for value in found[rule]) for rule in ("modes_pooled", "modes_20")]
    cells = [_spread(metric, [value for value in values if value is not None]) for metric, values in found.items()]
    return [f"`{name}`", *cells, f"{whole[0]}; {whole[1]} of {len(lanes)}", f"{flops / 1e9:.0f}"]


def _value(lane: Mapping[str, Any], metric: str) -> float | None:
    if lane["metrics"] is None:
        return None if metric == "reverse_kl_pooled" else 0.0
    value: float | None = lane["metrics"][metric]["value"]
    return value


def _spread(metric: str, values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = _number(metric, sum(values) / len(values))
    return mean if len(values) < 2 else f"{mean} ± {_number(metric, standard_error(values))}"


def _number(metric: str, value: float) -> str:
    return f"{100 * value if metric == 'high_quality' else value:.{DECIMALS[metric]}f}"


def main() -> None:
    """The table of params.yaml's variants, or of those named."""
    root = Path()
    try:
        print(table(root, sys.argv[1:] or list(read_config(root / "params.yaml").variants)))
    except SeesawError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
