"""`seesaw compare --aa K`: trains pairs of equal arms and asks the comparison about them. Outside the pipeline; touches no result."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.errors import SeesawError
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.restore import sample
from stages.game.spec import Part, Player, Rules, Variant
from stages.game.streams import stream
from stages.measure.calibration import calibration
from stages.measure.frechet import Moments, frechet, moments
from stages.store import processes
from stages.store.config import Config, Data
from stages.store.datasets import ring
from stages.store.files import write_json
from stages.store.parent import die_with_parent

FEWEST = 100  # groups below which a rate of 5% cannot be told from 10%
LANES = 64  # trained side by side in one process
ITEMS, HELD, SAMPLES, DRAWS = 16384, 1024, 1024, 4  # train items; each half of the test part; samples of a draw; draws
SALTS = ("", "/twin")  # the second arm's noise streams have another name: all else is shared


@dataclass(frozen=True)
class Setting:
    """The game that both arms play: eight Gaussians, small players, a variant that trains well."""

    steps: int = 400
    batch: int = 64
    latent: int = 4
    width: int = 16
    depth: int = 2
    lr: float = 2e-3
    weight: float = 0.1


@dataclass(frozen=True)
class Block:
    """Lanes that one process trains: both arms of these seeds."""

    setting: Setting
    seeds: tuple[int, ...]
    parent: int


def calibrate(config: Config, groups: int, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Trains `groups` disjoint groups of `train.seeds` pairs of lanes; writes .seesaw/calibration.json and returns it."""
    if groups < FEWEST:
        raise SeesawError(f"--aa is {groups}: at least {FEWEST} groups are needed to tell 5% from 10%")
    n, setting = config.train.seeds, Setting()
    one, two = train_arms(setting, groups * n, say)
    found = calibration(one.reshape(groups, n), two.reshape(groups, n), config.compare.alpha) | {"setting": asdict(setting)}
    write_json(root / ".seesaw" / "calibration.json", found)
    return found


def train_arms(setting: Setting, lanes: int, say: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
    """Final scores of both arms, `[lanes]` each, for seeds 0, 1, 2 …; they do not depend on the number of processes."""
    blocks = [Block(setting, tuple(range(start, min(start + LANES, lanes))), os.getpid()) for start in range(0, lanes, LANES)]
    done: dict[Block, np.ndarray] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes.workers(), len(blocks)), mp_context=context) as pool:
        waiting = {pool.submit(play_block, block): block for block in blocks}
        for future in as_completed(waiting):
            done[waiting[future]] = future.result()
            say(f"{sum(len(block.seeds) for block in done)} of {lanes} pairs of lanes trained")
    one, two = np.concatenate([done[block] for block in blocks], axis=1)
    return one, two


def play_block(block: Block) -> np.ndarray:
    """Scores `[2, lanes]` of both arms on the same seeds."""
    die_with_parent(block.parent)
    torch.set_num_threads(1)
    train, halves = _data()
    return np.array([_arm(block, salt, train, halves) for salt in SALTS])


def _arm(block: Block, salt: str, train: torch.Tensor, halves: Sequence[Moments]) -> list[float]:
    setting = block.setting
    game = Game(variant(setting), (2,), setting.latent, setting.batch, setting.steps, block.seeds, salt=salt)
    while game.step < setting.steps:
        play_turn(game, lambda indices: train[indices], len(train))
    game.generator.vector.copy_(game.ema)
    noises = [torch.randn(SAMPLES, setting.latent, generator=stream(draw, "calibration")) for draw in range(DRAWS)]
    drawn = [sample(game.generator.module.eval(), noise) for noise in noises]
    return [float(np.mean([frechet(half, moments(one[lane])) for one in drawn for half in halves])) for lane in range(len(block.seeds))]


def variant(setting: Setting) -> Variant:
    """Non-saturating with R1."""
    player = Player("mlp", setting.width, setting.depth, "leaky_relu", "none")
    rules = Rules(generator_lr=setting.lr, discriminator_lr=setting.lr, beta1=0.0, beta2=0.99)
    return Variant(
        "arm",
        Part("non_saturating", {}),
        Part("r1", {"weight": setting.weight}),
        Part("none", {}),
        rules,
        generator=player,
        discriminator=player,
    )


def _data() -> tuple[torch.Tensor, list[Moments]]:
    """Train items, and the moments of two test halves."""
    drawn = ring.items(Data(source="ring", items=ITEMS + 2 * HELD), Path()).batches()
    items = torch.from_numpy(np.concatenate([batch.items for batch in drawn])).float()
    return items[:ITEMS], [moments(half) for half in items[ITEMS:].split(HELD)]


def table(found: dict[str, Any]) -> str:
    """The figures as Markdown, for a terminal and for docs/statistics.md."""
    rows = [
        ("false claims (better or worse) between equal arms", found["false_claims"], f"at most {found['alpha']:g}"),
        ('of these, a false "better"', found["false_better"], f"at most {found['alpha']:g}"),
        ("the same by Welch's unpaired test", found["false_unpaired"], f"at most {found['alpha']:g}"),
        ("intervals of the ratio that hold the true ratio 1", found["coverage"], f"{1 - found['alpha']:g}"),
        *(
            (f"power: called better at a ratio of {each['ratio']:.3f} ({each['effect']:g} s)", each["better"], "the higher the better")
            for each in found["power"]
        ),
        ("single seeds that look 10% better or worse", found["lucky_seeds"], "(why one seed proves nothing)"),
    ]
    lines = [f"| {words} | {value:.3f} | {low:.3f} to {high:.3f} | {want} |" for words, (value, low, high), want in rows]
    head = f"{found['groups']} groups of 2 × {found['seeds']} lanes; s = {found['spread']:.3f}, correlation {found['correlation']:.2f}"
    return "\n".join([head, "", "| rate | found | 95% interval | should be |", "|---|---|---|---|", *lines])
