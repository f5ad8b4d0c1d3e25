"""The command line: each command is a few lines, and imports torch or mlflow only when it runs."""

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stages.errors import SeesawError

if TYPE_CHECKING:
    from stages.store.config import Config

app = typer.Typer(
    help="Which GAN objective trains well on my data, which fail, why, and what would repair them?",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
FREE, ALLOW = "free space, then run the same command again", "mend its permissions, then run the same command again"
STORAGE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), FREE),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO), ALLOW),
}
Of = Annotated[str, typer.Option("--variant", help="a variant of params.yaml, or champion")]
Lane = Annotated[int | None, typer.Option(help="its seed; else the deployed lane, or the variant's of median validation score")]
Name = Annotated[str, typer.Argument(help="a variant of params.yaml")]
Pairs = Annotated[int, typer.Option("--aa", help="instead: compare that many pairs of equal arms")]
Again = Annotated[bool, typer.Option("--sensitivity", help="instead: the best again at other rates, and in a second space")]
Top = Annotated[int, typer.Option(help="how many variants --sensitivity takes")]
Quiet = Annotated[bool, typer.Option("--quiet", help="no live table")]


def main() -> None:
    """Run the app; a user's mistake is one line on standard error and exit code 1."""
    try:
        app()
    except SeesawError as error:
        sys.stderr.write(f"seesaw: {error}\n")
        sys.exit(1)
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        sys.stderr.write(f"seesaw: {error.filename or 'a file'} cannot be read or written ({error.strerror}): {STORAGE[error.errno]}\n")
        sys.exit(1)


def _begin() -> "tuple[Config, Path]":
    """The configuration and the project's root; under dvc this process ends when dvc does, and a guardian looks after what dvc leaves."""
    import os

    from stages.store import guardian
    from stages.store.config import read_config
    from stages.store.parent import die_with_parent
    from stages.store.places import project_root

    root = project_root()
    if "DVC_STAGE" in os.environ:
        die_with_parent(int(os.environ.get("SEESAW_PARENT", "0")) or None)
        if "SEESAW_PARENT" not in os.environ:  # else no dvc runs it
            guardian.stand_by(root)
    return read_config(root / "params.yaml"), root


def _steady(config: "Config", root: Path, node: str, variant: str = "") -> None:
    """A node's end: what dvc is about to write down of params.yaml is what the node was made with."""
    from stages.store import steady

    steady.insist(config, root, node, variant)


@app.command()
def check() -> None:
    """Validate the whole of params.yaml (a node)."""
    from stages import check as node

    config, root = _begin()
    node.check(config, root)


@app.command()
def prepare() -> None:
    """Turn the data source into arrays, a split and a card (a node)."""
    from stages import prepare as node

    config, root = _begin()
    node.prepare(config, root)
    _steady(config, root, "prepare")


@app.command()
def train(variant: Name, quiet: Quiet = False) -> None:
    """Train every lane of a variant (a node)."""
    from stages import train as node

    config, root = _begin()
    node.train(config, variant, root, quiet)


@app.command()
def diagnose(variant: Name) -> None:
    """Judge the game of a variant: what happened, and why (a node)."""
    from stages import diagnose as node

    config, root = _begin()
    node.diagnose(config, variant, root)
    _steady(config, root, "diagnose", variant)


@app.command()
def evaluate(
    variant: Annotated[str | None, typer.Argument(help="a variant of params.yaml")] = None,
    samples: Annotated[Path | None, typer.Option(help="samples of another generator: a folder of images, .npy, .npz or .zip")] = None,
) -> None:
    """Judge the samples of a variant (a node), or somebody else's with --samples (prints JSON)."""
    from stages import evaluate as node

    if (variant is None) == (samples is None):
        raise SeesawError("evaluate takes a VARIANT or --samples PATH, one of the two")
    config, root = _begin()
    if variant is not None:
        node.evaluate(config, variant, root)
        _steady(config, root, "evaluate")
    elif samples is not None:
        typer.echo(json.dumps(node.score_samples(config, samples, root), indent=2))


def _compare(config: "Config", root: Path) -> None:
    from stages import compare as node

    node.compare(config, root)
    _steady(config, root, "compare")


@app.command()
def compare(aa: Pairs = 0, sensitivity: Again = False, top: Top = 3) -> None:
    """Compare the variants of params.yaml (a node); with --aa, check the comparison itself; with --sensitivity, its ranking."""
    config, root = _begin()
    if aa:
        from stages.calibrate import calibrate, table

        typer.echo(table(calibrate(config, aa, root, lambda line: typer.echo(line, err=True))))
    elif sensitivity:
        from stages.sensitivity import sensitivity as check

        check(config, root, top)
    else:
        _compare(config, root)


@app.command()
def tune(
    variants: Annotated[list[str] | None, typer.Argument(help="variants of params.yaml; all where none is named")] = None,
    trials: Annotated[int, typer.Option(help="of each variant")] = 16,
    seeds: Annotated[int, typer.Option(help="tuning seeds, at least 3, none of them reported")] = 3,
    steps: Annotated[int | None, typer.Option(help="of the cheapest variant's trial; the others get its FLOPs")] = None,
) -> None:
    """Tune variants equally: the same trials, compute and seeds for each, judged on the validation part."""
    from stages import tune as whole

    config, root = _begin()
    whole.tune(config, variants or [], root, trials, seeds, steps)


