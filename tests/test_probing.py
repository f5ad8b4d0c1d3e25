"""Tier 2 in the game: D's gradient by term, legs of both updates and their order, what the probe leaves alone."""

import pytest
import torch
from games import EVERYTHING, LOSSES, PENALTIES, batches, data, game, play, variant
from test_observer import observer, played

from stages.game.shadow import Point, Shadow
from stages.game.steps import discriminator_move, draw, generator_move
from stages.measure.directional import leg
from stages.probing import BATCHES, Probe


def shadowed(one):
    """A shadow at the game's present weights, and its draws for both players."""
    items = data(one.shape)
    shadow = Shadow(one)
    start = shadow.take(one)
    return shadow, start, *(shadow.draw(batches(items), len(items), player) for player in ("discriminator", "generator"))


MIXED = [{"loss": loss, "penalty": penalty} for loss in LOSSES for penalty in PENALTIES]
FURTHER = [
    {"discriminator_normalisation": "batch"},
    {"minibatch_std": True},
    {"pack": 2, "penalty": "r1"},
    {"instance_noise": 0.3, "penalty": "gradient_penalty"},
    {"network": "dcgan", "augment": "diffaugment", "penalty": "r1_r2"},
    {"constraint": "spectral_norm", "penalty": "r1"},
    {"network": "resnet", "loss": "relativistic", "penalty": "r1_r2"},
]


