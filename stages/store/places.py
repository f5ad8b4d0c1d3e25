"""The folders that outlive one checkout: work in progress and the tracking store lie at the main checkout's root.

`dvc exp run --temp` and `--queue` run in `<main>/.dvc/tmp/exps/<name>`, where nothing that git ignores exists.
"""

from pathlib import Path


def project_root(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds dvc.yaml; the start itself when there is none."""
    here = (start or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").is_file()), here)


def main_checkout(root: Path) -> Path:
    """The checkout that a temporary experiment folder belongs to; `root` itself elsewhere."""
    resolved = root.resolve()
    for folder in resolved.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2]
    return resolved


def scratch(root: Path) -> Path:
    """`.seesaw/scratch`: work in progress, one folder a fingerprint."""
    return main_checkout(root) / ".seesaw" / "scratch"


def remedies(root: Path) -> Path:
    """`.seesaw/remedies`: what `seesaw remedy` tried, one folder for each stored state."""
    return main_checkout(root) / ".seesaw" / "remedies"
