"""What a game needs, beyond its snapshot, to go on from there: the optimisers' averages, the step counts, whatever keeps state.

Snapshot and continuation together are `Game.state` with the lane axis first in every tensor, so that any lanes can be taken up alone, in
another order, or several times over.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stages.game.build import Flat
from stages.game.game import Game

PLAYERS = ("generator", "discriminator")


def continuation(game: Game) -> dict[str, Tensor]:
    """Copies on the CPU, every tensor `[L, ...]`; an optimiser's vector is cut into `<player>_optimizer/<state>/<parameter>`."""
    named: dict[str, Tensor] = {}
    for name, tensor in game.state().items():
        if _in_snapshot(name):
            continue
        pieces = _pieces(_player(game, name), name, tensor)
        named |= {key: piece.expand(len(game.seeds)) if piece.dim() == 0 else piece for key, piece in pieces.items()}
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}


def resume(game: Game, snapshot: Mapping[str, Tensor], saved: Mapping[str, Tensor], lanes: Sequence[int]) -> None:
    """Lane i of `game` takes up lane `lanes[i]` of a snapshot and its continuation; streams follow the game's own seeds.

    With the same seeds, lanes and rules the game goes on exactly as the one that was left. ValueError when an entry is missing or of
    another shape.
    """
    chosen = {name: tensor[list(lanes)] for name, tensor in {**snapshot, **{f"+{key}": value for key, value in saved.items()}}.items()}
    try:
        game.load_state({name: _found(game, chosen, name, tensor) for name, tensor in game.state().items()})
    except KeyError as error:
        raise ValueError(f"this state is of another game: it has no {error.args[0].removeprefix('+')}") from None


def _found(game: Game, chosen: Mapping[str, Tensor], name: str, like: Tensor) -> Tensor:
    """The entry `name` of `Game.state`, put together from lane-first pieces."""
    if name in (*PLAYERS, "ema"):
        return torch.cat([chosen[f"{name}/{parameter}"].reshape(-1) for parameter in _flat(game, name).names])
    if "_buffer/" in name:
        role, _, buffer = name.partition("_buffer/")
        if role == "ema":
            buffer = [key for key, _ in game.generator.module.named_buffers()][int(buffer)]
        return chosen[f"{role}/{buffer}"]
    pieces = {key: chosen[f"+{key}"] for key in _pieces(_player(game, name), name, like)}
    if like.dim() == 0:
        return pieces[name][0]
    return torch.cat([piece.reshape(-1) for piece in pieces.values()]) if len(pieces) > 1 or name not in pieces else pieces[name]


def _in_snapshot(name: str) -> bool:
    return name in (*PLAYERS, "ema") or "_buffer/" in name


def _flat(game: Game, role: str) -> Flat:
    return game.discriminator if role == "discriminator" else game.generator


def _player(game: Game, name: str) -> Flat | None:
    """The player whose optimiser an entry belongs to."""
    role = name.partition("_optimizer/")[0]
    return _flat(game, role) if role in PLAYERS and role != name else None


def _pieces(player: Flat | None, name: str, tensor: Tensor) -> dict[str, Tensor]:
    """An optimiser's vector by parameter; anything else as it is."""
    if player is None or tensor.shape != player.vector.shape:
        return {name: tensor}
    return {f"{name}/{parameter}": piece for parameter, piece in zip(player.names, player.split(tensor), strict=True)}