@pytest.mark.parametrize("choice", MIXED + FURTHER, ids=str)
def test_the_terms_add_up_to_ds_gradient(choice):
    """real + fake + penalty = the gradient of the game's own D step, for every loss (also those that are no sum of parts) and penalty."""
    one = play(game(variant(**choice), [0, 1]), 3)
    items = data(one.shape)
    shadow, _, against, _ = shadowed(one)
    terms = shadow.terms(against.again())
    one.objective.constraint.before_step(one.discriminator.module)
    move = discriminator_move(one, draw(one, batches(items), len(items), "discriminator", 0))
    torch.testing.assert_close(one.discriminator.gather(terms.whole), move.gradient, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(terms.loss, move.loss + move.penalty, rtol=1e-12, atol=1e-14)
    assert (terms.penalty is None) is (choice.get("penalty", "none") == "none")


def test_a_lazy_penalty_counts_at_its_average_strength():
    """The step adds I x weight x penalty every I-th time; the terms hold 1 x, whether this is such a step or not."""
    one = game(variant(penalty="r1", lazy_interval=4), [0, 1])
    items = data(one.shape)
    for turns in range(2):
        shadow, _, against, _ = shadowed(one)
        terms = shadow.terms(against.again())
        move = discriminator_move(one, draw(one, batches(items), len(items), "discriminator", 0))
        strength = 4 if turns == 0 else 0
        whole = [r + f + strength * p for r, f, p in zip(terms.real, terms.fake, terms.penalty, strict=True)]
        torch.testing.assert_close(one.discriminator.gather(whole), move.gradient, rtol=1e-9, atol=1e-12)
        play(one, 1)


def test_a_relativistic_split_is_by_paths():
    """L_D = softplus(b - a): the real path alone is the gradient with b held, though no part of L_D depends on a alone."""
    one = play(game(variant("relativistic"), [0]), 2)
    shadow, _, against, _ = shadowed(one)
    terms = shadow.terms(against.again())
    given, module = against.again(), shadow.twin.discriminator.module
    with torch.no_grad():
        b = module(shadow.twin.generator.module(given.noise))
    loss = torch.nn.functional.softplus(b - module(given.real)).mean()
    for mine, expected in zip(terms.real, torch.autograd.grad(loss, shadow.twin.discriminator.parameters), strict=True):
        torch.testing.assert_close(mine, expected)


LEGS = {
    "d_own": ("discriminator", lambda s, d, g: (s.discriminator_loss(d), s.terms(d.again()).whole), "discriminator_loss"),
    "g_own": ("generator", lambda s, d, g: s.generator_gradient(g), "generator_loss"),
    "g_cross": ("discriminator", lambda s, d, g: s.generator_loss_by_discriminator(g), "generator_loss"),
    "d_cross": ("generator", lambda s, d, g: s.discriminator_loss_by_generator(d), "discriminator_loss"),
}
SMOOTH = [
    {},
    {"loss": "relativistic", "penalty": "r1_r2"},
    {"loss": "relativistic_average"},
    {"loss": "minimax", "constraint": "spectral_norm"},
    {"loss": "wasserstein", "penalty": "lecam"},
    {"loss": "least_squares", "penalty": "r2"},
    {"penalty": "gradient_penalty"},
]


@pytest.mark.parametrize("name", LEGS)
@pytest.mark.parametrize("choice", SMOOTH, ids=str)
def test_the_predicted_change_is_of_first_order(choice, name):
    """change - predicted = O(h²) along any direction: a tenth of the step leaves a hundredth of the difference."""
    one = play(game(variant(**choice), [0, 1], batch=8), 3)
    for player in (one.generator.module, one.discriminator.module):
        for part in player.modules():
            if type(part).__name__ == "Activation":
                part.name = "tanh"  # a corner crossed would be of first order
    shadow, start, against, forward = shadowed(one)
    for part in [*shadow.twin.generator.module.modules(), *shadow.twin.discriminator.module.modules()]:
        if type(part).__name__ == "Activation":
            part.name = "tanh"
    moved, gradient_of, loss = LEGS[name]
    before, gradient = gradient_of(shadow, against.again(), forward.again())
    direction = torch.randn(getattr(start, moved).shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    errors = []
    for h in (1e-4, 1e-5):
        shadow.stand(start._replace(**{moved: getattr(start, moved) + h * direction}))
        given = (against if loss == "discriminator_loss" else forward).again()
        found = leg(gradient, getattr(one, moved).split(h * direction), before, getattr(shadow, loss)(given))
        assert (found.predicted.abs() > 1e-9).all() or choice.get("loss") == "wasserstein"
        errors.append((found.change - found.predicted).abs())
    torch.testing.assert_close(errors[0] / errors[1], torch.full((2,), 100.0, dtype=torch.float64), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"order": "simultaneous"},
        {"critic_steps": 3},
        {"generator_steps": 2},
        {"method": "consensus"},
        {"method": "extra_gradient", "order": "simultaneous"},
    ],
    ids=str,
)
def test_both_legs_together_are_what_the_turn_did(rules):
    """In alternating play own + cross change of a loss is its whole change over the turn; Δ is the turn's net change."""
    one = play(game(variant(**rules), [0, 1], 10), 9)
    shadow, start, against, forward = shadowed(one)
    watcher = observer(one)
    watcher.last = generator_turn(one)
    row = played(watcher, 1)["probes"][10]
    for short, loss, given in (("d", shadow.discriminator_loss, against), ("g", shadow.generator_loss, forward)):
        first = loss(given.again())
        shadow.stand(Point(one.discriminator.vector.detach(), one.generator.vector.detach()))
        whole = loss(given.again()) - first
        shadow.stand(start)
        together = row[(f"{short}_own_change", "")] + row[(f"{short}_cross_change", "")]
        if rules.get("order") == "simultaneous":
            assert not torch.allclose(together, whole, rtol=1e-9, atol=0)
        else:
            torch.testing.assert_close(together, whole, rtol=1e-9, atol=1e-12)


def generator_turn(one):
    """Any turn of that game's shape, as the one before."""
    twin = game(one.variant, list(one.seeds), 10)
    return observer(twin).play()[0]


def test_a_plain_gradient_steps_own_leg_is_minus_lr_times_the_squared_norm():
    """sgd: Δψ = -h ∇L_D, so that the predicted change is -h ‖∇L_D‖²; for G at D's new weights."""
    one = game(variant(optimizer="sgd", generator_normalisation="none"), [0, 1], 2)
    tables = played(observer(one), 2)
    row, first = tables["probes"][2], tables["steps"][2]
    for short in "dg":
        torch.testing.assert_close(row[(f"{short}_own_predicted", "")], -1e-3 * first[(f"{short}_gradient_norm", "")] ** 2)


