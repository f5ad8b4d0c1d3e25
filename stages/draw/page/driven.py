"""Who drives whom, in a sentence for each loss: the signs and sizes of what both players' updates did to it, to first order."""

from collections.abc import Sequence
from statistics import median

from stages.draw.page.material import VariantMaterial
from stages.draw.page.numbers import figure, share
from stages.draw.page.words import Words

LATE = 0.25  # of the probes, at the end, that the sentences speak of
CLEAR = 1.5  # how many times the other's effect one player's must be to drive


def driven(variant: VariantMaterial, words: Words) -> list[str]:
    """One sentence for L_G and one for L_D; none where nothing was measured or no lane is finite."""
    found = [(loss, _late(variant, f"{loss}_own_predicted"), _late(variant, f"{loss}_cross_predicted")) for loss in ("g", "d")]
    return [_sentence(loss, own, cross, words) for loss, own, cross in found if own and cross]


def _late(variant: VariantMaterial, measure: str) -> list[float]:
    """The last quarter of a measure's medians over the lanes, at least two where there are two."""
    band = variant.bands.get(measure)
    values: Sequence[float] = [] if band is None else [value for value in band.median if value is not None]
    return list(values[-max(2, round(LATE * len(values))) :])


def _sentence(loss: str, owns: Sequence[float], crosses: Sequence[float], words: Words) -> str:
    own, cross = median(owns), median(crosses)
    total = abs(own) + abs(cross)
    names = {"g": ("G", "D"), "d": ("D", "G")}[loss]
    verdict = "driver.none" if total == 0 else _driver(abs(own), abs(cross))
    return words(
        "driven",
        count=len(owns),
        loss=f"L_{names[0]}",
        other=names[1],
        player=names[0],
        cross=words(f"driven.{_way(cross)}", amount=figure(abs(cross))),
        own=words(f"driven.{_way(own)}", amount=figure(abs(own))),
        verdict=words(verdict, loss=f"L_{names[0]}", other=names[1], player=names[0], share=share(abs(cross) / total if total else None)),
    )


def _way(change: float) -> str:
    return "keeps" if change == 0 else "raises" if change > 0 else "lowers"


def _driver(own: float, cross: float) -> str:
    if cross > CLEAR * own:
        return "driver.other"
    return "driver.own" if own > CLEAR * cross else "driver.both"
