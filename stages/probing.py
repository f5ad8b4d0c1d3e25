"""Tier 2: what one turn's updates did to both losses, D's gradient by term, signal and noise, dead units; on a shadow of the game.

The turn's net changes of the weights, Δψ and Δθ, are what is followed, however a turn made them (several critic steps, extra-gradient,
consensus, a clamp): the path goes (ψ0, θ0) -> (ψ1, θ0) by D, and by G from where G looked when it moved: (ψ1, θ0) -> (ψ1, θ1) in
alternating play, (ψ0, θ0) -> (ψ0, θ1) in simultaneous play.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from stages.game.game import Game
from stages.game.shadow import Pieces, Point, Shadow, Terms
from stages.game.steps import Batches, Draw, Turn
from stages.measure import directional, gradients, units

Row = dict[tuple[str, str], Tensor]
BATCHES = 2  # independent batches a player behind its signal-to-noise ratio, the turn's own among them


@dataclass(frozen=True)
class Draws:
    """One player's first draw of the turn, and further ones."""

    own: Draw
    more: Sequence[Draw]


class Probe:
    """Measures one turn: `begin` before it is played, `end` after."""

    def __init__(self, game: Game, batches: Batches, items: int) -> None:
        self.game, self.shadow = game, Shadow(game)
        self.batches, self.items = batches, items

    def begin(self) -> Point:
        """Take up the state in which the turn begins."""
        return self.shadow.take(self.game)

    def end(self, start: Point, turn: Turn, before: Turn) -> Row:
        """Every measure of the turn, `[L]` each; `before` is the turn played just before it."""
        game = self.game
        after = Point(game.discriminator.vector.detach().clone(), game.generator.vector.detach().clone())
        against, forward = (self._draws(player) for player in ("discriminator", "generator"))
        with (
            units.watched(self.shadow.twin.discriminator.module, len(game.seeds)) as judged,
            units.watched(self.shadow.twin.generator.module, len(game.seeds)) as made,
        ):
            terms = self.shadow.terms(against.own.again())
        legs, generator_gradient = self._legs(start, after, terms, against.own, forward.own)
        row = _split(terms) | legs | self._noise(start, after, (terms.whole, generator_gradient), (against.more, forward.more))
        row |= _turned(game, turn, before)
        return row | _dead("d", judged) | _dead("g", made)

    def _draws(self, player: str) -> Draws:
        one = self.shadow.draw(self.batches, self.items, player)
        return Draws(one, self.shadow.more(self.batches, self.items, player, BATCHES - 1))

    def _corner(self, start: Point, after: Point) -> Point:
        """Where G looks when it moves."""
        alternating = self.game.variant.rules.order == "alternating"
        return Point(after.discriminator, start.generator) if alternating else start

    def _legs(self, start: Point, after: Point, terms: Terms, against: Draw, forward: Draw) -> tuple[Row, Pieces]:
        """Own and cross changes of both losses, predicted and come, and ∇_θ L_G where G looked; the shadow stands at the start."""
        shadow, game, corner = self.shadow, self.game, self._corner(start, after)
        d_update = game.discriminator.split(after.discriminator - start.discriminator)
        g_update = game.generator.split(after.generator - start.generator)
        g_start, g_by_d = shadow.generator_loss_by_discriminator(forward.again())
        shadow.stand(corner)
        d_here, d_by_g = shadow.discriminator_loss_by_generator(against.again())
        g_here, g_by_g = shadow.generator_gradient(forward.again())
        d_moved, g_moved = d_here, g_here  # where D's own leg ends; in alternating play G looks from there
        if corner is start:
            shadow.stand(Point(after.discriminator, start.generator))
            d_moved, g_moved = shadow.discriminator_loss(against.again()), shadow.generator_loss(forward.again())
        d_own = directional.leg(terms.whole, d_update, terms.loss, d_moved)
        g_cross = directional.leg(g_by_d, d_update, g_start, g_moved)
        shadow.stand(Point(corner.discriminator, after.generator))
        d_cross = directional.leg(d_by_g, g_update, d_here, shadow.discriminator_loss(against.again()))
        g_own = directional.leg(g_by_g, g_update, g_here, shadow.generator_loss(forward.again()))
        return _leg_rows("d", d_own, d_cross) | _leg_rows("g", g_own, g_cross), g_by_g

    def _noise(self, start: Point, after: Point, own: tuple[Pieces, Pieces], more: tuple[Sequence[Draw], Sequence[Draw]]) -> Row:
        """Signal-to-noise of D's and of G's gradient, each where its player looked, from the turn's own gradient and further batches."""
        shadow = self.shadow
        shadow.stand(start)
        against = [own[0], *(shadow.discriminator_gradient(given) for given in more[0])]
        shadow.stand(self._corner(start, after))
        forward = [own[1], *(shadow.generator_gradient(given)[1] for given in more[1])]
        return {("d_snr", ""): gradients.signal_to_noise(against), ("g_snr", ""): gradients.signal_to_noise(forward)}


def _leg_rows(short: str, own: directional.Leg, cross: directional.Leg) -> Row:
    return {
        (f"{short}_own_predicted", ""): own.predicted,
        (f"{short}_own_change", ""): own.change,
        (f"{short}_cross_predicted", ""): cross.predicted,
        (f"{short}_cross_change", ""): cross.change,
        (f"{short}_drive", ""): directional.drive(own.predicted, cross.predicted),
    }


def _split(terms: Terms) -> Row:
    """D's gradient by term: sizes, and angles between them; penalty's only where there is one."""
    row: Row = {
        ("d_real_gradient_norm", ""): gradients.norm(terms.real),
        ("d_fake_gradient_norm", ""): gradients.norm(terms.fake),
        ("d_real_fake_cosine", ""): gradients.cosine(terms.real, terms.fake),
    }
    if terms.penalty is not None:
        row |= {
            ("d_penalty_gradient_norm", ""): gradients.norm(terms.penalty),
            ("d_real_penalty_cosine", ""): gradients.cosine(terms.real, terms.penalty),
            ("d_fake_penalty_cosine", ""): gradients.cosine(terms.fake, terms.penalty),
        }
    return row


def _turned(game: Game, turn: Turn, before: Turn) -> Row:
    """Cosine of each player's gradients, as they moved it, in two turns that follow each other."""
    pairs = (("d", game.discriminator, turn.discriminator, before.discriminator), ("g", game.generator, turn.generator, before.generator))
    return {
        (f"{short}_turn_cosine", ""): gradients.cosine(player.split(now.gradient), player.split(then.gradient))
        for short, player, now, then in pairs
    }


def _dead(short: str, largest: units.Largest) -> Row:
    """Shares of dead units, whole and by activation; nothing for a player without rectifiers."""
    if not largest:
        return {}
    return {(f"{short}_dead_units", name): share for name, share in zip(("", *largest), units.dead(largest), strict=True)}
