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


# --- what a kill, a full disk or a bad disk leaves ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkout after `dvc repro train@hinge`."""
    folder = projects.project(tmp_path_factory.mktemp("doctor") / "p")
    projects.dvc(folder, "repro", "--quiet", "train@hinge")
    return folder


@pytest.fixture
def copied(trained, tmp_path):
    import shutil

    shutil.copytree(trained, tmp_path / "c", symlinks=True)
    return tmp_path / "c"


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_what_dvc_made_is_not_complained_about(copied):
    assert not [finding for look in (doctor.made, doctor.dvcs_own, doctor.checkpoints, doctor.half_written) for finding in look(copied)]


@pytest.mark.parametrize("name", ["runs/hinge.json", "snapshots/hinge/step-000010.safetensors"])
def test_a_flipped_bit_in_a_result_is_named_and_the_remedy_mends_it(copied, name):
    path = copied / "results" / name
    before = path.read_bytes()
    flip(path)
    (found,) = doctor.made(copied)
    assert "is not what dvc.lock records" in found.text
    assert found.remedy.startswith("dvc checkout --force results/")
    projects.dvc(copied, *found.remedy.split()[1:])
    assert path.read_bytes() == before
    assert not list(doctor.made(copied))


def test_dvc_repro_mends_a_flipped_bit_too(copied):
    path = copied / "results/snapshots/hinge/step-000010.safetensors"
    before = path.read_bytes()
    flip(path)
    projects.dvc(copied, "repro", "--quiet", "train@hinge")
    assert path.read_bytes() == before


@pytest.mark.parametrize("kept", [0, 3, 20, 700])
def test_a_lock_file_that_was_cut_off_is_named(copied, kept):
    lock = copied / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:kept] + (b"\n    c" if kept == 700 else b""))
    (found,) = doctor.made(copied)
    assert found.grave


def test_the_remedy_for_a_lock_file_that_was_cut_off_loses_nothing(copied):
    before = projects.digests(copied)
    lock = copied / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:20])
    (found,) = doctor.made(copied)
    assert (found.grave, found.remedy) == (True, "seesaw doctor --mend")
    assert "mended   dvc.lock was cut off" in projects.seesaw(copied, *found.remedy.split()[1:], expect=None).stdout
    said = projects.dvc(copied, "repro", "train@hinge").stdout
    assert "stages.cli train" not in said  # it came back from dvc's cache of runs
    assert projects.digests(copied) == before


def test_dvcs_own_files_that_were_cut_off_are_named_and_the_remedy_mends_them(copied):
    (copied / ".dvc/tmp/rwlock").write_text('{"read": {')
    (found,) = doctor.dvcs_own(copied)
    assert (found.grave, found.remedy) == (True, "seesaw doctor --mend")
    assert "mended   dvc's list of readers and writers was cut off" in projects.seesaw(copied, "doctor", "--mend", expect=None).stdout
    assert not list(doctor.dvcs_own(copied))
    empty = copied / ".dvc/cache/runs/ab" / ("ab" * 32)
    empty.mkdir(parents=True)
    (found,) = doctor.dvcs_own(copied)
    assert (found.grave, found.remedy) == (True, "seesaw doctor --mend")
    projects.seesaw(copied, "doctor", "--mend", expect=None)
    assert not empty.exists()
    assert not list(doctor.dvcs_own(copied))


@pytest.mark.parametrize("kind", ["state", "records", "snapshot"])
def test_a_damaged_checkpoint_is_named(copied, kind):
    group = next(places.scratch(copied).glob("*/group-0"))
    path = sorted(group.glob(f"{kind}-*"))[0]
    path.write_bytes(path.read_bytes()[:-9])
    (found,) = doctor.checkpoints(copied)
    assert "is damaged; training goes on from one before it" in found.text
    assert found.remedy == "dvc repro"


def test_half_written_files_are_named(copied):
    group = next(places.scratch(copied).glob("*/group-0"))
    for path in (
        group / ".state-00000004.safetensors.77.ab12cd_9",
        copied / "results/runs/.hinge.json.77.xyz01abc",
        copied / "data/.prepared-abc",
    ):
        path.mkdir() if path.name.startswith(".prepared") else path.touch()
    (found,) = doctor.half_written(copied)
    assert found.text.startswith("3 half-written files")
    assert "results/runs/.hinge.json.77.xyz01abc" in found.remedy


def test_a_folder_that_may_not_be_written_to_is_grave(copied, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: path.name != "results")
    (found,) = doctor.writable(copied)
    assert found.grave
    assert "results may not be written to" in found.text


@pytest.mark.parametrize(("free", "grave"), [(500 << 20, False), (1 << 20, True)])
def test_a_disk_with_little_room_is_named(copied, monkeypatch, free, grave):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free}))
    (found,) = doctor.space(copied)
    assert found.grave == grave
    assert "are free on this disk" in found.text


def test_a_damaged_run_is_named_and_does_not_end_the_doctor(copied):
    (copied / "results/runs/hinge.json").write_text("{")
    said = projects.seesaw(copied, "doctor", expect=None).stdout
    assert "results/runs/hinge.json is not what dvc.lock records" in said


def test_params_that_are_too_large_or_damaged_are_grave(copied):
    for content in (b"#" * (1 << 21), b"\xff\xfe", b"train: [\n"):
        (copied / "params.yaml").write_bytes(content)
        assert all(finding.grave for finding in doctor.parameters(copied))
        assert list(doctor.parameters(copied))
