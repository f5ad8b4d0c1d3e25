"""Tiny real projects in a temporary folder: this checkout's code and pipeline, a small params.yaml, git and dvc."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TINY = """
data: {source: ring, path: data/raw, items: 600}
train:
  seeds: 2
  steps: 20
  batch: 16
  latent: 2
  lanes_per_group: 2
  record_every: 5
  snapshots: 2
  generator: {network: auto, width: 8, depth: 1, activation: relu, normalisation: none}
  discriminator: {network: auto, width: 8, depth: 1, activation: leaky_relu, normalisation: none}
  rules: {generator_lr: 1e-3, discriminator_lr: 1e-3}
evaluate: {features: auto, trust: false, samples: 32, draws: 2}
diagnose: {samples: 32}
compare: {baseline: hinge, primary: frechet}
report: {title: Tiny}
variants:
  hinge: {loss: {name: hinge}, penalty: {name: none}, constraint: {name: none}}
  r1: {loss: {name: non_saturating}, penalty: {name: r1, weight: 1.0}, constraint: {name: none}}
"""
COPIED = ("stages", "dvc.yaml", ".dvcignore", ".gitignore")


def project(folder: Path, params: str = TINY) -> Path:
    """A git and dvc checkout with this project's code and these params."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "raw" / ".gitkeep").touch()
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    (folder / ".dvc" / "config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "begin")
    return folder


def git(folder: Path, *words: str) -> str:
    """git, as a person of no name."""
    person = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(["git", *person, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def environment(**more: str) -> dict[str, str]:
    """One thread, this interpreter first on PATH, no MLflow server of the caller's (conftest.py forgets the caller's CI service)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", "SEESAW_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**kept, "PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **more}


def command(folder: Path, *words: str, expect: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """`python -m WORDS` in the folder, with what it printed; asserts the exit code unless `expect` is None."""
    done = subprocess.run([sys.executable, "-m", *words], cwd=folder, env=environment(**more), capture_output=True, text=True, check=False)
    assert expect is None or done.returncode == expect, (
        f"{words} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done


def seesaw(folder: Path, *words: str, expect: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """The command line in the folder."""
    return command(folder, "stages.cli", *words, expect=expect, **more)


def dvc(folder: Path, *words: str, expect: int | None = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """dvc in the folder."""
    return command(folder, "dvc", *words, expect=expect, **more)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every output but the executions."""
    import hashlib

    files = sorted(path for base in ("results", "data/prepared") for path in (folder / base).rglob("*") if path.is_file())
    kept = [path for path in files if "executions" not in path.parts and path.name != ".gitignore"]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
