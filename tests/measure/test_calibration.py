"""The calibration on arms whose law is known."""

import numpy as np
import pytest
from scipy import stats

from stages.measure.calibration import EFFECTS, calibration


def arms(groups, seeds, between, within, seed=0):
    """Log-normal scores: a part that a seed's two lanes share, and a part of each lane's own."""
    rng = np.random.default_rng(seed)
    shared = between * rng.standard_normal((groups, seeds))
    return tuple(np.exp(shared + within * rng.standard_normal((groups, seeds))) for _ in range(2))


def test_normal_arms_meet_the_promised_rates():
    found = calibration(*arms(400, 8, 0.5, 0.2), 0.05)
    chance = 4 * np.sqrt(0.05 * 0.95 / 400)
    assert found["false_claims"][0] <= 0.05 + chance
    assert found["coverage"][0] == pytest.approx(0.95, abs=chance)
    assert found["spread"] == pytest.approx(0.2 * np.sqrt(2), rel=0.05)
    assert found["correlation"] == pytest.approx(0.5**2 / (0.5**2 + 0.2**2), abs=0.03)


def test_power_is_that_of_a_paired_t_test_or_little_less():
    found = calibration(*arms(300, 8, 0.5, 0.2), 0.05)
    for effect, entry in zip(EFFECTS, found["power"], strict=True):
        shift, critical = effect * np.sqrt(8), stats.t.ppf(0.975, 7)
        ideal = stats.nct.sf(critical, 7, shift)
        assert entry["better"][2] > ideal - 0.06  # flips of 8 signs give coarse levels: 4/256 and 12/256 stand for 5%
        assert entry["better"][1] < ideal + 0.03
    assert [entry["better"][0] for entry in found["power"]] == sorted(entry["better"][0] for entry in found["power"])


def test_a_broken_test_would_be_seen():
    """Scores of one group repeated as if they were fresh: the differences within a group agree, and false claims abound."""
    one, two = arms(300, 1, 0.5, 0.2)
    found = calibration(np.repeat(one, 8, axis=1), np.repeat(two, 8, axis=1), 0.05)
    assert found["false_claims"][1] > 0.9
    assert found["coverage"][2] < 0.1


def test_four_seeds_claim_nothing():
    found = calibration(*arms(50, 4, 0.5, 0.2), 0.05)
    assert found["false_claims"][0] == 0.0
    assert all(entry["better"][0] == 0.0 for entry in found["power"])


@pytest.mark.parametrize("broken", [np.nan, 0.0, -1.0])
def test_scores_without_a_logarithm_are_refused(broken):
    one, two = arms(2, 4, 0.5, 0.2)
    one[0, 0] = broken
    with pytest.raises(ValueError, match="finite positive"):
        calibration(one, two, 0.05)
