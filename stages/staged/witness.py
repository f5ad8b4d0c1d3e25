"""The oracle's eyes: the same game played again and as long once more, watched closely, against the known truth.

It reads the game's parts and the data, plays with the game's own code, and never reads records, diagnostics or anything else the rules see.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.game import build, restore
from stages.game.frozen import frozen_lane
from stages.game.game import Game
from stages.game.loop import play_turn
from stages.game.optimizers import optimizer
from stages.game.spec import Part, Player, Rules
from stages.game.spec import variant as read_variant
from stages.game.streams import stream
from stages.measure.classifier import one_thread
from stages.measure.probe import auc
from stages.staged import known
from stages.staged.truth import good
from stages.store import arrays, layout, snapshots
from stages.store.files import read_json

LOOKS = 30  # a run, evenly; as many again in the time after it
SAMPLES = 400  # behind each look
MANY = 10_000  # behind the last look at the run
GRADIENTS = (0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 26, 28, 30)  # looks at which gradients are taken
BATCH = 256  # behind a gradient
STILL = 256  # noises whose samples are followed
PROBE = Player(network="mlp", width=128, depth=3, activation="leaky_relu")
PROBE_STEPS, PROBE_BATCH, PROBE_LR = 2_000, 64, 1e-3
UNSURE = 0.7  # a D whose AUC is below is compared with a fresh one, where samples are not good
SEED = 606


def watch(root: Path, name: str, made: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """What was seen of every lane, as plain values (an entry a lane; `null` where nothing finite was to be seen).

    `made` says what the data are where they were made for the game (`made.py`).
    """
    run = read_json(root / layout.run(name), "train it")
    with one_thread():
        return _watch(run, root, name, known.truth_of(root, made or {}))


def _watch(run: Mapping[str, Any], root: Path, name: str, truth: known.Truth) -> list[dict[str, Any]]:
    config, seeds = run["config"], run["seeds"]
    items = torch.from_numpy(arrays.to_model_scale(np.array(arrays.part("train", root))))
    test = torch.from_numpy(arrays.to_model_scale(np.array(arrays.part("test", root)[:MANY])))
    game = Game(read_variant(config), tuple(run["data"]["shape"]), config["latent"], config["batch"], config["steps"], seeds)
    total, at = config["steps"], sorted({round(config["steps"] * k / LOOKS) for k in range(2 * LOOKS + 1)})
    noise = torch.randn(SAMPLES, config["latent"], generator=stream(SEED, "look"))
    real = known.look(truth, truth.fresh[len(truth.fresh) // 2 :])._asdict()
    lanes: list[dict[str, Any]] = [
        {"seed": seed, "steps": total, "real": real, "half": truth.half, "looks": [], "gradients": []} for seed in seeds
    ]
    course: list[Tensor] = []
    still: list[Tensor] = []
    statistics: dict[str, Tensor] = {}  # of the run's end: what moves later is what G's weights move
    for step in range(2 * total + 1):
        if step in at:
            tensors = game.snapshot()
            players = restore.players(run, tensors)
            if step >= total:
                statistics = statistics or {f"generator/{key}": value.clone() for key, value in game.generator.module.named_buffers()}
                still.append(restore.sample(restore.players(run, tensors | statistics).generator, noise[:STILL]).flatten(2))
            shown, raw = (restore.sample(network, noise).numpy() for network in (players.ema, players.generator))
            course.append(torch.from_numpy(raw[:, :STILL]).flatten(2))
            for index, lane in enumerate(lanes):
                lane["looks"].append(_look(truth, step, shown[index], raw[index]))
            if at.index(step) in GRADIENTS:
                _gradients(run, tensors, lanes, step, items, test)
            if step == total:
                _compare_with_run(tensors, root, name, step)
                _last_look(run, tensors, truth, lanes, items, test)
        if step < 2 * total:
            play_turn(game, lambda indices: items[indices], len(items))
    for index, lane in enumerate(lanes):
        moved = [float((x[index] - still[0][index]).square().mean().sqrt()) / truth.spread for x in still]
        lane["moved"] = max(moved) if np.isfinite(moved).all() else None
        lane["to_end"] = [_finite(float((x[index] - course[LOOKS][index]).square().mean().sqrt()) / truth.spread) for x in course]
    return lanes


def _look(truth: known.Truth, step: int, shown: np.ndarray, raw: np.ndarray) -> dict[str, Any] | None:
    """The averaged generator's samples, and how the raw one's spread over the modes."""
    if not (np.isfinite(shown).all() and np.isfinite(raw).all()):
        return None
    return {"step": step, **known.look(truth, shown)._asdict(), **known.motion(truth, raw)._asdict()}


def _compare_with_run(tensors: Mapping[str, Tensor], root: Path, name: str, step: int) -> None:
    """What is watched is the very game that was judged."""
    saved = snapshots.read(root / layout.snapshot(name, step))
    wrong = [key for key in saved if not torch.equal(saved[key].nan_to_num(), tensors[key].nan_to_num())]
    if wrong:
        raise ValueError(f"the game played again differs from the run's snapshot at step {step}: {wrong[:3]}")


def _gradients(
    run: Mapping[str, Any], tensors: Mapping[str, Tensor], lanes: list[dict[str, Any]], step: int, items: Tensor, test: Tensor
) -> None:
    """float64 gradient norms of both players on one fresh batch, and the AUC of the lane's own D on held-out items."""
    draw = stream(SEED, "gradient")
    real = items[torch.randint(len(items), (BATCH,), generator=draw)].double()[None]
    noise = torch.randn(1, BATCH, run["config"]["latent"], generator=draw).double()
    held = test[torch.randint(len(test), (min(len(test), 2 * BATCH),), generator=draw)].double()[None]
    other = torch.randn(1, 2 * BATCH, run["config"]["latent"], generator=draw).double()
    for index, lane in enumerate(lanes):
        frozen = frozen_lane(run, tensors, index)
        for_g, for_d = frozen.losses(real, noise, frozen.settled(real, noise))
        norms = []
        for loss, player in ((for_g, frozen.generator), (for_d, frozen.discriminator)):
            gradients = torch.autograd.grad(loss, list(player.parameters()), retain_graph=True, allow_unused=True)
            norms.append(float(torch.cat([g.reshape(-1) for g in gradients if g is not None]).norm()))
        with torch.no_grad():
            answers = frozen.discriminator(held), frozen.discriminator(frozen.generator(other))
        own = float(auc(*answers)) if all(bool(answer.isfinite().all()) for answer in answers) else None
        lane["gradients"].append({"step": step, "generator": _finite(norms[0]), "discriminator": _finite(norms[1]), "auc": own})


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _last_look(
    run: Mapping[str, Any], tensors: Mapping[str, Tensor], truth: known.Truth, lanes: list[dict[str, Any]], items: Tensor, test: Tensor
) -> None:
    """At the run's end: many samples, whether losses on a fresh batch are finite in the game's precision, a fresh D where asked."""
    players = restore.players(run, tensors)
    noise = torch.randn(MANY, run["config"]["latent"], generator=stream(SEED, "many"))
    shown = restore.sample(players.ema, noise).numpy()
    with torch.no_grad():
        real = players.discriminator(test[:BATCH].expand(len(lanes), *test[:BATCH].shape))
        fake = players.discriminator(restore.sample(players.generator, noise[: real.shape[1]]))
        loss = build.catalogue_part("loss", read_variant(run["config"]).loss)
        losses = torch.stack([loss.discriminator(real, fake).mean(1), loss.generator(fake, fake).mean(1)])
    for index, lane in enumerate(lanes):
        weights = all(bool(tensor[index].isfinite().all()) for tensor in tensors.values())
        lane["finite"] = bool(weights and losses[:, index].isfinite().all() and np.isfinite(shown[index]).all())
        seen = known.look(truth, shown[index]) if lane["finite"] else None
        lane["end"] = None if seen is None else seen._asdict()
    unsure = [i for i, lane in enumerate(lanes) if lane["finite"] and _is_unsure(lane) and not good(lane, lane["end"])]
    for index, value in zip(unsure, _fresh(run, tensors, unsure, items, test) if unsure else [], strict=True):
        lanes[index]["fresh_auc"] = value


