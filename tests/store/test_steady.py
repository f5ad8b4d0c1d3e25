"""A params.yaml that is edited while a node runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stages.errors import SeesawError
from stages.store import steady
from stages.store.config import read_config, read_yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DVC_STAGE", "train@hinge")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def test_the_keys_are_those_that_dvc_records() -> None:
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    found = {name: stage.get("do", stage).get("params", []) for name, stage in stages.items() if name != "check"}
    assert {name: tuple(key.replace("${key}", "{variant}") for key in keys) for name, keys in found.items()} == steady.KEYS


def test_nothing_is_said_of_what_stayed_or_is_another_nodes(place: Path) -> None:
    before = read_config(place / "params.yaml")
    path = place / "params.yaml"
    path.write_text(re.sub(r"(?m)^(report:.*\n  language: )en", r"\1zh", path.read_text()))
    assert read_config(path) != before
    steady.insist(before, place, "train", "hinge")
    with pytest.raises(SeesawError, match=r"edited while this stage ran \(report\)"):
        steady.insist(before, place, "report")


@pytest.mark.parametrize("node", sorted(steady.KEYS))
def test_each_node_sees_every_key_of_its_own(place: Path, node: str) -> None:
    now = read_config(place / "params.yaml")
    for key in steady.KEYS[node]:
        first, _, rest = key.format(variant="hinge").partition(".")
        part = getattr(now, first)
        changed = (
            {name: one for name, one in part.items() if name != "hinge"} if isinstance(part, dict) else replace(part, **_other(part, rest))
        )
        with pytest.raises(SeesawError, match=re.escape(key.format(variant="hinge"))):
            steady.insist(replace(now, **{first: changed}), place, node, "hinge")


def _other(part: object, name: str) -> dict[str, object]:
    chosen = name or next(iter(vars(part)))
    return {chosen: f"not {getattr(part, chosen)}"}


def test_a_file_that_is_no_longer_valid_is_the_persons_mistake(place: Path) -> None:
    before = read_config(place / "params.yaml")
    (place / "params.yaml").write_text("train: [")
    with pytest.raises(SeesawError, match=r"params\.yaml"):
        steady.insist(before, place, "train", "hinge")


def test_only_dvc_writes_values_down(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_config(place / "params.yaml")
    (place / "params.yaml").unlink()
    monkeypatch.delenv("DVC_STAGE")
    steady.insist(before, place, "train", "hinge")
