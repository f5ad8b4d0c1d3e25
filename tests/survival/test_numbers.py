"""Numbers at the edge, through prepare, train, diagnose and evaluate: a defined answer or one clear line, and never a NaN in a file."""

import json
import math
import warnings
from pathlib import Path

import inside
import numpy as np
import pytest
import torch

from stages import compare, diagnose, evaluate, prepare, report, train, worker
from stages.errors import SeesawError
from stages.game.game import Game
from stages.store import layout, records

RNG = np.random.default_rng(0)


def part(loss: str = "hinge", penalty: dict | None = None, **rest: object) -> dict:
    return {"loss": {"name": loss}, "penalty": penalty or {"name": "none"}, "constraint": {"name": "none"}, **rest}


def write_params(root: Path, variants: dict) -> None:
    (root / "params.yaml").write_text(json.dumps({"compare": {"baseline": next(iter(variants))}, "variants": variants}))


def whole_run(root: Path, monkeypatch: pytest.MonkeyPatch, source: dict, variants: dict | None = None, **shared: object) -> Path:
    """Every node but the pictures of MLflow, in this process; the folder of the project."""
    inside.in_one_process(monkeypatch)
    made = inside.project(root / "p")
    chosen = variants or {"v": part()}
    write_params(made, chosen)
    config = inside.config(source, chosen, **shared)
    prepare.prepare(config, made)
    for name in chosen:
        train.train(config, name, made, quiet=True)
        diagnose.diagnose(config, name, made)
        evaluate.evaluate(config, name, made)
    compare.compare(config, made)
    report.report(config, made)
    assert_sound(made)
    return made


def trained(root: Path, monkeypatch: pytest.MonkeyPatch, source: dict) -> Path:
    """The data and the training alone."""
    inside.in_one_process(monkeypatch)
    made = inside.project(root / "p")
    prepare.prepare(inside.config(source), made)
    train.train(inside.config(source), "v", made, quiet=True)
    return made


