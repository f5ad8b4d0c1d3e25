"""Folders and zips of images: the rule by which an image becomes an array, and everything that is refused."""

import contextlib
import io
import os
import socket
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from datasets_reading import encoded, opened, real_data, whole, write_images
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.errors import SeesawError
from stages.store.config import Data
from stages.store.datasets import _files, images

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
WHITE = (255, 255, 255)


def _decoded(content: bytes, size: int = 8, **options) -> np.ndarray:
    return images.decode(content, Data(size=size, **options), WHITE)


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_an_image_of_the_wanted_size_is_kept_pixel_for_pixel(form, options):
    np.testing.assert_array_equal(_decoded(encoded(COLOUR, form, **options)), COLOUR.transpose(2, 0, 1))


def test_jpeg_and_the_first_frame_of_a_gif_are_read():
    flat = np.full((8, 8, 3), (200, 40, 90), np.uint8)
    assert np.abs(_decoded(encoded(flat, "JPEG", quality=95)).astype(int) - flat.transpose(2, 0, 1)).max() <= 3
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 200)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert (_decoded(file.getvalue()) == 10).all()


def test_transparent_pixels_show_the_background_in_proportion():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:4, :, 3] = 255
    pixels[4:, :, 3] = 51  # a fifth
    got = images.decode(encoded(pixels), Data(size=8), (0, 100, 50))
    np.testing.assert_array_equal(got[:, 0, 0], [200, 0, 0])
    np.testing.assert_allclose(got[:, 7, 0], [0.2 * 200, 0.8 * 100, 0.8 * 50], atol=1)


def test_a_palette_with_a_transparent_colour_and_grey_with_alpha_show_the_background():
    palette = Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P")
    file = io.BytesIO()
    palette.save(file, "PNG", transparency=palette.getpixel((0, 0)))
    assert (_decoded(file.getvalue()) == 255).all()
    assert (_decoded(encoded(np.zeros((8, 8, 2), np.uint8))) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([[0, 257, 32896, 65535]] * 4, np.uint16)
    np.testing.assert_array_equal(_decoded(encoded(values), size=4)[0, 0], [0, 1, 128, 255])


def test_grey_is_the_luma_of_rgb():
    got = _decoded(encoded(np.full((8, 8, 3), (255, 0, 0), np.uint8)), color="grey")
    assert got.shape == (1, 8, 8)
    assert got[0, 0, 0] == round(255 * 0.299)


def test_the_middle_square_is_cut_out():
    wide = np.zeros((8, 20, 3), np.uint8)
    wide[:, 6:14] = COLOUR
    np.testing.assert_array_equal(_decoded(encoded(wide)), COLOUR.transpose(2, 0, 1))
    np.testing.assert_array_equal(_decoded(encoded(wide.transpose(1, 0, 2))), COLOUR.transpose(2, 1, 0))


def test_a_smaller_size_is_antialiased():
    board = np.indices((64, 64)).sum(0) % 2 * 255  # every second pixel: dropping pixels would give black or white
    got = _decoded(encoded(board.astype(np.uint8)), size=8)
    np.testing.assert_allclose(got, 127.5, atol=4)


def test_an_image_is_turned_as_its_exif_says():
    picture = Image.fromarray(COLOUR)
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    np.testing.assert_array_equal(_decoded(file.getvalue()), np.rot90(COLOUR, -1).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_tiny_and_narrow_images_are_filled_out(shape):
    assert (_decoded(encoded(np.full(shape, 77, np.uint8)), size=16) == 77).all()


def test_a_large_jpeg_read_at_a_fraction_of_its_size_looks_like_the_whole():
    y, x = np.mgrid[0:1024, 0:1024] / 1024
    smooth = (np.stack([x, y, (x + y) / 2], axis=2) * 255).astype(np.uint8)
    got = _decoded(encoded(smooth, "JPEG", quality=95), size=16).astype(int)
    expected = smooth.reshape(16, 64, 16, 64, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(got - expected)[:, 1:-1, 1:-1].max() <= 3


# --- folders


def test_class_folders_become_labels_and_order_is_by_path(tmp_path):
    for name in ("dog/b.png", "cat/z.png", "cat/deep/a.PNG", "ant/q.png"):
        path = tmp_path / "set" / name  # all share a folder, which is no class
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)))
    stream = opened("images", tmp_path)
    assert stream.classes == ["ant", "cat", "dog"]
    assert whole(stream).labels.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["one/a.png", "one/b.png"], ["cat/a.png", "dog/b.png", "c.png"]])
