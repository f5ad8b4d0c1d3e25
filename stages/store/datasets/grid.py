"""Twenty-five Gaussians of standard deviation 0.05 on {-4, -2, 0, 2, 4}^2 (the mixture of Srivastava et al. 2017, VEEGAN)."""

import itertools
import math
from pathlib import Path

import numpy as np

from stages.store.config import Data
from stages.store.datasets._mixture import mixture
from stages.store.datasets._stream import Stream

STD = 0.05
SCALE = math.sqrt(8.0)  # standard deviation of the centres in each coordinate: the games see about unit variance


def items(data: Data, path: Path) -> Stream:
    """`data.items` points, stored divided by sqrt(8)."""
    centres = np.array(list(itertools.product([-4.0, -2.0, 0.0, 2.0, 4.0], repeat=2)))
    return mixture("grid", data, centres, STD, SCALE)
