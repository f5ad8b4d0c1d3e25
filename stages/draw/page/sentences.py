"""What files hold as numbers and names, in the reader's language: evidence, doubts, how a lane ended, why a variant is left out."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.draw.page.material import Incident
from stages.draw.page.numbers import figure
from stages.draw.page.words import Words

# the reference that a ratio was taken over, by its name in the diagnosis' story of quality
REFERENCES = {
    "distance_over_good": "good",
    "best_over_good": "good",
    "precision_over_floor": "floor_precision",
    "coverage_over_floor": "floor_coverage",
    "best_precision_over_floor": "floor_precision",
    "best_coverage_over_floor": "floor_coverage",
}
# why a measure may have no value, by where it is read; what is not named here is read from the records
SOURCES = {
    **dict.fromkeys((*REFERENCES, "density_over_floor", "beyond_good_over_spread", "good_in_a_row", "final_over_best"), "quality"),
    **dict.fromkeys(("loss_of_quality_over_spread", "improvement", "improvement_over_spread", "improvement_over_relapse"), "quality"),
    **dict.fromkeys(("late_energy", "energy_fall", "energy_trend", "on_gain", "on_trend", "energy_turns", "energy_relapse"), "glimpses"),
    **dict.fromkeys(("near_stretch", "share_reach", "share_rounds", "drift", "glimpses"), "glimpses"),
    **dict.fromkeys(("overfit_auc", "overfit_over_error"), "overfit"),
    "probe_auc": "probe",
}
LAYERS = 3  # named where a gradient stopped being finite


def evidence(item: Mapping[str, Any], diagnosis: Mapping[str, Any], words: Words) -> str:
    """One piece of evidence as a sentence; the diagnosis' own for a measure that the table does not know."""
    name, value = item["measure"], item["value"]
    if not words.has(f"said.{name}"):
        return str(item["text"])
    if value is None:
        return words("said.infinite") if item["relation"] else words(f"lack.{SOURCES.get(name, 'records')}")
    steps = item["steps"] or ["", ""]
    known = {"value": figure(value), "count": f"{value:g}", "percent": percent(value), "first": steps[0], "last": steps[-1]}
    reference = diagnosis["story"].get("quality", {}).get(REFERENCES.get(name))
    if reference is None:
        return words(f"said.{name}", **known)
    return words(f"said.{name}.of", **known, amount=figure(value * reference), reference=figure(reference))


def doubts(found: Sequence[Mapping[str, Any]], words: Words) -> str:
    """Why a verdict is in doubt, without a full stop; empty where it is not."""
    return words("doubt.gap").join(_doubt(one, words) for one in found)


def _doubt(one: Mapping[str, Any], words: Words) -> str:
    said = dict(one)
    kind = said.pop("kind")
    if "verdict" in said:
        said["verdict"] = words.named("verdict", said["verdict"])
    if kind == "near":
        said = _place(one, words)
    elif kind == "nearly":
        said["conditions"] = words("list.comma").join(words("doubt.against", **_place(place, words)) for place in one["conditions"])
    elif kind == "lanes_doubt":
        said["doubts"] = doubts(one["doubts"], words)
    return words(f"doubt.{kind}", **{key: f"{value:g}" if isinstance(value, int | float) else value for key, value in said.items()})


def _place(one: Mapping[str, Any], words: Words) -> dict[str, str]:
    return {"measure": words.named("measure", one["measure"]), "value": figure(one["value"]), "threshold": figure(one["threshold"])}


def ended(incident: Incident | None, words: Words) -> str:
    """Why a lane did not finish, and where its gradients first were not finite."""
    if incident is None:
        return words("ended.finite")
    named = [words("ended.layer", count=count, layer=layer, player=player) for player, layer, count in incident.layers[:LAYERS]]
    more = len(incident.layers) - len(named)
    return words("ended.gradients", step=incident.step, layers=words.listing(named + ([words("ended.more", count=more)] if more else [])))


def excluded(entry: Mapping[str, Any], baseline: str, words: Words) -> str:
    """Why a variant is not ranked."""
    if entry["differs"] == ["training"]:
        return words("excluded.training")
    return words("excluded.differs", what=words.listing([words(f"differs.{name}") for name in entry["differs"]]), baseline=baseline)


def percent(value: float) -> str:
    """A share in percent, three digits at most."""
    return f"{100 * value:.3g}%".replace("-", "−")