def test_images_without_two_class_folders_have_no_labels(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(COLOUR))
    stream = opened("images", tmp_path)
    assert stream.classes is None
    assert whole(stream).labels is None


def test_hidden_files_and_other_suffixes_are_passed_over_and_counted(tmp_path):
    write_images(tmp_path, 3, RNG)
    for name in (".hidden.png", "README.md", "list.txt"):
        (tmp_path / name).write_bytes(b"no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.png").write_bytes(b"no image")
    stream = opened("images", tmp_path)
    assert len(whole(stream).items) == 3
    assert stream.notes[1].startswith("images: 4 hidden files")


def test_what_lies_outside_is_never_opened(tmp_path):
    folder, outside = tmp_path / "raw", tmp_path / "secret"
    write_images(folder, 2, RNG)
    write_images(outside, 1, RNG)
    (folder / "link.png").symlink_to(outside / "image-00000.png")
    with pytest.raises(SeesawError, match=r"link.png is a link that leads out of raw"):
        opened("images", folder)
    (folder / "link.png").unlink()
    (folder / "more").symlink_to(outside, target_is_directory=True)
    with pytest.raises(SeesawError, match=r"more is a link that leads out of raw"):
        opened("images", folder)
    (folder / "more").unlink()
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "twin.png").symlink_to("image-00000.png")
    assert opened("images", folder).total == 3


def test_a_pipe_or_socket_with_the_name_of_an_image_is_refused_not_waited_for(tmp_path, monkeypatch):
    write_images(tmp_path, 1, RNG)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SeesawError, match=r"pipe.png is a pipe, device or folder"):
        opened("images", tmp_path)
    (tmp_path / "pipe.png").unlink()
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind("s.png")
        with pytest.raises(SeesawError, match=r"s.png is a pipe, device or folder"):
            opened("images", tmp_path)


