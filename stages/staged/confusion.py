"""Rules against oracle: every lane judged by both, counted, and put into words."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.measure import verdict_rules
from stages.measure.facts import facts
from stages.measure.intervals import wilson
from stages.measure.verdicts import judge
from stages.staged import truth
from stages.staged.games import SPLITS, StagedGame
from stages.staged.play import oracle_side, rules_side
from stages.store.files import sha256_json

CONFIDENCE = 0.95
UNCLEAR = "unclear"
FAILURES = tuple(word for word in verdict_rules.SEVERITY if word not in ("healthy", "undertrained", "undetermined"))
BEGIN, END = "<!-- staged games: written by `python -m stages.staged` -->", "<!-- end of the staged games -->"


def rules_digest() -> str:
    """sha256 of the rules as data: thresholds, order, measures."""
    rules = [
        [rule.verdict, [[dataclasses.asdict(one) for one in way] for way in rule.ways], rule.needs_length]
        for rule in (*verdict_rules.RULES, *verdict_rules.FLAGS)
    ]
    good = [verdict_rules.GOOD_FLOORS, verdict_rules.GOOD_SHARE, verdict_rules.GOOD_BASELINES]
    return sha256_json({"rules": rules, "enough": [dataclasses.asdict(one) for one in verdict_rules.ENOUGH], "good": good})


def oracle_digest() -> str:
    """sha256 of the oracle's bounds and the order of its questions."""
    bounds = {name: dataclasses.asdict(value) for name, value in vars(truth).items() if isinstance(value, truth.Bounds)}
    plain = [truth.STEADY, truth.SWING, truth.CALM, truth.ON_AND_ON]
    return sha256_json({"bounds": bounds, "plain": plain, "order": list(truth.QUESTIONS)})


def judge_games(games: Iterable[StagedGame], folder: Path) -> dict[str, Any]:
    """Both words on every lane of the played games, and the sums of each split: the content of docs/verdicts-confusion.json."""
    chosen = list(games)
    lanes = [row for game in chosen for row in _rows(game, folder / game.name)]
    return {
        "rules": rules_digest(),
        "oracle": oracle_digest(),
        "games": {game.name: game.digest for game in chosen},
        "lanes": lanes,
        "splits": {split: summary([row for row in lanes if row["split"] == split]) for split in SPLITS},
    }


def _rows(game: StagedGame, folder: Path) -> list[dict[str, Any]]:
    seen, standards = rules_side(folder)
    rows = []
    for lane, watched in zip(seen, oracle_side(folder), strict=True):
        found, word = judge(facts(lane, standards)), truth.label(watched)
        row = {"game": game.name, "source": game.source, "split": game.split, "seed": lane.seed}
        rows.append({**row, "oracle": word.label, "why": word.why, "rules": found.verdict, "doubt": found.doubt})
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Counts and accuracy over the lanes that the oracle could name; None without any."""
    known = [row for row in rows if row["oracle"] is not None]
    if not known:
        return None
    right = sum(row["oracle"] == row["rules"] for row in known)
    sure = [row for row in known if row["doubt"] is None]
    matrix = Counter((row["oracle"] or UNCLEAR, row["rules"]) for row in rows)
    healthy = [row for row in known if row["oracle"] == "healthy"]
    return {
        "lanes": len(rows),
        "games": len({row["game"] for row in rows}),
        "judged": len(known),
        "unclear": len(rows) - len(known),
        "right": right,
        "accuracy": list(wilson(right, len(known), CONFIDENCE)),
        "without_doubt": [sum(row["oracle"] == row["rules"] for row in sure), len(sure)],
        "healthy": len(healthy),
        "healthy_called_failures": sum(row["rules"] in FAILURES for row in healthy),
        "called_healthy_and_are_not": sum(row["rules"] == "healthy" and row["oracle"] != "healthy" for row in known),
        "matrix": [{"oracle": one, "rules": other, "lanes": count} for (one, other), count in sorted(matrix.items())],
    }


def table(found: Mapping[str, Any]) -> str:
    """The confusion matrix of a split as a Markdown table: a row for the oracle's word, a column for the rules'."""
    counts = {(cell["oracle"], cell["rules"]): cell["lanes"] for cell in found["matrix"]}
    order = [*reversed(verdict_rules.SEVERITY), UNCLEAR]
    rows = [word for word in order if any(one == word for one, _ in counts)]
    columns = [word for word in order if any(other == word for _, other in counts)]
    lines = ["| oracle ↓ rules → | " + " | ".join(_words(word) for word in columns) + " | lanes |", "|---" * (len(columns) + 2) + "|"]
    for row in rows:
        cells = [counts.get((row, column), 0) for column in columns]
        shown = [f"**{n}**" if row == column else str(n) if n else "" for n, column in zip(cells, columns, strict=True)]
        lines.append(f"| {_words(row)} | " + " | ".join(shown) + f" | {sum(cells)} |")
    return "\n".join(lines)


def _words(word: str) -> str:
    return word.replace("_", " ")


def passage(content: Mapping[str, Any]) -> str:
    """What stands between the marks in docs/verdicts.md."""
    return "\n\n".join(
        f"{_sentence(split, content['splits'][split])}\n\n{table(content['splits'][split])}"
        for split in reversed(SPLITS)
        if content["splits"][split]
    )


def _sentence(split: str, found: Mapping[str, Any]) -> str:
    value, low, high = found["accuracy"]
    name = {
        "report": "Fresh games, judged blind",
        "tune": "Games that thresholds were set on",
    }[split]
    right, sure = found["without_doubt"]
    return (
        f"**{name}**: {found['lanes']} lanes of {found['games']} games; the oracle names {found['judged']}, "
        f"{found['unclear']} are unclear to it. The rules agree on {found['right']} of {found['judged']}: accuracy {value:.1%}, "
        f"95% interval {low:.1%} to {high:.1%} (Wilson, as if lanes were independent); where they do not doubt, on {right} of {sure}. "
        f"Healthy lanes: {found['healthy']}, called a failure: {found['healthy_called_failures']}. "
        f"Not healthy and called healthy: {found['called_healthy_and_are_not']}."
    )


def with_passage(page: str, content: Mapping[str, Any]) -> str:
    """The page with the passage between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{passage(content)}\n{END}{rest.split(END)[1]}"
