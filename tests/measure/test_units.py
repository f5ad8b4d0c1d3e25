"""Dead units: staged ones are counted, by layer and lane, and watching changes nothing."""

import pytest
import torch
from games import SHAPES, data, game, play, variant

from stages.measure import units


def shares(module, x, lanes=2):
    with units.watched(module, lanes) as largest:
        answer = module(x)
    return units.dead(largest), list(largest), answer


@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_a_unit_pushed_below_zero_is_dead_in_its_lane_alone(network):
    """A bias of -1000 before the first activation stops a unit (a channel of an image) of one lane; the module's answer is unchanged."""
    one = game(variant(network=network), [0, 1], batch=16)
    module = one.discriminator.module
    before = next(parameter for name, parameter in module.named_parameters() if name.endswith("bias"))
    x = data(SHAPES[network], 16).double().expand(2, 16, *SHAPES[network])
    alive, names, plain = shares(module, x)
    with torch.no_grad():
        before.view(2, -1)[1, 0] = -1000.0
    found, again, _ = shares(module, x)
    assert names == again
    assert (found[:, 0] == alive[:, 0]).all()
    first = 1 if network != "resnet" else 1 + names.index("blocks.0.before.1")
    assert float(found[first, 1]) > float(alive[first, 1]) or float(alive[first, 1]) == 1.0
    assert torch.equal(plain, plain.clone())


def test_the_share_is_counted_over_all_layers_and_all_forwards():
    """A unit that fires in any forward lives; shares of the whole count units, not layers."""
    largest = {"a": torch.tensor([[1.0, -1.0, 0.0, -2.0]]), "b": torch.tensor([[3.0, -1.0]])}
    torch.testing.assert_close(units.dead(largest), torch.tensor([[4 / 6], [3 / 4], [1 / 2]]))
    one = play(game(variant(network="mlp"), [0]), 1).discriminator.module
    x = data(SHAPES["mlp"], 8).double()[None]
    with units.watched(one, 1) as both:
        one(x[:, :4]), one(x[:, 4:])
    whole, _, _ = shares(one, x, 1)
    assert torch.equal(units.dead(both), whole)


def test_broken_numbers_are_not_called_alive():
    assert units.dead({"a": torch.tensor([[float("nan"), 1.0]])}).isnan().all()


def test_hooks_go_and_only_rectifiers_are_watched():
    one = game(variant(network="mlp"), [0]).generator.module
    with units.watched(one, 1):
        assert [part for part in one.modules() if part._forward_hooks]
    assert not [part for part in one.modules() if part._forward_hooks]
    for part in one.modules():
        if type(part).__name__ == "Activation":
            part.name = "tanh"
    with units.watched(one, 1) as largest:
        one(torch.ones(1, 4, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match="relu and leaky_relu"):
        units.dead(largest)
