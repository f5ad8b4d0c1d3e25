"""doctor: each broken state is staged, named, and given its remedy."""

import projects
import pytest

from stages import doctor
from stages.store import places


@pytest.fixture
def checkout(tmp_path):
    return projects.project(tmp_path / "p")


def texts(findings):
    return " ".join(f"{finding.text} -> {finding.remedy}" for finding in findings)


def test_a_good_checkout_has_no_grave_finding(checkout):
    looks = (doctor.parameters, doctor.prepared, doctor.unfinished, doctor.outputs, doctor.space)
    assert not [finding for look in looks for finding in look(checkout) if finding.grave]


def test_a_wrong_key_is_grave(checkout):
    (checkout / "params.yaml").write_text("trian: {}\n")
    (found,) = doctor.parameters(checkout)
    assert found.grave
    assert "did you mean 'train'" in found.text


def test_a_missing_pipeline_is_grave(tmp_path):
    assert "has no dvc.yaml" in texts(doctor.parameters(tmp_path))


def test_another_interpreter_on_the_path_is_named(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "`dvc` is not on PATH" in texts(doctor.interpreter(checkout))
    assert "activate" in texts(doctor.interpreter(checkout))


def test_a_cuda_build_without_a_gpu_is_named(checkout, monkeypatch):
    import torch

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "is a CUDA 13.0 build and no GPU answers here" in texts(doctor.pytorch(checkout))


def test_damaged_prepared_data_is_grave(checkout):
    projects.seesaw(checkout, "prepare")
    array = checkout / "data/prepared/test.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    (found,) = doctor.prepared(checkout)
    assert found.grave
    assert "dvc repro prepare" in found.remedy


@pytest.mark.parametrize("kind", ["side", "tune"])
def test_what_lies_beside_the_pipeline_from_before_is_named(checkout, kind):
    import os

    assert not list(doctor.beside(checkout))
    left = checkout / ".seesaw" / kind / "hinge.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    changed = (checkout / "params.yaml").stat().st_mtime
    os.utime(left, (changed + 5, changed + 5))
    assert not list(doctor.beside(checkout))
    os.utime(left, (changed - 5, changed - 5))
    (found,) = doctor.beside(checkout)
    assert not found.grave
    assert str(left.parent) in found.remedy


def test_unfinished_work_and_its_holder_are_named(checkout):
    from filelock import FileLock

    place = places.scratch(checkout) / "0123456789abcdef-2-cpu"
    place.mkdir(parents=True)
    (place / "lock").touch()
    assert "stopped midway" in texts(doctor.unfinished(checkout))
    with FileLock(place / "lock"):
        assert "is being trained by another process" in texts(doctor.unfinished(checkout))


def test_results_of_a_variant_that_is_gone_are_named(checkout):
    runs = checkout / "results/runs"
    runs.mkdir(parents=True)
    (runs / "old.json").write_text('{"fingerprint": "f"}')
    assert "rm -r results/*/old" in texts(doctor.outputs(checkout))
