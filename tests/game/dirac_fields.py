"""Dirac-GAN in closed form (Mescheder, Geiger & Nowozin 2018, section 2): exact discrete trajectories, in plain float64 numpy.

Data is a point mass at 0, the generator a point mass at θ, the discriminator D(x) = ψ x without bias. Every sample of a batch is
then the same, so that a training step has no randomness: real logits are 0 and generated ones t = θψ. With f(t) = -log(1 + e^-t),
f'(t) = σ(-t), the losses give the fields that a descent step of size h follows (θ <- θ - h ∂L_G/∂θ, ψ <- ψ - h ∂L_D/∂ψ):

    minimax          ∂L_G/∂θ = -ψ σ(t)      ∂L_D/∂ψ = θ σ(t)      L_G = -softplus(t),  L_D = softplus(0) + softplus(t)
    non_saturating   ∂L_G/∂θ = -ψ σ(-t)     ∂L_D/∂ψ = θ σ(t)
    wasserstein      ∂L_G/∂θ = -ψ           ∂L_D/∂ψ = θ

D's input gradient is ψ at every x, so that penalties add to ∂L_D/∂ψ, with weight w:

    r1, r2           w/2 ψ²        ->  w ψ             (the weight is the paper's γ)
    r1_r2            w ψ²          ->  2 w ψ
    gradient_penalty w (|ψ| - 1)²  ->  2 w (|ψ| - 1) sign ψ    (0 at ψ = 0)

Consensus adds ∇_(θ,ψ) of c/2 ‖v‖² to both players' gradients, v = (∂L_G/∂θ, ∂L_D/∂ψ) of the non-saturating or minimax game.
Written from these equations alone: nothing here imports the project or torch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

ORDERS = ("simultaneous", "alternating")


def sigma(t: float) -> float:
    """σ(t) = 1 / (1 + e^-t), without overflow."""
    return 1 / (1 + math.exp(-t)) if t >= 0 else math.exp(t) / (1 + math.exp(t))


@dataclass(frozen=True)
class Kind:
    """One game: loss, penalty with its weight, consensus strength, and the bound that ψ is clipped to after each D step."""

    loss: str
    penalty: str = "none"
    weight: float = 0.0
    consensus: float = 0.0
    clip: float = math.inf


KINDS = {
    "minimax": Kind("minimax"),
    "non_saturating": Kind("non_saturating"),
    "wasserstein": Kind("wasserstein"),
    "wasserstein_clip": Kind("wasserstein", clip=1.0),
    "gradient_penalty": Kind("wasserstein", "gradient_penalty", weight=0.3),
    "r1": Kind("non_saturating", "r1", weight=1.0),
    "r2": Kind("non_saturating", "r2", weight=1.0),
    "r1_r2": Kind("non_saturating", "r1_r2", weight=0.5),
    "consensus": Kind("non_saturating", consensus=1.0),
    "consensus_minimax": Kind("minimax", consensus=1.0),
}

# loss -> (g, d) with ∂L_G/∂θ = -ψ g(t) and ∂L_D/∂ψ = θ d(t), and the derivatives of g and d
SLOPES: dict[str, tuple[Callable[[float], float], ...]] = {
    "minimax": (sigma, sigma, lambda t: sigma(t) * sigma(-t), lambda t: sigma(t) * sigma(-t)),
    "non_saturating": (lambda t: sigma(-t), sigma, lambda t: -sigma(t) * sigma(-t), lambda t: sigma(t) * sigma(-t)),
    "wasserstein": (lambda t: 1.0, lambda t: 1.0, lambda t: 0.0, lambda t: 0.0),
}


def penalty_slope(kind: Kind, psi: float) -> float:
    """weight x d(penalty)/dψ."""
    if kind.penalty in ("r1", "r2"):
        return kind.weight * psi
    if kind.penalty == "r1_r2":
        return 2 * kind.weight * psi
    if kind.penalty == "gradient_penalty":
        return 2 * kind.weight * (abs(psi) - 1) * np.sign(psi)
    return 0.0


def game_gradient(kind: Kind, theta: float, psi: float) -> np.ndarray:
    """(∂L_G/∂θ, ∂L_D/∂ψ) of the losses and D's penalty, without consensus."""
    g, d, _, _ = SLOPES[kind.loss]
    t = theta * psi
    return np.array([-psi * g(t), theta * d(t) + penalty_slope(kind, psi)])


