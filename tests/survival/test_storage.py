"""A full disk, a folder that may not be written to, files cut off or flipped: one clear line, the good state kept and used."""

import errno
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import inside
import numpy as np
import projects
import pytest

from stages import diagnose, evaluate, prepare, train
from stages.errors import SeesawError
from stages.store import arrays, files, layout, records, scratch, tensors
from stages.store.records import Block

SOURCE = {"source": "ring", "items": 60}
CONFIG = inside.config(SOURCE)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder with prepared data; nodes run in this process."""
    inside.in_one_process(monkeypatch)
    made = inside.project(tmp_path / "p")
    prepare.prepare(CONFIG, made)
    return made


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The outputs of an undisturbed training."""
    with pytest.MonkeyPatch.context() as patch:
        inside.in_one_process(patch)
        made = inside.project(tmp_path_factory.mktemp("whole") / "p")
        prepare.prepare(CONFIG, made)
        train.train(CONFIG, "v", made, quiet=True)
        return outputs(made)


def outputs(root: Path) -> dict[str, bytes]:
    return {name: content for name, content in inside.tree(root / "results").items() if not name.startswith("executions")}


# --- writes that fail ------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_at_any_write_is_one_line_and_the_next_run_is_whole(root, monkeypatch, expected):
    """Every durable write of a training fails once, in turn; each time the run after it goes on to the same bytes."""
    number = 1
    while True:
        with monkeypatch.context() as patch:
            full, calls = inside.failing(os.fsync, number, errno.ENOSPC)
            patch.setattr(files.os, "fsync", full)
            if number > 1:
                _forget(root)
            said = complaint(root)
            if said is None:
                break
        assert "cannot be written (No space left on device): free space" in said
        assert "\n" not in said
        assert not list(root.rglob(".*.safetensors.*"))
        train.train(CONFIG, "v", root, quiet=True)
        assert outputs(root) == expected
        number += 1
    assert len(calls) == number - 1 > 20


def complaint(root: Path) -> str | None:
    """What a training says when it fails; None when it does not."""
    try:
        train.train(CONFIG, "v", root, quiet=True)
    except (SeesawError, OSError) as error:
        return str(error)
    return None


def _forget(root: Path) -> None:
    """As before the training: neither outputs nor scratch."""
    import shutil

    shutil.rmtree(root / "results", ignore_errors=True)
    shutil.rmtree(root / ".seesaw/scratch", ignore_errors=True)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
def test_a_folder_that_may_not_be_written_to_is_one_line(root, monkeypatch, number):
    def refused(*arguments: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.tempfile, "mkstemp", refused)
    with pytest.raises(SeesawError, match=r"cannot be written \(.*\): free space or mend permissions") as caught:
        train.train(CONFIG, "v", root, quiet=True)
    assert "\n" not in str(caught.value)
    assert not (root / "results").exists()


@pytest.mark.parametrize("node", ["diagnose", "evaluate", "report", "compare"])
def test_the_nodes_after_it_leave_their_earlier_output_where_a_write_fails(staged, monkeypatch, node):
    """`staged` holds a whole run; each node runs once more onto a full disk."""
    before = outputs(staged)
    full, calls = inside.failing(os.fsync, 1, errno.ENOSPC)
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SeesawError, match="No space left on device"):
        run_node(node, staged)
    assert calls
    assert outputs(staged) == before


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A tiny project made whole by its nodes, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        inside.in_one_process(patch)
        made = inside.project(tmp_path_factory.mktemp("staged") / "p")
        write_params(made)
        prepare.prepare(CONFIG, made)
        train.train(CONFIG, "v", made, quiet=True)
        for node in ("diagnose", "evaluate", "compare", "report"):
            run_node(node, made)
        return made


def write_params(root: Path) -> None:
    (root / "params.yaml").write_text(
        "variants:\n  v: {loss: {name: hinge}, penalty: {name: none}, constraint: {name: none}}\n", encoding="utf-8"
    )


