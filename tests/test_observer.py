"""The observer: what it records is what the turn did, and the game it watches is the one nobody watches."""

import numpy as np
import pytest
import torch
from games import EVERYTHING, SHAPES, batches, data, game, play, variant

from stages.game.loop import play_turn
from stages.measure import step as measures
from stages.observer import Material, Observer

WHOLE = {"d_loss", "g_loss", "d_penalty", "real_logit", "fake_logit", "real_logit_spread", "fake_logit_spread", "auc", "saturation"}


def observer(one, record_every=1, held=True, probe_every=100):
    items = data(one.shape)
    fresh = data(one.shape, 20) * 0.5
    return Observer(one, Material(batches(items), len(items), batches(fresh), len(fresh) if held else 0, 1.0), record_every, probe_every)


def played(watcher, turns):
    """The rows of so many turns, by table and step."""
    tables = {}
    for _ in range(turns):
        _, rows = watcher.play()
        for table, row in rows.items():
            tables.setdefault(table, {})[watcher.game.step] = row
    return tables


@pytest.mark.parametrize("choice", EVERYTHING, ids=str)
def test_a_watched_game_is_the_unwatched_one(choice):
    """Bit for bit, over the catalogue: weights, buffers, optimisers, penalty, balance and augmentation state."""
    alone, seen = (game(variant(**choice), [0, 1], 8) for _ in range(2))
    play(alone, 8)
    played(observer(seen), 8)
    for name, tensor in alone.state().items():
        assert torch.equal(tensor, seen.state()[name]), name


@pytest.mark.parametrize(("record_every", "steps"), [(10, [1, 10, 20, 25]), (30, [1, 25]), (1, list(range(1, 26)))])
def test_the_first_every_nth_and_the_last_step_are_recorded(record_every, steps):
    found = played(observer(game(variant(), [0], 25), record_every), 25)
    assert set(found) == {"steps", "probes"}
    assert list(found["steps"]) == steps


def test_update_ratios_are_those_of_the_weights_by_layer():
    one = play(game(variant(), [0, 1]), 3)
    before = {name: tensor.clone() for name, tensor in one.snapshot().items()}
    row = played(observer(one), 1)["steps"][4]
    for short, role, player in (("d", "discriminator", one.discriminator), ("g", "generator", one.generator)):
        whole = torch.zeros(2, 2, dtype=torch.float64)
        for name in player.names:
            start, moved = before[f"{role}/{name}"].flatten(1), one.snapshot()[f"{role}/{name}"].flatten(1)
            sizes = torch.stack([(moved - start).norm(dim=1), start.norm(dim=1)])
            torch.testing.assert_close(row[(f"{short}_update_ratio", name)], sizes[0] / sizes[1])
            whole += sizes**2
        torch.testing.assert_close(row[(f"{short}_update_ratio", "")], (whole[0] / whole[1]).sqrt())


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("hinge", True), ("minimax", True), ("wasserstein", False), ("relativistic", False), ("least_squares", False)],
)
def test_accuracy_is_recorded_only_where_a_logits_sign_is_a_decision(loss, expected):
    row = played(observer(game(variant(loss), [0])), 1)["steps"][1]
    assert (("accuracy", "") in row) is expected
    assert {name for name, layer in row if not layer} >= WHOLE


def test_the_optimisers_scale_is_there_where_it_divides():
    for optimizer, expected in (("adam", True), ("optimistic_adam", True), ("rmsprop", True), ("sgd", False), ("optimistic_sgd", False)):
        row = played(observer(game(variant(optimizer=optimizer), [0])), 1)["steps"][1]
        assert (("d_root_over_epsilon", "") in row) is (("g_root_over_epsilon", "") in row) is expected


def test_the_scale_of_adam_after_one_step_is_the_gradients():
    """v̂ = g² after the first step, so that the measure is the median |g| / ε."""
    one = game(variant(generator_normalisation="none"), [0])
    watcher = observer(one)
    turn, rows = watcher.play()
    expected = turn.generator.gradient.abs().median() / one.variant.rules.epsilon
    assert float(rows["steps"][("g_root_over_epsilon", "")]) == pytest.approx(float(expected), rel=1e-9)


def test_overfitting_is_seen_and_is_absent_where_nothing_was_held_out():
    """A D that is a line through the data ranks two parts of it by their place alone: held items twice as far out are told apart."""
    one = game(variant(network="linear", generator_normalisation="none", optimizer="sgd", discriminator_lr=1e-6), [0], batch=32)
    near, far = -torch.ones(40, *SHAPES["linear"]), torch.ones(40, *SHAPES["linear"])
    for train, held, expected in ((far, near, 1.0), (near, far, 0.0), (near, near, 0.5)):
        row = played(Observer(one, Material(batches(train), 40, batches(held), 40, 1.0), 1, 100), 1)["steps"]
        assert float(next(iter(row.values()))[("overfit_auc", "")]) == expected
    assert ("overfit_auc", "") not in played(observer(one, held=False), 1)["steps"][one.step]


def broken(one, lane, layer):
    """Make D's loss a number whose gradient by one layer is not, in one lane: √ at 0, as a norm without an ε gives."""
    parameter = dict(one.discriminator.module.named_parameters())[layer]
    own = torch.zeros(parameter.shape[0], 1, dtype=parameter.dtype)
    own[lane] = 1
    forward = one.discriminator.module.forward

    def with_a_corner(x):
        return forward(x) + own * (parameter[lane] - parameter[lane].detach()).square().sum().sqrt()

    one.discriminator.module.forward = with_a_corner


def test_gradients_that_are_not_finite_are_counted_where_they_first_are():
    """The step before the lane dies, the layer, the number of values; the other lane's counts are zero and it goes on."""
    one = play(game(variant("hinge", order="simultaneous"), [0, 1], batch=8), 2)
    watcher = observer(one, record_every=1000)
    broken(one, lane=1, layer="out.weight")
    turn, rows = watcher.play()
    assert bool(turn.discriminator.loss.isfinite().all())
    found = {key: value.tolist() for key, value in rows["incidents"].items() if value.any()}
    assert found == {("d_non_finite", ""): [0, 4], ("d_non_finite", "out.weight"): [0, 4]}
    del one.discriminator.module.forward
    later = played(watcher, 3)["incidents"]
    assert one.died_at.tolist() == [0, 4]
    assert list(later) == [4]
    assert later[4][("d_non_finite", "")].tolist()[0] == 0


def test_a_finite_game_has_no_incident():
    assert "incidents" not in played(observer(game(variant(), [0])), 5)


def test_a_row_holds_what_the_turn_computed():
    one, other = (game(variant("minimax"), [3]) for _ in range(2))
    row = played(observer(one), 1)["steps"][1]
    items = data(other.shape)
    turn = play_turn(other, batches(items), len(items))
    expected = {
        "d_loss": turn.discriminator.loss,
        "auc": measures.auc(turn.discriminator.real_logits, turn.discriminator.fake_logits),
        "real_logit_spread": torch.from_numpy(np.std(turn.discriminator.real_logits.numpy(), 1)),
        "d_gradient_norm": turn.discriminator.gradient.norm()[None],
    }
    for name, value in expected.items():
        torch.testing.assert_close(row[(name, "")], value)
