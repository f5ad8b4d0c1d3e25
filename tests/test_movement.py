"""What the record `sample_movement` sees of a step: what G's weights did, and nothing that batch norm's statistics did."""

import pytest
import torch

from stages.observer import Material, Observer
from tests.games import SHAPES, batches, data, game, variant


def moved(network, normalisation, **rules):
    """Movement of both lanes in one turn that is watched; the watched game is the unwatched one, buffers included."""
    of, items = variant(network=network, generator_normalisation=normalisation, **rules), data(SHAPES[network])
    material = Material(batches(items), len(items), batches(items), 0, 1.0)
    watched, plain = game(of, [0, 1]), game(of, [0, 1])
    _, rows = Observer(watched, material, 1, 100).play()
    Observer(plain, material, 1000, 1000).play()
    assert all(torch.equal(tensor, plain.state()[name]) for name, tensor in watched.state().items())
    return rows["steps"][("sample_movement", "")]


def test_a_generator_whose_weights_stand_still_does_not_move_though_its_statistics_do():
    assert float(moved("mlp", "batch", optimizer="sgd", generator_lr=1e-300).max()) == 0.0


@pytest.mark.parametrize(("network", "normalisation"), [("mlp", "batch"), ("mlp", "none"), ("linear", "none")])
def test_a_generator_whose_weights_move_is_seen_to(network, normalisation):
    """The linear one's samples are its parameter: they must be a copy, or before and after would be the same numbers."""
    assert float(moved(network, normalisation, optimizer="sgd", generator_lr=0.1).min()) > 0.0
