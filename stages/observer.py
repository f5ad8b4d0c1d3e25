"""What a group's turns show, per lane, taken beside the game: nothing here touches it, so that an observed game is the unobserved one.

Tier 1 is recorded every `record_every` steps from what the turn computed anyway; tier 2 (`stages.probing`) every `probe_every` steps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from stages.game.build import Flat
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.optimizers import second_moment
from stages.game.steps import Batches, Move, Turn
from stages.game.streams import lane_draws, sent
from stages.measure import step as measures
from stages.probing import Probe

Row = dict[tuple[str, str], Tensor]  # (measure, layer) to [L]; layer "" is the whole lane
OVERFIT_SAMPLES = 16  # items of each kind, at most, on which D's overfitting is seen
WANTED = ("wanted", "")  # of a row still on its device: not 0 where the row is to be kept
PROBE_SAMPLES = 8  # fixed noise a lane, on which G's movement is seen


@dataclass(frozen=True)
class Material:
    """The data as games see it: batches by indices `[L, B]`, how many items there are, and their standard deviation."""

    train: Batches
    items: int
    held: Batches
    held_items: int  # 0: nothing was held out of training
    spread: float


@dataclass(frozen=True)
class Before:
    """What a turn changes, as it was."""

    samples: Tensor
    statistics: list[Tensor]  # G's running ones
    generator: Tensor
    discriminator: Tensor


class Observer:
    """Plays a game's turns and gives each one's rows, by table: `steps` (tier 1), `probes` (tier 2) and `incidents`.

    The host may ask a CPU whether there is an incident. Elsewhere the question would make it wait for the device at every turn: there every
    turn has a row of `incidents`, whose column WANTED says whether it is one; `kept` answers when the rows leave the device.
    """

    def __init__(self, game: Game, material: Material, record_every: int, probe_every: int, turn: Callable[[], Turn] | None = None) -> None:
        """`turn` plays the game's next turn; as it is, unless given."""
        self.turn = turn or partial(play_turn, game, material.train, material.items)
        self.game, self.material, self.record_every, self.probe_every = game, material, record_every, probe_every
        self.probe = Probe(game, material.train, material.items)
        self.may_ask = game.like.device.type == "cpu"
        self.last: Turn | None = None  # the turn before the present one, kept only where the present one is probed
        self.noise = lane_draws(game.seeds, "movement", 0, 0, game.like).normal(PROBE_SAMPLES, game.latent)

    def play(self) -> tuple[Turn, dict[str, Row]]:
        """One turn, and what of it is recorded."""
        step, alive = self.game.step + 1, self.game.alive.clone()
        before = self._before() if self.is_recorded(step) else None
        start = self.probe.begin() if self.is_probed(step) else None
        turn = self.turn()
        rows = {} if before is None else {"steps": self._row(turn, before)}
        if start is not None and self.last is not None:
            rows["probes"] = self.probe.end(start, turn, self.last)
        self.last = turn.kept() if self.is_probed(step + 1) else None
        return turn, rows | self._incidents(turn, alive)

    @property
    def may_pause(self) -> bool:
        """False between the two turns of a probe: a game taken up again there would lack the first one's gradients."""
        return self.last is None

    def is_recorded(self, step: int) -> bool:
        """The first step, every `record_every`-th, and the last."""
        return step == 1 or step % self.record_every == 0 or step == self.game.steps

    def is_probed(self, step: int) -> bool:
        """The second step, every `probe_every`-th, and the last; each with the step before it."""
        return 2 <= step <= self.game.steps and (step == 2 or step % self.probe_every == 0 or step == self.game.steps)

    def _before(self) -> Before:
        statistics = [buffer.clone() for buffer in self.game.generator.module.buffers()]
        return Before(
            samples_with(self.game.generator.module, statistics, self.noise),
            statistics,
            self.game.generator.vector.clone(),
            self.game.discriminator.vector.clone(),
        )

    def _row(self, turn: Turn, before: Before) -> Row:
        game = self.game
        after = samples_with(game.generator.module, before.statistics, self.noise)
        return {
            **self._answers(turn),
            ("sample_movement", ""): measures.movement(before.samples, after, self.material.spread),
            **self._overfitting(),
            **_player("d", game.discriminator, turn.discriminator, before.discriminator),
            **_player("g", game.generator, turn.generator, before.generator),
            **self._optimiser("d", game.discriminator, game.discriminator_optimizer.state),
            **self._optimiser("g", game.generator, game.generator_optimizer.state),
        }

    def _answers(self, turn: Turn) -> Row:
        """Losses by part, and what D answered in its step."""
        against, forward, loss = turn.discriminator, turn.generator, self.game.objective.loss
        real, fake = against.real_logits, against.fake_logits
        row: Row = {
            ("d_loss", ""): against.loss,
            ("d_penalty", ""): against.penalty,
            ("g_loss", ""): forward.loss,
            ("real_logit", ""): real.mean(1),
            ("fake_logit", ""): fake.mean(1),
            ("real_logit_spread", ""): measures.spread(real),
            ("fake_logit_spread", ""): measures.spread(fake),
            ("auc", ""): measures.auc(real, fake),
            ("saturation", ""): measures.saturation(loss.generator, forward.real_logits, forward.fake_logits),
        }
        return row | {("accuracy", ""): measures.accuracy(real, fake)} if loss.logistic else row

    @torch.no_grad()
    def _overfitting(self) -> Row:
        """Whether D, as it now is, tells training items from items held out; on fresh bare items of both, in evaluation mode."""
        game, material = self.game, self.material
        if not material.held_items:
            return {}
        count, where = min(game.batch, max(OVERFIT_SAMPLES, game.variant.rules.pack)), (game.like.device, game.like.dtype)
        real, held = (
            sent(batches(lane_draws(game.seeds, f"overfit/{part}", game.step, 0, game.like).integers(items, count)), *where)
            for part, batches, items in (("train", material.train, material.items), ("held", material.held, material.held_items))
        )
        judge = game.discriminator
        if judge.mixes_samples:
            return {("overfit_auc", ""): measures.auc(_evaluated(judge.module, real), _evaluated(judge.module, held))}
        return {("overfit_auc", ""): measures.auc(*_evaluated(judge.module, torch.cat([real, held], 1)).chunk(2, 1))}

    def _optimiser(self, short: str, player: Flat, state: Mapping[str, Tensor]) -> Row:
        rules = self.game.variant.rules
        squares = second_moment(state, rules)
        if squares is None:
            return {}
        return {(f"{short}_root_over_epsilon", ""): measures.typical_root(player.split(squares), rules.epsilon)}

    def _incidents(self, turn: Turn, alive: Tensor) -> dict[str, Row]:
        """Where a lane that lived until this turn has gradient values that are not finite: how many, by layer."""
        moves = (("d", self.game.discriminator, turn.discriminator), ("g", self.game.generator, turn.generator))
        if self.may_ask and all(bool(move.gradient.sum().isfinite()) for _, _, move in moves):  # one that overflowed costs the closer look
            return {}
        found = {short: measures.non_finite(move.gradient, player.lasts, player.lanes) for short, player, move in moves}
        wanted = sum((counts[0] for counts in found.values()), torch.zeros_like(self.game.died_at)) * alive  # [L]
        if self.may_ask and not bool(wanted.any()):
            return {}
        row: Row = {key: value for short, player, _ in moves for key, value in _by_layer(f"{short}_non_finite", player, found[short])}
        return {"incidents": row if self.may_ask else row | {WANTED: wanted}}


