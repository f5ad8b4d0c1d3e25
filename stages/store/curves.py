"""Curves for `dvc plots`: wide CSV, median and range over the lanes that are finite."""

from pathlib import Path

import numpy as np

from stages.store.files import write_text
from stages.store.records import Block

SHOWN = ("g_loss", "d_loss", "d_gradient_norm", "g_gradient_norm", "real_logit", "fake_logit", "auc", "sample_movement")


def write_curves(path: Path, block: Block) -> None:
    """`step, g_loss_median, g_loss_min, g_loss_max, ...`; an empty field where no lane is finite."""
    indices = [block.columns.index((measure, "")) for measure in SHOWN]
    header = ["step", *(f"{measure}_{of}" for measure in SHOWN for of in ("median", "min", "max"))]
    rows = [[str(step), *_row(values[indices])] for step, values in zip(block.steps, block.values, strict=True)]
    write_text(path, "\n".join(",".join(row) for row in [header, *rows]) + "\n")


def _row(values: np.ndarray) -> list[str]:
    """Three fields for each measure of `[K, L]`."""
    fields: list[str] = []
    for lanes in values:
        finite = lanes[np.isfinite(lanes)]
        fields += [f"{of(finite):.6g}" for of in (np.median, np.min, np.max)] if len(finite) else ["", "", ""]
    return fields
