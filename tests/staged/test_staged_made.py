"""Data made for staged games: what is written is what `prepare` reads and what the oracle takes for the truth."""

import numpy as np
import pytest

from stages.errors import SeesawError
from stages.prepare import prepare
from stages.staged import known, made
from stages.staged.games import staged_games
from stages.store import arrays

MIXTURE = {"kind": "mixture", "centres": [[0, 0], [3, 3], [3, -3], [-3, 3], [-3, -3]], "std": 0.05, "items": 600, "seed": 4}


@pytest.mark.parametrize("name", ["five_still_d", "low_still_d"])
def test_made_data_are_prepared_as_a_users_array_is(name, tmp_path):
    game = staged_games()[name]
    (tmp_path / "data" / "raw").mkdir(parents=True)
    made.write(game.made, tmp_path / "data" / "raw")
    card = prepare(game.config, tmp_path)
    truth = known.truth_of(tmp_path, game.made)
    kept = arrays.to_model_scale(np.array(arrays.part("validation", tmp_path)))
    seen = known.look(truth, kept)
    assert card["modes"] is None  # nobody tells the rules
    assert truth.modes == len(game.made.get("centres") or game.made["classes"])
    assert seen.on > 0.9  # P(|x| <= 3) = 0.989 in the plane; 95% of test images by definition
    assert seen.found == 1.0
    assert (truth.half is not None) == (game.made["kind"] == "digits")


def test_a_mixture_s_items_lie_around_its_centres():
    """The mean squared distance to the nearest of far centres is d std²; 600 items in the plane: a standard error of 4%."""
    items = made.mixture(MIXTURE)["items"]
    near = np.square(items[:, None] - np.array(MIXTURE["centres"], float)).sum(2).min(1)
    assert near.mean() == pytest.approx(2 * 0.05**2, rel=0.2)


def test_digits_are_enlarged_and_turned_to_their_negative():
    plain, other = (made.some_digits({"classes": [3, 8], "zoom": zoom, "negative": negative}) for zoom, negative in ((1, False), (2, True)))
    assert set(plain["labels"].tolist()) == {3, 8}
    assert other["items"].shape == (len(plain["items"]), 16, 16)
    assert np.array_equal(255 - other["items"][:, 1::2, ::2], plain["items"])


@pytest.mark.parametrize("entry", [{"kind": "spiral"}, {"kind": "digits", "classes": [1]}, {**MIXTURE, "radius": 2}])
def test_an_entry_of_no_kind_is_refused(entry):
    with pytest.raises(SeesawError, match="needs a kind and its entries"):
        made.check("x", entry)
