"""docs/conventions.md is what the docstrings say today, and every docstring says what a reader needs."""

import pytest

from stages import conventions
from stages.store import catalogue

PARTS = [(kind, name) for kind in ("loss", "penalty") for name in catalogue.names(kind)]


def test_page_is_current():
    assert conventions.PAGE.read_text(encoding="utf-8") == conventions.page(), "run: python -m stages.conventions"


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_every_part_states_formula_shapes_and_source(kind, name):
    entry = conventions.page().split(f"\n### {name}\n")[1].split("\n### ")[0]
    for needed in ("```text\n", "Shapes: ", "Source: "):
        assert needed in entry, f"{kind} {name} has no {needed!r}"
    assert name == "none" or "\nElsewhere" in entry


def test_indented_blocks_are_fenced_and_prose_is_left_alone():
    text = "One::\n\n    a = b\n\n    c\n\nTwo:\n\n- item\n  more"
    assert conventions._markdown(text) == "One:\n\n```text\na = b\n\nc\n```\n\nTwo:\n\n- item\n  more"
