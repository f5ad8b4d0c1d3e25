"""What the record `sample_movement` sees of a step: what G's weights did, and nothing that batch norm's statistics did."""

import pytest
import torch
from games import SHAPES, batches, data, game, variant

from stages.game.loop import play_turn
from stages.worker import Observer


def moved(network, normalisation, **rules):
    """Movement of both lanes in one turn, and G's buffers before and after the observer looked."""
    one = game(variant(network=network, generator_normalisation=normalisation, **rules), [0, 1])
    observer, items = Observer(one, 1.0), data(SHAPES[network])
    before = observer.before()
    turn = play_turn(one, batches(items), len(items))
    kept = [buffer.clone() for buffer in one.generator.module.buffers()]
    row = observer.row(turn, before)
    assert all(torch.equal(a, b) for a, b in zip(kept, one.generator.module.buffers(), strict=True))  # looking alters nothing
    return row[("sample_movement", "")]


def test_a_generator_whose_weights_stand_still_does_not_move_though_its_statistics_do():
    assert float(moved("mlp", "batch", optimizer="sgd", generator_lr=1e-300).max()) == 0.0


@pytest.mark.parametrize(("network", "normalisation"), [("mlp", "batch"), ("mlp", "none"), ("linear", "none")])
def test_a_generator_whose_weights_move_is_seen_to(network, normalisation):
    """The linear one's samples are its parameter: they must be a copy, or before and after would be the same numbers."""
    assert float(moved(network, normalisation, optimizer="sgd", generator_lr=0.1).min()) > 0.0
