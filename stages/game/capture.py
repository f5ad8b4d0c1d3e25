"""Turns replayed as one recorded program: on a GPU a CUDA graph, so that Python and the launching of kernels cost a turn nothing.

One code path: what is recorded is `play_turn`. A kind of turn (one with a penalty, one without where it is lazy) is played as it is a few
times, then recorded, and the recording is compared with the same turn played as it is before it is trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.steps import Batches, Turn
from stages.game.tape import Recording

WARM_UP = 3  # turns of a kind played as they are, on the stream that records: libraries choose their kernels and take their memory
CLOSE = (
    1e-3  # relative L2 distance of any part of the state after one turn, within which a recording is the turn: kernels may sum in any order
)


class Backend(Protocol):
    """What records: `torch.cuda`'s graphs, or a stand-in."""

    def warm(self, work: Callable[[], Turn]) -> Turn:
        """Do it as it is, where it will be recorded."""
        ...

    def record(self, work: Callable[[], Turn]) -> tuple[Turn, Callable[[], None]]:
        """What it gives, and how to do it again: nothing is done by recording. RuntimeError where it cannot be recorded."""
        ...


class CudaGraphs:
    """Recorded by the driver while the work is issued (CUDA graphs)."""

    def warm(self, work: Callable[[], Turn]) -> Turn:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            done = work()
        torch.cuda.current_stream().wait_stream(side)
        return done

    def record(self, work: Callable[[], Turn]) -> tuple[Turn, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            done = work()
        return done, graph.replay


@dataclass
class Kind:
    """How far one kind of turn has come."""

    played: int = 0
    recording: Recording | None = None
    turn: Turn | None = None
    replay: Callable[[], None] | None = None


class Stepper:
    """Plays a game's turns; `refused` says why it records none of them (no backend, rules that cannot be, a recording that failed)."""

    def __init__(self, game: Game, batches: Batches, items: int, backend: Backend | None) -> None:
        self.game, self.batches, self.items, self.backend = game, batches, items, backend
        self.kinds: dict[tuple[bool, ...], Kind] = {}
        self.refused: str | None = None
        if backend is not None and game.variant.rules.instance_noise > 0:
            self.refuse("instance noise fades from turn to turn")

    def play(self) -> Turn:
        """One turn. What a replayed one gives is overwritten by the next of its kind."""
        if self.backend is None:
            return self._plain()
        kind = self.kinds.setdefault(turn_kind(self.game), Kind())
        if kind.replay is not None and kind.recording is not None and kind.turn is not None:
            kind.recording.fill()
            kind.replay()
            return kind.turn
        kind.played += 1
        if kind.played < WARM_UP:
            return self.backend.warm(self._plain)
        if kind.recording is None:
            kind.recording = Recording()
            return self.backend.warm(lambda: self._recorded(kind))
        return self._recorded_and_compared(self.backend, kind)

    def refuse(self, why: str) -> None:
        """Play every further turn as it is."""
        self.backend, self.refused = None, why
        self.kinds = {}

    def _plain(self) -> Turn:
        return play_turn(self.game, self.batches, self.items)

    def _recorded(self, kind: Kind) -> Turn:
        self.game.tape.recording = kind.recording
        try:
            return self._plain()
        finally:
            self.game.tape.recording = None

    def _recorded_and_compared(self, backend: Backend, kind: Kind) -> Turn:
        """The turn played as it is, which stands; the recording is kept if it leads to the same state."""
        assert kind.recording is not None
        start, counts = copied(self.game.state()), (self.game.step, self.game.critic_step)
        kind.recording.again()
        try:
            turn, replay = backend.record(lambda: self._recorded(kind))
        except RuntimeError as error:
            self._back(start, counts)
            self.refuse(" ".join(str(error).split())[:200])
            return self._plain()
        self._back(start, counts)  # recording does nothing on the device, but the host has counted
        kind.recording.fill()
        replay()
        found = copied(self.game.state())
        self._back(start, counts)
        played = self._plain()
        apart = [name for name, tensor in self.game.state().items() if not close(found[name], tensor)]
        if apart:
            self.refuse(f"the recorded turn differs in {', '.join(apart[:3])}")
        else:
            kind.turn, kind.replay = turn, replay
        return played

    def _back(self, start: dict[str, Tensor], counts: tuple[int, int]) -> None:
        self.game.load_state(start)
        self.game.step, self.game.critic_step = counts


def turn_kind(game: Game) -> tuple[bool, ...]:
    """What decides which operations a turn consists of: in which of its D steps the penalty is computed."""
    rules = game.variant.rules
    return tuple((game.critic_step + substep) % rules.lazy_interval == 0 for substep in range(rules.critic_steps))


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same, apart from the game."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def close(one: Tensor, other: Tensor) -> bool:
    """Within CLOSE of each other, and finite in the same places. Asks the device: for comparisons, not for turns."""
    if not one.is_floating_point():
        return bool(torch.equal(one, other))
    fine = one.isfinite()
    if not bool(torch.equal(fine, other.isfinite())):
        return False
    first, second = one[fine].double(), other[fine].double()
    return float((first - second).norm()) <= CLOSE * float(second.norm())


def backend_of(device: str) -> Backend | None:
    """What records on that device; nothing on a CPU."""
    return CudaGraphs() if device == "cuda" else None