@app.command()
def report() -> None:
    """Write results/report/index.html and report.md (a node)."""
    from stages import report as node

    config, root = _begin()
    node.report(config, root)
    _steady(config, root, "report")


@app.command()
def sync(
    verify: Annotated[bool, typer.Option("--verify", help="compare point by point")] = False,
    all_revs: Annotated[bool, typer.Option("--all-revs", help="also what dvc.lock recorded before, from DVC's cache")] = False,
) -> None:
    """Bring MLflow to show exactly what the outputs hold."""
    from stages import sync as node

    _, root = _begin()
    typer.echo(node.sync(root, verify, lambda line: typer.echo(line, err=True), all_revs))


@app.command()
def ui(port: int = 5000) -> None:
    """Open MLflow on this experiment's variants; Ctrl-C ends it."""
    from stages import ui as node

    _, root = _begin()
    node.ui(root, port)


@app.command()
def promote() -> None:
    """Let the best variant challenge the champion: exit code 0 promoted, 10 kept, 20 nothing to compare."""
    from stages import promote as node

    decision = node.promote(*_begin())
    typer.echo(decision)
    sys.exit(decision.code)


@app.command()
def rollback() -> None:
    """Put the previous champion back."""
    from stages import promote as node

    _, root = _begin()
    typer.echo(node.rollback(root))


@app.command()
def sample(
    target: Annotated[Path, typer.Option("-o", "--output", help=".png or .npy")] = Path("samples.png"),
    n: Annotated[int, typer.Option("-n", help="how many")] = 64,
    seed: int = 0,
    variant: Of = "champion",
    lane: Lane = None,
) -> None:
    """Draw from the champion, or from a variant."""
    from stages import sample as node

    typer.echo(node.sample(*_begin(), target, n, seed, variant, lane))


@app.command()
def export(
    variant: Annotated[str, typer.Argument(help="a variant of params.yaml, or champion")] = "champion",
    form: Annotated[str, typer.Option("--format", help="pt2 or onnx")] = "pt2",
    target: Annotated[Path | None, typer.Option("-o", "--output")] = None,
    lane: Lane = None,
) -> None:
    """Write a generator for other programs: noise [n, latent] to samples."""
    from stages import sample as node

    typer.echo(node.export(*_begin(), variant, form, target, lane))


@app.command()
def retrain() -> None:
    """The whole scheduled job: restore, run, push, sync, gate, propose; exit codes as for promote."""
    from stages import retrain as whole

    decision = whole.retrain(*_begin())
    sys.exit(decision.code)


@app.command()
def run(
    targets: Annotated[list[str] | None, typer.Argument(help="stages, as for dvc repro")] = None,
    jobs: Annotated[int, typer.Option("-j", help="stages side by side")] = 1,
    live: Annotated[bool, typer.Option("--live", help="MLflow follows trainings while they last")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the outcome as JSON")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="the verdict table alone")] = False,
) -> None:
    """`dvc repro`, then `sync`, then the verdict table."""
    from stages import run as whole

    config, root = _begin()
    whole.run(config, root, targets or [], whole.Options(jobs, quiet, as_json, live))


@app.command()
def remedy(
    variant: Name,
    seed: Annotated[int | None, typer.Option(help="lane to fork; else the first with the variant's verdict")] = None,
    step: Annotated[int | None, typer.Option(help="snapshot to fork; else the last one at which the lane lives")] = None,
    names: Annotated[list[str] | None, typer.Option("--try", help="a remedy by name; else those that the verdict proposes")] = None,
    steps: Annotated[int | None, typer.Option(help="generator steps after the fork")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print remedy.json instead of the table")] = False,
    quiet: Quiet = False,
) -> None:
    """Fork a stored game into branches, each with one remedy: which one restores it?"""
    from stages import remedy as node

    config, root = _begin()
    typer.echo(node.run(config, variant, root, node.Asked(seed, step, tuple(names or ()), steps), as_json, quiet))


@app.command()
def bench(
    sections: Annotated[
        list[str] | None, typer.Argument(help="machine, step, scaling, overhead, plain, answer, data; all but data where none is named")
    ] = None,
    seconds: Annotated[float, typer.Option(help="effort: about so long for each row")] = 1.0,
    json_path: Annotated[Path | None, typer.Option("--json", help="write the results there as JSON")] = None,
    write: Annotated[Path | None, typer.Option(help="put the tables between a document's bench markers")] = None,
    items: Annotated[int, typer.Option(min=1, help="data: images in its largest folder")] = 100_000,
) -> None:
    """What a step costs, against the machine's own limit and a plain loop."""
    from stages import bench as whole

    whole.run(sections or [], seconds, json_path, write, typer.echo, items)


@app.command()
def doctor(mend: Annotated[bool, typer.Option("--mend", help="first mend what a killed dvc left cut off")] = False) -> None:
    """What is wrong with this checkout, and the command that mends it."""
    from stages import doctor as node

    _, root = _begin()
    sys.exit(node.doctor(root, mend))


if __name__ == "__main__":
    main()
