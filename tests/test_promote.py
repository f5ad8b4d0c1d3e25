"""The gate on real files: generators of known mathematics, judged by the real judge; the registry in a real store."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import staged_results as staged
import torch

from stages import promote as node
from stages.errors import SeesawError
from stages.store import champion, deployable, layout, tracking, tracking_registry
from stages.store.files import read_json

pytestmark = [  # MLflow's own
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
FAIR, POOR, GOOD = (0.8, 0.81, 0.79), (0.5, 0.51, 0.49), (1.0, 1.01, 0.99)  # shares of the data's spread


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data without results."""
    root = tmp_path_factory.mktemp("prepared")
    staged.data(root)
    return root


@pytest.fixture
def root(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data, and a registry that answers nothing: what it shows has tests of its own."""
    monkeypatch.setattr(node, "project", lambda root: None)
    return shutil.copytree(prepared, tmp_path / "project")


CONFIG = staged.config(floor_factor=100.0)


def crown(root: Path, name: str = "first", scales: tuple[float | None, ...] = FAIR) -> str:
    """A champion by the absolute guards."""
    fingerprint = staged.result(root, name, scales)
    staged.rank(root, name)
    assert node.promote(CONFIG, root).outcome == "promoted"
    return fingerprint


def challenge(root: Path, scales: tuple[float | None, ...], step: bool = False, name: str = "second") -> node.Decision:
    """What the gate says to a best variant of those scales."""
    staged.result(root, name, scales, step=step)
    staged.rank(root, name, "first")
    return node.promote(CONFIG, root)


def files(root: Path) -> dict[str, str]:
    """Digests of champion.json and of the folder champion/."""
    paths = [root / "champion.json", *sorted(path for path in (root / "champion").rglob("*") if path.is_file())]
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_without_a_comparison_there_is_nothing_to_compare(root: Path) -> None:
    decision = node.promote(CONFIG, root)
    assert (decision.outcome, decision.code) == ("nothing", 20)
    assert str(decision).endswith("gate=nothing")


def test_without_a_champion_the_healthy_lane_of_median_validation_score_is_crowned(root: Path) -> None:
    fingerprint = staged.result(root, "first", (0.5, 0.9, 0.7))
    staged.rank(root, "first")
    decision = node.promote(CONFIG, root)
    assert (decision.outcome, decision.code) == ("promoted", 0)
    found = staged.read_champion(root)
    assert (found["fingerprint"], found["variant"], found["lane"], found["previous"]) == (fingerprint, "first", 2, None)
    assert found["model"] == deployable.digest(root / found["weights"], 2)
    assert found["interval"] is None
    assert node.promote(CONFIG, root).outcome == "nothing"


@pytest.mark.parametrize(("verdict", "factor"), [("oscillating", 100.0), ("healthy", 1.0)])
def test_without_a_champion_absolute_guards_stop_the_unhealthy_and_the_bad(root: Path, verdict: str, factor: float) -> None:
    staged.result(root, "first", POOR, verdict)
    staged.rank(root, "first")
    decision = node.promote(staged.config(floor_factor=factor), root)
    assert (decision.outcome, decision.code) == ("kept", 10)
    assert not (root / "champion.json").exists()


def test_a_better_challenger_is_promoted_and_its_rise_is_written_down(root: Path) -> None:
    first = crown(root)
    before = staged.read_champion(root)
    decision = challenge(root, GOOD)
    now = staged.read_champion(root)
    assert decision.outcome == "promoted"
    assert now["variant"] == "second"
    assert now["interval"]["low"] > CONFIG.gate.min_effect
    assert now["previous"] == {key: value for key, value in before.items() if key not in ("previous", "rejected")}
    assert now["previous"]["fingerprint"] == first
    assert {path.name for path in (root / "champion").iterdir()} == {Path(now[k]["weights"]).name for k in ("previous",)} | {
        Path(now["weights"]).name
    }


def test_the_same_and_a_worse_challenger_are_not(root: Path) -> None:
    crown(root)
    before = files(root)
    for scales in (POOR, FAIR):
        decision = challenge(root, scales)
        assert (decision.outcome, decision.code) == ("kept", 10)
        assert "min_effect" in decision.reason
    assert files(root) == before


def test_the_same_game_with_fewer_steps_is_not_promoted(root: Path) -> None:
    """Generators that were really trained: 40 turns against 300 of the same games."""
    few, many = staged.trained(root, (40, 300))
    staged.result(root, "first", FAIR, players=many)
    staged.rank(root, "first")
    assert node.promote(staged.config(floor_factor=1e6), root).outcome == "promoted"
    staged.result(root, "second", POOR, players=few)
    staged.rank(root, "second")
    decision = node.promote(CONFIG, root)
    assert decision.outcome == "kept"
    assert "min_effect" in decision.reason


def test_a_regression_in_recall_is_stopped_by_the_guard(root: Path) -> None:
    """Corners instead of a cloud: mean and covariance are right, so the Fréchet distance is far better, and recall is gone."""
    crown(root)
    before = files(root)
    decision = challenge(root, GOOD, step=True)
    challenger = champion.kept(root)["challenger"].entry
    assert challenger["interval"]["low"] > CONFIG.gate.min_effect  # the score alone would have promoted it
    assert decision.outcome == "kept"
    assert "recall falls" in decision.reason
    assert files(root) == before


def test_more_failed_lanes_are_stopped_and_a_failed_median_lane_is_not_deployed(root: Path) -> None:
    crown(root)
    assert "failed lanes rise" in challenge(root, (1.0, None, 0.99)).reason
    assert "median lane" in challenge(root, (1.0, None, None)).reason
    assert staged.read_champion(root)["variant"] == "first"


def test_the_same_results_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    other = shutil.copytree(root, tmp_path / "other")
    for place in (root, other):
        crown(place)
        challenge(place, GOOD)
    assert files(root) == files(other)


def test_the_champion_outlives_the_results_and_is_judged_on_the_data_of_today(root: Path) -> None:
    crown(root)
    shutil.rmtree(root / "results")
    staged.data(root, seed=5)  # another draw, standardised by its own numbers
    decision = challenge(root, GOOD)
    assert decision.outcome == "promoted"
    assert staged.read_champion(root)["data"] == read_json(root / layout.CARD, "")["digest"]


def test_a_champion_of_another_shape_is_not_compared(root: Path) -> None:
    crown(root)
    path = root / staged.read_champion(root)["weights"] / deployable.PROGRAM
    before = path.read_text()
    path.write_text(before.replace('"shape": [\n    2\n  ]', '"shape": [\n    3\n  ]'))
    with pytest.raises(SeesawError, match="not what was promoted: git checkout"):
        challenge(root, GOOD)
    path.write_text(before)
    assert node.comparable({"kind": "vector", "shape": [2]}, {"kind": "vector", "shape": [2], "more": 1})
    assert not node.comparable({"kind": "vector", "shape": [3]}, {"kind": "vector", "shape": [2]})


def test_a_generator_of_another_scale_is_brought_to_that_of_the_data() -> None:
    there = {"kind": "vector", "shape": [2], "offset": [1.0, 2.0], "scales": [2.0, 4.0]}
    here = {"kind": "vector", "shape": [2], "offset": [0.0, 1.0], "scales": [1.0, 2.0]}
    samples = torch.tensor([[[1.0, 1.0]]])  # 3 and 6 in the units of the data
    assert node.rescaling(there, here)(samples).tolist() == [[[3.0, 2.5]]]
    assert node.rescaling(there, there)(samples) is samples


def test_rollback_restores_the_previous_entry_and_the_fallen_one_stays_out(root: Path) -> None:
    first = crown(root)
    before = staged.read_champion(root)
    challenge(root, GOOD)
    fallen = staged.read_champion(root)["fingerprint"]
    assert "first" in node.rollback(root)
    now = staged.read_champion(root)
    assert now == {**before, "previous": None, "rejected": [fallen]}
    assert now["fingerprint"] == first
    assert [path.name for path in (root / "champion").iterdir()] == [Path(now["weights"]).name]
    again = node.promote(CONFIG, root)
    assert again.outcome == "kept"
    assert "rolled back" in again.reason
    with pytest.raises(SeesawError, match="no previous champion"):
        node.rollback(root)


def test_results_that_do_not_belong_together_are_refused(root: Path) -> None:
    staged.result(root, "first", FAIR)
    staged.rank(root, "first")
    shutil.copy(root / layout.run("first"), root / "run.json")
    staged.data(root, seed=6)
    with pytest.raises(SeesawError, match="do not belong together"):
        node.promote(CONFIG, root)
    staged.rank(root, "gone")
    with pytest.raises(SeesawError, match="ranks gone first"):
        node.promote(CONFIG, root)


def test_a_damaged_champion_is_one_line_with_a_remedy(root: Path) -> None:
    crown(root)
    (root / "champion.json").write_text('{"variant": "first"}')
    with pytest.raises(SeesawError, match=r"lacks fingerprint.*git checkout"):
        champion.read(root)


class TestRegistry:
    """The aliases in a real sqlite store."""

    @pytest.fixture
    def held(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A promotion and a kept challenger after it, with MLflow's real store beside them."""
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            monkeypatch.delenv(name, raising=False)
        crown(root)
        challenge(root, GOOD)
        challenge(root, POOR, name="third")
        monkeypatch.undo()
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return root

    def aliases(self, root: Path) -> dict[str, str]:
        """Alias to the variant it points at."""
        client = tracking.open_store(root).client
        found = client.get_registered_model("seesaw").aliases
        return {alias: client.get_model_version("seesaw", version).tags["variant"] for alias, version in found.items()}

    def versions(self, root: Path) -> int:
        return len(tracking.open_store(root).client.search_model_versions("name='seesaw'"))

    def test_aliases_are_a_projection_of_champion_json(self, held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        expected = {"champion": "second", "previous": "first", "challenger": "third"}
        line = node.project(held)
        assert line is not None
        assert "models:/seesaw@champion" in line
        assert self.aliases(held) == expected
        node.project(held)
        assert (self.aliases(held), self.versions(held)) == (expected, 3)
        client = tracking.open_store(held).client
        client.set_registered_model_alias("seesaw", "champion", "2")
        client.delete_registered_model_alias("seesaw", "previous")
        node.project(held)
        assert (self.aliases(held), self.versions(held)) == (expected, 3)  # moved by hand: moved back
        node.rollback(held)
        assert self.aliases(held) == {"champion": "first", "challenger": "third"}
        before = files(held)
        shutil.rmtree(held / ".seesaw" / "mlflow")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{held / 'new.db'}")  # the old one is lost
        node.project(held)
        assert (self.aliases(held), self.versions(held)) == ({"champion": "first", "challenger": "third"}, 2)
        assert files(held) == before
        self.the_model_draws_what_the_generator_draws(held)

    def the_model_draws_what_the_generator_draws(self, root: Path) -> None:
        import mlflow
        import pandas

        with tracking_registry.pointed(tracking.tracking_uri(root)):
            model = mlflow.pyfunc.load_model("models:/seesaw@champion")
        drawn = model.predict(pandas.DataFrame({"n": [5, 2], "seed": [3, 4]}))
        kept = champion.kept(root)["champion"]
        program = kept.load().program(kept.entry["lane"])
        np.testing.assert_array_equal(drawn, np.concatenate([program.draw(5, 3), program.draw(2, 4)]))
        folder = next((root / ".seesaw" / "mlflow").glob("*/models/*"))
        assert not [path for path in folder.rglob("*") if path.suffix in (".pkl", ".pt", ".pth")]
        assert "stages" not in {word.split(".")[0] for word in (folder / "artifacts" / "requirements.txt").read_text().split()}

    def test_a_store_that_is_down_costs_one_line(self, held: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = files(held)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        line = node.project(held)
        assert line is not None
        assert "champion.json is right all the same" in line
        assert "\n" not in line
        assert files(held) == before
