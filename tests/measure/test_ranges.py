"""What tuning may choose: the ranges of a variant, its own values in them, and the table in the docs."""

from dataclasses import asdict

import pytest
from closure import ROOT

from stages.measure import ranges
from stages.store import catalogue
from stages.store.config import parse, read_config


def variant(**parts):
    entry = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}} | parts
    return asdict(parse({"variants": {"v": entry}, "compare": {"baseline": "v"}}).variant("v"))


@pytest.mark.parametrize(
    ("parts", "keys"),
    [
        ({}, []),
        ({"penalty": {"name": "r1", "weight": 1.0}}, ["penalty.weight"]),
        ({"loss": {"name": "wasserstein"}, "constraint": {"name": "clip"}}, ["rules.critic_steps", "constraint.bound"]),
        (
            {"loss": {"name": "wasserstein"}, "rules": {"method": "extra_gradient", "order": "simultaneous", "critic_steps": 1}},
            [],
        ),
    ],
)
def test_every_variant_has_the_same_rates_and_its_parts_own_ranges(parts, keys):
    found = ranges.fitting(variant(**parts))
    assert [one.key for one in found] == ["rules.generator_lr", "rules.discriminator_lr", *keys]
    assert [(one.low, one.high) for one in found[:2]] == [(1e-4, 1e-2)] * 2


def test_the_values_of_a_variant_are_those_of_its_entry():
    setting = variant(loss={"name": "wasserstein"}, constraint={"name": "clip", "bound": 0.02}, rules={"critic_steps": 5})
    values = ranges.present(setting, ranges.fitting(setting))
    assert values == {
        "rules.generator_lr": setting["rules"]["generator_lr"],
        "rules.discriminator_lr": setting["rules"]["discriminator_lr"],
        "rules.critic_steps": 5,
        "constraint.bound": 0.02,
    }


@pytest.mark.parametrize("one", ranges.RANGES, ids=lambda one: f"{one.key}-{'-'.join(one.names)}")
def test_a_range_belongs_to_parts_that_have_its_key(one):
    section, word = one.key.split(".")
    for name in one.names:
        assert name in catalogue.names(one.part)
        assert section == "rules" or word in catalogue.arguments(one.part, name)
    assert one.choices or 0 < one.low < one.high
    assert all(one.holds(value) for value in (one.choices or (one.low, one.high)))
    assert not one.holds(one.high * 2 + 1e3)


def test_every_penalty_with_a_weight_has_one_range():
    for name in catalogue.names("penalty"):
        found = [one for one in ranges.RANGES if one.part == "penalty" and name in one.names]
        assert len(found) == int("weight" in catalogue.arguments("penalty", name))


def test_the_shipped_variants_lie_within_their_ranges():
    for name, one in read_config(ROOT / "params.yaml").variants.items():
        fitting = ranges.fitting(asdict(one))
        values = ranges.present(asdict(one), fitting)
        assert all(each.holds(values[each.key]) for each in fitting), name


def test_a_chosen_number_is_what_params_yaml_will_say():
    assert ranges.rounded(0.00123456) == 0.00123
    assert ranges.rounded(5) == 5
    assert all(ranges.rounded(end) == end for one in ranges.RANGES for end in (one.low, one.high))


def test_the_docs_list_the_ranges():
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8")
    for one in ranges.RANGES:
        bounds = ", ".join(f"{choice:g}" for choice in one.choices) if one.choices else f"{one.low:g} to {one.high:g}"
        whose = "every variant" if one.part is None else f"{one.part} {', '.join(one.names)}"
        assert f"| `{one.key}` | {whose} | {bounds} |" in text
