"""The game's landscape at one point: the spectrum of the game Jacobian, each player's Hessian block, the path from start to end.

The simultaneous gradient field is v(θ, ψ) = (∇_θ L_G, ∇_ψ L_D), L_D with its penalty; both players move along −v. J = ∂v/∂(θ, ψ) is the
game Jacobian. A stationary point is locally stable for small simultaneous gradient steps when all eigenvalues of J have positive real
parts; imaginary parts are rotation (Mescheder et al. 2018; Berard et al. 2020, section 3). Everything is of one lane, in float64, on one
fixed batch and noise: `losses` must read the same numbers at every call. What is frozen inside `losses` (batch statistics, spectral
norm's vectors) is not differentiated.

An optimiser that is held still is a diagonal P: both players move along −P v, and P J takes J's place. It decides more than J does where
the learning rates differ or Adam scales weights apart: with steps of that size an equilibrium attracts when |1 − λ| < 1 for every
eigenvalue λ of P J (simultaneous steps without momentum).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Matvec = Callable[[np.ndarray], np.ndarray]
DENSE = 96  # up to this many parameters the whole matrix is formed
TOLERANCE = 1e-3  # of an eigenvalue, relative to the largest magnitude
MEMORY = 1 << 25  # numbers in a Krylov basis: 256 MiB
ZERO = 1e-10  # relative to the largest magnitude: below it an eigenvalue is listed as an exact zero (a scale invariance)


class Losses(NamedTuple):
    """L_G and L_D (with penalty), scalars that carry their graph to both players' parameters."""

    generator: Tensor
    discriminator: Tensor


