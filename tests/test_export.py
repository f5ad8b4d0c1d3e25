"""What leaves the project: the program of every network, the exported file, the sample, the served model."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import projects
import pytest
import staged_results as staged
import torch
from PIL import Image

from stages import promote, ui
from stages import sample as node
from stages.errors import SeesawError
from stages.game import build, program, spec
from stages.store import catalogue, champion, deployable, served, snapshots, tracking_registry

pytestmark = [  # MLflow's own
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*type hint:UserWarning"),
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]
SHAPES = {"mlp": (3,), "linear": (2,), "dcgan": (1, 9, 8), "resnet": (3, 8, 8)}
FAIR = (0.8, 0.81, 0.79)


def network(name: str, normalisation: str, activation: str = "relu") -> torch.nn.Module:
    """A generator of one lane."""
    player = spec.Player(name, 4, 2, activation, normalisation if name != "linear" else "none")  # type: ignore[arg-type]
    made = build.generator(player, SHAPES[name], 5, [3]).eval()
    for key, value in made.state_dict().items():  # as after some training
        if "running_var" not in key:
            value += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(key)))
    return made


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
@pytest.mark.parametrize("name", catalogue.names("network"))
def test_a_program_computes_exactly_what_its_network_does(name: str, normalisation: str) -> None:
    made = network(name, normalisation)
    steps = json.loads(json.dumps(program.steps_of(made, 5)))
    run = served.Program({"steps": steps, "latent": 5}, made.state_dict())
    for n in (1, 7):
        noise = torch.randn(n, 5, generator=torch.Generator().manual_seed(n))
        with torch.no_grad():
            assert torch.equal(run(noise), made(noise[None])[0])


@pytest.mark.parametrize("activation", sorted({"relu", "leaky_relu", "tanh", "sigmoid", "silu"}))
def test_a_program_knows_every_activation(activation: str) -> None:
    made = network("mlp", "batch", activation)
    run = served.Program({"steps": program.steps_of(made, 5), "latent": 5}, made.state_dict())
    with torch.no_grad():
        assert torch.equal(run(torch.ones(3, 5)), made(torch.ones(1, 3, 5))[0])


@pytest.mark.parametrize("name", ["os.system", "aten.from_file.default", "python.eval", "aten.relu", "prims.add.default"])
def test_a_program_refuses_what_a_generator_has_no_business_with(name: str) -> None:
    with pytest.raises(ValueError, match="not one that a generator may use"):
        served.Program({"steps": [{"name": "x", "op": name, "args": [], "kwargs": {}}]}, {})


def test_images_are_delivered_as_bytes_and_vectors_in_the_units_of_the_data() -> None:
    made = network("dcgan", "batch")
    description = {"steps": program.steps_of(made, 5), "latent": 5, "kind": "image", "shape": [1, 9, 8]}
    images = served.Program(description, made.state_dict()).draw(3, 0)
    assert (images.dtype, images.shape) == (np.uint8, (3, 1, 9, 8))
    assert len(np.unique(images)) > 2
    flat = network("mlp", "none")
    scale = {"kind": "vector", "shape": [3], "offset": [1.0, 0.0, -5.0], "scales": [2.0, 1.0, 10.0]}
    run = served.Program({"steps": program.steps_of(flat, 5), "latent": 5, **scale}, flat.state_dict())
    noise = torch.randn(4, 5, generator=torch.Generator().manual_seed(9))
    np.testing.assert_allclose(run.draw(4, 9), run(noise).numpy() * [2.0, 1.0, 10.0] + [1.0, 0.0, -5.0], rtol=1e-6)


@pytest.mark.parametrize("rows", [{"n": [], "seed": []}, {"n": [0], "seed": [1]}, {"n": [5000], "seed": [1]}, {"n": [1], "seed": [-1]}])
def test_a_request_that_cannot_be_drawn_is_refused(rows: dict[str, list[int]]) -> None:
    with pytest.raises(ValueError, match="n is 1 to 4096"):
        served.requests(rows)


def test_the_served_file_stands_alone(tmp_path: Path) -> None:
    """A copy of it draws in a process that cannot see the project, and the same numbers come out."""
    made = network("mlp", "batch")
    description = {
        "steps": program.steps_of(made, 5),
        "latent": 5,
        "kind": "vector",
        "shape": [3],
        "offset": [0.0] * 3,
        "scales": [1.0] * 3,
    }
    whole = deployable.Deployable(description, {0: deployable.Lane(1, 0.5, made.state_dict())})
    deployable.write(tmp_path, whole)
    text = Path(served.__file__).read_text(encoding="utf-8")
    (tmp_path / "alone.py").write_text(text.partition("\n\nif not __name__")[0] + "\n")
    code = "import alone, pathlib; print(alone.load(pathlib.Path('program.json'), pathlib.Path('lane-0.safetensors')).draw(2, 1).tolist())"
    words = [sys.executable, "-c", f"import sys; sys.modules['stages'] = None; sys.path.insert(0, '.'); {code}"]
    drawn = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, env=projects.environment()).stdout
    assert json.loads(drawn) == whole.program(0).draw(2, 1).tolist()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a champion and a variant."""
    root = tmp_path_factory.mktemp("project")
    staged.data(root)
    staged.result(root, "first", FAIR)
    staged.rank(root, "first")
    assert promote.decide(CONFIG, root).outcome == "promoted"
    staged.result(root, "second", (1.0, None, 0.9))
    return root


CONFIG = staged.config(floor_factor=100.0)