def _is_unsure(lane: Mapping[str, Any]) -> bool:
    own = lane["gradients"][-1]["auc"]
    return own is not None and own < UNSURE


def _fresh(run: Mapping[str, Any], tensors: Mapping[str, Tensor], who: list[int], items: Tensor, test: Tensor) -> list[float]:
    """AUC on held-out items of a larger, fresh D, trained long by BCE against the frozen raw generators of these lanes."""
    seeds = [SEED + run["seeds"][index] for index in who]
    own = {key: tensor[who] for key, tensor in tensors.items()}
    generator = restore.players({**run, "seeds": [run["seeds"][index] for index in who]}, own).generator
    shape, latent = tuple(run["data"]["shape"]), run["config"]["latent"]
    critic = build.Flat(build.discriminator(PROBE, shape, seeds, build.catalogue_part("constraint", Part("none", {}))))
    adam = optimizer(critic.vector, PROBE_LR, Rules(beta1=0.9))
    softplus = torch.nn.functional.softplus
    for step in range(PROBE_STEPS):
        draw = stream(SEED, "fresh", step)
        real = items[torch.randint(len(items), (len(who), PROBE_BATCH), generator=draw)]
        with torch.no_grad():
            fake = generator(torch.randn(len(who), PROBE_BATCH, latent, generator=draw))
        loss = (softplus(-critic.module(real)) + softplus(critic.module(fake))).mean(1).sum()
        with torch.no_grad():
            critic.vector.sub_(adam.direction(critic.gather(torch.autograd.grad(loss, critic.parameters))))
    with torch.no_grad():
        noise = torch.randn(2_000, latent, generator=stream(SEED, "fresh/held"))
        held = test[:2_000].expand(len(who), *test[:2_000].shape)
        return [float(v) for v in auc(critic.module(held).double(), critic.module(restore.sample(generator, noise)).double())]
