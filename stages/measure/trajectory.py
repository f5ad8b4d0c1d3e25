"""Quality along a run: its mean level, and what was reached within a budget of steps or of counted FLOPs."""

from collections.abc import Sequence

import numpy as np


def level(steps: Sequence[float], values: np.ndarray) -> float | None:
    """Area under a trajectory over its length, on the log scale: exp(∫ log m(t) dt / (t_last − t_first)), trapezoids between snapshots.

    `values` `[S]` at increasing `steps` `[S]`. On the log scale the first snapshots' huge distances do not decide. A single snapshot is
    its own level. None where a value is missing (NaN) or not above 0: a lane that died has no area.
    """
    times, values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if not len(values) or not (values > 0).all() or not np.isfinite(values).all():
        return None
    if len(values) == 1:
        return float(values[0])
    return float(np.exp(np.trapezoid(np.log(values), times) / (times[-1] - times[0])))


def affordable(steps: Sequence[int], cost_per_step: float, budget: float) -> int | None:
    """Index of the last snapshot whose cost `step · cost_per_step` is within the budget (up to rounding), or None.

    The snapshot that exists is taken, not a value interpolated between two.
    """
    within = [i for i, step in enumerate(steps) if step * cost_per_step <= budget * (1 + 1e-9)]
    return max(within, key=lambda i: steps[i], default=None)
