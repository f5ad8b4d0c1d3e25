"""The prepare node: whole and byte-stable, or nothing and one line."""

import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from stages import prepare as node
from stages.errors import SeesawError
from stages.measure import features
from stages.prepare import prepare
from stages.store import arrays
from stages.store.config import Config, parse

RNG = np.random.default_rng(0)
VARIANT = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}


def _config(source: str, space: str | None = None, **data: object) -> Config:
    """A configuration of that source; the cheapest feature space that suits it unless one is asked for."""
    entries = {"source": source, **data}
    space = space or ("auto" if source in ("ring", "grid", "dirac", "table") else "random")
    return parse({"data": entries, "evaluate": {"features": space}, "compare": {"baseline": "hinge"}, "variants": {"hinge": VARIANT}})


@pytest.fixture
def pinned(monkeypatch):
    """Feature spaces are tested with their own module: here only what reaches them."""
    calls = []

    def pin(words, kind, train, train_labels, test, test_labels, classes, seed):
        calls.append((words, kind, train, train_labels, test, test_labels, classes, seed))
        return {}, {"name": "identity"}

    monkeypatch.setattr(features, "pin", pin)
    return calls


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_digits_are_prepared_as_the_formats_say(tmp_path, pinned):
    card = prepare(_config("digits"), tmp_path)
    assert json.loads((tmp_path / "data/prepared/card.json").read_text()) == card == arrays.read_card(tmp_path)
    assert (card["source"], card["kind"], card["shape"], card["split_seed"]) == ("digits", "image", [1, 8, 8], 0)
    assert card["labels"] == [str(digit) for digit in range(10)]
    assert sum(card["counts"].values()) == 1797
    for part in arrays.PARTS:
        items, labels = arrays.part(part, tmp_path), arrays.labels(part, tmp_path)
        assert (items.dtype, items.shape) == (np.uint8, (card["counts"][part], 1, 8, 8))
        assert labels.dtype == np.int64
        assert np.bincount(labels, minlength=10).tolist() == card["label_counts"][part]
    arrays.verify(tmp_path)
    assert [card[key] for key in ("offset", "scales", "modes", "skipped")] == [None, None, None, []]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["prepared"]
    words, kind, train, train_labels, test, test_labels, classes, seed = pinned[0]
    assert (words, kind, classes, seed) == ("random", "image", 10, 0)
    assert [len(train), len(train_labels), len(test), len(test_labels)] == [
        card["counts"][part] for part in ("train", "train", "test", "test")
    ]


def test_twice_in_two_processes_is_byte_identical(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    prepare(_config("digits"), tmp_path / "one")
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, 'tests'); from test_prepare import _config; "
        "from stages.prepare import prepare; prepare(_config('digits'), Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "two")],
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    one, two = _tree(tmp_path / "one" / "data"), _tree(tmp_path / "two" / "data")
    assert "prepared/features.safetensors" in one
    assert one == two


@pytest.mark.parametrize(("source", "scale"), [("ring", 1.0), ("grid", 8**0.5)])
def test_mixtures_are_stored_in_the_scale_of_their_modes(tmp_path, pinned, source, scale):
    card = prepare(_config(source, items=2000), tmp_path)
    points = arrays.part("train", tmp_path)
    assert points.dtype == np.float32
    distance = np.sqrt(((points[:, None] - np.array(card["modes"]["centres"])) ** 2).sum(2).min(1))
    assert distance.max() < 6 * card["modes"]["std"]
    assert card["scales"] == pytest.approx([scale, scale])
    assert card["offset"] == [0.0, 0.0]


def test_the_point_mass_stands_in_every_part(tmp_path, pinned):
    card = prepare(_config("dirac"), tmp_path)
    assert len(set(card["counts"].values())) == 1
    assert all(not arrays.part(part, tmp_path).any() for part in arrays.PARTS)


