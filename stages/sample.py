"""`seesaw sample`, `seesaw export`: what a generator makes, and the generator itself for other programs. Outside the pipeline."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from stages.errors import SeesawError
from stages.game.program import exported
from stages.generators.candidate import candidate
from stages.measure.classifier import one_thread
from stages.measure.gate import median_lane
from stages.store import champion, deployable
from stages.store.config import Config
from stages.store.files import replacing
from stages.store.served import MOST, Program

CHAMPION = "champion"
FORMATS = ("pt2", "onnx")
ROW = 8  # images of a row of the grid, at least


def generator(config: Config, root: Path, variant: str, lane: int | None) -> Program:
    """The generator of the champion (`lane` None: the deployed one) or of a variant in the results (None: of median validation score)."""
    if variant == CHAMPION:
        held = champion.kept(root).get("champion")
        if held is None:
            raise SeesawError(f"there is no {champion.FILE}: run `seesaw promote`, or name a variant")
        return held.load().program(held.entry["lane"] if lane is None else lane)
    _, made = candidate(config, variant, root)
    chosen = median_lane({seed: one.validation for seed, one in made.lanes.items()}) if lane is None else lane
    if chosen is None:
        raise SeesawError(f"the median lane of {variant} failed: name a living one with --lane")
    return made.program(chosen)


def sample(config: Config, root: Path, target: Path, n: int, seed: int, variant: str, lane: int | None) -> str:
    """Draw n samples into a .png (a grid of images, a scatter of vectors) or an .npy; what was written, in a line."""
    if not 1 <= n <= MOST or seed < 0:
        raise SeesawError(f"-n is {n} and --seed {seed}: 1 to {MOST} samples and a seed of at least 0 are needed")
    if target.suffix not in (".png", ".npy"):
        raise SeesawError(f"{target} ends in {target.suffix!r}: .png (a picture) or .npy (the samples) is needed")
    with one_thread():
        program = generator(config, root, variant, lane)
        drawn = program.draw(n, seed)
    if target.suffix == ".npy":
        with replacing(target) as temporary, temporary.open("wb") as file:
            np.save(file, drawn)
    else:
        picture(drawn, program.description["kind"], target)
    return f"{target}  {n} samples of {variant}, seed {seed}"


def picture(drawn: np.ndarray, kind: str, target: Path) -> None:
    """Images as a grid of rows as long as the picture is high; vectors as a scatter over themselves."""
    from stages.draw import plots

    if kind != "image":
        plots.scatter_grid(drawn, drawn[None], target)
        return
    plots.image_grid(drawn, max(ROW, int(np.ceil(np.sqrt(len(drawn))))), target)


def export(config: Config, root: Path, variant: str, form: str, target: Path | None, lane: int | None) -> str:
    """Write a generator as an exported torch program or as ONNX: noise `[n, latent]` to samples, for any n. What was written, in a line."""
    if form not in FORMATS:
        raise SeesawError(f"--format is {form!r}: allowed are {', '.join(FORMATS)}")
    missing = [name for name in ("onnx", "onnxscript") if form == "onnx" and importlib.util.find_spec(name) is None]
    if missing:
        raise SeesawError(f"ONNX needs {' and '.join(missing)}: pip install {' '.join(missing)}, or use --format pt2")
    path = target or Path(f"{variant}.{form}")
    with one_thread():
        program = generator(config, root, variant, lane)
        module, latent = deployable.Module(program), program.description["latent"]
        with replacing(path) as temporary:
            whole = exported(module, latent)
            if form == "pt2":
                with temporary.open("wb") as file:
                    torch.export.save(whole, file)
            else:
                torch.onnx.export(whole, (), temporary, dynamo=True, external_data=False, input_names=["noise"], output_names=["samples"])
    return f"{path}  noise [n, {latent}] to samples [n, {', '.join(map(str, program.description['shape']))}] in the scale of training"
