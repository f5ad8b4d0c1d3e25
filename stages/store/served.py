"""A generator that runs by itself: numpy, torch and safetensors, no pickle, nothing of the project it was trained in.

Beside it lie `program.json` (the operations, the shape of a sample, the size of the noise) and a safetensors file with the weights.
MLflow keeps a copy of this very file as the model's code ("models from code") and runs it: rows `{n, seed}` in, images out.
"""

import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

MOST = 4096  # samples of one request
CHUNK = 256
PYTHON = {"add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv, "getitem": operator.getitem}
REFUSED = ("from_file",)  # what a list of tensor operations has no business with


class Program:
    """Noise `[n, latent]` to samples `[n, ...]` in the scale of training: the operations of `description["steps"]` over `weights`."""

    def __init__(self, description: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
        self.description, self.weights = description, weights
        self.calls = [(step, _callable(step["op"])) for step in description["steps"]]

    @torch.no_grad()
    def __call__(self, noise: torch.Tensor) -> torch.Tensor:
        known: dict[str, Any] = {}
        for step, call in self.calls:
            if step["op"] == "output":
                samples: torch.Tensor = known[step["args"][0]["node"]]
                return samples
            if step["op"] == "noise":
                known[step["name"]] = noise
            elif step["op"] == "weight":
                known[step["name"]] = self.weights[step["args"][0]]
            else:
                arguments = {key: _value(value, known) for key, value in step["kwargs"].items()}
                known[step["name"]] = call(*(_value(value, known) for value in step["args"]), **arguments)
        raise ValueError("the program has no output")

    def draw(self, n: int, seed: int) -> np.ndarray:
        """n samples as a person wants them: images `uint8 [n, C, H, W]`, vectors `float32 [n, D]` in the units of the data."""
        noise = torch.randn(n, self.description["latent"], generator=torch.Generator().manual_seed(seed))
        samples = torch.cat([self(part) for part in noise.split(CHUNK)])
        if self.description["kind"] == "image":
            return samples.clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8).numpy()
        offset, scales = (np.asarray(self.description[name], np.float64) for name in ("offset", "scales"))
        return (samples.double().numpy() * scales + offset).astype(np.float32)


def _callable(name: str) -> Any:
    """The operation of that name: `aten.relu.default` or `python.mul`; ValueError for anything else."""
    home, _, rest = name.partition(".")
    if name in ("noise", "weight", "output"):
        return None
    if home == "python" and rest in PYTHON:
        return PYTHON[rest]
    words = rest.split(".")
    if home != "aten" or len(words) != 2 or words[0] in REFUSED:
        raise ValueError(f"operation {name!r} is not one that a generator may use")
    return getattr(getattr(torch.ops.aten, words[0]), words[1])


def _value(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_value(one, known) for one in value]
    if not isinstance(value, dict):
        return value
    if "node" in value:
        return known[value["node"]]
    return getattr(torch, value["torch"]) if "torch" in value else torch.device(value["device"])


def load(program: Path, weights: Path) -> Program:
    """The generator of a `program.json` and a safetensors file."""
    return Program(json.loads(program.read_text(encoding="utf-8")), load_file(weights))


def requests(rows: Any) -> list[tuple[int, int]]:
    """(n, seed) of every row of a request; ValueError for what cannot be drawn."""
    asked = [(int(n), int(seed)) for n, seed in zip(rows["n"], rows["seed"], strict=True)]
    if not asked or min(n for n, _ in asked) < 1 or sum(n for n, _ in asked) > MOST or min(seed for _, seed in asked) < 0:
        raise ValueError(f"n is 1 to {MOST} samples in all and seed at least 0")
    return asked


def model() -> Any:
    """What MLflow serves."""
    from mlflow.pyfunc import PythonModel
    from pandas import DataFrame

    class Generator(PythonModel):
        """Rows `{n, seed}` to samples, one row's after the other's."""

        def load_context(self, context: Any) -> None:
            self.program = load(Path(context.artifacts["program"]), Path(context.artifacts["weights"]))

        def predict(self, context: Any, model_input: DataFrame, params: dict[str, Any] | None = None) -> np.ndarray:
            return np.concatenate([self.program.draw(n, seed) for n, seed in requests(model_input)])

    return Generator()


if not __name__.startswith("stages."):  # MLflow runs a copy of this file
    import mlflow

    mlflow.models.set_model(model())
