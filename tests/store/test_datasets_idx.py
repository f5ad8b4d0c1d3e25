"""IDX files: what is read, and every way in which they can be wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from datasets_reading import idx, opened, real_data, whole

from stages.errors import SeesawError

IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([1, 3, 3, 9, 1], dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_pairs_are_pooled_in_order_of_name_with_labels_as_indices_of_class_names(tmp_path, suffix):
    idx(tmp_path / f"train-images-idx3-ubyte{suffix}", IMAGES)
    idx(tmp_path / f"train-labels-idx1-ubyte{suffix}", LABELS)
    idx(tmp_path / f"t10k-images.idx3-ubyte{suffix}", IMAGES[:2] + 100)
    idx(tmp_path / f"t10k-labels.idx1-ubyte{suffix}", LABELS[:2] + 1)
    stream = opened("idx", tmp_path)
    batch = whole(stream)
    assert stream.total == 7
    np.testing.assert_array_equal(batch.items, np.concatenate([IMAGES[:2] + 100, IMAGES])[:, None])
    assert stream.classes == ["1", "2", "3", "4", "9"]
    assert [int(stream.classes[label]) for label in batch.labels] == [2, 4, 1, 3, 3, 9, 1]


def test_a_single_file_is_read_with_the_labels_beside_it_and_a_plain_file_before_its_gzipped_twin(tmp_path):
    path = idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    assert opened("idx", path).classes is None
    idx(tmp_path / "train-labels-idx1-ubyte.gz", LABELS)
    assert opened("idx", path).classes == ["1", "3", "9"]
    idx(tmp_path / "train-images-idx3-ubyte.gz", IMAGES)
    assert opened("idx", tmp_path).total == 5


def test_three_channels_are_read(tmp_path):
    colour = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    stream = opened("idx", idx(tmp_path / "images-idx4-ubyte", colour))
    assert stream.shape == (3, 4, 4)
    np.testing.assert_array_equal(whole(stream).items, colour)


def _damage(folder: Path, change) -> Path:
    path = idx(folder / "train-images-idx3-ubyte", IMAGES)
    path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: b"\x89PNG" + content[4:], "train-images-idx3-ubyte is no IDX file: it begins with 89504e47"),
        (lambda content: b"", "is no IDX file: it begins with nothing"),
        (lambda content: b"\0\0\x0d\x03" + content[4:], "IDX type 0x0d: only 0x08"),
        (lambda content: b"\0\0\x08\x01" + content[4:], "images need [N, H, W]"),
        (lambda content: content[:9], "ends within its header"),
        (lambda content: content[:-1], "is 1 bytes shorter than its header says ([5, 2, 3])"),
        (lambda content: content + b"x", "goes on after the [5, 2, 3] values"),
        (lambda content: gzip.compress(content)[:-9], "is damaged"),
        (lambda content: gzip.compress(content)[:20] + b"\0" * 9, "is damaged"),
        (lambda content: content[:4] + b"\xff" * 4 + content[8:], "shorter than its header says"),
        (lambda content: content[:4] + b"\xff" * 12 + content[16:], "promises items of [4294967295, 4294967295]"),
    ],
)
def test_a_damaged_file_ends_with_one_line_that_names_it(tmp_path, change, words):
    with pytest.raises(SeesawError) as caught:
        whole(opened("idx", _damage(tmp_path, change)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_another_length_are_told_before_any_image_is_read(tmp_path):
    idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    idx(tmp_path / "train-labels-idx1-ubyte", LABELS[:4])
    with pytest.raises(SeesawError, match="train-labels-idx1-ubyte holds 4 labels and train-images-idx3-ubyte 5 images"):
        opened("idx", tmp_path)


def test_truncated_labels_labels_without_images_and_pairs_that_do_not_fit(tmp_path):
    idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    labels = idx(tmp_path / "train-labels-idx1-ubyte", LABELS)
    labels.write_bytes(labels.read_bytes()[:-2])
    with pytest.raises(SeesawError, match="train-labels-idx1-ubyte is 2 bytes shorter"):
        opened("idx", tmp_path)
    idx(labels, LABELS)
    idx(tmp_path / "more-images-idx3-ubyte", IMAGES)
    with pytest.raises(SeesawError, match="more-images-idx3-ubyte has no labels beside it"):
        opened("idx", tmp_path)
    idx(tmp_path / "more-images-idx3-ubyte", IMAGES[:, :, :2])
    with pytest.raises(SeesawError, match="pooled files must agree"):
        opened("idx", tmp_path)
    (tmp_path / "more-images-idx3-ubyte").rename(tmp_path / "more-labels-idx1-ubyte")
    with pytest.raises(SeesawError, match="more-labels-idx1-ubyte has no file of images beside it: add more-images-idx3-ubyte"):
        opened("idx", tmp_path)


def test_a_folder_without_idx_files_says_what_to_do(tmp_path):
    with pytest.raises(SeesawError, match=r"holds no IDX file .* set data.path"):
        opened("idx", tmp_path)


def test_the_whole_of_mnist():
    stream = opened("idx", real_data() / "mnist")
    batch = whole(stream)
    assert batch.items.shape == (70000, 1, 28, 28)
    assert stream.classes == [str(digit) for digit in range(10)]
    assert batch.items[10000:].mean() / 255 == pytest.approx(0.1307, abs=5e-5)  # the known mean of the 60,000, which follow t10k by name