def consensus_gradient(kind: Kind, theta: float, psi: float) -> np.ndarray:
    """Jᵀv, the gradient of ½‖v‖², with v the losses' gradient and J its Jacobian by (θ, ψ)."""
    g, d, slope_g, slope_d = (slope(theta * psi) for slope in SLOPES[kind.loss])
    v = np.array([-psi * g, theta * d])
    jacobian = np.array([[-(psi**2) * slope_g, -g - psi * theta * slope_g], [d + theta * psi * slope_d, theta**2 * slope_d]])
    return jacobian.T @ v


def gradient(kind: Kind, theta: float, psi: float) -> np.ndarray:
    """What each player descends: `game_gradient` and, where there is one, the consensus term."""
    total = game_gradient(kind, theta, psi)
    return total + kind.consensus * consensus_gradient(kind, theta, psi) if kind.consensus else total


def step(kind: Kind, h: float, theta: float, psi: float, order: str, critic_steps: int) -> tuple[float, float]:
    """One G step: `critic_steps` D steps before it; simultaneous: G answers the ψ that D's last step started from."""
    seen = psi
    for _ in range(critic_steps):
        seen = psi
        psi = float(np.clip(psi - h * gradient(kind, theta, psi)[1], -kind.clip, kind.clip))
    answered = seen if order == "simultaneous" else psi
    return theta - h * float(gradient(kind, theta, answered)[0]), psi


def trajectory(
    kind: str | Kind, h: float, steps: int, theta0: float = 1.0, psi0: float = 1.0, order: str = "alternating", critic_steps: int = 1
) -> np.ndarray:
    """(θ, ψ) at the start and after every G step: `[steps + 1, 2]`. D moves first; `kind` is a name in KINDS or a Kind."""
    if order not in ORDERS:
        raise ValueError(f"order is {order!r}: allowed are {', '.join(ORDERS)}")
    game = KINDS[kind] if isinstance(kind, str) else kind
    path = np.empty((steps + 1, 2))
    path[0] = theta0, psi0
    for i in range(steps):
        path[i + 1] = step(game, h, *path[i], order, critic_steps)
    return path


def operator_at_equilibrium(kind: str | Kind, h: float, order: str = "simultaneous", critic_steps: int = 1) -> np.ndarray:
    """The Jacobian of one `step` at θ = ψ = 0, by hand: near 0 each field is linear.

    With f' = f'(0) (½, or 1 for Wasserstein) and penalty slope p ψ: v = (-f' ψ, f' θ + p ψ), and consensus adds c f'² to both diagonals.
    """
    game = KINDS[kind] if isinstance(kind, str) else kind
    if game.penalty == "gradient_penalty":
        raise ValueError("gradient_penalty has no linear part at the equilibrium: its field jumps at ψ = 0")
    f = 1.0 if game.loss == "wasserstein" else 0.5
    p = {"none": 0.0, "r1": game.weight, "r2": game.weight, "r1_r2": 2 * game.weight}[game.penalty]
    c = game.consensus * f**2
    d_step = np.array([[1, 0], [-h * f, 1 - h * (p + c)]])
    g_step = np.array([[1 - h * c, h * f], [0, 1]])
    both = np.array([[1 - h * c, h * f], [-h * f, 1 - h * (p + c)]])
    if order == "alternating":
        return g_step @ np.linalg.matrix_power(d_step, critic_steps)
    return both @ np.linalg.matrix_power(d_step, critic_steps - 1)


def continuous_eigenvalues(kind: str | Kind) -> np.ndarray:
    """Eigenvalues of the continuous flow (θ', ψ') = -gradient at the equilibrium."""
    identity = np.eye(2)
    return np.linalg.eigvals(operator_at_equilibrium(kind, h=1.0) - identity)
