"""Writing and reading the prepared folder."""

import hashlib
import io
import json

import numpy as np
import pytest

from stages.errors import SeesawError
from stages.store import arrays


@pytest.mark.parametrize("pieces", [[], [3], [2, 5, 1]])
def test_a_grown_file_is_byte_for_byte_what_numpy_saves(tmp_path, pieces):
    values = np.arange(sum(pieces) * 6, dtype=np.float32).reshape(-1, 2, 3)
    with arrays.ArrayWriter(tmp_path / "x.npy", np.float32, (2, 3)) as writer:
        start = 0
        for count in pieces:
            writer.append(values[start : start + count])
            start += count
    whole = io.BytesIO()
    np.save(whole, values)
    assert (tmp_path / "x.npy").read_bytes() == whole.getvalue()


def test_rows_of_another_shape_are_refused(tmp_path):
    with arrays.ArrayWriter(tmp_path / "x.npy", np.uint8, (2,)) as writer, pytest.raises(ValueError, match="rows of"):
        writer.append(np.zeros((1, 3)))


def _prepared(root, labelled: bool = True):
    folder = root / "data" / "prepared"
    folder.mkdir(parents=True)
    for part in arrays.PARTS:
        np.save(folder / f"{part}.npy", np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2))
        if labelled:
            np.save(folder / f"{part}_labels.npy", np.array([0, 1, 0]))
    card = {"counts": dict.fromkeys(arrays.PARTS, 3), "labels": ["a", "b"] if labelled else None, "digest": arrays.digest(folder)}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def test_parts_are_memory_maps_that_cannot_be_written(tmp_path):
    _prepared(tmp_path)
    items = arrays.part("validation", tmp_path)
    assert isinstance(items, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        items[0] = 1
    assert arrays.labels("test", tmp_path).tolist() == [0, 1, 0]
    arrays.verify(tmp_path)


def test_unlabelled_data_have_no_labels(tmp_path):
    _prepared(tmp_path, labelled=False)
    assert arrays.labels("train", tmp_path) is None


def test_the_digest_is_the_documented_one(tmp_path):
    folder = _prepared(tmp_path)
    expected = hashlib.sha256()
    for part in ("train", "validation", "test"):
        expected.update(f"{part} |u1 [3, 1, 2, 2]\n".encode() + bytes(range(12)))
        expected.update(f"{part}_labels <i8 [3]\n".encode() + np.array([0, 1, 0], "<i8").tobytes())
    assert arrays.digest(folder) == expected.hexdigest()


def test_one_flipped_bit_is_found_and_what_is_missing_or_cut_off_is_told(tmp_path):
    folder = _prepared(tmp_path)
    content = bytearray((folder / "test.npy").read_bytes())
    content[-1] ^= 1
    (folder / "test.npy").write_bytes(content)
    with pytest.raises(SeesawError, match="differs from its card: remove it and run `dvc repro prepare`"):
        arrays.verify(tmp_path)
    (folder / "test.npy").write_bytes(content[:-1])
    with pytest.raises(SeesawError, match=r"test.npy is damaged .* run `dvc repro prepare`"):
        arrays.part("test", tmp_path)
    np.save(folder / "test.npy", np.zeros((2, 1, 2, 2), np.uint8))
    with pytest.raises(SeesawError, match="has 2 rows and its card says 3"):
        arrays.part("test", tmp_path)
    (folder / "test.npy").unlink()
    with pytest.raises(SeesawError, match=r"data/prepared/test.npy is missing: run `dvc repro prepare`"):
        arrays.part("test", tmp_path)
    (folder / "card.json").unlink()
    with pytest.raises(SeesawError, match=r"card.json is missing: run `dvc repro prepare`"):
        arrays.read_card(tmp_path)
    with pytest.raises(ValueError, match="part 'trian'"):
        arrays.part("trian", tmp_path)


def test_the_games_see_images_between_minus_one_and_one_and_vectors_as_they_are():
    seen = arrays.to_model_scale(np.array([[0, 255, 51]], np.uint8))
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, [[-1.0, 1.0, -0.6]], rtol=1e-6)
    vectors = np.array([[3.5, -2.0]], np.float32)
    np.testing.assert_array_equal(arrays.to_model_scale(vectors), vectors)


def test_a_mapped_files_rows_are_read_and_not_mapped(tmp_path, monkeypatch):
    """Pieces are arrays of their own with the file's rows, so that passing through a file keeps none of its pages."""
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 64)
    values = np.arange(60, dtype=np.float32).reshape(-1, 2, 3)
    np.save(tmp_path / "x.npy", values)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    pieces = list(arrays.chunked(mapped))
    assert [len(piece) for piece in pieces] == [2, 2, 2, 2, 2]
    assert not any(isinstance(piece, np.memmap) for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), values)
    np.testing.assert_array_equal(np.concatenate(list(arrays.chunked(mapped[3:]))), values[3:])
