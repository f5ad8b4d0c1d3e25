"""A step computes what its player needs: no gradient of the other, no graph of the other."""

import games
import pytest
import torch

from stages.game import steps


@pytest.fixture
def asked(monkeypatch):
    """What the steps ask autograd to differentiate by."""
    seen = []
    grad = torch.autograd.grad

    def noting(outputs, inputs, *rest, **more):
        seen.append([id(tensor) for tensor in inputs] if isinstance(inputs, (list, tuple)) else [id(inputs)])
        return grad(outputs, inputs, *rest, **more)

    monkeypatch.setattr(torch.autograd, "grad", noting)
    return seen


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
@pytest.mark.parametrize("penalty", ["none", "r1", "gradient_penalty"])
def test_a_step_differentiates_by_its_own_players_weights_alone(asked, penalty, network):
    one = games.game(games.variant(penalty=penalty, network=network), [0, 1])
    items = games.batches(games.data(one.shape))
    mine = {role: {id(parameter) for parameter in getattr(one, role).parameters} for role in ("discriminator", "generator")}
    for role, move in (("discriminator", steps.discriminator_move), ("generator", steps.generator_move)):
        asked.clear()
        move(one, steps.draw(one, items, 50, role, 0))
        other = mine["generator" if role == "discriminator" else "discriminator"]
        assert set(asked[-1]) == mine[role]
        assert not other & {tensor for call in asked for tensor in call}
    assert all(parameter.grad is None for role in mine for parameter in getattr(one, role).parameters)


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_a_discriminators_step_keeps_no_graph_of_the_generator(network, monkeypatch):
    one = games.game(games.variant(network=network), [0])
    made = []
    one.generator.module.register_forward_hook(lambda module, given, samples: made.append(samples.requires_grad))
    items = games.batches(games.data(one.shape))
    steps.discriminator_move(one, steps.draw(one, items, 50, "discriminator", 0))
    steps.generator_move(one, steps.draw(one, items, 50, "generator", 0))
    assert made == [False, True]


@pytest.mark.parametrize("penalty", ["none", "r1"])
def test_the_penalty_reuses_the_losss_forward(penalty):
    """R1 looks at D's answer to the real batch, which the loss has already."""
    one = games.game(games.variant(penalty=penalty), [0])
    calls = []
    one.discriminator.module.register_forward_hook(lambda module, given, logits: calls.append(logits.shape[1]))
    steps.discriminator_move(one, steps.draw(one, games.batches(games.data(one.shape)), 50, "discriminator", 0))
    assert sum(calls) == 2 * one.batch
