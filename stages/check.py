"""The node `check`: the whole of params.yaml is validated before anything runs, and passing it stales nothing."""

from pathlib import Path

from stages.errors import SeesawError
from stages.game.spec import Variant
from stages.store import layout
from stages.store.config import Config
from stages.store.files import write_text


def check(config: Config, root: Path) -> None:
    """Build every variant's parts once; write the constant file that every node depends on.

    Raises SeesawError naming the variant whose part or combination is refused, before any work.
    """
    for variant in config.variants.values():
        build(variant)
    write_text(root / layout.CHECKED, "params.yaml was read whole and every variant can be built.\n")


def build(variant: Variant) -> None:
    """The variant's objective from the catalogue; SeesawError where a factory or a combination refuses it."""
    from stages.game.build import objective  # torch costs two seconds, and a wrong key needs none of them

    try:
        objective(variant)
    except (ValueError, TypeError) as error:
        raise SeesawError(f"params.yaml: variants.{variant.name}: {error}") from None
