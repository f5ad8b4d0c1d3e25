"""Random streams by counter: (seed, purpose, step, substep) names a stream, so nothing has to be saved to resume.

A lane's numbers depend on its seed alone, never on the variant, on how many lanes ride along or on the worker. They are drawn on the
CPU in float32 whatever the device and precision of the game, so that a game sees the same noise everywhere.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def sent(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """`x` on that device. To a GPU it goes through pinned memory, so that the host need not wait for the device."""
    if x.device.type == "cpu" and device.type == "cuda":
        x = x.pin_memory()
    return x.to(device=device, dtype=dtype or x.dtype, non_blocking=True)


def stream(seed: int, purpose: str, step: int = 0, substep: int = 0) -> torch.Generator:
    """A CPU generator seeded by a 63-bit BLAKE2b digest of the four coordinates."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}/{substep}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@dataclass(frozen=True)
class LaneDraws:
    """The draws of every lane for one purpose at one substep; the n-th call continues each lane's own stream."""

    generators: tuple[torch.Generator, ...]
    like: Tensor  # gives device and dtype

    def normal(self, *shape: int) -> Tensor:
        """Standard normal `[L, *shape]`."""
        return sent(torch.stack([torch.randn(shape, generator=g) for g in self.generators]), self.like.device, self.like.dtype)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1) `[L, *shape]`."""
        return sent(torch.stack([torch.rand(shape, generator=g) for g in self.generators]), self.like.device, self.like.dtype)

    def integers(self, high: int, *shape: int) -> Tensor:
        """Uniform integers in [0, high), int64 `[L, *shape]`, on the CPU."""
        return torch.stack([torch.randint(high, shape, generator=g) for g in self.generators])


def lane_draws(seeds: Sequence[int], purpose: str, step: int, substep: int, like: Tensor) -> LaneDraws:
    """The streams of all lanes for (purpose, step, substep)."""
    return LaneDraws(tuple(stream(seed, purpose, step, substep) for seed in seeds), like)
