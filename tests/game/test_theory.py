"""The portraits of docs/theory.md show what the equations say."""

import dataclasses

import dirac_fields
import numpy as np
import pytest

from stages import theory
from stages.draw.portraits import Panel, portrait

TEXT = (theory.FOLDER.parent / "theory.md").read_text(encoding="utf-8")
CASES = {case.title: case for cases in theory.FIGURES.values() for case in cases}
KNOWN = {
    "minimax": "minimax",
    "non-saturating": "non_saturating",
    "Wasserstein": "wasserstein",
    "non-saturating + R1, weight 1": "r1",
    "Wasserstein + gradient penalty": "gradient_penalty",
    "consensus, weight 1": "consensus",
}


@pytest.mark.parametrize("title", KNOWN)
def test_the_drawn_field_is_that_of_the_equations(title):
    theta, psi = np.array([0.7, -1.3, 0.2, 2.0]), np.array([-0.4, 1.1, 0.9, -2.0])
    kind = dirac_fields.KINDS[KNOWN[title]]
    expected = [-dirac_fields.gradient(kind, *point) for point in zip(theta, psi, strict=True)]
    np.testing.assert_allclose(theory.field(CASES[title], theta, psi), expected, rtol=1e-9)


@pytest.mark.parametrize("title", KNOWN)
def test_the_drawn_path_is_that_of_the_equations(title):
    expected = dirac_fields.trajectory(KNOWN[title], theory.H, 20)
    np.testing.assert_allclose(theory.path(CASES[title], 20), expected, rtol=1e-9)


def test_every_figure_stands_in_the_page_and_is_small():
    for name in theory.FIGURES:
        assert f"(figures/{name}.png)" in TEXT
        assert (theory.FOLDER / f"{name}.png").stat().st_size < 150_000
    assert TEXT.count("(figures/") == len(theory.FIGURES)


def test_a_portrait_is_the_same_bytes_twice(tmp_path):
    theta, psi = np.meshgrid(theory.AXIS, theory.AXIS)
    panel = Panel("turning", theory.AXIS, np.stack([psi, -theta], -1), np.array([[1.0, 1.0], [0.5, -0.5]]))
    for name in ("a", "b"):
        portrait([panel, dataclasses.replace(panel, title="again")], tmp_path / "new" / f"{name}.png")
    assert (tmp_path / "new" / "a.png").read_bytes() == (tmp_path / "new" / "b.png").read_bytes()
