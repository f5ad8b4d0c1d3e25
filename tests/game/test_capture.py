"""A turn replayed as one recorded program is the turn; what cannot be recorded is played as it is, and says why."""

import pytest
import torch
from games import EVERYTHING, batches, data, game, variant
from recorded import CpuGraphs

from stages.game import capture
from stages.game.capture import Stepper
from stages.game.loop import play_turn

TURNS = 12  # with two kinds of turns both are recorded and replayed


def stepper(one, items, backend=None):
    counts = [tensor for name, tensor in one.state().items() if name.endswith("/count")]
    return Stepper(one, batches(items), len(items), backend or CpuGraphs(counts))


def same(one, other):
    for name, tensor in one.state().items():
        torch.testing.assert_close(
            other.state()[name], tensor, rtol=1e-9, atol=1e-12, equal_nan=True, msg=lambda said, name=name: name + said
        )


@pytest.mark.parametrize("choice", EVERYTHING, ids=str)
def test_replayed_turns_are_the_turns(choice):
    """Every network, loss, penalty, constraint, optimiser and rule, in float64: the whole state, and what each turn gives."""
    plain, replayed = (game(variant(**choice), [0, 1]) for _ in range(2))
    items = data(plain.shape)
    player = stepper(replayed, items)
    for _ in range(TURNS):
        expected, found = play_turn(plain, batches(items), len(items)), player.play()
        for mine, theirs in ((expected.discriminator, found.discriminator), (expected.generator, found.generator)):
            for part in ("loss", "penalty", "real_logits", "fake_logits", "gradient"):
                torch.testing.assert_close(getattr(theirs, part), getattr(mine, part), rtol=1e-8, atol=1e-10)
        same(plain, replayed)
    if "instance_noise" in choice:
        assert player.refused == "instance noise fades from turn to turn"
    else:
        assert player.refused is None
        assert player.kinds
        assert all(kind.replay is not None for kind in player.kinds.values())


def test_a_lazy_penalty_makes_two_kinds_of_turn():
    one = game(variant(penalty="r1", lazy_interval=3), [0, 1])
    player = stepper(one, data(one.shape))
    for _ in range(12):
        player.play()
    assert set(player.kinds) == {(True,), (False,)}


def test_a_replay_does_not_run_python(monkeypatch):
    """Once recorded, no turn is played by Python any more, and the counts go on."""
    one = game(variant(), [0])
    player = stepper(one, data(one.shape))
    for _ in range(capture.WARM_UP + 1):
        player.play()
    monkeypatch.setattr(capture, "play_turn", lambda *given: pytest.fail("played"))
    for _ in range(3):
        player.play()
    assert (one.step, one.critic_step, int(one.state()["generator_optimizer/count"])) == (capture.WARM_UP + 4,) * 3


def test_a_lane_dies_in_a_replayed_turn_as_in_a_plain_one():
    """A lane whose weights are no numbers is dead from that turn on, and moves no more; the other goes on."""
    plain, replayed = (game(variant("minimax"), [0, 1]) for _ in range(2))
    items = data(plain.shape)
    player = stepper(replayed, items)
    for turn in range(9):
        if turn == 6:
            for one in (plain, replayed):
                one.generator.vector[one.generator.lane_mask(torch.tensor([True, False]))] = float("nan")
        play_turn(plain, batches(items), len(items))
        player.play()
    assert replayed.died_at.tolist() == plain.died_at.tolist() == [7, 0]
    same(plain, replayed)


def test_a_taken_up_game_is_recorded_anew():
    """Recordings are no state: a game that goes on from a checkpoint plays some turns as they are, and the same game."""
    first = game(variant(), [0, 1])
    items = data(first.shape)
    player = stepper(first, items)
    for _ in range(6):
        player.play()
    second = game(variant(), [0, 1])
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    other = stepper(second, items)
    for _ in range(6):
        player.play()
        other.play()
    same(first, second)


class Fails(CpuGraphs):
    """Cannot record."""

    def record(self, work):
        work()
        raise RuntimeError("operation not permitted\nwhen stream is capturing")


class Forgets(CpuGraphs):
    """Leaves out the last operations."""

    def record(self, work):
        turn, again = super().record(work)
        del again.__self__.operations[-12:]
        return turn, again


@pytest.mark.parametrize(
    ("backend", "said"),
    [(Fails, "operation not permitted when stream is capturing"), (Forgets, "the recorded turn differs in generator, ")],
)
def test_a_recording_that_fails_or_differs_is_not_used(backend, said):
    """The game goes on as if nobody had tried."""
    plain, tried = (game(variant(), [0, 1]) for _ in range(2))
    items = data(plain.shape)
    player = stepper(tried, items, backend([tensor for name, tensor in tried.state().items() if name.endswith("/count")]))
    for _ in range(6):
        play_turn(plain, batches(items), len(items))
        player.play()
    assert player.refused.startswith(said)
    assert player.backend is None
    for name, tensor in plain.state().items():
        assert torch.equal(tried.state()[name], tensor), name


def test_without_a_backend_turns_are_played_as_they_are():
    plain, other = (game(variant(), [0, 1]) for _ in range(2))
    items = data(plain.shape)
    player = Stepper(other, batches(items), len(items), capture.backend_of("cpu"))
    for _ in range(5):
        play_turn(plain, batches(items), len(items))
        player.play()
    assert all(torch.equal(other.state()[name], tensor) for name, tensor in plain.state().items())