def test_a_table_is_standardised_by_its_train_part_and_one_value_columns_keep_scale_one(tmp_path, pinned):
    raw = np.stack([RNG.normal(1.7e9, 20, 400), RNG.exponential(1e-3, 400), np.full(400, 0.1)], axis=1)
    (tmp_path / "x.csv").write_text("time,wait,constant\n" + "\n".join(",".join(map(repr, row)) for row in raw.tolist()) + "\n")
    card = prepare(_config("table", path="x.csv"), tmp_path)
    train = arrays.part("train", tmp_path).astype(np.float64)
    np.testing.assert_allclose(train[:, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(train[:, :2].std(0), 1, atol=1e-6)
    assert not train[:, 2].any()
    assert (card["offset"][2], card["scales"][2]) == (0.1, 1.0)
    assert card["notes"] == ["column constant has one value in the train part: scale 1"]
    stored = np.concatenate([arrays.part(part, tmp_path) for part in arrays.PARTS]) * np.array(card["scales"]) + card["offset"]
    # a float32 of at most 4 standard deviations is good to 4 * 2^-24 of them
    np.testing.assert_allclose(np.sort(stored[:, 0]), np.sort(raw[:, 0]), atol=20 * 4 * 2**-23)


def test_values_too_large_for_their_square_are_refused(tmp_path, pinned):
    np.save(tmp_path / "x.npy", RNG.standard_normal((200, 2)) * [1, 1e200])
    with pytest.raises(SeesawError, match="column 1 holds values beyond"):
        prepare(_config("array", path="x.npy"), tmp_path)


def _write(folder: Path, name: str, pixels: np.ndarray, form: str = "PNG") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name, form)
    return folder / name


def _folder(root: Path, count: int = 60, channels: int = 3) -> Path:
    for index in range(count):
        pixels = RNG.integers(0, 256, (8, 8, channels), dtype=np.uint8)
        _write(root / "data" / "raw", f"{index:03d}.png", pixels if channels > 1 else pixels.repeat(3, axis=2))
    return root / "data" / "raw"


def test_grey_images_get_one_channel_and_one_colour_image_gives_all_three(tmp_path, pinned):
    raw = _folder(tmp_path, channels=1)
    assert prepare(_config("images", size=8), tmp_path)["shape"] == [1, 8, 8]
    before = {part: arrays.part(part, tmp_path)[:, 0].copy() for part in arrays.PARTS}
    _write(raw, "colour.png", np.full((8, 8, 3), (1, 2, 3), np.uint8))
    assert prepare(_config("images", size=8), tmp_path)["shape"] == [3, 8, 8]
    for part in arrays.PARTS:  # the coloured one moved nobody
        items = arrays.part(part, tmp_path)
        grey = items[(items[:, 0] == items[:, 1]).all((1, 2))][:, 0]
        np.testing.assert_array_equal(grey, before[part])
    assert prepare(_config("images", size=8, color="grey"), tmp_path)["shape"] == [1, 8, 8]


def test_items_keep_the_order_of_their_paths_and_new_ones_join_without_moving_any(tmp_path, pinned):
    raw = _folder(tmp_path)
    prepare(_config("images", size=8), tmp_path)
    before = {part: [item.tobytes() for item in arrays.part(part, tmp_path)] for part in arrays.PARTS}
    order = [np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in sorted(raw.iterdir())]
    assert all(items == [item for item in order if item in set(items)] for items in before.values())
    for index in range(6):
        _write(raw, f"a{index}.png", RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    prepare(_config("images", size=8), tmp_path)
    for part, items in before.items():
        after = [item.tobytes() for item in arrays.part(part, tmp_path)]
        assert after[: len(items)] == items  # digits sort before letters: they are appended


def test_skipped_images_are_named_in_the_card(tmp_path, pinned):
    raw = _folder(tmp_path)
    path = _write(raw, "half.jpg", RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8), "JPEG")
    path.write_bytes(path.read_bytes()[:400])
    card = prepare(_config("images", size=8, skip_broken=True), tmp_path)
    assert card["skipped"] == ["half.jpg"]
    assert sum(card["counts"].values()) == 60


def _missing(root: Path) -> Config:
    return _config("images", path="data/nowhere")


def _empty(root: Path) -> Config:
    (root / "data" / "raw").mkdir(parents=True)
    return _config("images")


def _truncated_jpeg(root: Path) -> Config:
    raw = _folder(root)
    path = _write(raw, "999.jpg", RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8), "JPEG")
    path.write_bytes(path.read_bytes()[:400])
    return _config("images", size=8)


def _idx(root: Path, images: bytes, labels: bytes | None = None) -> Config:
    raw = root / "data" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(images)
    if labels:
        (raw / "train-labels-idx1-ubyte").write_bytes(labels)
    return _config("idx")


HEADER, PIXELS = b"\0\0\x08\x03\0\0\0\x28\0\0\0\x02\0\0\0\x02", bytes(range(160))


def _table(root: Path) -> Config:
    (root / "x.csv").write_text("a,b\n" + "1,2\n" * 50 + "nan,2\n")
    return _config("table", path="x.csv")


def _unlabelled(root: Path) -> Config:
    _array(root, RNG.integers(0, 256, (60, 8, 8), dtype=np.uint8))
    return _config("array", "classifier", path="x.npz")


def _array(root: Path, array: np.ndarray, **labels: np.ndarray) -> Config:
    np.savez(root / "x.npz", images=array, **labels)
    return _config("array", path="x.npz")


