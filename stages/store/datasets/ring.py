"""Eight Gaussians of standard deviation 0.01 on the unit circle (the mixture of Srivastava et al. 2017, VEEGAN)."""

from pathlib import Path

import numpy as np

from stages.store.config import Data
from stages.store.datasets._mixture import mixture
from stages.store.datasets._stream import Stream

STD = 0.01


def items(data: Data, path: Path) -> Stream:
    """`data.items` points; centres (cos, sin)(2 pi k / 8), k = 0..7; stored as drawn (scale 1)."""
    angles = 2 * np.pi * np.arange(8) / 8
    # rounding makes cos(pi / 2) a plain zero
    return mixture("ring", data, np.stack([np.cos(angles), np.sin(angles)], axis=1).round(15) + 0.0, STD, scale=1.0)
