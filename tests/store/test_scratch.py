"""When finished work in progress may go."""

import hashlib
import json

import pytest
from filelock import FileLock

from stages.store import layout, places, scratch

FINGERPRINT = "ab" * 32


@pytest.fixture
def finished(tmp_path):
    """A result whose scratch is complete, recorded in dvc.lock; its scratch folder."""
    (tmp_path / "params.yaml").touch()
    run = tmp_path / layout.run("hinge")
    run.parent.mkdir(parents=True)
    run.write_text(json.dumps({"fingerprint": FINGERPRINT}))
    place = scratch.folder(places.scratch(tmp_path), FINGERPRINT, "2.0", "cpu")
    place.mkdir(parents=True)
    (tmp_path / "dvc.lock").write_text(f"md5: {hashlib.md5(run.read_bytes(), usedforsecurity=False).hexdigest()}\n")
    return place


def test_it_goes_once_dvc_has_recorded_the_outputs(finished, tmp_path):
    assert scratch.sweep(tmp_path) == [finished]
    assert not finished.exists()
    assert scratch.sweep(tmp_path) == []


def test_it_stays_until_then(finished, tmp_path):
    (tmp_path / "dvc.lock").write_text("md5: of another run\n")
    assert scratch.sweep(tmp_path) == []
    (tmp_path / "dvc.lock").unlink()
    assert scratch.sweep(tmp_path) == []
    assert finished.exists()


def test_it_stays_while_somebody_makes_it_again(finished, tmp_path):
    with FileLock(finished / "lock"):
        assert scratch.sweep(tmp_path) == []
    assert finished.exists()


def test_another_result_stays(finished, tmp_path):
    other = finished.with_name("cd" * 16 + "-2.0-cpu")
    other.mkdir()
    scratch.sweep(tmp_path)
    assert other.exists()
