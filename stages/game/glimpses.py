"""Glimpses: a few samples of every lane, often, on fixed noise: what five snapshots are too few to show (cycles, slow progress, collapse).

Nothing here touches the game: a second network takes up G's weights, and then those of its average, and answers in evaluation mode.
The noise is a stream by name, the same for all lanes and for both networks, so that a sample can be followed through the run.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.game.build import Flat, generator
from stages.game.game import Game
from stages.game.streams import stream

LOOKS = 24  # after the one at step 0, at most
APART = 25  # steps between two of them, at least: a look costs about a third of a step
SAMPLES = 96  # of the average, at most
FEWEST = 32  # and at least, however large an item is
BYTES = 1 << 17  # of a lane's samples of the average at one look, beyond FEWEST
RAW = 32  # samples of G itself: enough to follow them


def looks(steps: int) -> list[int]:
    """Steps of a run at which to look, evenly spread: 0 and the end among them."""
    count = max(1, min(LOOKS, steps // APART))
    return [round(steps * index / count) for index in range(count + 1)]


class Glimpses:
    """Takes looks at one group's game; `whole_levels` for images, which are kept as the 256 levels that data have."""

    def __init__(self, game: Game, whole_levels: bool) -> None:
        self.twin = Flat(generator(game.variant.generator, game.shape, game.latent, game.seeds, game.like.dtype).to(game.like.device))
        self.twin.module.eval()
        self.whole_levels = whole_levels
        self.noise = torch.randn(_count(game.shape, whole_levels), game.latent, generator=stream(0, "glimpses")).to(game.like)

    def take(self, game: Game) -> dict[str, Tensor]:
        """Samples of G's average, `ema` `[L, n, ...]`, and of G on the first of the noises, `raw` `[L, RAW, ...]`.

        `finite` `[L]` says whether a lane's samples all are.
        """
        ema = self._samples(game.ema, game.ema_buffers, self.noise)
        raw = self._samples(game.generator.vector, list(game.generator.module.buffers()), self.noise[:RAW])
        finite = torch.stack([samples.flatten(1).isfinite().all(1) for samples in (ema, raw)]).all(0)
        return {"ema": self._kept(ema), "raw": self._kept(raw), "finite": finite}

    @torch.no_grad()
    def _samples(self, weights: Tensor, buffers: Sequence[Tensor], noise: Tensor) -> Tensor:
        self.twin.vector.copy_(weights)
        for mine, given in zip(self.twin.module.buffers(), buffers, strict=True):
            mine.copy_(given)
        answer: Tensor = self.twin.module(noise.expand(self.twin.lanes, *noise.shape))
        return answer

    def _kept(self, samples: Tensor) -> Tensor:
        """uint8 levels of images (a sample that is no number becomes grey), vectors as they are."""
        if not self.whole_levels:
            return samples
        return ((samples.nan_to_num(0.0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def _count(shape: Sequence[int], whole_levels: bool) -> int:
    """Samples of the average at one look: by the bytes of an item, so that no clock decides."""
    item = (1 if whole_levels else 4) * torch.Size(shape).numel()
    return max(FEWEST, min(SAMPLES, BYTES // item))
