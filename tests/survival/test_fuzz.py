"""Every reader of a file that somebody else may have made, given damaged and invented ones: an answer or one clear line, never more.

`INPUTS` is the number of inputs for each reader; docs/reliability.md reports it.
"""

import gzip
import io
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.errors import SeesawError
from stages.store import given as samples
from stages.store import records, scratch, tensors
from stages.store.config import Data, read_config
from stages.store.datasets import open_stream
from stages.store.files import read_json
from stages.store.records import Block

INPUTS = 150
BOUNDED = settings(max_examples=INPUTS, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
RNG = np.random.default_rng(1)
MEMORY = 64 << 20  # what one small input may at most become


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]}), file)
    return file.getvalue()


IDX = b"\0\0\x08\x03" + struct.pack(">3I", 3, 2, 2) + bytes(range(12))
PICTURE = encoded(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8))
NPZ = zipped(**{"x.npy": saved(RNG.normal(size=(4, 2))), "labels.npy": saved(np.array([0, 1, 0, 1]))})
SEEDS: dict[str, tuple[str, str, list[bytes]]] = {  # reader: source, file name, good files
    "idx": ("idx", "t-images-idx3-ubyte", [IDX, gzip.compress(IDX)]),
    "npy": ("array", "x.npy", [saved(RNG.normal(size=(4, 2))), saved(np.zeros((2, 4, 4), np.uint8))]),
    "npz": ("array", "x.npz", [NPZ]),
    "csv": ("table", "x.csv", [b"a,b\n1,2\n3,4\n", b"a;b;c\n1;x;2e5\n", b'"a\nb",c\n1,2\n']),
    "parquet": ("table", "x.parquet", [parquet()]),
    "png": ("images", "i/x.png", [PICTURE]),
    "jpeg": ("images", "i/x.jpg", [encoded(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), "JPEG")]),
    "webp": ("images", "i/x.webp", [encoded(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), "WEBP")]),
    "gif": ("images", "i/x.gif", [encoded(RNG.integers(0, 256, (8, 8), dtype=np.uint8), "GIF")]),
    "bmp": ("images", "i/x.bmp", [encoded(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), "BMP")]),
    "zip": ("images", "x.zip", [zipped(**{"a/1.png": PICTURE, "b/2.png": PICTURE})]),
}


@st.composite
def harmed(draw: Callable, good: list[bytes]) -> bytes:
    """A good file with bytes replaced, put in or taken out, cut off or doubled; or bytes of no meaning."""
    content = bytearray(draw(st.sampled_from(good)))
    kind = draw(st.sampled_from(["bytes", "cut", "doubled", "inserted", "large", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=200))
    if kind == "cut":
        return bytes(content[: draw(st.integers(0, len(content)))])
    if kind == "doubled":
        return bytes(content * 2)
    at = draw(st.integers(0, len(content) - 1))
    if kind == "inserted":
        return bytes(content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:])
    if kind == "large":  # a length that promises gigabytes
        content[at : at + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80"]))
        return bytes(content)
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


def answered(read: Callable[[], object]) -> None:
    """An answer, or one line that a person can act on."""
    said = "an answer is good too"
    try:
        read()
    except SeesawError as error:
        said = str(error)
    assert len(said) > 15
    assert said.isprintable()


def at(folder: str, name: str, content: bytes) -> Path:
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", SEEDS)
def test_a_source_answers_or_says_one_line(reader):
    source, name, good = SEEDS[reader]

    @BOUNDED
    @given(harmed(good))
    def tried(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = at(folder, name, content)
            data = Data(source=source, path=str(path.parent if source == "images" and path.suffix != ".zip" else path), size=8)

            def read() -> None:
                total = 0
                for batch in open_stream(data).batches():
                    total += batch.items.nbytes
                    assert batch.items.dtype in (np.uint8, np.float64)
                    assert np.isfinite(batch.items).all()
                    if total > MEMORY:
                        return

            answered(read)

    tried()


TINY = """data: {source: ring, items: 60}
train: {steps: 10, rules: {beta1: 0.5}}
compare: {baseline: a}
variants:
  a: {loss: {name: hinge}, penalty: {name: r1, weight: 1e-3}, constraint: {name: none}}
"""
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@BOUNDED
@given(harmed([TINY.encode()]))
def test_params_that_were_harmed(content):
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "params.yaml", content)
        answered(lambda: read_config(path))


@BOUNDED
@given(st.dictionaries(st.sampled_from(["data", "train", "evaluate", "diagnose", "compare", "report", "variants", "x"]), PLAIN, max_size=4))
def test_params_of_other_shapes(values):
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "params.yaml", yaml.safe_dump(values).encode())
        answered(lambda: read_config(path))


def made(write: Callable[[Path], None], name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array(True)}
STATES = [made(lambda path: tensors.seal(path, ARRAYS), "s"), made(lambda path: tensors.write(path, ARRAYS), "s")]


@BOUNDED
@given(harmed(STATES))
def test_checkpoints_and_snapshots(content):
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "state-00000003.safetensors", content)
        answered(lambda: tensors.read(path))


@BOUNDED
@given(harmed(STATES[:1]))
def test_a_sealed_checkpoint_is_what_it_was_or_is_refused(content):
    with tempfile.TemporaryDirectory() as folder:
        at(folder, "state-00000003.safetensors", content)
        found = scratch.Checkpoints(Path(folder)).latest()
        if found is not None and b"sha256" in content:
            assert {name: array.tolist() for name, array in found[1].items()} == {name: array.tolist() for name, array in ARRAYS.items()}


BLOCK = Block((("d_loss", ""), ("g_loss", "out")), np.array([1, 2]), np.array([5, 6]), RNG.normal(size=(2, 2, 2)))
PARQUETS = [made(lambda path: records.write(path, [0, 1], [BLOCK]), "r")]
BLOCKS = [made(lambda path: records.save_blocks(path, {"steps": BLOCK}), "b.npz")]


@BOUNDED
@given(harmed(PARQUETS))
def test_records(content):
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "r.parquet", content)
        answered(lambda: records.read(path))


@BOUNDED
@given(harmed(BLOCKS))
def test_records_of_a_checkpoint(content):
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "records-00000003.npz", content)
        answered(lambda: records.load_blocks(path))


@BOUNDED
@given(harmed([b'{"digest": "x", "counts": {"train": 3}}']))
def test_json(content):
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "card.json", content)
        answered(lambda: read_json(path, "run `dvc repro`"))


@pytest.mark.filterwarnings("ignore")
@BOUNDED
@given(harmed([saved(np.zeros((3, 2), np.float32)), saved(np.ones((3, 2)))]))
def test_samples_of_another_generator(content):
    card = {"kind": "vector", "shape": [2], "offset": [0.0, 0.0], "scales": [1.0, 1.0]}
    with tempfile.TemporaryDirectory() as folder:
        path = at(folder, "s.npy", content)
        answered(lambda: samples.read(Data(source="ring"), card, path))


READERS = [*SEEDS, "params harmed", "params shapes", "safetensors", "checkpoint", "records", "records npz", "json", "samples"]


def test_the_number_of_inputs_is_the_one_that_is_reported():
    text = (Path(__file__).resolve().parents[2] / "docs/reliability.md").read_text()
    assert f"{INPUTS * len(READERS):,} inputs" in text