@dataclass(frozen=True)
class Field:
    """A game at its present weights: both players' leaf parameters and a function that evaluates both losses there.

    In `losses` the fake batch must keep its graph to G in D's loss too: ∂(∇_ψ L_D)/∂θ is half of the game.
    """

    generator: Sequence[Tensor]
    discriminator: Sequence[Tensor]
    losses: Callable[[], Losses]

    @property
    def parameters(self) -> list[Tensor]:
        """Both players' parameters, G's first."""
        return [*self.generator, *self.discriminator]

    def value(self) -> Tensor:
        """v, flat, without a graph."""
        return self._vector(create_graph=False).detach()

    def _vector(self, create_graph: bool) -> Tensor:
        losses = self.losses()
        return _flat(
            [*_gradient(losses.generator, self.generator, create_graph), *_gradient(losses.discriminator, self.discriminator, create_graph)]
        )

    def jacobian(self, player: Literal["both", "generator", "discriminator"] = "both") -> tuple[Matvec, int]:
        """u ↦ Jᵀu and the size, for J or for one player's diagonal block (its Hessian ∇²L).

        Jᵀ has J's spectrum and costs one backward through the graph of v, which is built once (Berard et al.'s code does the same under
        the name of a Jacobian-vector product).
        """
        field, count = self._vector(create_graph=True), sum(p.numel() for p in self.generator)
        parts = {"both": (field, self.parameters), "generator": (field[:count], self.generator)}
        parts["discriminator"] = (field[count:], self.discriminator)
        vector, parameters = parts[player]

        def product(u: np.ndarray) -> np.ndarray:
            if not vector.requires_grad:  # a constant field
                return np.zeros_like(u)
            seed = torch.from_numpy(np.ascontiguousarray(u.real, dtype=np.float64)).reshape(-1)
            # a scalar, since torch imports a second's worth of modules when it is given a vector to start from
            got = torch.autograd.grad(vector @ seed, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
            return _flat(got).numpy()

        return product, vector.numel()


def _gradient(loss: Tensor, parameters: Sequence[Tensor], create_graph: bool) -> tuple[Tensor, ...]:
    """∇ loss; zeros for parameters that the loss does not read."""
    if not loss.requires_grad:
        return tuple(torch.zeros_like(parameter) for parameter in parameters)
    return torch.autograd.grad(
        loss, list(parameters), retain_graph=True, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )


def _flat(pieces: Sequence[Tensor]) -> Tensor:
    return torch.cat([piece.reshape(-1) for piece in pieces])


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues by falling magnitude and by rising real part; `complete` is false where some of those asked for had not converged.

    `zeros` counts the exact zeros among them (directions in which the game does not change), which are left out of both lists.
    """

    largest: np.ndarray
    smallest_real: np.ndarray
    zeros: int
    complete: bool

    @property
    def stable(self) -> bool | None:
        """False when an eigenvalue found has no positive real part, True when all were looked for and have one, else `None`."""
        found = np.concatenate([self.largest, self.smallest_real])
        if (found.real <= 0).any():
            return False
        return True if self.complete and found.size else None

    @property
    def rotation(self) -> float | None:
        """Σ|Im λ| / Σ|λ| over the largest eigenvalues: 0 is pure attraction or repulsion, 1 pure rotation."""
        weight = float(np.abs(self.largest).sum())
        return float(np.abs(self.largest.imag).sum()) / weight if weight else None

    @property
    def radius(self) -> float | None:
        """max |1 − λ| over what was found, for eigenvalues of P J: what one step ω <- ω − P v multiplies its fastest direction by.

        Above 1 something grows. A lower bound unless all were looked for.
        """
        found = np.concatenate([self.largest, self.smallest_real])
        return float(np.abs(1 - found).max()) if found.size else None


def spectrum(field: Field, count: int, products: int, rng: np.random.Generator, scales: np.ndarray | None = None) -> Spectrum:
    """`count` eigenvalues of the game Jacobian: half of them the largest in magnitude, half those of smallest real part.

    With `scales`, the diagonal p > 0 of P, those of P J; computed on P^½ J P^½, which is similar to it and better conditioned. Up to
    DENSE parameters the whole matrix is formed and both lists are exact; beyond, one Krylov space of `products` products serves both ends.
    """
    product, size = field.jacobian()
    if scales is not None:
        product = preconditioned(product, scales)
    half = max(1, count // 2)
    if size <= max(DENSE, count + 2):
        values = np.linalg.eigvals(dense(product, size))
        return _spectrum(_by_size(values)[:half], _by_real(values)[:half], True)
    values, converged = ritz(product, size, products, rng.standard_normal(size))
    ends = [order[:half] for order in (_order_by_size(values), _order_by_real(values))]
    largest, smallest = (values[end[converged[end]]] for end in ends)
    return _spectrum(largest, smallest, all(bool(converged[end].all()) for end in ends))


def preconditioned(product: Matvec, scales: np.ndarray) -> Matvec:
    """u ↦ (P^½ J P^½)ᵀ u from u ↦ Jᵀu. P^½ J P^½ = P^−½ (P J) P^½ has P J's eigenvalues. ValueError unless all p are positive, finite."""
    if not bool((np.isfinite(scales) & (scales > 0)).all()):
        raise ValueError("a preconditioner's diagonal is positive and finite")
    root = np.sqrt(scales)
    return lambda u: root * product(root * u)


def ritz(product: Matvec, size: int, products: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values of an Arnoldi factorisation A Q = Q H + h q eᵀ, and which converged: residual h |last of y| at most TOLERANCE max|λ|.

    Without restarts (Saad 2011, algorithm 6.2, reorthogonalised once): one space finds both ends of the spectrum, where ARPACK's restarts
    serve one end a call and took more than twice the products; of a symmetric matrix it is Lanczos's. At most MEMORY numbers are kept.
    """
    steps = max(2, min(products, size - 1, MEMORY // size))
    basis, h = torch.zeros(steps + 1, size, dtype=torch.float64), np.zeros((steps + 1, steps))  # torch keeps to the threads it was given
    basis[0] = torch.from_numpy(start / np.linalg.norm(start))
    for k in range(steps):
        new = torch.from_numpy(product(basis[k].numpy()))
        for _ in range(2):
            along = basis[: k + 1] @ new
            new = new - along @ basis[: k + 1]
            h[: k + 1, k] += along.numpy()
        h[k + 1, k] = new.norm().item()
        if h[k + 1, k] <= 1e-14 * np.abs(h).max():  # the space is invariant: its values are exact
            return np.linalg.eigvals(h[: k + 1, : k + 1]), np.ones(k + 1, bool)
        basis[k + 1] = new / h[k + 1, k]
    values, vectors = np.linalg.eig(h[:steps])
    return values, h[steps, steps - 1] * np.abs(vectors[-1]) <= TOLERANCE * np.abs(values).max()


def _spectrum(largest: np.ndarray, smallest: np.ndarray, complete: bool) -> Spectrum:
    scale = np.abs(largest).max(initial=0.0)
    kept, low = (values[np.abs(values) > ZERO * scale] for values in (largest, smallest))
    return Spectrum(kept, low, len(largest) - len(kept) + len(smallest) - len(low), complete)


def block_spectrum(
    field: Field, player: Literal["generator", "discriminator"], count: int, products: int, rng: np.random.Generator
) -> np.ndarray:
    """Eigenvalues of one player's Hessian block ∇²L, rising: the lowest and the highest `count / 2`. Fewer where they did not converge.

    One Krylov space of `products` products for both ends. Negative ones in G's block are usual in a well-trained GAN: a saddle of L_G,
    not a minimum (Berard et al. 2020, section 5).
    """
    product, size = field.jacobian(player)
    half = min(count // 2, size // 2)
    if size <= max(DENSE, count + 2):
        values = np.linalg.eigvalsh(dense(product, size))
        return values if size <= count else np.concatenate([values[:half], values[size - half :]])
    found, converged = ritz(product, size, products, rng.standard_normal(size))
    order = np.argsort(found.real)
    ends = np.concatenate([order[:half], order[len(order) - half :]]) if len(order) > count else order
    return np.asarray(found.real[ends[converged[ends]]])


def dense(product: Matvec, size: int) -> np.ndarray:
    """J itself, `[size, size]`, row by row from u ↦ Jᵀu."""
    return np.stack([product(row) for row in np.eye(size)])


def _order_by_size(values: np.ndarray) -> np.ndarray:
    """Falling magnitude; conjugates stand together, the positive imaginary part first, whatever LAPACK's order was."""
    return np.lexsort((-values.imag, -values.real, -np.round(np.abs(values), 12)))


def _order_by_real(values: np.ndarray) -> np.ndarray:
    return np.lexsort((-values.imag, np.round(values.real, 12)))


def _by_size(values: np.ndarray) -> np.ndarray:
    return values[_order_by_size(values)]


def _by_real(values: np.ndarray) -> np.ndarray:
    return values[_order_by_real(values)]


@dataclass(frozen=True)
class Path:
    """The field along the straight line from the start (α = 0) to the end (α = 1) and a little beyond both."""

    alphas: np.ndarray
    cosine: np.ndarray  # of the angle between v and start − end; NaN where v is zero
    norm: np.ndarray  # ‖v‖

    @property
    def sign_switch(self) -> bool:
        """Whether the cosine is positive just before the end and negative just after: the end attracts along the path."""
        before, after = self.cosine[self.alphas < 1][-1], self.cosine[self.alphas > 1][0]
        return bool(before > 0 > after)

    @property
    def rotation(self) -> float | None:
        """Mean of √(1 − cosine²) within 0.1 of the end: the share of the field that points across the path, 1 where it only turns."""
        near = self.cosine[(np.abs(self.alphas - 1) <= 0.1 + 1e-9) & np.isfinite(self.cosine)]
        return float(np.sqrt(np.maximum(0.0, 1 - near**2)).mean()) if near.size else None


def path_angle(field: Field, start: Tensor, end: Tensor, points: int = 25) -> Path:
    """The path-angle of Berard et al. 2020, section 4.2: cos ∠(v(ω_α), ω_0 − ω_1), ω_α = (1 − α) ω_0 + α ω_1, α in [−0.1, 1.1].

    `start` and `end` are both players' weights, flat, G's first. Positive means that a step along −v goes on towards the end. A sign switch
    at α = 1 means attraction, a bump there rotation. The paper divides by the same difference; its sign convention is its code's. The
    field's weights are put back afterwards.
    """
    before = _flat([p.detach() for p in field.parameters]).clone()
    alphas, away = np.linspace(-0.1, 1.1, points), start - end
    cosines, norms = np.empty(points), np.empty(points)
    for index, alpha in enumerate(alphas):
        place(field, (1 - float(alpha)) * start + float(alpha) * end)
        value = field.value()
        norms[index] = value.norm().item()
        length = value.norm() * away.norm()
        cosines[index] = (value @ away / length).item() if length > 0 else np.nan
    place(field, before)
    return Path(alphas, cosines, norms)


@torch.no_grad()
def place(field: Field, weights: Tensor) -> None:
    """Write flat weights (G's first) into the field's parameters."""
    offset = 0
    for parameter in field.parameters:
        parameter.copy_(weights[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()
