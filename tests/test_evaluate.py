"""The node `evaluate`: staged generators get the scores they deserve, and the documents keep their contract."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stages import evaluate as node
from stages.errors import SeesawError
from stages.game import build, restore, spec
from stages.generators import judging
from stages.prepare import prepare
from stages.store import arrays, layout, snapshots
from stages.store.config import Config, parse
from stages.store.files import read_json, write_json

STEPS = [0, 10, 20]
HINGE = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}


def config_of(source: str, lanes: int, **evaluate) -> Config:
    return parse(
        {
            "data": {"source": source, "items": 1500},
            "train": {"seeds": lanes, "steps": 20, "snapshots": 2, "latent": 4},
            "evaluate": {"samples": 100, "draws": 3, **evaluate},
            "compare": {"baseline": "hinge"},
            "variants": {"hinge": HINGE},
        }
    )


def write_run(root: Path, config: Config, lanes: int, statuses: dict[int, dict] | None = None) -> dict:
    """A run's description with real, untrained networks in its snapshots."""
    card, variant, seeds = arrays.read_card(root), dataclasses.asdict(config.variant("hinge")), list(range(lanes))
    run = {
        "variant": "hinge",
        "fingerprint": "f" * 64,
        "config": json.loads(json.dumps({**variant, "latent": config.train.latent}, default=dict)),
        "data": {key: card[key] for key in ("digest", "kind", "shape")},
        "seeds": seeds,
        "steps": 20,
        "snapshots": STEPS,
        "lanes": [{"seed": seed, "status": "finished", "step": 20, "reason": None, **(statuses or {}).get(seed, {})} for seed in seeds],
    }
    shape = tuple(card["shape"])
    generator = build.generator(spec.Player(**run["config"]["generator"]), shape, config.train.latent, seeds)
    constraint = build.catalogue_part("constraint", spec.Part("none", {}))
    critic = build.discriminator(spec.Player(**run["config"]["discriminator"]), shape, seeds, constraint)
    roles = {"generator": generator, "ema": generator, "discriminator": critic}
    tensors = {f"{role}/{key}": value for role, module in roles.items() for key, value in module.state_dict().items()}
    for step in STEPS:
        snapshots.write(root / layout.snapshot("hinge", step), tensors)
    write_json(root / layout.run("hinge"), run)
    return run


