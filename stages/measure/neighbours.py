"""Metrics of nearest neighbours: precision, recall, density, coverage, memorisation.

A point is inside a ball when its distance is **at most** the radius (ties count as inside), for all five. A ball's radius is the distance
to the k-th nearest *other* member of its set. Kynkäänniemi's code and torch-fidelity also use `<=`; Naeem's `prdc` uses `<`. On continuous
data the two agree; with duplicates they do not: identical samples have balls of radius 0, and `<` would exclude even an exact hit.
"""

import torch
from torch import Tensor

from stages.measure.distances import blocks, nearest

K_MANIFOLD = 3  # precision and recall: Kynkäänniemi et al. 2019 and their code; torch-fidelity's default
K_COVERAGE = 5  # density and coverage: customary since Naeem et al. 2020


def neighbours(real: Tensor, fake: Tensor, real_radii: Tensor, fake_radii: Tensor, centre: Tensor) -> dict[str, float]:
    """Precision, recall, density and coverage of `fake` `[m, d]` against `real` `[n, d]`.

    `real_radii` and `fake_radii` `[2, n]` are squared, rounded up, for k = K_MANIFOLD and K_COVERAGE (`distances.radii`).

    - precision: share of fake samples inside at least one real ball (Kynkäänniemi et al. 2019, equations 1 and 2)
    - recall: share of real samples inside at least one fake ball (the same, exchanged)
    - density: `1/(k m) Σ_j #{real balls that hold fake sample j}` (Naeem et al. 2020, section 3); may exceed 1
    - coverage: share of real balls that hold at least one fake sample (the same)
    """
    n, m = real.shape[0], fake.shape[0]
    precise = torch.zeros(m, dtype=torch.bool)
    recalled = covered = inside = 0
    for rows, block in blocks(real, fake, centre, -1):
        precise |= (block <= real_radii[0, rows, None]).any(0)
        recalled += int((block <= fake_radii[0]).any(1).sum())
        held = (block <= real_radii[1, rows, None]).sum(1)
        covered += int((held > 0).sum())
        inside += int(held.sum())
    return {
        "precision": int(precise.sum()) / m,
        "recall": recalled / n,
        "density": inside / (K_COVERAGE * m),
        "coverage": covered / n,
    }


def memorisation(train: Tensor, spacing: Tensor, fake: Tensor, centre: Tensor) -> float:
    """Share of samples at least as near to their nearest training item as that item is to its own nearest training neighbour.

    1 − authenticity of Alaa et al. 2022, with ties counted as copies. `spacing` `[n]` is the squared distance of each training
    item to its nearest other one, rounded up (`distances.radii` with k = 1). A copy always counts. New items count too where they fall
    by chance, so the number means something only beside that of held-out real items: its floor.
    """
    distance, index = nearest(fake, train, centre)
    return (distance <= spacing[index]).double().mean().item()
