"""Going on from a snapshot is the game that was left, for every kind of state; lanes can be taken up alone, in any order, twice."""

import pytest
import torch

from stages.game.fork import continuation, resume
from tests.games import game, play, variant

CASES = {
    "adam": {},
    "rmsprop": {"optimizer": "rmsprop"},
    "sgd": {"optimizer": "sgd"},
    "optimistic_adam": {"optimizer": "optimistic_adam"},
    "scheduled_clipped": {"schedule": "cosine", "gradient_clip": 0.1},
    "critic_steps": {"critic_steps": 3, "lazy_interval": 2},
    "adaptive": {"balance": "adaptive"},
    "lecam": {"penalty": "lecam"},
    "spectral_norm": {"constraint": "spectral_norm", "loss": "hinge"},
    "instance_noise": {"instance_noise": 0.3},
    "ada": {"network": "dcgan", "augment": "ada"},
    "resnet": {"network": "resnet", "penalty": "r1_r2", "loss": "relativistic"},
}


def same(one, other):
    return all(torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_game_goes_on_bit_for_bit(name):
    of = variant(**CASES[name])
    left = play(game(of, [0, 1]), 5)
    snapshot, saved = left.snapshot(), continuation(left)
    assert all(tensor.shape[0] == 2 for tensor in saved.values())
    again = game(of, [0, 1])
    resume(again, snapshot, saved, [0, 1])
    assert same(left, again)
    assert again.step == 5
    assert same(play(left, 4), play(again, 4))


@pytest.mark.parametrize("name", ["adam", "adaptive", "ada", "spectral_norm"])
def test_lanes_are_taken_up_in_another_order_and_more_than_once(name):
    of = variant(**CASES[name])
    left = play(game(of, [0, 1]), 5)
    again = game(of, [1, 1, 0])
    resume(again, left.snapshot(), continuation(left), [1, 1, 0])
    play(left, 3), play(again, 3)
    for mine, taken in ((left.snapshot(), again.snapshot()),):
        for key, tensor in mine.items():
            assert torch.equal(taken[key][0], taken[key][1]), key
            torch.testing.assert_close(tensor[[1, 1, 0]], taken[key], rtol=1e-9, atol=1e-12)


def test_other_streams_make_another_future():
    left = play(game(variant(), [0]), 5)
    again = game(variant(), [0, 77])
    resume(again, left.snapshot(), continuation(left), [0, 0])
    before = again.snapshot()["generator/out.weight"]
    assert torch.equal(before[0], before[1])
    after = play(again, 1).snapshot()["generator/out.weight"]
    assert not torch.equal(after[0], after[1])


def test_a_state_of_another_game_is_refused():
    left = play(game(variant(optimizer="sgd"), [0]), 1)
    with pytest.raises(ValueError, match=r"another game: it has no generator_optimizer/"):
        resume(game(variant(), [0]), left.snapshot(), continuation(left), [0])