@pytest.fixture(scope="module")
def ring(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ring")
    prepare(config_of("ring", 4), root)
    return root


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("digits")
    prepare(config_of("digits", 2), root)
    return root


class Staged(torch.nn.Module):
    """Lane 0 draws fresh points of the ring, lane 1 one mode only, lane 2 copies train items, lane 3 answers NaN.

    The noise decides the sample, as in any generator; `wide` blurs lane 0.
    """

    def __init__(self, root: Path, wide: float = 0.01) -> None:
        super().__init__()
        self.card, self.wide = arrays.read_card(root), wide
        self.train_items = torch.from_numpy(np.array(arrays.part("train", root)))
        self.weight = torch.nn.Parameter(torch.zeros(4, 1))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        first = torch.special.ndtr(noise[0, :, 0])  # uniform
        centres = torch.tensor(self.card["modes"]["centres"], dtype=torch.float32)
        fresh = centres[(first * len(centres)).long()] + self.wide * noise[0, :, 1:3]
        one = centres[0] + 0.01 * noise[1, :, 1:3]
        copies = self.train_items[(torch.special.ndtr(noise[2, :, 3]) * len(self.train_items)).long()]
        return torch.stack([fresh, one, copies, torch.full_like(fresh, torch.nan)])


def stage(monkeypatch: pytest.MonkeyPatch, root: Path, blurred_first: bool = False) -> None:
    """Every snapshot holds the staged generators; with `blurred_first` lane 0 is good only at the snapshots after the first call."""
    calls = []

    def players(run, tensors) -> restore.Players:
        calls.append(run)
        network = Staged(root, 0.5 if blurred_first and len(calls) == 1 else 0.01).eval()
        return restore.Players(network, network, network)

    monkeypatch.setattr(restore, "players", players)


@pytest.fixture(scope="module")
def staged(ring: Path) -> dict:
    config = config_of("ring", 4)
    write_run(ring, config, 4)
    with pytest.MonkeyPatch.context() as patch:
        stage(patch, ring, blurred_first=True)
        return node.evaluate(config, "hinge", ring)


def entry(scores: dict, step: int, generator: str = "ema", part: str = "test") -> dict:
    return next(e for e in scores["snapshots"] if (e["step"], e["generator"], e["part"]) == (step, generator, part))


def value(scores: dict, lane: int, name: str, step: int = 20) -> float:
    return entry(scores, step)["lanes"][lane]["metrics"][name]["value"]


def test_a_perfect_generator_meets_the_floors(staged: dict) -> None:
    floors = {name: floor["value"] for name, floor in staged["floors"].items()}
    assert value(staged, 0, "frechet") < 3 * floors["frechet"]
    assert value(staged, 0, "sliced_wasserstein") < 2 * floors["sliced_wasserstein"]
    for name in ("precision", "recall", "density", "coverage", "high_quality", "modes", "modes_pooled"):
        assert value(staged, 0, name) == pytest.approx(floors[name], rel=0.2), name
    assert value(staged, 0, "memorisation") == pytest.approx(floors["memorisation"], abs=0.1)
    assert value(staged, 0, "reverse_kl_pooled") < 4 * floors["reverse_kl_pooled"]  # 7 degrees of freedom: beyond 28 once in 4,000


def test_a_collapsed_generator_is_precise_and_has_one_mode(staged: dict) -> None:
    assert value(staged, 1, "precision") > 0.8
    assert value(staged, 1, "recall") < 0.25
    assert (value(staged, 1, "modes"), value(staged, 1, "modes_pooled"), value(staged, 1, "modes_20")) == (1, 1, 1)
    assert value(staged, 1, "reverse_kl") == value(staged, 1, "reverse_kl_pooled") == pytest.approx(np.log(8), rel=1e-9)
    assert value(staged, 1, "frechet") > 100 * staged["floors"]["frechet"]["value"]


def test_a_memorising_generator_is_found_by_memorisation_alone(staged: dict) -> None:
    assert value(staged, 2, "memorisation") == 1.0
    assert staged["floors"]["memorisation"]["value"] < 0.8
    assert value(staged, 2, "frechet") < 3 * staged["floors"]["frechet"]["value"]


def test_a_lane_with_nan_is_non_finite_and_has_no_numbers(staged: dict) -> None:
    for each in staged["snapshots"]:
        assert (each["lanes"][3]["status"], each["lanes"][3]["metrics"]) == ("non_finite", None)
    assert staged["best_step"]["3"] is None


def test_the_best_step_is_chosen_on_the_validation_part_and_the_earlier_wins_a_tie(staged: dict) -> None:
    assert staged["best_step"]["0"] == 10  # blurred at 0, equal at 10 and 20
    assert staged["best_step"]["1"] == 0  # equal everywhere


def test_last_and_best_snapshots_have_spreads_and_the_others_have_none(staged: dict) -> None:
    for step, lane in ((20, 0), (20, 1), (10, 0), (0, 1)):
        frechet = entry(staged, step)["lanes"][lane]["metrics"]["frechet"]
        assert frechet["spread"] == pytest.approx(np.hypot(frechet["spread_draws"], frechet["spread_real"]), rel=1e-9)
        assert frechet["spread"] > 0.0
    assert entry(staged, 0)["lanes"][0]["metrics"]["frechet"]["spread"] is None


def test_documents_keep_their_contract(staged: dict, ring: Path) -> None:
    assert read_json(ring / layout.scores("hinge"), "") == staged
    assert len(staged["snapshots"]) == len(STEPS) * 4
    assert set(staged["floors"]) == set(staged["metrics"])
    assert staged["baseline"]["metrics"]["frechet"] > 0.0
    assert staged["samples"] == staged["floors"]["frechet"]["n"] == 100
    assert (ring / layout.samples("hinge") / "step-000020.png").stat().st_size > 0
    metrics = read_json(ring / layout.metrics("hinge"), "")
    assert metrics["failed_lanes"] == 1
    assert len(metrics) <= 8
    lanes = sorted(value(staged, lane, "frechet") for lane in range(3))
    assert metrics["frechet"] == pytest.approx((lanes[1] + lanes[2]) / 2)  # the failed lane stands above them all


def test_the_same_inputs_give_the_same_bytes(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("ring", 4)
    write_run(ring, config, 4)
    stage(monkeypatch, ring)
    documents = []
    for _ in range(2):
        node.evaluate(config, "hinge", ring)
        documents.append((ring / layout.scores("hinge")).read_bytes())
    assert documents[0] == documents[1]


def test_a_lane_that_died_in_training_counts_as_failed_from_that_step_on(digits: Path) -> None:
    config = config_of("digits", 2)
    write_run(digits, config, 2, {1: {"status": "non_finite", "step": 7, "reason": "discriminator loss is nan"}})
    scores = node.evaluate(config, "hinge", digits)
    assert [entry(scores, step)["lanes"][1]["status"] for step in STEPS] == ["ok", "non_finite", "non_finite"]
    assert "step 7: discriminator loss is nan" in entry(scores, 20)["lanes"][1]["reason"]
    assert value(scores, 0, "frechet") > 5 * scores["floors"]["frechet"]["value"]  # untrained
    with Image.open(digits / layout.samples("hinge") / "step-000000.png") as picture:
        assert picture.height > 8
    assert read_json(digits / layout.metrics("hinge"), "")["frechet"] is None  # half of the lanes failed


def test_a_run_of_other_data_is_refused(digits: Path) -> None:
    config = config_of("digits", 2)
    run = write_run(digits, config, 2)
    write_json(digits / layout.run("hinge"), {**run, "data": {**run["data"], "digest": "other"}})
    with pytest.raises(SeesawError, match="trained on other data"):
        node.evaluate(config, "hinge", digits)


@pytest.mark.parametrize(
    ("values", "better", "expected"),
    [
        ([1.0, 3.0, None], "lower", 3.0),
        ([1.0, 3.0, None], "higher", 1.0),
        ([1.0, None], "lower", None),
        ([None, None, 2.0], "higher", None),
    ],
)
def test_a_failed_lane_is_the_worst_in_a_median(values: list, better: str, expected: float | None) -> None:
    assert node.median(values, better) == expected


def test_images_are_judged_as_they_are_delivered() -> None:
    samples = torch.tensor([-3.0, -1.0, 0.001, 1.0, 7.0])
    stored = arrays.to_model_scale(np.array([0, 0, 128, 255, 255], np.uint8))
    assert judging.delivered(samples, "image").tolist() == stored.tolist()  # bit for bit what an 8-bit file gives
    assert judging.delivered(samples, "vector") is samples
    assert bool(judging.delivered(torch.tensor([torch.nan]), "image").isnan().all())


class TestGivenSamples:
    """Somebody else's generator."""

    def test_real_items_meet_the_floor_and_copies_are_found(self, digits: Path) -> None:
        scored = node.score_samples(config_of("digits", 2), np.array(arrays.part("train", digits))[:300], digits)
        assert scored["scores"]["frechet"]["value"] < 3 * scored["floors"]["frechet"]["value"]
        assert scored["scores"]["memorisation"]["value"] == 1.0
        assert (scored["given"], scored["samples"], scored["draws"]) == (300, 100, 3)

    def test_a_folder_of_images_scores_like_the_array_it_holds(self, digits: Path, tmp_path: Path) -> None:
        config, items = config_of("digits", 2), np.array(arrays.part("validation", digits))[:60]
        for i, item in enumerate(items):
            Image.fromarray(item[0]).save(tmp_path / f"{i:03d}.png")
        np.save(tmp_path / "floats.npy", items / np.float32(127.5) - np.float32(1))
        from_array = node.score_samples(config, items, digits)
        assert node.score_samples(config, tmp_path, digits) == from_array
        assert node.score_samples(config, tmp_path / "floats.npy", digits) == from_array
        assert node.score_samples(config, items[:, 0], digits) == from_array
        assert from_array["samples"] == 60

    def test_one_draw_has_no_spread_and_says_so(self, digits: Path) -> None:
        scored = node.score_samples(config_of("digits", 2), np.array(arrays.part("test", digits))[:50], digits)
        assert scored["scores"]["frechet"]["spread"] is None
        assert scored["scores"]["frechet_infinity"]["value"] is None
        assert "2 draws" in scored["scores"]["frechet_infinity"]["reason"]

    def test_vectors_come_in_the_units_of_the_source(self, ring: Path) -> None:
        card = arrays.read_card(ring)
        raw = np.array(arrays.part("test", ring)) * np.asarray(card["scales"]) + np.asarray(card["offset"])
        scored = node.score_samples(config_of("ring", 4), raw, ring)
        assert scored["scores"]["frechet"]["value"] < 3 * scored["floors"]["frechet"]["value"]
        raw[3, 0] = np.nan
        assert node.score_samples(config_of("ring", 4), raw, ring)["status"] == "non_finite"

    @pytest.mark.parametrize(
        ("samples", "text"),
        [
            (np.zeros((5, 3, 8, 8), np.uint8), r"samples have shape \[5, 3, 8, 8\]: \[N, 1, 8, 8\] is needed"),
            (np.zeros((1, 1, 8, 8), np.uint8), "at least 2"),
            (np.full((5, 1, 8, 8), 3.0), "floats from -1 to 1"),
            (np.full((5, 1, 8, 8), np.nan), "floats from -1 to 1"),
            (np.zeros((5, 1, 8, 8), bool), "numbers are needed"),
            (Path("nowhere.npy"), "nowhere.npy is missing"),
        ],
    )
    def test_what_does_not_fit_is_refused_with_one_line(self, digits: Path, samples, text: str) -> None:
        with pytest.raises(SeesawError, match=text):
            node.score_samples(config_of("digits", 2), samples, digits)


class TestPrograms:
    """A feature extractor of the user's own."""

    def export(self, path: Path) -> None:
        class Pixels(torch.nn.Module):
            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return images.mean(3).flatten(1)

        batch = torch.export.Dim("batch", min=1, max=4096)
        torch.export.save(torch.export.export(Pixels(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: batch},)), path)

    def test_its_features_and_digest_reach_the_scores(self, digits: Path, tmp_path: Path) -> None:
        self.export(tmp_path / "pixels.pt2")
        config = config_of("digits", 2, features=f"file:{tmp_path / 'pixels.pt2'}", trust=True, input_size=16, input_channels=3)
        card = arrays.read_card(digits)
        foreign = tmp_path / "root"
        (foreign / "data").mkdir(parents=True)
        (foreign / layout.PREPARED).mkdir()
        for name in arrays.PARTS:
            np.save(foreign / layout.PREPARED / f"{name}.npy", np.array(arrays.part(name, digits)))
        described = {"features": {"name": "file", "digest": None}, "digest": arrays.digest(foreign / layout.PREPARED)}
        write_json(foreign / layout.CARD, {**card, **described})
        scored = node.score_samples(config, np.array(arrays.part("validation", digits)), foreign)
        assert len(scored["features"]["digest"]) == 64
        assert scored["scores"]["frechet"]["value"] > 0.0
        assert scored["scores"]["frechet"]["value"] < 1000 * scored["floors"]["frechet"]["value"]
        assert "modes" not in scored["scores"]

    @pytest.mark.filterwarnings("ignore:.*torch.jit.s.*:DeprecationWarning")  # script and save, which only this test calls
    def test_torchscript_answers_like_the_module_it_was_made_of(self, tmp_path: Path) -> None:
        from stages.store import programs
        from stages.store.config import Evaluate

        module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5, 2), torch.nn.ReLU(), torch.nn.BatchNorm2d(4), torch.nn.Flatten()).eval()
        torch.jit.save(torch.jit.script(module), str(tmp_path / "conv.pt"))
        asked = Evaluate(features="file:conv.pt", trust=True, input_size=16, input_channels=3, input_low=0.0, input_high=255.0)
        features, digest = programs.load(asked, tmp_path)
        grey = torch.rand(70, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1  # more than one batch
        with torch.no_grad():
            expected = module((grey.expand(-1, 3, -1, -1) + 1) / 2 * 255)
        torch.testing.assert_close(features(grey), expected)
        assert digest == hashlib.sha256((tmp_path / "conv.pt").read_bytes()).hexdigest()
        pinned = dataclasses.replace(asked, trust=digest)
        torch.testing.assert_close(programs.load(pinned, tmp_path)[0](grey), expected)
        with (tmp_path / "conv.pt").open("ab") as file:
            file.write(b"\0")
        with pytest.raises(SeesawError, match=r"is not the file that evaluate\.trust names: its sha256 is"):
            programs.load(pinned, tmp_path)

    def test_without_trust_or_a_file_nothing_is_loaded(self, tmp_path: Path) -> None:
        from stages.store import programs
        from stages.store.config import Evaluate

        with pytest.raises(SeesawError, match="trust"):
            programs.load(Evaluate(features="file:x.pt2"), tmp_path)
        with pytest.raises(SeesawError, match="missing"):
            programs.load(Evaluate(features="file:x.pt2", trust=True), tmp_path)
        (tmp_path / "x.pt2").write_bytes(b"no program")
        with pytest.raises(SeesawError, match="neither an exported program"):
            programs.load(Evaluate(features="file:x.pt2", trust=True), tmp_path)

    @pytest.mark.parametrize(
        ("keys", "text"),
        [
            ({"features": "file:x.pt2"}, "evaluate.trust"),
            ({"features": "file:x.pt2", "trust": "yes"}, "evaluate.trust is 'yes': allowed are true, false, and the sha256"),
            ({"trust": 1}, r"evaluate.trust is 1 \(int\): a value of type bool | str is needed"),
            ({"features": "clasifier"}, "did you mean 'classifier'"),
            ({"input_low": 3.0, "input_high": 1.0}, "input_low is 3.0"),
        ],
    )
    def test_params_are_checked(self, keys: dict, text: str) -> None:
        with pytest.raises(SeesawError, match=text):
            config_of("digits", 2, **keys)


def test_a_point_mass_is_met_exactly_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of("dirac", 2)
    prepare(config, tmp_path)
    write_run(tmp_path, config, 2)
    point = torch.from_numpy(np.array(arrays.part("test", tmp_path)))[0]

    def network(noise: torch.Tensor) -> torch.Tensor:
        exact = point.expand(noise.shape[1], -1)
        return torch.stack([exact, exact + 0.5])

    monkeypatch.setattr(restore, "players", lambda run, tensors: restore.Players(network, network, network))
    scores = node.evaluate(config, "hinge", tmp_path)
    names = ("frechet", "precision", "recall", "coverage", "sliced_wasserstein", "memorisation")
    assert [value(scores, 0, name) for name in names] == [0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    assert [value(scores, 1, name) for name in names] == pytest.approx([0.25, 0.0, 0.0, 0.0, 0.5, 0.0])
    assert {name: scores["floors"][name]["value"] for name in names} == dict(zip(names, [0.0, 1.0, 1.0, 1.0, 0.0, 1.0], strict=True))


@pytest.mark.parametrize(("source", "features"), [("stacked_digits", "auto"), ("digits", "random"), ("digits", "identity")])
def test_every_feature_space_takes_real_networks(source: str, features: str, tmp_path: Path) -> None:
    config = config_of(source, 2, features=features, draws=2, samples=40)
    card = prepare(config, tmp_path)
    write_run(tmp_path, config, 2)
    scores = node.evaluate(config, "hinge", tmp_path)
    assert scores["features"] == {"name": card["features"]["name"], "digest": card["features"]["digest"]}
    assert ("modes" in scores["metrics"]) == (source == "stacked_digits")
    for lane in range(2):
        assert value(scores, lane, "frechet") > 1.5 * scores["floors"]["frechet"]["value"]  # untrained
