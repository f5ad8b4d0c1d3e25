"""The node `diagnose`: real small games get their verdicts, the file keeps its contract, broken inputs get one line."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from stages import diagnose as node
from stages.diagnosis.case import read_case
from stages.diagnosis.field import field
from stages.errors import SeesawError
from stages.game import restore
from stages.game.fork import continuation
from stages.game.game import Game
from stages.game.glimpses import Glimpses, looks
from stages.game.loop import play_turn
from stages.prepare import prepare
from stages.store import arrays, layout, records, snapshots
from stages.store.config import read_config
from stages.store.files import read_json, write_json

PARAMS = """
data: {source: SOURCE, items: 1500}
train:
  seeds: 2
  steps: STEPS
  batch: 32
  latent: 2
  lanes_per_group: 2
  snapshots: 5
  generator: {network: NETWORK, width: 16, depth: 1, activation: relu, normalisation: none}
  discriminator: {network: NETWORK, width: 16, depth: 1, activation: leaky_relu, normalisation: none}
  rules: {generator_lr: 1e-2, discriminator_lr: 1e-2, optimizer: sgd}
diagnose: {samples: 128}
compare: {baseline: plain}
variants:
  plain: {loss: {name: non_saturating}, penalty: {name: none}, constraint: {name: none}}
  r1:    {loss: {name: non_saturating}, penalty: {name: r1, weight: 1.0}, constraint: {name: none}, rules: RULES}
  stuck: {loss: {name: minimax}, penalty: {name: none}, constraint: {name: none}, rules: {generator_lr: 1e-6, discriminator_lr: 1e-6}}
"""
MEASURED = ("d_loss", "g_loss", "d_penalty", "real_logit", "fake_logit", "auc", "saturation", "sample_movement")
BOTH = ("d_gradient_norm", "g_gradient_norm", "d_update_ratio", "g_update_ratio")
COLUMNS = [*((name, "") for name in (*MEASURED, *BOTH)), ("d_gradient_norm", "out.weight"), ("g_gradient_norm", "out.weight")]


def project(root: Path, source="ring", steps=60, network="mlp", rules="{}") -> Path:
    """params.yaml and prepared data."""
    text = PARAMS.replace("SOURCE", source).replace("STEPS", str(steps)).replace("NETWORK", network).replace("RULES", rules)
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(text, encoding="utf-8")
    (root / "data" / "raw").mkdir(parents=True, exist_ok=True)
    prepare(read_config(root / "params.yaml"), root)
    return root


def train(root: Path, name: str, statuses=None, **filled) -> None:
    """The variant's game played here, in place of the node `train`; records hold 1.0, or what `filled` says."""
    config, card = read_config(root / "params.yaml"), arrays.read_card(root)
    own, seeds, steps = config.variant(name), [0, 1], config.train.steps
    items = torch.from_numpy(arrays.to_model_scale(np.array(arrays.part("train", root))))
    game = Game(own, tuple(card["shape"]), config.train.latent, config.train.batch, steps, seeds)
    at = [round(steps * i / 5) for i in range(6)]
    glimpses, seen = Glimpses(game, card["kind"] == "image"), []
    for step in range(steps + 1):
        if step in at:
            snapshots.write(root / layout.snapshot(name, step), game.snapshot())
            snapshots.write(root / layout.continuation(name, step), continuation(game))
        if step in looks(steps):
            seen.append(glimpses.take(game))
        if step < steps:
            play_turn(game, lambda indices: items[indices], len(items))
    joined = {key: torch.stack([look[key] for look in seen], 1) for key in seen[0]}
    snapshots.write(root / layout.glimpses(name), {"steps": torch.tensor(looks(steps)), **joined})
    recorded = np.arange(10, steps + 1, 10)
    values = np.ones((len(recorded), len(COLUMNS), 2))
    for measure, number in filled.items():
        values[:, COLUMNS.index((measure, ""))] = np.asarray(number)[..., None]
    records.write(root / layout.records(name), seeds, [records.Block(tuple(COLUMNS), recorded, 0 * recorded, values)])
    shared = {key: getattr(config.train, key) for key in ("seeds", "steps", "batch", "latent", "record_every")}
    run = {
        "variant": name,
        "fingerprint": "f" * 64,
        "config": json.loads(json.dumps({**dataclasses.asdict(own), **shared})),
        "data": {key: card[key] for key in ("digest", "kind", "shape")},
        "seeds": seeds,
        "steps": steps,
        "cost": {"flops_per_step": 1e6},
        "snapshots": at,
        "lanes": [{"seed": seed, "status": "finished", "step": steps, "reason": None, **(statuses or {}).get(seed, {})} for seed in seeds],
    }
    write_json(root / layout.run(name), run)