def test_who_drives_whom_on_the_wasserstein_dirac_game():
    """L_G = -ψθ, L_D = ψθ (data at 0), sgd of rate h, θ = ψ = 1: D's step Δψ = -hθ, then G's Δθ = hψ'.

    Own of D: θ Δψ = -h. Cross on G: -θ Δψ = h. Own of G: -ψ' Δθ = -h ψ'², cross on D: +h ψ'², ψ' = 1 - h.
    """
    h = 0.1
    one = game(
        variant("wasserstein", network="linear", generator_normalisation="none", optimizer="sgd", generator_lr=h, discriminator_lr=h),
        [0],
        2,
    )
    items = torch.zeros(4, *one.shape, dtype=torch.float64)
    probe = Probe(one, batches(items), 4)
    start = probe.begin()
    turn = generator_turn_on(one, items)
    row = probe.end(start, turn, turn)
    size = one.shape[0]
    expected = {"d_own": -h, "g_cross": h, "g_own": -h * (1 - h) ** 2, "d_cross": h * (1 - h) ** 2}
    for name, value in expected.items():
        for kind in ("predicted", "change"):
            assert float(row[(f"{name}_{kind}", "")]) == pytest.approx(size * value, rel=1e-12)
    assert float(row[("g_drive", "")]) == pytest.approx(1 / (1 + (1 - h) ** 2), rel=1e-12)
    assert float(row[("d_turn_cosine", "")]) == pytest.approx(1.0)


def generator_turn_on(one, items):
    from stages.game.loop import play_turn

    return play_turn(one, batches(items), len(items))


def test_probes_stand_at_the_second_every_nth_and_the_last_step():
    """And only there may the game not be left: between the two turns of a pair."""
    one = game(variant(network="linear", generator_normalisation="none"), [0], 205)
    watcher = observer(one, record_every=1000)
    found, pauses = [], []
    for _ in range(205):
        _, rows = watcher.play()
        found += [one.step] if "probes" in rows else []
        pauses += [] if watcher.may_pause else [one.step]
    assert found == [2, 100, 200, 205]
    assert pauses == [1, 99, 199, 204]


def test_the_cosine_of_consecutive_turns_is_of_the_moves_gradients():
    one = game(variant(critic_steps=2), [0, 1], 2)
    watcher = observer(one)
    first, _ = watcher.play()
    second, rows = watcher.play()
    for short, role in (("d", "discriminator"), ("g", "generator")):
        u, v = (getattr(one, role).split(getattr(turn, role).gradient) for turn in (first, second))
        lanes = [[torch.cat([piece[lane].reshape(-1) for piece in pieces]) for pieces in (u, v)] for lane in range(2)]
        expected = torch.stack([torch.cosine_similarity(a, b, dim=0) for a, b in lanes])
        torch.testing.assert_close(rows["probes"][(f"{short}_turn_cosine", "")], expected)


def test_the_noise_is_of_further_batches():
    """Draws of the ratio are the turn's own and others: no two alike, none that training will ever see."""
    one = play(game(variant(), [0, 1]), 2)
    shadow, _, against, forward = shadowed(one)
    items = data(one.shape)
    for player, own in (("discriminator", against), ("generator", forward)):
        more = shadow.more(batches(items), len(items), player, BATCHES - 1)
        noises = [own.noise, *(given.noise for given in more)]
        for i, one_noise in enumerate(noises):
            assert not any(torch.equal(one_noise, other) for other in noises[:i])


@pytest.mark.parametrize("choice", [c for c in EVERYTHING if "penalty" in c or "method" in c or "constraint" in c], ids=str)
def test_every_measure_is_there_and_finite(choice):
    one = game(variant(**choice), [0, 1], 2, batch=8)
    row = played(observer(one), 2)["probes"][2]
    penalty = choice.get("penalty", "none") != "none"
    assert (("d_penalty_gradient_norm", "") in row) is penalty
    for (measure, layer), value in row.items():
        assert value.shape == (2,)
        if not (measure.endswith("penalty_cosine") and choice.get("penalty") == "dragan"):
            assert value.isfinite().all(), (measure, layer)


def test_own_moves_of_generators_gradient_match_the_game():
    one = play(game(variant("relativistic"), [0, 1]), 2)
    items = data(one.shape)
    shadow, _, _, forward = shadowed(one)
    loss, gradient = shadow.generator_gradient(forward.again())
    move = generator_move(one, draw(one, batches(items), len(items), "generator", 0))
    torch.testing.assert_close(one.generator.gather(gradient), move.gradient)
    torch.testing.assert_close(loss, move.loss)