def run_node(node: str, root: Path) -> None:
    from stages import compare, report

    if node == "diagnose":
        diagnose.diagnose(CONFIG, "v", root)
    elif node == "evaluate":
        evaluate.evaluate(CONFIG, "v", root)
    else:
        getattr({"compare": compare, "report": report}[node], node)(CONFIG, root)


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
from stages.cli import app, main
sys.argv = ["seesaw", *sys.argv[3:]]
main()
"""


@pytest.mark.parametrize("size", [0, 300, 2000])
def test_a_limit_of_the_file_size_is_one_line(tmp_path, size):
    """The kernel's own refusal (EFBIG), at several depths of `prepare`: the earlier data stand."""
    folder = projects.project(tmp_path / "p")
    command = [sys.executable, "-c", LIMITED, str(projects.ROOT), str(size), "prepare"]
    done = subprocess.run(command, cwd=folder, env=projects.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (folder / "data/prepared").exists()
    assert not list(folder.glob("data/.*"))


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 256 KiB; skipped where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(place)], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here: the injected faults stand for it")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk, root, monkeypatch, expected):
    """Scratch lies on a disk with less and less room; with room again the run goes on to the same bytes."""
    seen = set()
    target = root / ".seesaw"
    _replace_by_link(target, small_disk)
    filler = small_disk / "filler"
    for free in (4, 12, 20, 40):
        filler.write_bytes(bytes(1024 * max(0, 250 - free)))
        seen.add(complaint(root))
    filler.unlink()
    train.train(CONFIG, "v", root, quiet=True)
    assert seen - {None}
    assert all("No space left on device" in said for said in seen - {None})
    assert outputs(root) == expected


def _replace_by_link(target: Path, place: Path) -> None:
    import shutil

    shutil.rmtree(target, ignore_errors=True)
    target.symlink_to(place)


def test_a_native_writers_full_disk_is_the_same_line(small_disk):
    (small_disk / "filler").write_bytes(bytes(200 * 1024))
    with pytest.raises(SeesawError, match=r"cannot be written \(.*No space left"):
        tensors.write(small_disk / "a.safetensors", {"a": np.zeros(100_000)})
    values = np.random.default_rng(0).normal(size=(100, 30, 20))
    block = Block(tuple((f"m{index}", "") for index in range(30)), np.arange(100), np.arange(100), values)
    with pytest.raises(SeesawError, match="No space left"):
        records.write(small_disk / "r.parquet", range(20), [block])
    with pytest.raises(SeesawError, match="No space left"):
        records.save_blocks(small_disk / "b.npz", {"steps": block})
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler"]


# --- files that are damaged ------------------------------------------------------------------------------------------------------


def harm(path: Path, how: str, rng: random.Random) -> None:
    """Cut a file off, or flip one bit in it."""
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)


@pytest.fixture(scope="module")
def midway(tmp_path_factory):
    """A group stopped at step 4 of 6, saved at every step: its project, and its scratch folder."""
    with pytest.MonkeyPatch.context() as patch:
        from stages import worker

        inside.in_one_process(patch)
        made = inside.project(tmp_path_factory.mktemp("midway") / "p")
        prepare.prepare(CONFIG, made)
        patch.setattr(worker, "CHECKPOINT_SECONDS", -1.0)
        full, _ = inside.failing(scratch.Checkpoints.save, 5, errno.EIO)
        patch.setattr(scratch.Checkpoints, "save", full)
        with pytest.raises(OSError, match="Input/output"):
            train.train(CONFIG, "v", made, quiet=True)
        return made


@pytest.mark.parametrize("how", ["cut", "flip"])
@pytest.mark.parametrize("name", ["state", "records", "snapshot", "continuation"])
def test_a_damaged_checkpoint_is_never_used_and_the_run_is_whole(tmp_path, midway, expected, monkeypatch, how, name):
    """Every file of its kind is harmed once, at a random place; the run after it ends with the undisturbed bytes."""
    import shutil

    inside.in_one_process(monkeypatch)
    group = next((midway / ".seesaw/scratch").glob("*/group-0"))
    rng = random.Random(f"{how} {name}")  # noqa: S311
    for path in sorted(group.glob(f"{name}-*")):
        made = tmp_path / path.stem
        shutil.copytree(midway, made, symlinks=True)
        harmed = made / path.relative_to(midway)
        harm(harmed, how, rng)
        train.train(CONFIG, "v", made, quiet=True)
        assert outputs(made) == expected, path.name