def assert_sound(root: Path) -> None:
    """Every JSON file is strict, and there is a report."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} in a file")

    found = list((root / "results").rglob("*.json"))
    assert len(found) >= 6
    for path in found:
        json.loads(path.read_text(), parse_constant=refuse)
    assert (root / "results/report/index.html").stat().st_size > 1000


def lanes(root: Path, name: str = "v") -> list[str]:
    return [lane["status"] for lane in json.loads((root / layout.run(name)).read_text())["lanes"]]


def verdict(root: Path, name: str = "v") -> str:
    return json.loads((root / layout.diagnostics(name)).read_text())["verdict"]


def save(root: Path, **arrays: np.ndarray) -> dict:
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / "x.npz", **arrays)
    return {"source": "array", "path": str(root / "x.npz")}


IMAGES = {
    "constant images": np.full((60, 8, 8), 7, np.uint8),
    "black images": np.zeros((60, 8, 8), np.uint8),
    "images of one pixel": RNG.integers(0, 256, (60, 1, 1), dtype=np.uint8),
    "images of one column": RNG.integers(0, 256, (60, 9, 1), dtype=np.uint8),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_at_the_edge_go_through_every_node(tmp_path, monkeypatch, name):
    """Equal images all lie on one side of the split: a constant set has to be refused there, with the count; the others go through."""
    source = save(tmp_path, images=IMAGES[name])
    if len(np.unique(IMAGES[name].reshape(60, -1), axis=0)) == 1:
        with pytest.raises(SeesawError, match=r"the \w+ part is empty \(60 items") as caught:
            whole_run(tmp_path, monkeypatch, source)
        assert "\n" not in str(caught.value)
    else:
        made = whole_run(tmp_path, monkeypatch, source)
        assert lanes(made) == ["finished", "finished"]


def test_nearly_constant_images_go_through(tmp_path, monkeypatch):
    images = np.full((80, 8, 8), 7, np.uint8)
    images[:, 0, 0] = np.arange(80)
    made = whole_run(tmp_path, monkeypatch, save(tmp_path, images=images))
    assert lanes(made) == ["finished", "finished"]


def test_one_class_goes_through_with_a_feature_space_that_says_so(tmp_path, monkeypatch):
    images = RNG.integers(0, 256, (80, 8, 8), dtype=np.uint8)
    made = whole_run(tmp_path, monkeypatch, save(tmp_path, images=images, labels=np.zeros(80, int)))
    card = json.loads((made / layout.CARD).read_text())
    assert card["labels"] == ["0"]
    assert card["features"]["name"] == "random"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_samples_are_one_line(tmp_path, monkeypatch, count):
    source = save(tmp_path, x=RNG.normal(size=(count, 2)))
    with pytest.raises(SeesawError, match=rf"part is empty \({count} items|nothing can be judged") as caught:
        whole_run(tmp_path, monkeypatch, source)
    assert "\n" not in str(caught.value)


def test_columns_without_variance_go_through(tmp_path, monkeypatch):
    rows = np.stack([RNG.normal(size=80), np.full(80, 3.0), np.zeros(80)], axis=1)
    made = whole_run(tmp_path, monkeypatch, save(tmp_path, x=rows))
    card = json.loads((made / layout.CARD).read_text())
    assert card["scales"][1:] == [1.0, 1.0]
    assert lanes(made) == ["finished", "finished"]


def test_a_batch_larger_than_the_data_draws_with_replacement(tmp_path, monkeypatch):
    made = whole_run(tmp_path, monkeypatch, {"source": "ring", "items": 60}, batch=500)
    card = json.loads((made / layout.CARD).read_text())
    assert card["counts"]["train"] < 500
    assert lanes(made) == ["finished", "finished"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["array", "table"])
def test_data_that_are_not_finite_are_refused_with_their_place(tmp_path, monkeypatch, bad, kind):
    rows = RNG.normal(size=(60, 2))
    rows[41, 1] = bad
    if kind == "array":
        source, words = save(tmp_path, x=rows), "in row 41, column 1: mend or remove the row"
    else:
        text = "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows)
        (tmp_path / "x.csv").write_text(text)
        source, words = {"source": "table", "path": str(tmp_path / "x.csv")}, "column b, row 42 is"
    with pytest.raises(SeesawError, match=words):
        whole_run(tmp_path, monkeypatch, source)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_an_absurd_rate_ends_as_a_verdict(tmp_path, monkeypatch, optimizer):
    """lr 1e30: lanes die or are judged; every file is written and finite."""
    variants = {
        "good": part(),
        "wild": part(loss="least_squares", rules={"generator_lr": 1e30, "discriminator_lr": 1e30, "optimizer": optimizer}),
    }
    made = whole_run(tmp_path, monkeypatch, {"source": "ring", "items": 60}, variants, steps=8)
    assert lanes(made, "good") == ["finished", "finished"]
    assert lanes(made, "wild") == ["non_finite", "non_finite"]
    assert verdict(made, "wild") == "non_finite"
    ranked = json.loads((made / layout.COMPARISON).read_text())["ranking"]
    assert [row["variant"] for row in ranked] == ["good", "wild"]
    assert ranked[1]["failed"] == 2


@pytest.mark.parametrize(("player", "value"), [("generator", math.nan), ("discriminator", math.inf)])
def test_weights_of_one_lane_that_are_not_finite_end_that_lane_alone(tmp_path, monkeypatch, value, player):
    """At step 3 one weight of lane 1 is replaced; lane 0 has the bits it has without that."""
    source = {"source": "ring", "items": 60}
    calm = trained(tmp_path / "calm", monkeypatch, source)
    _poison(monkeypatch, player, value)
    made = whole_run(tmp_path / "sick", monkeypatch, source)
    assert lanes(made) == ["finished", "non_finite"]
    died = json.loads((made / layout.run("v")).read_text())["lanes"][1]
    assert died["step"] == 4
    assert "not finite" in died["reason"]
    sick, well = (records.read(root / layout.records("v")) for root in (made, calm))
    np.testing.assert_array_equal(sick.series("d_loss")[:, 0], well.series("d_loss")[:, 0])
    scores = json.loads((made / layout.scores("v")).read_text())
    last = [entry for entry in scores["snapshots"] if entry["step"] == 6]
    assert all(entry["lanes"][1]["metrics"] is None and entry["lanes"][1]["reason"] for entry in last)


def _poison(monkeypatch: pytest.MonkeyPatch, player: str, value: float) -> None:
    play = worker.Observer.play

    def poisoned(self: worker.Observer) -> object:
        answer = play(self)
        if self.game.step == 3:
            with torch.no_grad():
                getattr(self.game, player).parameters[0][1].view(-1)[0] = value
        return answer

    monkeypatch.setattr(worker.Observer, "play", poisoned)


def test_a_loss_that_is_not_finite_in_one_lane_ends_that_lane(tmp_path, monkeypatch):
    """Real items of lane 1 are infinite at one step: its loss is not finite, its weights stay as they were."""
    begin = Game.__init__

    def watched(self: Game, *arguments: object, **named: object) -> None:
        begin(self, *arguments, **named)
        inner = self.objective.loss.discriminator

        def loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
            values = inner(real, fake)
            if self.step != 2 or len(values) < 2:
                return values
            return torch.cat([values[:1], values[1:] * math.inf])

        object.__setattr__(self.objective, "loss", self.objective.loss._replace(discriminator=loss))

    monkeypatch.setattr(Game, "__init__", watched)
    made = whole_run(tmp_path, monkeypatch, {"source": "ring", "items": 60})
    assert lanes(made) == ["finished", "non_finite"]


def test_all_lanes_dead_is_an_answer(tmp_path, monkeypatch):
    variants = {"v": part(loss="least_squares", rules={"generator_lr": 1e30, "discriminator_lr": 1e30, "optimizer": "sgd"})}
    made = whole_run(tmp_path, monkeypatch, {"source": "ring", "items": 60}, variants, steps=8)
    assert verdict(made) == "non_finite"


@pytest.fixture(autouse=True)
def _errors_are_loud():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