BAD = {
    "a missing path": (_missing, "data.path data/nowhere does not exist"),
    "an empty folder": (_empty, "data.path data/raw holds no image"),
    "one truncated JPEG": (_truncated_jpeg, "999.jpg is no readable image"),
    "IDX of the wrong magic": (lambda root: _idx(root, b"\1" + HEADER[1:] + PIXELS), "is no IDX file"),
    "IDX cut off": (lambda root: _idx(root, HEADER + PIXELS[:-1]), "1 bytes shorter"),
    "IDX going on": (lambda root: _idx(root, HEADER + PIXELS + b"x"), "goes on after"),
    "IDX with a cut-off gzip": (lambda root: _idx(root, gzip.compress(HEADER + PIXELS)[:-9]), "is damaged"),
    "IDX labels of another length": (lambda root: _idx(root, HEADER + PIXELS, b"\0\0\x08\1\0\0\0\2ab"), "holds 2 labels"),
    "array labels of another length": (
        lambda root: _array(root, np.zeros((9, 8, 8), np.uint8), labels=np.zeros(8, int)),
        "shape [8] for 9",
    ),
    "NaN in a table": (_table, "column a, row 51 is nan"),
    "float images": (lambda root: _array(root, np.zeros((9, 8, 8))), "float arrays are vectors"),
    "a pickled array": (lambda root: _array(root, np.array([{}], dtype=object)), "Python objects"),
    "one item": (lambda root: _array(root, np.zeros((1, 8, 8), np.uint8)), "part is empty (1 items"),
    "no item": (lambda root: _array(root, np.zeros((0, 8, 8), np.uint8)), "the train part is empty (0 items"),
    "a test share of nothing": (
        lambda root: _config("digits", test=0.0),
        "the test part is empty (1797 items; data.validation 0.1, data.test 0.0)",
    ),
    "a classifier without labels": (_unlabelled, "evaluate.features is 'classifier', which needs labelled"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_one_line_and_leaves_nothing(tmp_path, case, capsys):
    make, words = BAD[case]
    config = make(tmp_path)
    with pytest.raises(SeesawError) as caught:
        prepare(config, tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not (tmp_path / "data" / "prepared").exists()
    assert not list(tmp_path.glob("data/.*"))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("failing", ["deal", "write_json"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_full_disk_leaves_the_earlier_good_data(tmp_path, pinned, monkeypatch, failing, number):
    prepare(_config("digits"), tmp_path)
    before = _tree(tmp_path / "data")

    def full(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(node, failing, full)
    with pytest.raises(SeesawError, match=r"data/prepared cannot be written \((No space left|Permission denied)"):
        prepare(_config("digits", seed=1), tmp_path)
    assert _tree(tmp_path / "data") == before


def test_a_failed_exchange_puts_the_earlier_data_back(tmp_path, pinned, monkeypatch):
    prepare(_config("digits"), tmp_path)
    before = _tree(tmp_path / "data")
    rename = Path.rename

    def only_aside(self: Path, target: Path) -> Path:
        if target.name == "prepared" and not self.name.endswith("-old"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", only_aside)
    with pytest.raises(SeesawError, match="cannot be written"):
        prepare(_config("digits", seed=1), tmp_path)
    assert _tree(tmp_path / "data") == before


def test_what_a_killed_run_left_is_swept_and_a_living_one_is_respected(tmp_path, pinned):
    (tmp_path / "data" / ".prepared-killed").mkdir(parents=True)
    (tmp_path / ".seesaw").mkdir()
    with FileLock(tmp_path / ".seesaw" / "prepare.lock"), pytest.raises(SeesawError, match="another prepare is writing data/prepared"):
        prepare(_config("dirac"), tmp_path)
    assert (tmp_path / "data" / ".prepared-killed").exists()
    prepare(_config("dirac"), tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["prepared"]


def test_a_rerun_replaces_every_file_of_the_earlier_one(tmp_path, pinned):
    prepare(_config("digits"), tmp_path)
    prepare(_config("ring", items=500), tmp_path)
    assert sorted(_tree(tmp_path / "data" / "prepared")) == ["card.json", "test.npy", "train.npy", "validation.npy"]


def test_the_seed_changes_the_split_and_nothing_else(tmp_path, pinned):
    cards = [prepare(_config("digits", seed=seed), tmp_path) for seed in (0, 1)]
    assert cards[0]["digest"] != cards[1]["digest"]
    assert sum(cards[0]["counts"].values()) == sum(cards[1]["counts"].values())


def test_reading_a_source_does_not_import_torch():
    code = (
        "import sys; from stages.prepare import datasets; from stages.store.config import Data; "
        "datasets.open_stream(Data()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
