"""Optimisers against torch's own and against their formulas."""

import pytest
import torch

from stages.game.optimizers import optimizer, second_moment
from stages.game.spec import Rules

TORCHS = {
    "sgd": lambda parameter, rules: torch.optim.SGD([parameter], lr=0.1),
    "adam": lambda parameter, rules: torch.optim.Adam([parameter], lr=0.1, betas=(rules.beta1, rules.beta2), eps=rules.epsilon),
    "rmsprop": lambda parameter, rules: torch.optim.RMSprop([parameter], lr=0.1, alpha=rules.beta2, eps=rules.epsilon),
}


@pytest.mark.parametrize("name", sorted(TORCHS))
def test_the_path_is_torchs(name):
    rules = Rules(optimizer=name, beta1=0.5, beta2=0.9)
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(50, 7, generator=generator, dtype=torch.float64)
    mine = torch.ones(7, dtype=torch.float64)
    theirs = torch.nn.Parameter(mine.clone())
    ours, reference = optimizer(mine, 0.1, rules), TORCHS[name](theirs, rules)
    for gradient in gradients:
        mine -= ours.direction(gradient)
        theirs.grad = gradient.clone()
        reference.step()
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(TORCHS))
def test_the_gradient_is_not_modified(name):
    gradient = torch.randn(5, generator=torch.Generator().manual_seed(0))
    kept = gradient.clone()
    optimizer(gradient, 0.1, Rules(optimizer=name)).direction(gradient)
    assert torch.equal(gradient, kept)


@pytest.mark.parametrize("form", ["", "optimistic_"])
def test_the_second_moment_of_a_constant_gradient(form):
    """Adam's v̂ is g² at once (bias-corrected); RMSprop's v is (1 - β2^t) g²; sgd has none. No form changes it."""
    gradient = torch.tensor([3.0, -0.5], dtype=torch.float64)
    for name, expected in (("adam", gradient**2), ("rmsprop", (1 - 0.9**4) * gradient**2), ("sgd", None)):
        rules = Rules(optimizer=f"{form}{name}", beta2=0.9)
        moved = optimizer(gradient, 0.1, rules)
        for _ in range(4):
            moved.direction(gradient)
        found = second_moment(moved.state, rules)
        assert found is expected if expected is None else torch.allclose(found, expected, rtol=1e-14)
