"""champion.json and the folder `champion/`: who the champion is, committed to git, and all that is needed to draw from it again.

The weights lie in git beside the fact that names them, not in results/ and not behind a DVC pointer: they outlive `rm -rf results`,
`dvc gc` and a fresh clone without any remote. One file a lane, some 50 kilobytes for small images; only the champion's and the previous
one's are kept.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.errors import SeesawError
from stages.store.files import read_json, write_json
from stages.store.places import main_checkout

if TYPE_CHECKING:
    from stages.store.deployable import Deployable  # it imports torch, and who only asks for names needs none

FILE = Path("champion.json")
FOLDER = Path("champion")
CHALLENGER = Path(".seesaw") / "challenger"  # of the last gate that kept the champion; outside git
ENTRY = "entry.json"
REMEDY = "git checkout champion.json champion"
KEYS = {"variant", "fingerprint", "lane", "lanes", "model", "weights"}


class Kept(NamedTuple):
    """An entry and the folder of its files."""

    entry: Mapping[str, Any]
    folder: Path

    def load(self) -> "Deployable":
        """Its generators; SeesawError where a file is missing or another than the entry says."""
        from stages.store import deployable

        return deployable.read(self.folder, self.entry["lanes"], REMEDY)


def read(root: Path) -> dict[str, Any] | None:
    """champion.json, or None where there is none; SeesawError when it is damaged."""
    path = root / FILE
    if not path.exists():
        return None
    document = read_json(path, REMEDY)
    entries = [document, document.get("previous")] if isinstance(document, dict) else [{}]
    for entry in entries:
        if entry is not None and not entry.keys() >= KEYS:
            raise SeesawError(f"{path} lacks {', '.join(sorted(KEYS - entry.keys()))}: {REMEDY}")
    return dict(document)


def kept(root: Path) -> dict[str, Kept]:
    """Who holds which title: `champion`, `previous`, `challenger`, those that exist."""
    document, found = read(root), {}
    if document is not None:
        found["champion"] = Kept(document, root / document["weights"])
        if document["previous"] is not None:
            found["previous"] = Kept(document["previous"], root / document["previous"]["weights"])
    challenger = main_checkout(root) / CHALLENGER
    if (challenger / ENTRY).exists():
        entry = read_json(challenger / ENTRY, "run `seesaw promote`")
        found["challenger"] = Kept(entry, challenger / Path(entry["weights"]).name)
    return found


def store(base: Path, made: "Deployable", seed: int) -> tuple[str, Path, dict[str, dict[str, Any]]]:
    """Write a deployable below `base` in a folder named by the model's digest; the digest, the folder and the entry's `lanes`."""
    from stages.store import deployable

    draft = base / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    deployable.write(draft, made)
    lanes = {
        str(one): {
            "step": lane.step,
            "validation": lane.validation,
            "digest": None if lane.weights is None else deployable.digest(draft, one),
        }
        for one, lane in made.lanes.items()
    }
    model = str(lanes[str(seed)]["digest"])
    folder = base / model[:16]
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)
    return model, folder, lanes


def crown(root: Path, entry: Mapping[str, Any], made: "Deployable") -> dict[str, Any]:
    """Make a deployable the champion and the former champion the previous one; what champion.json now says."""
    former = read(root)
    model, folder, lanes = store(root / FOLDER, made, entry["lane"])
    previous = None if former is None else {key: value for key, value in former.items() if key not in ("previous", "rejected")}
    mine = {**entry, "model": model, "weights": folder.relative_to(root).as_posix(), "lanes": lanes}
    document = {**mine, "previous": previous, "rejected": [] if former is None else former["rejected"]}
    write_json(root / FILE, document)
    forget_challenger(root)
    tidy(root, document)
    return document


def roll_back(root: Path) -> dict[str, Any]:
    """The previous entry is the champion again, and the fallen one is not promoted a second time. SeesawError without a previous entry."""
    document = read(root)
    if document is None or document["previous"] is None:
        raise SeesawError(f"{FILE} has no previous champion to go back to: an older one is in git (git log {FILE})")
    previous = document["previous"]
    Kept(previous, root / previous["weights"]).load()
    rejected = sorted({*document["rejected"], document["fingerprint"]})
    restored = {**previous, "previous": None, "rejected": rejected}
    write_json(root / FILE, restored)
    tidy(root, restored)
    return restored


def tidy(root: Path, document: Mapping[str, Any]) -> None:
    """Remove folders of `champion/` that champion.json no longer names; older ones are in git."""
    named = {Path(entry["weights"]).name for entry in (document, document["previous"]) if entry is not None}
    for folder in sorted((root / FOLDER).iterdir()):
        if folder.is_dir() and folder.name not in named:
            shutil.rmtree(folder)


def keep_challenger(root: Path, entry: Mapping[str, Any], made: "Deployable") -> None:
    """Remember who did not pass, for the registry's alias."""
    forget_challenger(root)
    base = main_checkout(root) / CHALLENGER
    model, folder, lanes = store(base, made, entry["lane"])
    write_json(base / ENTRY, {**entry, "model": model, "weights": f"{FOLDER}/{folder.name}", "lanes": lanes})


def forget_challenger(root: Path) -> None:
    """There is no challenger any more."""
    shutil.rmtree(main_checkout(root) / CHALLENGER, ignore_errors=True)
