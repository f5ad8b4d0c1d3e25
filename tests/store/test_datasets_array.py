"""NumPy arrays: layouts, labels, and what is refused."""

import numpy as np
import pytest
from datasets_reading import opened, whole

from stages.errors import SeesawError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("array", "expected"),
    [(GREY, GREY[:, None]), (COLOUR, COLOUR.transpose(0, 3, 1, 2)), (COLOUR.transpose(0, 3, 1, 2).copy(), COLOUR.transpose(0, 3, 1, 2))],
)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_every_layout_becomes_channels_first(tmp_path, array, expected, suffix):
    path = tmp_path / f"x.{suffix}"
    np.save(path, array) if suffix == "npy" else np.savez_compressed(path, array)
    stream = opened("array", tmp_path)  # the folder's only array
    batch = whole(stream)
    assert (stream.kind, stream.shape, stream.total) == ("image", expected.shape[1:], 6)
    np.testing.assert_array_equal(batch.items, expected)


@pytest.mark.parametrize("labels", [np.array([7, 7, 2, 5, 2, 7]), np.array(["b", "b", "a", "ab", "a", "b"])])
def test_labels_are_numbered_by_their_sorted_values(tmp_path, labels):
    np.savez(tmp_path / "x.npz", images=GREY, labels=labels)
    stream = opened("array", tmp_path)
    assert stream.classes == sorted({str(label) for label in labels})
    assert whole(stream).labels.tolist() == [2, 2, 0, 1, 0, 2]


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2"])
def test_float_rows_are_vectors(tmp_path, kind):
    values = RNG.standard_normal((6, 3)).astype(kind)
    np.save(tmp_path / "x.npy", values)
    stream = opened("array", tmp_path / "x.npy")
    assert (stream.kind, stream.shape, stream.scaling) == ("vector", (3,), "standard")
    np.testing.assert_array_equal(whole(stream).items, values.astype(np.float64))


def test_memory_does_not_grow_with_the_file(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((300, 128, 128), np.uint8))  # 4.9 MB
    assert max(batch.items.nbytes for batch in opened("array", tmp_path).batches()) <= 1 << 22


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (GREY.astype(np.float32), r"x.npy is float32 \[6, 5, 4\]: float arrays are vectors .*\(x \* 255\).round\(\).astype\('uint8'\)"),
        (GREY.astype(np.int64), "int64"),
        (GREY[:, 0], r"uint8 \[6, 4\].*\.astype\('float32'\)"),
        (GREY[0, 0], r"uint8 \[4\]"),
        (np.zeros((6, 5, 4, 4), np.uint8), "neither end has 1 or 3 channels"),
        (np.zeros((6, 3, 4, 3), np.uint8), "either end could be the channels"),
        (np.zeros((6, 0, 4), np.uint8), "uint8 images"),
        (np.asfortranarray(np.ones((6, 2), np.float32)), "np.ascontiguousarray"),
        (np.array([[0.0, 1.0], [2.0, np.nan]]), "has nan in row 1, column 1"),
        (np.array([[0.0, np.inf]]), "has inf in row 0, column 1"),
        (np.ones((3, 2), complex), "complex128"),
    ],
)
def test_another_type_or_shape_is_refused_with_the_way_to_convert(tmp_path, array, words):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(SeesawError, match=words):
        whole(opened("array", tmp_path))


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was run')",))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_pickle_is_refused_and_never_run(tmp_path, suffix):
    objects = np.array([Bomb(), Bomb()], dtype=object)
    np.save(tmp_path / "x.npy", objects) if suffix == "npy" else np.savez(tmp_path / "x.npz", objects)
    with pytest.raises(SeesawError, match="holds Python objects, which are not unpickled"):
        opened("array", tmp_path)


def test_labels_that_are_pickled_or_of_another_length_or_kind_are_refused(tmp_path):
    for labels, words in [
        (np.array([Bomb()] * 6, dtype=object), "Python objects"),
        (np.arange(5), r"x.npz: labels has shape \[5\] for 6 items"),
        (np.zeros((6, 2), int), r"shape \[6, 2\]"),
        (np.zeros(6), "labels are integers or text"),
    ]:
        np.savez(tmp_path / "x.npz", images=GREY, labels=labels)
        with pytest.raises(SeesawError, match=words):
            opened("array", tmp_path)


@pytest.mark.parametrize("change", [lambda c: c[:-3], lambda c: c + b"x", lambda c: c[:20], lambda c: b"", lambda c: b"PK" + c])
def test_a_file_that_is_cut_off_or_goes_on_is_refused(tmp_path, change):
    np.save(tmp_path / "x.npy", GREY)
    (tmp_path / "x.npy").write_bytes(change((tmp_path / "x.npy").read_bytes()))
    with pytest.raises(SeesawError, match=r"x\.npy"):
        whole(opened("array", tmp_path))


def test_a_damaged_npz_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", RNG.integers(0, 256, (50, 8, 8), dtype=np.uint8))
    content = bytearray((tmp_path / "x.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(SeesawError, match=r"x\.npz"):
        whole(opened("array", tmp_path))


def test_which_array_is_meant_must_be_clear(tmp_path):
    np.savez(tmp_path / "x.npz", a=GREY, b=GREY)
    with pytest.raises(SeesawError, match=r"x.npz holds a, b: one array of items is read"):
        opened("array", tmp_path)
    np.savez(tmp_path / "y.npz", a=GREY)
    with pytest.raises(SeesawError, match=r"holds 2 arrays: set data.path to one of them"):
        opened("array", tmp_path)
    (tmp_path / "z.txt").write_text("1")
    with pytest.raises(SeesawError, match=r"no array file: \.npy, \.npz are read"):
        opened("array", tmp_path / "z.txt")