@pytest.mark.parametrize(("variant", "lane"), [("champion", None), ("second", 2)])
def test_the_exported_program_equals_the_generator(project: Path, tmp_path: Path, variant: str, lane: int | None) -> None:
    path = tmp_path / "generator.pt2"
    assert "noise [n, 2]" in node.export(CONFIG, project, variant, "pt2", path, lane)
    loaded = torch.export.load(path).module()
    entry = staged.read_champion(project)
    seed = entry["lane"] if lane is None else lane
    tensors = snapshots.read(project / f"results/snapshots/{'first' if lane is None else variant}/step-000020.safetensors")
    player = CONFIG.variant("first").generator
    own = build.generator(player, (2,), 2, [seed]).eval()
    own.load_state_dict(program.weights_of(tensors, "ema", seed))
    for n in (1, 9):
        noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(n))
        with torch.no_grad():
            assert torch.equal(loaded(noise), own(noise[None])[0])


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own, in its exporter
def test_onnx_is_equal_too_or_says_what_is_missing(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "generator.onnx"
    try:
        from onnx.reference import ReferenceEvaluator
    except ImportError:
        with pytest.raises(SeesawError, match="pip install onnx"):
            node.export(CONFIG, project, "champion", "onnx", path, None)
        return
    node.export(CONFIG, project, "champion", "onnx", path, None)
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
    (answer,) = ReferenceEvaluator(str(path)).run(None, {"noise": noise.numpy()})
    kept = champion.kept(project)["champion"]
    np.testing.assert_allclose(answer, kept.load().program(kept.entry["lane"])(noise).numpy(), rtol=1e-5, atol=1e-6)


def test_samples_are_a_picture_or_an_array_and_the_seed_decides(project: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.npy", "b.npy"):
        node.sample(CONFIG, project, tmp_path / name, 20, 3, "champion", None)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 100
    drawn = np.load(tmp_path / "a.npy")
    assert drawn.shape == (20, 2)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    node.sample(CONFIG, project, tmp_path / "b.npy", 20, 4, "champion", None)
    assert not np.array_equal(drawn, np.load(tmp_path / "b.npy"))


def test_images_fill_a_grid(tmp_path: Path) -> None:
    images = np.arange(10 * 4 * 4, dtype=np.uint8).reshape(10, 1, 4, 4)
    node.picture(images, "image", tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as opened:
        picture = np.asarray(opened)
    assert picture.shape == (2 * 66 - 2, 8 * 66 - 2)
    np.testing.assert_array_equal(picture[66 : 66 + 64 : 16, 66 : 66 + 64 : 16], images[9, 0])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda root, path: node.sample(CONFIG, root, path / "x.jpg", 4, 0, "champion", None), ".png .* or .npy"),
        (lambda root, path: node.sample(CONFIG, root, path / "x.png", 0, 0, "champion", None), "1 to 4096"),
        (lambda root, path: node.sample(CONFIG, root, path / "x.png", 4, 0, "second", 1), "lanes with one are 0, 2"),
        (lambda root, path: node.sample(CONFIG, root, path / "x.png", 4, 0, "secnd", None), "did you mean 'second'"),
        (lambda root, path: node.sample(CONFIG, path, path / "x.png", 4, 0, "champion", None), "no champion.json"),
        (lambda root, path: node.export(CONFIG, root, "champion", "pkl", None, None), "allowed are pt2, onnx"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(project: Path, tmp_path: Path, call, told: str) -> None:
    with pytest.raises(SeesawError, match=told):
        call(project, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_served_champion_answers_a_request(project: Path, tmp_path: Path) -> None:
    """`mlflow models serve` on the model folder as the registry keeps it, over HTTP."""
    kept = champion.kept(project)["champion"]
    tracking_registry.save(tmp_path / "model", kept)
    port = ui.free_port(0)
    words = ["mlflow", "models", "serve", "-m", str(tmp_path / "model"), "--env-manager", "local", "-p", str(port), "-h", "127.0.0.1"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *words, "--workers", "1"],
            cwd=tmp_path,
            env=projects.environment(MLFLOW_DISABLE_TELEMETRY="true"),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        answer = asked(f"http://127.0.0.1:{port}/invocations", {"dataframe_records": [{"n": 3, "seed": 7}]}, server)
    finally:
        ui.end_group(server)
    np.testing.assert_allclose(answer["predictions"], kept.load().program(kept.entry["lane"]).draw(3, 7), rtol=1e-6)


def asked(address: str, question: object, server: subprocess.Popen[bytes]) -> dict[str, object]:
    """The answer, as soon as the server gives one."""
    request = urllib.request.Request(address, json.dumps(question).encode(), {"Content-Type": "application/json"})  # noqa: S310
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from error
        except OSError:
            time.sleep(0.3)
    raise AssertionError("the model server did not answer")


def test_the_folder_of_a_model_holds_no_pickle_and_names_what_it_needs(project: Path, tmp_path: Path) -> None:
    kept = champion.kept(project)["champion"]
    tracking_registry.save(tmp_path / "model", kept)
    names = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert {"served.py", "program.json", deployable.weights_file(kept.entry["lane"]), "input_example.json", "requirements.txt"} <= names
    assert not {name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".bin"))}
    wanted = {line.partition("==")[0] for line in (tmp_path / "model" / "requirements.txt").read_text().splitlines()}
    assert wanted == {"mlflow", "torch", "numpy", "safetensors"}
    assert (tmp_path / "model" / "served.py").read_bytes() == Path(served.__file__).read_bytes()
    shutil.rmtree(tmp_path / "model")
