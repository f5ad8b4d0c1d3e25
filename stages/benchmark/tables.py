"""Results as tables for people: Markdown, on the terminal and between markers in a document."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import SeesawError

SHARES = ("share", "bound", "of the limit", "spread")


@dataclass(frozen=True)
class Section:
    """One table: a row is a mapping of its columns; None is "not measured"."""

    name: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]


def markdown(section: Section) -> str:
    """A heading, what the numbers are, and the table."""
    lines = [f"### {section.title}", "", section.note, "", _line(section.columns), _line(["---"] * len(section.columns))]
    lines += [_line([_cell(column, row.get(column)) for column in section.columns]) for row in section.rows]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(column: str, value: Any) -> str:
    """Numbers with three digits, shares in per cent."""
    if value is None:
        return "not measured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and column in SHARES:
        return f"{100 * value:.2g}%" if abs(value) < 0.1 else f"{100 * value:.0f}%"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def write_between(path: Path, name: str, text: str) -> None:
    """Put the text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`; SeesawError where the document has no such pair."""
    if not path.is_file():
        raise SeesawError(f"{path} is not there: --write takes a document with bench markers, such as docs/performance.md")
    document = path.read_text(encoding="utf-8")
    pattern = re.compile(f"(<!-- bench:{re.escape(name)} -->\n).*?(<!-- /bench:{re.escape(name)} -->)", re.DOTALL)
    if not pattern.search(document):
        raise SeesawError(f"{path} has no place for the table: a line `<!-- bench:{name} -->` and a line `<!-- /bench:{name} -->`")
    path.write_text(pattern.sub(lambda found: f"{found[1]}{text}{found[2]}", document), encoding="utf-8")
