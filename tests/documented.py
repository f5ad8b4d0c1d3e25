"""The `dvc exp run` lines that the documents tell a reader to paste."""

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from dvc.utils.hydra import apply_overrides

from stages.store.config import Config, read_config

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README.zh.md", "docs/results.md")


@dataclass(frozen=True)
class Command:
    """One line: where it stands, its `-S` overrides, its targets."""

    page: str
    overrides: list[str]
    targets: list[str]

    def config(self, folder: Path, *more: str) -> Config:
        """params.yaml of the folder, written as dvc writes it from this checkout's with these overrides and more, and read."""
        shutil.copy(ROOT / "params.yaml", folder)
        apply_overrides(folder / "params.yaml", [*self.overrides, *more])
        return read_config(folder / "params.yaml")


def commands() -> list[Command]:
    """Every one of them in the fenced blocks of the pages, in order."""
    return [_command(page, line) for page in PAGES for line in _lines((ROOT / page).read_text(encoding="utf-8"))]


def _lines(text: str) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip().startswith("dvc exp run")]


def _command(page: str, line: str) -> Command:
    words = shlex.split(line.split("&&")[0], comments=True)[3:]
    places = [index for index, word in enumerate(words) if word == "-S"]
    taken = {index for place in places for index in (place, place + 1)}
    return Command(page, [words[place + 1] for place in places], [word for index, word in enumerate(words) if index not in taken])
