"""docs/conventions.md is what the docstrings say today, and every docstring says what a reader needs."""

import dataclasses
import typing

import pytest

from stages import conventions
from stages.game.spec import Rules
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


def test_every_rule_is_explained():
    text = conventions.page().split("\n## Rules\n")[1]
    for field in dataclasses.fields(Rules):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{field.name}` |"))
        _, _, default, meaning, _ = (part.strip() for part in row.split("|"))
        assert default == str(field.default)
        assert meaning or field.name in ("beta1", "beta2", "epsilon", "generator_lr", "discriminator_lr", "generator_steps")


@pytest.mark.parametrize("kind", ["method", "optimizer", "balance", "augment", "schedule"])
def test_every_word_of_a_rule_has_its_formula(kind):
    """Each value but the absent one stands in a heading, or in the entry of its rule."""
    entries = [entry for entry in conventions.page().split("\n### ") if entry.startswith((f"{kind}:", kind))]
    for word in typing.get_args(typing.get_type_hints(Rules)[kind]):
        assert word in ("none", "gradient", "constant") or any(word in entry for entry in entries), word


def test_indented_blocks_are_fenced_and_prose_is_left_alone():
    text = "One::\n\n    a = b\n\n    c\n\nTwo:\n\n- item\n  more"
    assert conventions._markdown(text) == "One:\n\n```text\na = b\n\nc\n```\n\nTwo:\n\n- item\n  more"