def diagnose(root: Path, name: str) -> dict:
    return node.diagnose(read_config(root / "params.yaml"), name, root)


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    """A short ring run and its diagnosis."""
    root = project(tmp_path_factory.mktemp("ring") / "p")
    train(root, "plain")
    return root, diagnose(root, "plain")


def test_the_file_is_what_was_returned_and_keeps_its_contract(ring):
    root, result = ring
    assert read_json(root / layout.diagnostics("plain"), "") == json.loads(json.dumps(result))
    assert {
        "variant",
        "fingerprint",
        "verdict",
        "doubt",
        "doubts",
        "flags",
        "counts",
        "lanes",
        "story",
        "diversity",
        "landscape",
        "field",
        "probe",
    } == result.keys()
    assert sum(result["counts"].values()) == len(result["lanes"]) == 2
    for lane in result["lanes"]:
        assert lane.keys() == {"seed", "verdict", "doubt", "doubts", "flags", "evidence", "remedies"}
        for item in lane["evidence"]:
            assert item.keys() == {"measure", "value", "threshold", "relation", "steps", "text"}
        for remedy in lane["remedies"]:
            assert remedy.keys() == {"name", "why", "command"}


def test_a_run_too_short_to_judge_is_told_so(ring):
    for lane in ring[1]["lanes"]:
        assert lane["verdict"] in ("undertrained", "undetermined")
        assert "too short a run to judge: 60 steps" in lane["doubt"]


def test_the_story_has_a_value_for_every_step_and_layer(ring):
    story = ring[1]["story"]
    assert all(len(story[name]) == len(story["steps"]) == 6 for name in (*MEASURED, *BOTH))
    heat = story["layers"]["g_gradient_norm"]
    assert (heat["layers"], np.shape(heat["values"])) == (["out.weight"], (6, 1))
    looks = story["quality"]
    assert looks["steps"] == [0, 12, 24, 36, 48, 60]
    assert np.shape(looks["lanes"]) == (2, 6)
    assert looks["distance"] == pytest.approx(np.median(looks["lanes"], axis=0))
    assert looks["good"] >= 3 * looks["floor"]


def test_the_plane_holds_what_d_answers(ring):
    """Logits, arrows and points of the first lane with the variant's verdict; D asked again gives the same."""
    root, result = ring
    found, lanes = result["field"], [lane["verdict"] for lane in result["lanes"]]
    index = lanes.index(result["verdict"])
    assert found["seed"] == result["lanes"][index]["seed"]
    assert [shot["step"] for shot in found["snapshots"]] == [0, 12, 24, 36, 48, 60]
    run, last = read_json(root / layout.run("plain"), ""), found["snapshots"][-1]
    own = restore.players(run, snapshots.read(root / layout.snapshot("plain", 60), "")).discriminator
    x, y = (np.array(found[key].split(), float) for key in ("x", "y"))
    with torch.no_grad():
        asked = own(torch.tensor([[x[30], y[7]]], dtype=torch.float32).expand(2, 1, 2))[index, 0]
    assert float(last["logits"][7].split()[30]) == pytest.approx(float(asked), rel=0.02, abs=2e-3)
    assert np.shape([row.split() for row in last["logits"]]) == (41, 41)
    up = np.array([[row.split() for row in rows] for rows in last["arrows"]], float)
    assert up.shape == (2, 11, 11)
    assert float(np.hypot(*up).max()) == pytest.approx(last["longest"], rel=0.01)
    assert len(last["generated"][0].split()) == 200
    assert last["centre"] == 0