def test_a_missing_path_an_empty_folder_and_a_wrong_file_say_what_to_do(tmp_path):
    with pytest.raises(SeesawError, match=r"does not exist: put your files there or set data.path"):
        opened("images", tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(SeesawError, match=r"holds no image \(.png, .*\): put your files there or set data.path"):
        opened("images", tmp_path)
    with pytest.raises(SeesawError, match=r"a folder or a .zip file is read"):
        opened("images", tmp_path / "notes.txt")
    with pytest.raises(SeesawError, match=r"data.background is 'wite': a colour name or #rrggbb"):
        opened("images", tmp_path, background="wite")


def _truncated_jpeg_among(folder: Path, count: int) -> Path:
    write_images(folder, count, RNG)
    content = encoded(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8), "JPEG")
    (folder / "image-00001x.jpg").write_bytes(content[: len(content) // 2])
    return folder


def test_one_truncated_jpeg_ends_the_run_or_is_skipped_and_named(tmp_path):
    folder = _truncated_jpeg_among(tmp_path, 20)
    with pytest.raises(SeesawError, match=r"image-00001x.jpg is no readable image \(.*truncated.*\): .* data.skip_broken: true"):
        whole(opened("images", folder))
    stream = opened("images", folder, skip_broken=True)
    assert len(whole(stream).items) == 20
    assert stream.skipped == ["image-00001x.jpg"]


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"not an image", b"%!PS-Adobe", b"P6 1 1 255 abc"])
def test_what_is_no_image_is_named_whatever_its_suffix_says(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(SeesawError, match=r"x.png is no readable image"):
        whole(opened("images", tmp_path))


def test_a_decompression_bomb_is_refused_without_a_warning(tmp_path):
    bomb = encoded(np.zeros((10000, 10000), np.uint8), compress_level=1)
    (tmp_path / "bomb.png").write_bytes(bomb)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        with pytest.raises(SeesawError, match=r"bomb.png is no readable image"):
            whole(opened("images", tmp_path))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8),
    st.booleans(),
)
def test_a_damaged_file_gives_pixels_or_a_known_error(form, changes, cut):
    content = bytearray(encoded(COLOUR, form))
    for place, value in changes:
        content[place % len(content)] = value
    content = content[: len(content) // 2] if cut else content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(images.BROKEN):
            assert _decoded(bytes(content)).shape == (3, 8, 8)


def test_a_name_with_control_characters_stays_on_one_line(tmp_path):
    (tmp_path / "a\nb\x1b[31m<b>.png").write_bytes(b"no image")
    with pytest.raises(SeesawError) as caught:
        whole(opened("images", tmp_path))
    assert "a\\nb\\x1b[31m<b>.png" in str(caught.value)
    assert str(caught.value).isprintable()


def test_thousands_of_files_are_read_in_bounded_memory(tmp_path):
    write_images(tmp_path, 2500, RNG, (2, 2))
    stream = opened("images", tmp_path, size=64)
    tracemalloc.start()
    count = sum(len(batch.items) for batch in stream.batches())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2500
    assert peak < 12e6 < 2500 * 3 * 64 * 64  # the whole would be 31 MB


# --- zips


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_a_zip_gives_what_its_folder_gives_also_when_it_lies_alone_in_a_folder(tmp_path):
    write_images(tmp_path / "raw" / "b", 5, RNG)
    write_images(tmp_path / "raw" / "a", 4, RNG)
    files = sorted((tmp_path / "raw").rglob("*.png"), reverse=True)
    (tmp_path / "zips").mkdir()
    archive = _zip(tmp_path / "zips" / "x.zip", {file.relative_to(tmp_path).as_posix(): file.read_bytes() for file in files})
    folder = opened("images", tmp_path / "raw")
    for path in (archive, archive.parent):
        stream = opened("images", path)
        assert stream.classes == folder.classes == ["a", "b"]
        for name in ("items", "labels", "contents"):
            np.testing.assert_array_equal(getattr(whole(stream), name), getattr(whole(folder), name))


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "a\\..\\x.png"])
def test_a_zip_entry_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(SeesawError, match="leads out of the archive"):
        opened("images", _zip(tmp_path / "x.zip", {"good.png": encoded(COLOUR), name: encoded(COLOUR)}))


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("x.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SeesawError, match=r"entry x.png is a link"):
        opened("images", tmp_path / "x.zip")


def test_a_zip_that_is_damaged_or_promises_too_much_is_refused(tmp_path, monkeypatch):
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(SeesawError, match=r"x.zip is no readable .zip file"):
        opened("images", tmp_path / "x.zip")
    path = _zip(tmp_path / "y.zip", {"a.png": encoded(COLOUR)})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"IDAT", b"IDAX", 1))
    with pytest.raises(SeesawError, match=r"a.png is no readable image \(Bad CRC-32"):
        whole(opened("images", path))
    monkeypatch.setattr(images, "LARGEST_FILE", 10)
    with pytest.raises(SeesawError, match="at most 10 are read"):
        whole(opened("images", _zip(tmp_path / "z.zip", {"a.png": encoded(COLOUR)})))


def test_the_emoji():
    stream = opened("images", real_data() / "emoji.zip")
    batch = whole(stream)
    assert batch.items.shape == (3583, 3, 32, 32)
    assert stream.classes is None
    assert (batch.items[:, :, 0, 0] == 255).all(1).mean() > 0.5  # most corners are transparent: white


@pytest.mark.parametrize("run", [3, 1000])
def test_packed_names_are_the_sorted_names(monkeypatch, run):
    """Whatever they are made of, in runs that are merged or in one; a name that is not UTF-8 on disk too."""
    monkeypatch.setattr(_files.Names, "RUN", run)
    given = [f"{index * 7919 % 100:03d}.png" for index in range(100)] + [
        "ä/β.png",
        "\U0001f600.png",
        "bad\udcff.png",
        "a/b/c.png",
        "\uff41.png",
    ]
    names = _files.Names(iter(given))
    assert list(names) == [names[index] for index in range(len(names))] == sorted(given)
    assert (len(names), names[-1], names[2:4]) == (len(given), max(given), sorted(given)[2:4])
    with pytest.raises(IndexError):
        names[len(given)]
    assert list(_files.Names(iter([]))) == []


def test_a_packed_name_takes_a_few_bytes_more_than_its_length():
    tracemalloc.start()
    names = _files.Names(f"{index:012d}.png" for index in range(50_000))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / len(names) < 16 + 8 + 6  # its characters, its end, and what bytearrays keep in hand
    assert peak / len(names) < 100
