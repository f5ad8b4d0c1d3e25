"""The yardstick computes what a lane computes: otherwise the comparison would be of two different things."""

import pytest
import torch

from stages.benchmark import cases
from stages.benchmark.plain import PlainLoop
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.steps import draw

CLOSE = {"rtol": 0, "atol": 1e-9}


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28)], ids=str)
@pytest.mark.parametrize("penalty", list(cases.PENALTIES))
def test_the_plain_loop_equals_a_lane(penalty, shape):
    """float64: losses, penalties, gradients, weights, batch statistics and G's average of lane 0 of two, over three steps."""
    case = cases.Case(shape=shape, penalty=penalty, lanes=1, batch=8)
    lane = Game(cases.variant("dcgan", penalty), shape, cases.LATENT, 8, cases.STEPS, [0, 1], torch.float64)
    plain = PlainLoop(case, torch.float64)
    take = cases.batches(cases.items(case))
    for _ in range(3):
        against, forward = (draw(lane, take, case.items, player, 0) for player in ("discriminator", "generator"))
        mixing = against.again().penalty.uniform(8)[0]
        turn = play_turn(lane, take, case.items)
        seen = plain.discriminator_step(against.real[0].clone(), against.noise[0], mixing)
        for theirs, ours in zip(seen, (turn.discriminator.loss, turn.discriminator.penalty), strict=True):
            torch.testing.assert_close(theirs, ours[0], **CLOSE)
        compare(plain.discriminator, lane.discriminator.split(turn.discriminator.gradient), "grad")
        torch.testing.assert_close(plain.generator_step(forward.noise[0]), turn.generator.loss[0], **CLOSE)
        compare(plain.generator, lane.generator.split(turn.generator.gradient), "grad")
    compare(plain.generator, lane.generator.parameters, "data")
    compare(plain.discriminator, lane.discriminator.parameters, "data")
    compare(plain.average, lane.generator.split(lane.ema), "data")
    running = [buffer for buffer in plain.average.buffers() if buffer.is_floating_point()]
    for theirs, ours in zip(running, lane.ema_buffers, strict=True):
        torch.testing.assert_close(theirs, ours[0], **CLOSE)


def compare(module, lanes, what):
    """Lane 0's tensors against a module's, in the order of its parameters."""
    linear = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Linear)}
    for parameter, ours in zip(module.parameters(), lanes, strict=True):
        theirs = getattr(parameter, what)
        expected = ours[0].detach().T if id(parameter) in linear else ours[0].detach()
        torch.testing.assert_close(theirs, expected.reshape(theirs.shape), **CLOSE)