def kept(columns: Sequence[tuple[str, str]], values: np.ndarray) -> np.ndarray:
    """Which rows of `values` `[T, K, L]`, now on the CPU, are to be kept: booleans `[T]`."""
    wanted = values[:, columns.index(WANTED)] if WANTED in columns else np.ones((len(values), 1))
    return np.asarray(wanted.any(axis=1))


def _player(short: str, player: Flat, move: Move, start: Tensor) -> Row:
    """The gradient's size and the relative update, whole and by layer."""
    updates, weights = (measures.norms(player.split(vector)) for vector in (player.vector - start, start))
    return dict(
        (
            *_by_layer(f"{short}_gradient_norm", player, measures.norms(player.split(move.gradient))),
            *_by_layer(f"{short}_update_ratio", player, measures.ratios(updates, weights)),
        )
    )


def _by_layer(measure: str, player: Flat, values: Tensor) -> list[tuple[tuple[str, str], Tensor]]:
    """Rows of `[P + 1, L]`, the whole player first."""
    return [((measure, layer), value) for layer, value in zip(("", *player.names), values, strict=True)]


def _evaluated(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The module's answer in evaluation mode: running statistics, so that x alone decides."""
    module.eval()  # type: ignore[attr-defined]
    answer = module(x)
    module.train()  # type: ignore[attr-defined]
    return answer


@torch.no_grad()
def samples_with(module: nn.Module, statistics: list[Tensor], noise: Tensor) -> Tensor:
    """G's samples with these running statistics: what moves is what G's weights move, not the statistics of one more batch."""
    now = [buffer.clone() for buffer in module.buffers()]
    _put(module, statistics)
    samples = _evaluated(module, noise)
    _put(module, now)
    return samples


def _put(module: nn.Module, values: list[Tensor]) -> None:
    """Write a module's buffers."""
    for buffer, value in zip(module.buffers(), values, strict=True):
        buffer.copy_(value)
