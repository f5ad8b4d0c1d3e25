"""The outcome as plain lines of text: no colour, no cursor."""

from collections.abc import Mapping, Sequence
from typing import Any

from stages.measure.restoration import enough

HEADER = ("branch", "D", "G/D", "AUC", "movement", "Fréchet", "precision", "coverage", "back", "better", "good", "")


def table(found: Mapping[str, Any]) -> str:
    """What was forked, the branches from the best to the worst, the rule, and the command to run."""
    rows = [_before(found), *(_row(entry, found) for entry in ordered(found["branches"]))]
    header = tuple(f"{averages(found)} G/D" if word == "G/D" else word for word in HEADER)
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join(["", *_head(found), "", lines[0], "-" * max(map(len, lines)), *lines[1:], "", *_foot(found), ""])


def ordered(branches: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Restored first, then by the distance at the end; `change_nothing`, the first given, first."""
    worst = float("inf")
    rest = sorted(
        branches[1:], key=lambda one: (not one["restored"], worst if one["after"]["distance"] is None else one["after"]["distance"])
    )
    return [branches[0], *rest]


def averages(found: Mapping[str, Any]) -> str:
    """The optimiser whose averages are kept or reset."""
    return str(found["optimizer"]).removeprefix("optimistic_").capitalize()


def _head(found: Mapping[str, Any]) -> list[str]:
    wanted = " and ".join(" or ".join(goal_text(goal) for goal in group) for group in found["goals"])
    return [
        f"{found['variant']}, seed {found['seed']}, verdict {found['verdict']}: forked at step {found['step']} into "
        f"{len(found['branches'])} branches of {len(found['streams'])} noise streams, {found['horizon']} steps each",
        f"back: {wanted}.  good: samples pass as healthy (Fréchet below {found['good']:.3g}; real against real {found['floor']:.3g})",
        f"{found['rule']}",
    ]


def goal_text(goal: Mapping[str, Any]) -> str:
    """`auc_late below 0.99`."""
    side = "at least" if goal["side"] == "above" else "below"
    return f"{goal['measure']} {side} {goal['threshold']:g}"


def _before(found: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"(at step {found['step']})", "", "", *_measures(found["before"]), "", "", "", "")


def _row(entry: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    kept, count = entry["kept"], len(found["streams"])
    moments = "/".join("kept" if kept[f"{player}_averages"] else "reset" for player in ("generator", "discriminator"))
    shares = tuple(f"{entry[key]}/{count}" for key in ("back", "better", "healthy"))
    return (entry["name"], "kept" if kept["discriminator"] else "new", moments, *_measures(entry["after"]), *shares, word(entry, count))


def word(entry: Mapping[str, Any], count: int) -> str:
    """RESTORED, or what is missing: of a restored branch whose samples do not pass as healthy yet, that too."""
    if entry["restored"]:
        return "RESTORED" if enough(entry["healthy"], count) else "restored, not good yet"
    died = sum(row["died_at"] is not None for row in entry["streams"])
    if died:
        return f"{died} not finite"
    if entry["command"] is None:
        return "recovers by itself" if 4 * entry["back"] >= 3 * count else ""
    if 4 * entry["better"] >= 3 * count:
        return "better, not back"
    return "back, not better" if 4 * entry["back"] >= 3 * count else "no"


def _measures(values: Mapping[str, Any]) -> tuple[str, ...]:
    forms = {"auc": ".3f", "sample_movement": ".1e", "distance": ".3g", "precision": ".2f", "coverage": ".2f"}
    return tuple("-" if values[name] is None else format(values[name], form) for name, form in forms.items())


def _foot(found: Mapping[str, Any]) -> list[str]:
    lines = [f"cannot be forked  {one['name']}: {one['why']}; train it anew: {one['command']}" for one in found["unforkable"]]
    if found["left_out"]:
        lines.append(f"left out for time  {', '.join(found['left_out'])} (--try NAME tries one)")
    if found["winner"] is None:
        return [*lines, "no branch was restored within this horizon (--steps takes a longer one)"]
    return [*lines, f"restored best: {found['winner']['name']}", f"  {found['winner']['command']}"]