def test_a_finished_group_that_was_damaged_since_is_made_again(root, expected, monkeypatch):
    """The outputs were deleted (dvc does so) and the scratch that should give them back is damaged: no command of a person is needed."""
    import shutil

    train.train(CONFIG, "v", root, quiet=True)
    shutil.rmtree(root / "results")
    group = next((root / ".seesaw/scratch").glob("*/group-0"))
    harm(group / "snapshot-00000003.safetensors", "flip", random.Random(5))  # noqa: S311
    train.train(CONFIG, "v", root, quiet=True)
    assert outputs(root) == expected


@pytest.mark.parametrize("name", ["started.json", "group-0/cost.json", "group-0/job.json"])
def test_small_files_of_scratch_that_are_damaged_are_made_again(root, expected, monkeypatch, name):
    import shutil

    train.train(CONFIG, "v", root, quiet=True)
    shutil.rmtree(root / "results")
    next((root / ".seesaw/scratch").glob("*-*")).joinpath(name).write_bytes(b"{")
    train.train(CONFIG, "v", root, quiet=True)
    assert outputs(root) == expected


@pytest.mark.parametrize("part", arrays.PARTS)
def test_no_node_reads_prepared_data_that_differ_from_their_card(tmp_path, staged, part):
    import shutil

    made = tmp_path / "p"
    shutil.copytree(staged, made, symlinks=True)
    before = outputs(made)
    array = made / layout.PREPARED / f"{part}.npy"
    content = bytearray(array.read_bytes())
    content[-3] ^= 4
    array.write_bytes(content)
    for node in (
        lambda: train.train(CONFIG, "v", made, quiet=True),
        lambda: run_node("diagnose", made),
        lambda: run_node("evaluate", made),
    ):
        with pytest.raises(SeesawError, match="data/prepared differs from its card: remove it and run `dvc repro prepare`"):
            node()
    assert outputs(made) == before


@pytest.mark.parametrize("how", ["cut", "flip"])
def test_damaged_results_are_one_line_or_the_same_answer(tmp_path, staged, how):
    """A reader says in one line that a file is damaged. What a flipped bit leaves readable is found by DVC's digests."""
    import shutil

    rng = random.Random(how)  # noqa: S311
    for name in ("runs/v.json", "records/v.parquet", "snapshots/v/step-000003.safetensors", "snapshots/v/continuation-000006.safetensors"):
        made = tmp_path / name.replace("/", "-")
        shutil.copytree(staged, made, symlinks=True)
        harm(made / "results" / name, "cut", rng)
        with pytest.raises(SeesawError, match=r"(?s)damaged|missing") as caught:
            run_node("diagnose", made)
        assert "\n" not in str(caught.value)


def test_what_a_killed_writer_left_goes_with_the_next_write_and_a_living_one_is_respected(tmp_path):
    """The folder of an output may be another stage's dependency: a file more in it would be another result."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    dead, alive = (tmp_path / f".a[1].json.{pid}.abcdefgh" for pid in (done.pid, os.getpid()))
    other = tmp_path / f".b.json.{done.pid}.abcdefgh"
    for path in (dead, alive, other):
        path.touch()
    files.write_json(tmp_path / "a[1].json", 1)
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()


def test_temporary_files_of_a_killed_run_are_not_taken_for_results(root, expected):
    """What a kill left beside its place (a dot, a random end) is neither read nor counted."""
    train.train(CONFIG, "v", root, quiet=True)
    group = next((root / ".seesaw/scratch").glob("*/group-0"))
    for name in (".state-00000009.safetensors.x1", ".records-00000009.npz.x2", ".snapshot-00000009.safetensors.x3"):
        (group / name).write_bytes(b"half")
    assert scratch.Checkpoints(group).latest()[0] == 6
    assert tempfile.gettempdir()
