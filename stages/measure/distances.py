"""Squared Euclidean distances between many points, in blocks of bounded memory, with rounding that cannot decide a tie.

A block is one matrix product: `‖x‖² + ‖y‖² − 2 x·y` in float64. Its rounding error is at most `slack · (‖x‖² + ‖y‖²)` with
`slack = (d + 4) · 2⁻⁵²` (the bound of a dot product of d terms), so equal distances can come out unequal. Every distance is therefore
asked for either rounded down or rounded up by that bound: `down(a) <= up(b)` holds whenever a <= b in exact arithmetic, whatever the
order of the points or the size of a block. Points are centred first, which keeps the bound small.

In few dimensions the nearest points are found by a k-d tree instead (SciPy), which looks at n log n pairs; its distances are sums of
squared differences, and rounded by the same bound, which is wider than theirs.
"""

from collections.abc import Iterator

import torch
from scipy.spatial import KDTree
from torch import Tensor

BLOCK = 1 << 18  # numbers in one block: 2 MiB of float64, which stays in a core's cache
ROWS = 64  # of a block at least, so that a matrix product is worth its call
TREE = 8  # dimensions up to which a k-d tree beats looking at every pair


def slack(dimensions: int) -> float:
    """Relative rounding bound of a squared distance computed by a matrix product."""
    return (dimensions + 4) * torch.finfo(torch.float64).eps


def blocks(x: Tensor, y: Tensor, centre: Tensor, rounding: int) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the squared distances from `x` `[n, d]` to `y` `[m, d]`, `(rows, [rows, m])`, never negative.

    `rounding` is −1 (a lower bound of each distance) or +1 (an upper bound).
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"points of shape {tuple(x.shape)} and {tuple(y.shape)}: [n, d] and [m, d] are needed")
    widen = 1.0 + rounding * slack(x.shape[1])
    right = y.to(torch.float64, copy=True).sub_(centre)
    right_norms = right.square().sum(1) * widen
    rows = max(ROWS, BLOCK // max(1, y.shape[0]))
    for start in range(0, x.shape[0], rows):
        left = x[start : start + rows].double() - centre
        block = torch.addmm(right_norms.expand(left.shape[0], -1), left, right.T, alpha=-2.0)
        block.add_(left.square().sum(1, keepdim=True), alpha=widen).clamp_(min=0.0)
        yield slice(start, start + left.shape[0]), block


def radii(x: Tensor, centre: Tensor, ks: tuple[int, ...]) -> Tensor:
    """Squared distance from each point to its k-th nearest other point, rounded up: `[len(ks), n]`.

    A point is never its own neighbour; an exact duplicate is a neighbour at distance 0. n <= max(ks) raises ValueError.
    """
    if x.shape[0] <= max(ks):
        raise ValueError(f"{x.shape[0]} points have no {max(ks)}-th neighbour")
    if x.shape[1] <= TREE:
        distance, _ = _tree(x, x, max(ks) + 1, +1)  # the first is the point itself, or its double
        return distance[:, list(ks)].T.contiguous()
    out = torch.empty(len(ks), x.shape[0], dtype=torch.float64)
    for rows, block in blocks(x, x, centre, +1):
        here = torch.arange(rows.start, rows.stop)
        block[here - rows.start, here] = torch.inf
        nearest = block.topk(max(ks), dim=1, largest=False).values
        out[:, rows] = nearest[:, [k - 1 for k in ks]].T
    return out


def nearest(x: Tensor, y: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Each point of `x`'s squared distance to the nearest point of `y` (rounded down), and which one: `[n]`, `[n]`."""
    if x.shape[1] <= TREE:
        distances, indices = _tree(x, y, 1, -1)
        return distances[:, 0], indices[:, 0]
    distance = torch.empty(x.shape[0], dtype=torch.float64)
    index = torch.empty(x.shape[0], dtype=torch.int64)
    for rows, block in blocks(x, y, centre, -1):
        distance[rows], index[rows] = block.min(1)
    return distance, index


def _tree(x: Tensor, y: Tensor, count: int, rounding: int) -> tuple[Tensor, Tensor]:
    """Squared distances, rounded, and indices of the `count` nearest points of `y` to each of `x`, nearest first: `[n, count]` each."""
    points, queries = y.double().numpy(), x.double().numpy()
    distance, index = KDTree(points).query(queries, k=[*range(1, count + 1)])
    return torch.from_numpy(distance).square() * (1.0 + rounding * slack(x.shape[1])), torch.from_numpy(index)
