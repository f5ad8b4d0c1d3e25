"""The oracle's measures on closed forms, and its word on staged courses."""

import math

import numpy as np
import pytest

from stages.staged import known, truth

RING = {"centres": [[math.cos(k * math.tau / 8), math.sin(k * math.tau / 8)] for k in range(8)], "std": 0.01}


def ring():
    return known.mixture(RING, np.random.default_rng(0))


def drawn(modes, count=4000, std=0.01, seed=1):
    rng = np.random.default_rng(seed)
    return np.array(RING["centres"])[rng.choice(modes, count)] + std * rng.standard_normal((count, 2))


def test_the_truth_itself_lies_on_the_data_as_often_as_a_gaussian_within_three_deviations():
    """P(|x| <= 3) = 1 - exp(-9/2) in the plane; 4,000 draws have a standard error of 0.17%."""
    seen = known.look(ring(), drawn(range(8)))
    assert seen.on == pytest.approx(1 - math.exp(-4.5), abs=4 * 0.0017)
    assert seen.found == 1.0
    assert abs(seen.energy) < 0.01


@pytest.mark.parametrize("count", [1, 3, 8])
def test_modes_found_are_those_that_samples_come_from(count):
    assert known.look(ring(), drawn(range(count))).found == count / 8


def test_a_mode_needs_a_fifth_of_its_due_samples():
    rest, few = drawn([0], 960), drawn([1], 20)
    assert known.look(ring(), np.concatenate([rest, few])).found == 1 / 8  # a fifth of 980 / 8 is 24.5
    assert known.look(ring(), np.concatenate([rest[:700], few])).found == 2 / 8  # a fifth of 720 / 8 is 18


def test_energy_distance_of_two_points_is_twice_their_distance():
    """2 E|x - 0| - 0 - 0, in spreads of 1."""
    assert known.look(known.point(1), np.full((50, 1), -0.7)).energy == pytest.approx(1.4)


def test_energy_distance_of_shifted_gaussians():
    """In one dimension 2 E|N(m, 2)| - 2 E|N(0, 2)| (Székely & Rizzo 2013), E|N(m, s²)| = s √(2/π) e^(-m²/2s²) + m erf(m / (s √2))."""
    rng = np.random.default_rng(3)
    cloud = known.Truth(lambda x: (x[:, 0] > 0, np.zeros(len(x), int)), 1, rng.standard_normal((known.DRAWN, 1)), 1.0)
    m, s = 2.0, math.sqrt(2)
    folded = s * math.sqrt(2 / math.pi) * math.exp(-(m**2) / (2 * s**2)) + m * math.erf(m / (s * math.sqrt(2)))
    expected = 2 * folded - 2 * s * math.sqrt(2 / math.pi)
    assert known.energy(cloud, rng.standard_normal((known.MOST, 1)) + m) == pytest.approx(expected, rel=0.1)


def test_rounds_of_shares_that_swap_and_of_shares_that_move_once():
    swap = np.array([[1.0, 0.0], [0.0, 1.0]] * 5)
    assert truth.rounds(swap) == (1.0, 4.5)  # nine ways of total variation 1, over twice the reach
    assert truth.rounds(np.linspace([1.0, 0.0], [0.0, 1.0], 9)) == (1.0, 0.5)  # there, and not back
    assert truth.rounds(np.zeros((4, 2))) == (0.0, 0.0)
    assert truth.rounds(swap * 0.1, 1.0)[1] == pytest.approx(0.45)  # by a reach that is known already


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 4, 8], 0),
        ([8, 4, 2, 1], 0),
        ([1, 2, 1, 2, 1], 3),
        ([1, 1.2, 1, 1.2, 1], 0),
        ([4, 1, 1.3, 1, 4], 1),
        ([1, 10, 9, 10, 1, 10], 2),
    ],
)
def test_turns_count_only_moves_by_the_factor(values, expected):
    assert truth.turns(values, 1.5) == expected


def test_bounds_answer_yes_no_and_unclear_in_both_directions():
    up, down = truth.Bounds(0.4, 0.6), truth.Bounds(0.6, 0.4)
    assert [up.ask(v) for v in (0.4, 0.5, 0.6)] == [False, None, True]
    assert [down.ask(v) for v in (0.4, 0.5, 0.6)] == [True, None, False]


def course(now, before=None, later=None, **more):
    """A lane of 41 looks: `before` up to the run's end, `now` there, `later` after it; each (on, found, energy)."""
    looks = [(0.0, 0.0, 2.0), *[before or now] * 17, *[now] * 4, *[later or now] * 19]
    entries = [
        {"step": 100 * i, "on": on, "found": found, "energy": energy, "shares": [0.5, 0.5, 0.0], "nearest": [0.5, 0.5]}
        for i, (on, found, energy) in enumerate(looks)
    ]
    gradients = [{"step": 100 * step, "generator": 1.0, "discriminator": 1.0, "auc": 0.8} for step in (0, 1, 2, 4, 8, 12, 16, 20)]
    end = {"on": now[0], "found": now[1], "energy": now[2]}
    return {
        "finite": True,
        "looks": entries,
        "gradients": gradients,
        "end": end,
        "real": {"on": 1.0, "found": 1.0, "energy": 0.0},
        "moved": 1.0,
        "to_end": [1.0] * 20 + [0.0] + [1.0] * 20,
        "steps": 2000,
    } | more


