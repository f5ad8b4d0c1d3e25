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
DIRECTIONS = 48
GAUSSIANS = 10
PASSES = 50  # of expectation-maximisation, converged or not: a baseline, not a result


def gaussian_mixture(train: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` samples `[count, D]` float64 of a mixture fitted on rows of `train` `[N, D]`; ValueError for fewer than 2 rows.

    The number of Gaussians is 10, or fewer where a Gaussian would have fewer than 20 items. Every covariance gets scikit-learn's default
    1e-6 times the fitted items' mean variance on its diagonal (exactly 0 variance is sampled as a constant).
    """
    if train.ndim != 2 or train.shape[0] < 2:
        raise ValueError(f"train of shape {train.shape}: [N, D] with N at least 2 is needed")
    rows = train if train.shape[0] <= ITEMS else train[np.sort(rng.choice(train.shape[0], ITEMS, replace=False))]
    items = rows.astype(np.float64)
    spread = float(np.sqrt(items.var(axis=0).mean()))
    if spread == 0.0:
        return np.repeat(items[:1], count, axis=0)
    seed = int(rng.integers(2**31))
    analysis = PCA(min(DIRECTIONS, *items.shape), svd_solver=_solver(items.shape), random_state=seed)
    codes = analysis.fit_transform(items) / spread
    mixture = GaussianMixture(max(1, min(GAUSSIANS, len(items) // 20)), max_iter=PASSES, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(codes)
    drawn, _ = mixture.sample(count)
    return analysis.inverse_transform(drawn[rng.permutation(count)] * spread)


def _solver(shape: tuple[int, ...]) -> str:
    """An exact decomposition where it is small, else scikit-learn's randomised one."""
    return "full" if min(shape) <= 500 else "randomized"
