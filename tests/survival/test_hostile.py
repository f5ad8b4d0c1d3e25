"""Files and names made to do harm: nothing runs code, leaves the folder, acts on the terminal or takes more than a bounded memory."""

import ast
import gzip
import os
import pickle
import resource
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import projects
import pytest
from PIL import Image

from stages.errors import SeesawError
from stages.store import arrays, given, programs, records, scratch, tensors
from stages.store.config import Data, Evaluate, read_config
from stages.store.datasets import open_stream
from stages.store.records import Block

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 3 << 30  # address space of a reader with a bomb: libraries take one gibibyte of it
BOUND = 400 << 20  # what reading a bomb may add to the resident memory


class Evil:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


# --- code in files ---------------------------------------------------------------------------------------------------------------


def object_array(folder: Path) -> np.ndarray:
    made = np.empty(1, dtype=object)
    made[0] = Evil(folder)
    return made


def readers() -> dict:
    """Everything of ours that opens a file which somebody else may have made."""
    return {
        "array .npy": ("x.npy", lambda path: list(open_stream(Data(source="array", path=str(path))).batches())),
        "array .npz": ("x.npz", lambda path: list(open_stream(Data(source="array", path=str(path))).batches())),
        "idx": ("t-images-idx3-ubyte", lambda path: list(open_stream(Data(source="idx", path=str(path))).batches())),
        "table": ("x.parquet", lambda path: list(open_stream(Data(source="table", path=str(path))).batches())),
        "images": ("i/x.png", lambda path: list(open_stream(Data(source="images", path=str(path.parent))).batches())),
        "zip": ("x.zip", lambda path: list(open_stream(Data(source="images", path=str(path))).batches())),
        "params": ("params.yaml", read_config),
        "snapshot": ("s.safetensors", tensors.read),
        "checkpoint": ("state-00000001.safetensors", lambda path: scratch.Checkpoints(path.parent).latest() or refuse()),
        "records": ("r.parquet", records.read),
        "records of a checkpoint": ("records-00000001.npz", records.load_blocks),
        "samples": ("s.npy", lambda path: given.read(Data(source="ring"), {"kind": "vector", "shape": [2]}, path)),
        "prepared": ("data/prepared/train.npy", lambda path: arrays.digest(path.parent)),
    }


def refuse() -> None:
    raise SeesawError("no checkpoint is whole")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["pickle", "npy", "npz"])
@pytest.mark.parametrize("reader", readers())
def test_a_pickle_is_never_run(tmp_path, reader, form):
    name, read = readers()[reader]
    path, trace = tmp_path / "f" / name, tmp_path / "ran"
    path.parent.mkdir(parents=True)
    if form == "pickle":
        path.write_bytes(pickle.dumps(Evil(trace)))
    else:
        with path.open("wb") as file:
            np.save(file, object_array(trace)) if form == "npy" else np.savez(file, x=object_array(trace))
    with pytest.raises(SeesawError) as caught:
        read(path)
    assert str(caught.value).isprintable()
    assert not trace.exists()


def test_no_module_can_unpickle_or_evaluate():
    """pickle, marshal, shelve, eval, exec, torch.load, allow_pickle, unsafe YAML loaders: none stands anywhere in the code."""
    for path in sorted((ROOT / "stages").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                _check_call(node, path)


def test_numpy_reads_no_objects_from_raw_bytes(tmp_path):
    """`np.fromfile` takes bytes as numbers: mapped arrays are read with it."""
    (tmp_path / "raw").write_bytes(bytes(64))
    with pytest.raises((ValueError, OSError)):
        np.fromfile(tmp_path / "raw", dtype=object)


def _check_call(node: ast.Call, path: Path) -> None:
    called = ast.unparse(node.func)
    assert called not in {"eval", "exec", "torch.load", "yaml.unsafe_load", "yaml.full_load"}, f"{path}: {called}"
    for word in node.keywords:
        if word.arg in ("allow_pickle", "weights_only"):
            assert isinstance(word.value, ast.Constant)
            assert word.value.value is (word.arg == "weights_only"), path


@pytest.mark.parametrize("suffix", ["pt2", "pt"])
def test_a_program_is_loaded_only_on_the_users_word(tmp_path, suffix):
    """A crafted archive holds a pickle that makes a folder: without `trust` it is not opened, not even to look."""
    trace = tmp_path / "ran"
    path = tmp_path / f"p.{suffix}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p/data.pkl", pickle.dumps(Evil(trace)))
        archive.writestr("p/version", "3")
    with pytest.raises(SeesawError, match=r"set evaluate\.trust to its sha256 \(or to true\) if you trust it"):
        programs.load(Evaluate(features=f"file:{path}"))
    with pytest.raises(SeesawError, match=r"is not the file that evaluate\.trust names.*It was not opened"):
        programs.load(Evaluate(features=f"file:{path}", trust="0" * 64))
    assert not trace.exists()


