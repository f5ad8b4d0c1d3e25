"""What a training shows: plain lines, the table on a terminal, the status file, worries."""

import io
import json
import re
from typing import Any

import pytest

from stages.draw import progress
from stages.draw.board import Board, whole
from stages.draw.progress import Progress, line, worry

CALM = {"d_loss": 1.0, "g_loss": 1.0, "auc": 0.7, "g_gradient_norm": 0.1}


def report(step: int, **more: Any) -> dict[str, Any]:
    """A worker's message for two lanes."""
    lanes = {name: [value, value] for name, value in (CALM | more).items()}
    return {"event": "step", "step": step, "lanes": lanes, "alive": [True, True]}


def played(**more: Any) -> Progress:
    """Two groups of two lanes, of which the second has not begun."""
    shown = Progress("hinge", 100, 2, out=io.StringIO(), seeds=[[0, 1], [2, 3]], **more)
    shown.show(0, {"event": "start", "step": 0})
    for step in range(10, 80, 10):
        shown.show(0, report(step, auc=1.0 if step > 10 else 0.5))
    return shown


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEESAW_QUIET", "SEESAW_STATUS", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_status_joins_groups_and_keeps_lanes_apart() -> None:
    status = played().status()
    assert (status["step"], status["steps"]) == (0, 100)  # the slowest group's
    assert [lane["seed"] for lane in status["lanes"]] == [0, 1, 2, 3]
    assert [lane["step"] for lane in status["lanes"]] == [70, 70, 0, 0]
    assert [lane["auc"] for lane in status["lanes"]] == [1.0, 1.0, None, None]
    assert [lane["worry"] for lane in status["lanes"]] == ["D tells all apart", "D tells all apart", "", ""]
    assert status["left"] > 0
    assert json.loads(json.dumps(status)) == status


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, ""),
        ({"auc": 0.99}, "D tells all apart"),
        ({"auc": 0.05}, "D is fooled"),
        ({"d_loss": -2e4}, "losses explode"),
        ({"g_gradient_norm": 1e-9}, "G hardly moves"),
        ({"auc": 1.0, "g_gradient_norm": 0.0}, "D tells all apart, G hardly moves"),
        ({"auc": None}, ""),
    ],
)
def test_a_worry_lasts_and_one_batch_makes_none(values: dict[str, Any], word: str) -> None:
    lasting = [CALM | values] * progress.LOOK_BACK
    assert worry(True, lasting) == word
    assert worry(True, lasting[1:]) == ""
    assert worry(True, [*lasting[: progress.LOOK_BACK // 2 - 1], *[CALM] * (progress.LOOK_BACK // 2 + 1)]) == ""
    assert worry(False, lasting) == "not finite: frozen"


def test_without_a_terminal_there_are_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    shown = played()
    shown.close()
    text = shown.out.getvalue()
    assert "\x1b" not in text
    assert "\r" not in text
    assert "AUC 1.00  [2 of 4 lanes: D tells all apart]\n" in text
    assert text.splitlines()[-1].startswith("hinge: 0/100 steps in ")


def test_quiet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    for shown in (played(quiet=True), monkeypatch.setenv("SEESAW_QUIET", "1") or played()):
        shown.close()
        assert shown.out.getvalue() == ""


def test_the_status_file_is_whole_at_every_moment(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEESAW_STATUS", str(tmp_path))
    shown = played()
    assert json.loads((tmp_path / "hinge.json").read_text())["name"] == "hinge"
    shown.close()
    assert json.loads((tmp_path / "hinge.json").read_text())["lanes"][0]["step"] == 70
    assert [path.name for path in tmp_path.iterdir()] == ["hinge.json"]


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal(**environment: str) -> str:
    """What a terminal of 40 lines gets while a training shows itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LINES": "40", "COLUMNS": "120", **environment}.items():
            patch.setenv(name, value)
        patch.setattr(progress, "TABLE_SECONDS", 0.0)
        shown = Progress("hinge", 100, 1, out=Terminal(), seeds=[[0, 1]])
        for step in range(10, 80, 10):
            shown.show(0, report(step, auc=1.0))
        shown.close()
        return shown.out.getvalue()


def test_a_terminal_gets_one_table_with_a_row_a_lane() -> None:
    text = on_terminal()
    assert text.count("\x1b[?25l") == 1  # one table, redrawn: the cursor is hidden once
    assert text.count("\x1b[?25h") == 1
    assert "70/100" in text
    assert "\x1b[33mD tells all apart" in text
    assert "hinge: 70/100 steps in" in text.splitlines()[-1]


def test_no_color_and_ci_are_honoured() -> None:
    assert "\x1b[33m" not in on_terminal(NO_COLOR="1")
    assert "70/100" in on_terminal(NO_COLOR="1")
    assert "\x1b" not in on_terminal(CI="true")
    assert "\x1b" not in on_terminal(TERM="dumb")


def test_a_low_terminal_gets_variants_and_their_worries_alone() -> None:
    from rich.console import Console

    status = played().status()
    texts = []
    for height in (40, 6):
        console = Console(file=io.StringIO(), width=140)
        console.print(whole([status, status], {"compare": ["one", "[two]"]}, "3 of 9 stages done", height))
        texts.append(console.file.getvalue())  # type: ignore[attr-defined]
    assert [text.count("D tells all apart") for text in texts] == [4, 2]
    assert "2 of 4 lanes: D tells all apart" in texts[1]
    assert all("compare | [two]" in text and "3 of 9 stages done" in text for text in texts)
    assert len(texts[1].splitlines()) <= 6


def test_a_name_is_never_markup() -> None:
    board = whole([{**played().status(), "name": "[red]x"}], {}, "", 40)
    from rich.console import Console

    console = Console(file=io.StringIO(), width=140)
    console.print(board)
    assert "[red]x" in console.file.getvalue()  # type: ignore[attr-defined]


def test_times_are_said_in_two_units() -> None:
    assert [progress.clock(seconds) for seconds in (None, 4.2, 185, 7800)] == ["?", "4 s", "3 min 05 s", "2 h 10 min"]
    assert line({"name": "r3", "step": 1, "steps": 9, "rate": 0.0, "left": None, "lanes": []}) == "r3: step 1/9  starting"


def test_a_board_gives_the_terminal_back() -> None:
    """On a terminal the cursor is hidden while the table lasts, then shown; no other screen, no colour stays; the table is wiped away."""
    out = Terminal()
    board = Board(out)
    board.show([played().status()])
    assert out.getvalue().startswith("\x1b[?25l")
    drawn = out.getvalue()
    assert "hinge" in drawn
    board.close()
    closing = out.getvalue().removeprefix(drawn)
    assert "\x1b[?25h" in closing
    assert "\x1b[?25l" not in closing
    assert closing.count("\x1b[2K") >= drawn.count("\n")  # each line of the table is wiped
    assert out.getvalue().count("\x1b[?1049h") == out.getvalue().count("\x1b[?1049l")
    last_style = re.findall(r"\x1b\[[0-9;]*m", out.getvalue())[-1:]
    assert last_style in ([], ["\x1b[0m"])
    board.close()
    assert out.getvalue() == drawn + closing  # a second time says nothing more
