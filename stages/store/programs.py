"""A feature extractor of the user's own: an exported torch program (.pt2) or TorchScript (.pt), loaded only when it is trusted.

Loading such a file can run any code in it; `evaluate.trust` is the user's word that it may. Where that word is a sha256, which stands in
params.yaml and so in git, only the file with that digest is loaded. What is hashed is what is loaded: the file is read once.
"""

import hashlib
import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from stages.errors import SeesawError
from stages.store.config import Evaluate

BATCH = 64


def load(evaluate: Evaluate, root: Path = Path()) -> tuple[Callable[[Tensor], Tensor], str]:
    """The program of `evaluate.features` (`file:PATH`, relative to `root`) and the sha256 of its file.

    It is called with images `[n, C, H, W]` in [−1, 1] and answers with features `[n, d]`: on the way the images are repeated to
    `input_channels` where they are grey, resized to `input_size` (bilinear, antialiased) and mapped to [`input_low`, `input_high`].
    """
    path = root / evaluate.features.removeprefix("file:")
    if not evaluate.trust:
        raise SeesawError(f"{path} is a program, and loading it runs code: set evaluate.trust to its sha256 (or to true) if you trust it")
    if not path.is_file():
        raise SeesawError(f"evaluate.features names {path}, which is missing: give the path of a .pt2 or TorchScript file")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if evaluate.trust not in (True, digest):
        raise SeesawError(f"{path} is not the file that evaluate.trust names: its sha256 is {digest}. It was not opened")
    program = _open(path, content)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        parts = [program(_prepared(part, evaluate)) for part in images.split(BATCH)]
        return torch.cat([_checked(part, path).flatten(1).float() for part in parts])

    return features, digest


def _open(path: Path, content: bytes) -> Callable[[Tensor], Tensor]:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise SeesawError(f"{path} is neither an exported program (.pt2) nor TorchScript: save it with torch.export.save")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        exported = not any(name.endswith(("/constants.pkl", "/data.pkl")) and name.count("/") == 1 for name in archive.namelist())
    try:
        return torch.export.load(io.BytesIO(content)).module() if exported else _torchscript(content)
    except (RuntimeError, ValueError, KeyError) as error:
        raise SeesawError(
            f"{path} could not be loaded ({str(error).splitlines()[0]}): save it with this torch, {torch.__version__}"
        ) from None


def _torchscript(content: bytes) -> Callable[[Tensor], Tensor]:
    with warnings.catch_warnings():  # torch would rather have .pt2; the public Inception exports are TorchScript
        warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", DeprecationWarning)
        program: Callable[[Tensor], Tensor] = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
        return program


def _prepared(images: Tensor, evaluate: Evaluate) -> Tensor:
    if evaluate.input_channels and images.shape[1] == 1:
        images = images.expand(-1, evaluate.input_channels, -1, -1)
    if evaluate.input_size and images.shape[2:] != (evaluate.input_size, evaluate.input_size):
        images = interpolate(images, size=(evaluate.input_size,) * 2, mode="bilinear", antialias=True)
    return evaluate.input_low + (images + 1.0) / 2.0 * (evaluate.input_high - evaluate.input_low)


def _checked(features: object, path: Path) -> Tensor:
    if not isinstance(features, Tensor) or features.ndim < 2:
        raise SeesawError(f"{path} answers with {type(features).__name__}: one tensor [n, d] of features is needed")
    return features