def improving():
    """A lane whose energy falls step by step to the end of the run, and stands from there on."""
    lane = course(BAD)
    for i, look in enumerate(lane["looks"]):
        look["energy"] = 3.0 - 0.1 * min(i, 20)
    return lane


def gradients(auc, last=1.0, most=1.0):
    steps = (0, 1, 2, 4, 8, 12, 16, 20)
    norms = [1.0, 1.0, 1.0, most, most, most, most, last]
    return [{"step": 100 * step, "generator": norm, "discriminator": 1.0, "auc": auc} for step, norm in zip(steps, norms, strict=True)]


GOOD, BAD = (0.9, 1.0, 0.05), (0.1, 0.1, 1.0)
WORDS = {
    "healthy": course(GOOD),
    "late_collapse": course(BAD, before=GOOD),
    "undertrained": improving(),
    "mode_collapse": course((0.9, 0.2, 1.0)),
    "vanishing_gradient": course(BAD, gradients=gradients(1.0, 1e-4), moved=0.001, to_end=[0.001] * 41),
    "exploding_gradient": course(BAD, gradients=gradients(0.9, 1.0, 1e5)),
    "discriminator_wins": course(BAD, gradients=gradients(1.0)),
    "generator_wins": course(BAD, gradients=gradients(0.5), fresh_auc=0.99),
    "undetermined": course(BAD),
    "non_finite": course(GOOD, finite=False),
}


@pytest.mark.parametrize("word", WORDS)
def test_the_oracle_s_word(word):
    assert truth.label(WORDS[word]).label == word


def test_modes_that_take_turns_are_an_oscillation():
    lane = course(BAD)
    for i, look in enumerate(lane["looks"]):
        look["nearest"] = [1.0, 0.0] if i % 4 < 2 else [0.0, 1.0]
    assert truth.label(lane).label == "oscillating"


def test_turns_that_end_with_the_run_are_not_known_to_be_an_oscillation():
    lane = course(BAD)
    for i, look in enumerate(lane["looks"][8:20]):
        look["energy"] = 1.0 if i % 4 < 2 else 9.0
    assert truth.label(lane).label is None


def test_what_was_gained_and_is_lost_again_is_not_known_to_be_progress():
    lane = improving()
    for look in lane["looks"][30:]:
        look["energy"] = 9.0
    assert truth.label(lane).label is None


def test_what_had_been_reached_before_is_no_progress():
    """A fall that only returns to where the course had been is the way down of a swing."""
    lane = improving()
    for look in lane["looks"][3:8]:
        look["energy"] = 1.0  # the run ends between 1.2 and 1.0
    assert truth.label(lane).label != "undertrained"


@pytest.mark.parametrize(("half", "word"), [(0.1, "healthy"), (0.02, "undetermined"), (0.05, None)])
def test_good_images_are_nearer_to_the_truth_than_half_of_the_classes(half, word):
    """Energy 0.05: half of it, two and a half times, and as much as half of the classes."""
    assert truth.label(course(GOOD, half=half)).label == word


def test_half_of_two_classes_is_one_of_them():
    """One of two far classes against both: half of the distance between them, less half of what lies within one."""
    rng = np.random.default_rng(2)
    items, names = np.concatenate([rng.normal(-5, 1, (400, 1)), rng.normal(5, 1, (400, 1))]), np.repeat([0, 1], 400)
    both = known.Truth(lambda x: (x[:, 0] > 0, np.zeros(len(x), int)), 2, rng.permutation(items), 1.0)
    within = 2 / math.sqrt(math.pi)
    expected = 2 * (10 + within) / 2 - within - (10 + within) / 2  # 2 E|x - y| - E|x - x'| - E|y - y'|
    assert known.half_of_the_classes(both, items, names) == pytest.approx(expected, rel=0.05)


def test_samples_that_stood_still_and_move_again_are_unclear():
    assert truth.label(course(BAD, gradients=gradients(1.0, 1e-4), moved=0.3, to_end=[0.001] * 41)).label is None


def test_a_gradient_that_was_zero_early_has_no_growth():
    """A hinge that is satisfied has none: nothing to compare with."""
    lane = course(BAD, gradients=[{**one, "discriminator": float(i > 3)} for i, one in enumerate(gradients(0.8))])
    assert truth.label(lane).label == "undetermined"


def test_between_the_bounds_the_oracle_does_not_know():
    found = truth.label(course((0.5, 1.0, 0.05)))
    assert found.label is None
    assert "healthy? unclear" in found.why