def test_a_snapshot_that_is_not_finite_has_no_field_and_says_so(ring):
    root, _ = ring
    case = read_case(read_config(root / "params.yaml"), "plain", root)
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in case.snapshots[60].items()}
    found = field(dataclasses.replace(case, snapshots={**case.snapshots, 60: broken}), 1)
    assert found is not None
    assert [shot["reason"] is None for shot in found["snapshots"]] == [True] * 5 + [False]
    assert found["snapshots"][-1].keys() == {"step", "reason"}


def test_spectra_and_probe_are_there(ring):
    lane = ring[1]["landscape"]["lanes"][0]
    assert [entry["step"] for entry in lane["spectra"]] == [0, 60]
    assert all(len(entry["largest"]) > 0 for entry in lane["spectra"])
    assert all(len(entry["preconditioned"]["largest"]) > 0 for entry in lane["spectra"])  # sgd needs no averages
    assert len(lane["path"]["cosine"]) == len(lane["path"]["alphas"])
    probe = ring[1]["probe"]
    for form, losses in (("bare", {"saturating", "non_saturating"}), ("own", {"generator"})):
        assert [entry["step"] for entry in probe[form]["snapshots"]] == [12, 36, 60]
        for entry in probe[form]["snapshots"]:
            assert entry["points"][-1]["step"] == 300
            assert entry["seeds"] == [0, 1]
            assert all(point.keys() == {"step", "auc"} | losses for point in entry["points"])
    start, own = (probe[form]["snapshots"][0]["points"][0] for form in ("bare", "own"))
    assert own["generator"] == pytest.approx(start["non_saturating"])  # the variant's own loss, the same fresh D


def test_diversity_is_there_for_every_lane_and_snapshot(ring):
    found = ring[1]["diversity"]
    assert found["steps"] == [0, 12, 24, 36, 48, 60]
    for table in (*found["spacing"].values(), found["modes"], found["coverage"]):
        assert np.shape(table) == (2, 6)
    assert found["real_modes"] == pytest.approx(8, abs=0.5)  # the ring's eight, equally often
    assert found["real_spacing"] > 0


def test_where_real_items_coincide_there_is_no_distance(dirac):
    result = diagnose(dirac, "r1")
    assert result["field"] is None  # one dimension
    found = result["diversity"]
    assert found["spacing"]["ema"] == [[None] * 6] * 2
    assert "exact copy" in found["reason"]


def test_without_a_step_adam_has_no_preconditioner_and_says_so(tmp_path):
    root = project(tmp_path / "p")
    (root / "params.yaml").write_text((root / "params.yaml").read_text().replace("optimizer: sgd", "optimizer: adam"))
    train(root, "plain")
    first, last = diagnose(root, "plain")["landscape"]["lanes"][0]["spectra"]
    assert (first["preconditioned"], last["preconditioned_reason"]) == (None, None)
    assert "no step had been taken" in first["preconditioned_reason"]
    assert last["preconditioned"]["radius"] > 0


def test_a_missing_continuation_is_one_line(ring):
    root, _ = ring
    path = root / layout.continuation("plain", 60)
    whole = path.read_bytes()
    try:
        path.unlink()
        with pytest.raises(SeesawError, match=r"continuation-000060\.safetensors is missing.*train@plain"):
            diagnose(root, "plain")
    finally:
        path.write_bytes(whole)


def test_twice_is_the_same_bytes(ring):
    root, _ = ring
    before = (root / layout.diagnostics("plain")).read_bytes()
    diagnose(root, "plain")
    assert (root / layout.diagnostics("plain")).read_bytes() == before


@pytest.fixture(scope="module")
def dirac(tmp_path_factory):
    """Dirac-GAN with SGD: without penalty it circles, with R1 it converges."""
    root = project(
        tmp_path_factory.mktemp("dirac") / "p", "dirac", 400, "linear", "{generator_lr: 0.2, discriminator_lr: 0.2, order: simultaneous}"
    )
    for name in ("plain", "r1"):
        train(root, name)
    return root


