"""`python -m stages.staged`: play the staged games, let the oracle look, judge, and write what docs/verdicts.md shows.

A game that was played stays played until its entry in the table changes; judging again takes seconds. SEESAW_WORKERS games run at once.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from stages.staged.confusion import judge_games, passage, with_passage
from stages.staged.games import SPLITS, StagedGame, staged_games
from stages.staged.pictures import draw_verdicts
from stages.staged.play import CODE, is_played, play
from stages.store.files import write_json, write_text

FOLDER = Path(".seesaw") / "staged"
DOCS = CODE / "docs"
RESULT = "verdicts-confusion.json"


def main() -> None:
    """Play what is not played, judge everything, write JSON, table and pictures."""
    parser = argparse.ArgumentParser(prog="python -m stages.staged", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=FOLDER, help="scratch folder of the games (kept, and taken up again)")
    parser.add_argument("--split", choices=SPLITS, help="only this split, and nothing is written but the games")
    parser.add_argument("--only", nargs="*", help="only these games, and nothing is written but the games")
    asked = parser.parse_args()
    begun = time.monotonic()
    games = [game for game in staged_games().values() if asked.split in (None, game.split) and (not asked.only or game.name in asked.only)]
    play_all(games, asked.out)
    if asked.split or asked.only:
        return
    found = judge_games(games, asked.out)
    write_json(DOCS / RESULT, found)
    page = DOCS / "verdicts.md"
    write_text(page, with_passage(page.read_text(encoding="utf-8"), found))
    drawn = draw_verdicts(found["lanes"], asked.out, DOCS / "figures")
    print(passage(found), f"\npictures: {', '.join(drawn)}\njudged in {time.monotonic() - begun:.0f} s")


def play_all(games: list[StagedGame], folder: Path) -> None:
    """Every game that is not played yet, SEESAW_WORKERS at once, one line each."""
    waiting = [game for game in games if not is_played(game, folder / game.name)]
    if not waiting:
        return
    workers = int(os.environ.get("SEESAW_WORKERS") or len(os.sched_getaffinity(0)))
    begun = time.monotonic()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(play, game, (folder / game.name).resolve()): game.name for game in waiting}
        for count, done in enumerate(as_completed(running), 1):
            done.result()
            print(f"{running[done]}: played ({count} of {len(waiting)}, {time.monotonic() - begun:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
