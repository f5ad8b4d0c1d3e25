"""On a device that is not the CPU a watched turn never makes the host wait, and touches no tensor that lives elsewhere."""

import numpy as np
import pytest
import torch
from far_device import FAR, Watch, faults
from games import EVERYTHING, SHAPES, batches, data, game, variant

from stages import observer, worker
from stages.game.game import Game
from stages.game.streams import lane_draws, sent
from stages.observer import Material, Observer

TURNS = 2  # both recorded, the second probed


def watcher_there(of):
    one = Game(of, SHAPES[of.generator.network], 3, 4, 100, [0, 1], device=FAR)
    items = data(one.shape).to(FAR)

    def take(indices):
        return items[sent(indices, items.device)]

    return Observer(one, Material(take, len(items), take, len(items), 1.0), 1, 100)


@pytest.mark.parametrize("choice", EVERYTHING, ids=str)
def test_a_watched_turn_makes_nobody_wait(choice):
    """Every network, loss, penalty, constraint, optimiser and rule: the turn, its records (both tiers), its incidents."""
    watcher = watcher_there(variant(**choice))
    with Watch() as watch:
        tables = [set(watcher.play()[1]) for _ in range(TURNS)]
    assert watch.faults == set()
    assert watch.sent > 0  # noise and indices are drawn on the CPU
    assert tables == [{"steps", "incidents"}, {"steps", "probes", "incidents"}]
    on_host = {"step", "critic_step", "generator_optimizer/count", "discriminator_optimizer/count"}
    assert {tensor.device.type for name, tensor in watcher.game.state().items() if name not in on_host} == {FAR}


def here_and_there():
    return torch.ones(3), torch.ones(3, device=FAR)


FAULTS = {
    "a number": lambda near, far: far.sum().item(),
    "two devices": lambda near, far: torch.mul(near, far),
    "a copy waited for": lambda near, far: near.to(FAR),
    "a copy into": lambda near, far: far.copy_(near),
    "a constant sent": lambda near, far: torch.tensor([1.0, 2.0], device=FAR),
    "a shape": lambda near, far: far.new_ones(3, dtype=torch.bool).nonzero(),
    "a mask": lambda near, far: far[far > 0],
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_watch_sees(name):
    """Each fault, so that its silence about a turn says something. What `meta` cannot do at all raises on its own."""
    near, far = here_and_there()
    seen: set[str] = set()
    try:
        seen = faults(lambda: FAULTS[name](near, far))
    except (RuntimeError, NotImplementedError):
        return
    assert seen


def test_the_watch_is_silent_about_what_a_gpu_does_alone():
    near, far = here_and_there()
    assert faults(lambda: (far * 2 + near.sum()).clone().to(torch.float64)[torch.zeros(2, dtype=torch.int64, device=FAR)]) == set()
    assert faults(lambda: near.to(FAR, non_blocking=True)) == set()


def broken(one, lane):
    """An infinite gradient of D's last layer in one lane, while its losses stay finite."""
    parameter = dict(one.discriminator.module.named_parameters())["out.weight"]
    forward = one.discriminator.module.forward
    own = torch.zeros(parameter.shape[0], 1, dtype=parameter.dtype)
    own[lane] = 1
    one.discriminator.module.forward = lambda x: forward(x) + own * (parameter - parameter.detach()).square().sum().sqrt()


@pytest.mark.parametrize("lane", [None, 1])
def test_incidents_told_apart_later_are_those_told_at_once(lane):
    """Where nobody may ask, every turn has a row; what is kept when rows leave the device is what a CPU records."""
    blocks = []
    for may_ask in (True, False):
        one = game(variant("hinge", order="simultaneous"), [0, 1], batch=8)
        items = data(one.shape)
        watcher, recorder = Observer(one, Material(batches(items), len(items), batches(items), 0, 1.0), 1000, 1000), worker.Recorder()
        watcher.may_ask = may_ask
        for turn in range(4):
            if lane is not None and turn == 1:
                broken(one, lane)
            _, rows = watcher.play()
            assert ("incidents" in rows) or may_ask
            for table, row in rows.items():
                recorder.add(table, one.step, row)
        blocks.append(recorder.take())
    asked, later = blocks
    assert asked.keys() == later.keys()
    assert ("incidents" in asked) == (lane is not None)
    for table, block in asked.items():
        assert block.columns == later[table].columns
        assert observer.WANTED not in block.columns
        np.testing.assert_array_equal(block.steps, later[table].steps)
        np.testing.assert_array_equal(block.values, later[table].values)


def test_data_without_room_on_the_device_stay_mapped(tmp_path, monkeypatch):
    """They are gathered where they are and sent as they are stored, scaled there: the same batches."""
    images = (torch.arange(40 * 4, dtype=torch.uint8)).view(40, 1, 2, 2)
    np.save(tmp_path / "train.npy", images.numpy())
    job = worker.Job({}, [0], 1, 4, 2, 1, 100, [0], str(tmp_path), str(tmp_path), FAR, 0)
    found = []
    for free in (images.nbytes / worker.ROOM, images.nbytes / worker.ROOM - 1):
        monkeypatch.setattr(worker, "_free", lambda device, free=free: free)
        found.append(worker._resident(job, "train"))
    assert [part.device.type for part in found] == [FAR, "cpu"]
    indices = lane_draws([0, 1], "batch", 0, 0, torch.zeros(1)).integers(40, 4)
    for part in found:
        with Watch() as watch:
            batch = worker._batches(part, torch.device(FAR))(indices)
        assert (watch.faults, watch.sent) == (set(), 1)
        assert (batch.device.type, batch.dtype, batch.shape) == (FAR, torch.float32, (2, 4, 1, 2, 2))
    torch.testing.assert_close(worker._batches(found[1], torch.device("cpu"))(indices), images[indices].float() / 127.5 - 1)
