"""What the host brings to a turn: numbers that change from turn to turn, draws, batches, counts.

Played as it is, a turn asks for them where it needs them, and the tape just answers. A turn that is to be replayed as one recorded program
(`stages.game.capture`) cannot ask: its recording keeps a place for each on the device, and fills them anew before every replay.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from stages.game.vocabulary import Draws


class Recording:
    """The places of one kind of turn, in the order in which a turn asks for them. The first turn makes them; a later one finds them."""

    def __init__(self) -> None:
        self.acts: list[Callable[[], object]] = []  # what the host does before a replay
        self.places: list[Tensor] = []
        self.streams: list[PlacedDraws] = []
        self.found: tuple[int, int] | None = None  # places and streams handed out again; None while they are made

    def again(self) -> None:
        """From now on a turn is handed what the first one made, from its beginning."""
        self.found = (0, 0)

    def fill(self) -> None:
        """The numbers, draws and batches of the turn that is next, and its counts."""
        for act in self.acts:
            act()

    def do(self, action: Callable[[], object]) -> None:
        """Done now, and before every replay."""
        if self.found is None:
            self.acts.append(action)
        action()

    def place(self, compute: Callable[[], Tensor]) -> Tensor:
        """A tensor that holds what `compute` gives for the present turn."""
        if self.found is not None:
            at, streams = self.found
            self.found = (at + 1, streams)
            return self.places[at].detach()
        place = compute().clone()
        self.places.append(place)
        self.acts.append(lambda: place.copy_(compute(), non_blocking=True))
        return place.detach()

    def draws(self, fresh: Callable[[], Draws]) -> Draws:
        """Draws whose numbers lie in places."""
        if self.found is not None:
            places, at = self.found
            self.found = (places, at + 1)
            return self.streams[at]
        self.streams.append(PlacedDraws(self, fresh))
        self.acts.append(self.streams[-1].restart)
        return self.streams[-1]


class PlacedDraws:
    """Draws of a recording: the same calls in the same order at every turn, of that turn's stream."""

    def __init__(self, recording: Recording, fresh: Callable[[], Draws]) -> None:
        self.recording, self.fresh, self.stream = recording, fresh, fresh()

    def restart(self) -> None:
        """The present turn's stream from its beginning."""
        self.stream = self.fresh()

    def normal(self, *shape: int) -> Tensor:
        """Standard normal `[L, *shape]`."""
        return self.recording.place(lambda: self.stream.normal(*shape))

    def uniform(self, *shape: int) -> Tensor:
        """Uniform on [0, 1) `[L, *shape]`."""
        return self.recording.place(lambda: self.stream.uniform(*shape))


class Tape:
    """What a game's parts ask; answered at once unless a recording is in place."""

    def __init__(self) -> None:
        self.recording: Recording | None = None

    def do(self, action: Callable[[], object]) -> None:
        """Something that the host counts or sets."""
        if self.recording is None:
            action()
        else:
            self.recording.do(action)

    def number(self, compute: Callable[[], float], like: Tensor) -> float | Tensor:
        """A number that changes from turn to turn; in a recording a tensor `[]` with the dtype and device of `like`."""
        if self.recording is None:
            return compute()
        return self.recording.place(lambda: torch.full((), compute(), dtype=like.dtype, device=like.device))

    def tensor(self, compute: Callable[[], Tensor]) -> Tensor:
        """A tensor that the host prepares: a batch, noise."""
        return compute() if self.recording is None else self.recording.place(compute)

    def draws(self, fresh: Callable[[], Draws]) -> Draws:
        """A stream that parts of the turn draw from as they go."""
        return fresh() if self.recording is None else self.recording.draws(fresh)

    def may_ask(self, x: Tensor) -> bool:
        """Whether the host may read this tensor's numbers and decide by them: on a CPU, in a turn that is played as it is."""
        return self.recording is None and x.device.type == "cpu"