def test_dirac_gan_with_r1_is_healthy_and_its_equilibrium_stable(dirac):
    """At the end, near θ = ψ = 0, the eigenvalues are γ/2 ± √(γ²/4 − ¼) = ½, twice, for γ = 1 (Mescheder et al. 2018, theorem 4.1)."""
    result = diagnose(dirac, "r1")
    assert (result["verdict"], result["doubt"]) == ("healthy", None)
    final = result["landscape"]["lanes"][0]["spectra"][-1]
    assert final["stable"] is True
    assert np.array(final["largest"]) == pytest.approx(np.array([[0.5, 0.0], [0.5, 0.0]]), abs=0.05)  # a double root: error √distance
    scaled = final["preconditioned"]  # sgd of rate 0.2: 0.2 times the theory's
    assert np.array(scaled["largest"]) == pytest.approx(np.array([[0.1, 0.0], [0.1, 0.0]]), abs=0.01)
    assert (scaled["stable"], scaled["radius"]) == (True, pytest.approx(0.9, abs=0.01))


def test_a_lane_that_became_non_finite_is_named_whatever_the_rest_says(dirac):
    train(dirac, "r1", {1: {"status": "non_finite", "step": 150, "reason": "a loss was not finite at step 150"}})
    result = diagnose(dirac, "r1")
    assert result["lanes"][1]["verdict"] == "non_finite"
    assert "step 150" in result["lanes"][1]["evidence"][0]["text"]
    assert result["lanes"][0]["verdict"] == "healthy"
    assert result["verdict"] == "non_finite"  # one of two lanes is not more than half
    assert result["landscape"]["lanes"][0]["seed"] == 0


FALLING, STEADY = np.geomspace(1.0, 1e-6, 40), np.ones(40)


@pytest.mark.parametrize(
    ("word", "filled", "remedy"),
    [
        ("vanishing_gradient", {"auc": 1.0, "sample_movement": FALLING}, "non_saturating"),
        ("undetermined", {"auc": 1.0, "sample_movement": STEADY}, "add_r1"),  # G's samples never went anywhere: it is not beaten
        ("exploding_gradient", {"auc": 0.8, "g_gradient_norm": 1 / FALLING}, "lower_rates"),
        ("undetermined", {"auc": 0.8}, "add_r1"),
    ],
)
def test_where_samples_never_move_the_records_name_the_cause(word, filled, remedy, dirac):
    """A Dirac game that stands still at θ = 1, as bad as it began, with records staged for each cause."""
    train(dirac, "stuck", **filled)
    result = diagnose(dirac, "stuck")
    assert (result["verdict"], result["doubt"]) == (word, None)
    assert remedy in [one["name"] for one in result["lanes"][0]["remedies"]]
    assert all(one["command"].startswith("dvc exp run -S ") for one in result["lanes"][0]["remedies"])


def test_a_missing_or_truncated_record_file_is_one_line(ring):
    root, _ = ring
    path = root / layout.records("plain")
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(SeesawError, match=r"plain\.parquet is damaged .*dvc repro") as found:
            diagnose(root, "plain")
        assert "\n" not in str(found.value)
        path.unlink()
        with pytest.raises(SeesawError, match=r"plain\.parquet is missing.*dvc repro"):
            diagnose(root, "plain")
    finally:
        path.write_bytes(whole)


def test_records_that_end_before_the_run_are_refused(ring):
    root, _ = ring
    path = root / layout.records("plain")
    whole, known = path.read_bytes(), records.read(root / layout.records("plain"))
    try:
        first = known.tables[0]
        records.write(path, known.seeds, [records.Block(first.columns, first.steps[:3], 0 * first.steps[:3], first.values[:3])])
        with pytest.raises(SeesawError, match="ends at step 30 before its run does"):
            diagnose(root, "plain")
    finally:
        path.write_bytes(whole)


def test_a_run_on_other_data_is_refused(ring):
    root, _ = ring
    path = root / layout.run("plain")
    run = read_json(path, "")
    try:
        write_json(path, {**run, "data": {**run["data"], "digest": "other"}})
        with pytest.raises(SeesawError, match="trained on other data"):
            diagnose(root, "plain")
    finally:
        write_json(path, run)


def test_an_unknown_variant_and_a_missing_run_are_refused(ring):
    root, _ = ring
    with pytest.raises(SeesawError, match="unknown variant"):
        diagnose(root, "plane")
    with pytest.raises(SeesawError, match=r"r1\.json is missing.*train@r1"):
        diagnose(root, "r1")
