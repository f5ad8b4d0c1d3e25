"""A simple generator to beat: a Gaussian mixture fitted on the train part's own numbers (pixels, or coordinates).

Many-dimensional items go through a principal component analysis first and are sampled back from it. Bounded in time and memory: at
most 4,000 train items, 48 directions of variation and 10 Gaussians with full covariances (scikit-learn).
"""

import warnings

import numpy as np
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

ITEMS = 4000
NUMBERS = 1 << 24  # in the fitted items: 128 MiB
DIRECTIONS = 48
GAUSSIANS = 10
PASSES = 50  # of expectation-maximisation, converged or not: a baseline, not a result


def gaussian_mixture(train: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` samples `[count, ...]` float64 of a mixture fitted on `train` `[N, ...]`, in its units (uint8 images: 0 to 255, not rounded).

    The number of Gaussians is 10, or fewer where a Gaussian would have fewer than 20 items. scikit-learn's default 1e-6, here of the items'
    mean variance, stands on each covariance's diagonal; items that are all equal are answered with themselves. ValueError below 2 items.
    """
    if train.shape[0] < 2:
        raise ValueError(f"{train.shape[0]} train items: at least 2 are needed")
    items = _rows(train, rng)
    spread = float(np.sqrt(items.var(axis=0).mean()))
    if spread == 0.0:
        return np.repeat(items[:1], count, axis=0).reshape(count, *train.shape[1:])
    seed = int(rng.integers(2**31))
    analysis = PCA(min(DIRECTIONS, *items.shape), svd_solver=_solver(items.shape), random_state=seed)
    codes = analysis.fit_transform(items) / spread
    mixture = GaussianMixture(max(1, min(GAUSSIANS, len(items) // 20)), max_iter=PASSES, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(codes)
    drawn = mixture.sample(count)[0][rng.permutation(count)]  # scikit-learn sorts its samples by Gaussian
    return analysis.inverse_transform(drawn * spread).reshape(count, *train.shape[1:])


def _rows(train: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random choice of items as rows `[n, D]`, so many that neither ITEMS nor NUMBERS is exceeded (at least 2)."""
    dimensions = int(np.prod(train.shape[1:]))
    most = max(2, min(ITEMS, NUMBERS // dimensions))
    chosen = slice(None) if train.shape[0] <= most else np.sort(rng.choice(train.shape[0], most, replace=False))
    return np.asarray(train[chosen], dtype=np.float64).reshape(-1, dimensions)


def _solver(shape: tuple[int, ...]) -> str:
    """An exact decomposition where it is small, else scikit-learn's randomised one."""
    return "full" if min(shape) <= 500 else "randomized"