TAGS = ["!!python/object/apply:os.mkdir [%s]", "!!python/name:os.system", "!!python/module:os", "!!python/object/new:os.mkdir {args: [%s]}"]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_in_yaml_is_refused(tmp_path, tag):
    trace = tmp_path / "ran"
    path = tmp_path / "params.yaml"
    path.write_text("data: " + tag.replace("%s", str(trace)) + "\n")
    with pytest.raises(SeesawError, match="not readable YAML"):
        read_config(path)
    assert not trace.exists()


# --- bombs: read in a process whose memory is limited --------------------------------------------------------------------------------

MEASURED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from stages.errors import SeesawError
from stages.store.config import Data, read_config
from stages.store.datasets import open_stream
import numpy, PIL.Image, pyarrow.parquet, pyarrow.csv
from stages.store.datasets import array, idx, images, table
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[4]),) * 2)
try:
    if sys.argv[2] == "params":
        read_config(Path(sys.argv[3]))
    else:
        items = 0
        for batch in open_stream(Data(source=sys.argv[2], path=sys.argv[3], size=8)).batches():
            items += len(batch.items)
            if items > 2000000:
                break
        print("items", items)
except SeesawError as error:
    print("refused", error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def measured(source: str, path: Path) -> tuple[str, int]:
    """What a reader says to a file, and the bytes that it added to its resident memory."""
    command = [sys.executable, "-c", MEASURED, str(ROOT), source, str(path), str(MEMORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    *said, grown = done.stdout.strip().splitlines()
    return " ".join(said), int(grown) * 1024


def png(width: int, height: int) -> bytes:
    """A PNG that promises so many pixels and holds none of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


def bomb_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.png", "w", force_zip64=True) as entry:
        for _ in range(40):
            entry.write(bytes(8 << 20))  # 320 MiB of zeros in a third of one


def lying_zip(path: Path) -> None:
    """An entry whose header promises a small size and whose content is large."""
    bomb_zip(path)
    content = path.read_bytes().replace(struct.pack("<I", 40 * (8 << 20)), struct.pack("<I", 100))
    path.write_bytes(content)


def bomb_gzip(path: Path) -> None:
    """IDX: four thousand million images of 8x8 promised; zeros follow."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">3I", 0xFFFFFFFF, 8, 8))
        for _ in range(32):
            file.write(bytes(8 << 20))


def bomb_npz(path: Path) -> None:
    """An array of a tebibyte promised, a quarter of a gibibyte of zeros there."""
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (17179869184, 8, 8), }"
    head = head.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w", force_zip64=True) as entry:
        entry.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head)
        for _ in range(32):
            entry.write(bytes(8 << 20))


def long_line(path: Path) -> None:
    """A CSV whose one line goes on for 200 MB."""
    with path.open("wb") as file:
        file.write(b"a,b\n")
        for _ in range(50):
            file.write(b"1" * (4 << 20))


def parquet_bomb(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, pa.schema([("a", pa.float64())]), compression="zstd") as writer:
        for _ in range(8):
            writer.write_table(pa.table({"a": np.zeros(1 << 21)}), row_group_size=1 << 21)


def deep(path: Path) -> None:
    path.write_text("data: " + "[" * 200_000)


def many_aliases(path: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"] + [
        f"{chr(98 + k)}: &{chr(98 + k)} [{', '.join(['*' + chr(97 + k)] * 9)}]" for k in range(9)
    ]
    path.write_text("\n".join(lines))


def hundred_megabytes(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"data: {source: ring}\n#".ljust(1 << 20, b"x") + b"\n")


BOMBS = {
    "PNG of 4 gigapixels": ("images", "i/a.png", lambda path: path.write_bytes(png(65535, 65535))),
    "PNG at the limit of pixels": ("images", "i/a.png", lambda path: path.write_bytes(png(9000, 9000))),
    "zip of zeros": ("images", "a.zip", bomb_zip),
    "zip that lies about sizes": ("images", "a.zip", lying_zip),
    "gzipped IDX": ("idx", "t-images-idx3-ubyte.gz", bomb_gzip),
    "NumPy archive": ("array", "x.npz", bomb_npz),
    "CSV of one line": ("table", "x.csv", long_line),
    "Parquet of zeros": ("table", "x.parquet", parquet_bomb),
    "YAML of 100 MB": ("params", "params.yaml", hundred_megabytes),
    "YAML nested without end": ("params", "params.yaml", deep),
    "YAML of aliases": ("params", "params.yaml", many_aliases),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_read_in_bounded_memory(tmp_path, name):
    source, place, write = BOMBS[name]
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    write(path)
    said, grown = measured(source, path.parent if place.startswith("i/") else path)
    assert said.startswith(("refused", "items")), said
    assert grown < BOUND, f"{said}: {grown / 2**20:.0f} MiB"


# --- out of the folder, and things that are no files ------------------------------------------------------------------------------


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    return path


@pytest.mark.parametrize(("source", "name"), [("idx", "t-images-idx3-ubyte"), ("array", "x.npy"), ("table", "x.csv"), ("images", "x.png")])
@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
def test_a_folder_gives_nothing_from_outside_and_waits_for_no_pipe(tmp_path, source, name, kind):
    outside = picture(tmp_path / "outside" / "x.png")
    inner = tmp_path / "raw"
    inner.mkdir()
    if kind == "link":
        (inner / name).symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(inner / name)
    else:
        try:
            os.mknod(inner / name, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: it never ends
        except PermissionError:
            (inner / name).symlink_to("/dev/zero")
    with pytest.raises(SeesawError) as caught:
        list(open_stream(Data(source=source, path=str(inner))).batches())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin"])
def test_a_path_that_is_a_device_is_refused(target):
    for source in ("idx", "array", "table", "images"):
        with pytest.raises(SeesawError, match=r"neither a file nor a folder|does not exist"):
            open_stream(Data(source=source, path=target))


def test_the_whole_of_params_that_is_a_pipe_or_a_device_is_refused(tmp_path):
    os.mkfifo(tmp_path / "params.yaml")
    with pytest.raises(SeesawError, match="is missing"):
        read_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").unlink()
    (tmp_path / "params.yaml").symlink_to("/dev/zero")
    with pytest.raises(SeesawError, match="is missing"):
        read_config(tmp_path / "params.yaml")


# --- names -------------------------------------------------------------------------------------------------------------------------

NAMES = ["a\nb", "<script>alert(1)</script>", "\x1b[2J\x1b]0;owned\x07", "\"quoted\" & 'so'", "\u202egnp", "a\rb", "=1+1", "{{7*7}}"]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_cannot_act_on_the_terminal(tmp_path, name):
    """Class folders and a broken file of that name: the error line and the card's words are printable."""
    inner = tmp_path / "raw"
    try:
        picture(inner / name.replace("/", "_") / "1.png")
    except OSError:
        pytest.skip("this file system refuses the name")
    picture(inner / "other" / "2.png")
    stream = open_stream(Data(source="images", path=str(inner), size=8))
    assert stream.classes is not None
    assert all(word.isprintable() for word in stream.classes)
    (inner / name.replace("/", "_") / "3.png").write_bytes(b"broken")
    with pytest.raises(SeesawError) as caught:
        list(open_stream(Data(source="images", path=str(inner), size=8)).batches())
    assert str(caught.value).isprintable()
    assert str(SeesawError(f"{name} is wrong")).replace("\n", "").isprintable()


def test_params_cannot_act_on_the_terminal(tmp_path):
    """A variant, a key and a value with control characters come back escaped, on one line of standard error."""
    folder = projects.project(tmp_path / "p", 'data: {"\\x1b[2J\\nx": 1}\nvariants: {}\n')
    said = projects.seesaw(folder, "check", expect=1).stderr
    assert said.count("\n") == 1
    assert said.strip("\n").isprintable()
    assert r"\x1b[2J\nx" in said


@pytest.fixture(autouse=True)
def _no_core_files():
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, limit)


def test_an_honest_checkpoint_is_read(tmp_path):
    """The other tests here would also pass if nothing could be read at all."""
    kept = scratch.Checkpoints(tmp_path)
    kept.save(1, {"step": np.array(1)}, {"steps": Block((("a", ""),), np.array([1]), np.array([1]), np.zeros((1, 1, 1)))})
    assert kept.latest()[0] == 1
    assert list(kept.blocks()) == ["steps"]
