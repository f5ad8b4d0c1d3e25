"""Results that are no longer in the workspace: what dvc.lock recorded in each commit, laid out from DVC's cache as links, without checkout.

Only what MLflow shows is laid out. A result is told by its run file; the newest commit that records it decides what judges it.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stages.errors import SeesawError
from stages.store import layout, pipeline, projection
from stages.store.config import read_lock
from stages.store.projection import Result
from stages.store.tracking import Run

RUN = re.compile(r"results/runs/(?P<variant>[^/]+)\.json")
OF_A_VARIANT = (
    layout.run,
    layout.executions,
    layout.records,
    layout.curves,
    layout.diagnostics,
    layout.scores,
    layout.metrics,
    layout.samples,
)
OF_ALL = (layout.COMPARISON, layout.REPORT)
PREPARED = layout.PREPARED.as_posix()


@dataclass(frozen=True)
class Commit:
    """Paths of outputs (from the project's root) and their md5s, as the dvc.lock of one commit records them."""

    name: str
    outs: Mapping[str, str]

    @property
    def short(self) -> str:
        """The commit as git abbreviates it, about."""
        return self.name[:9]

    def variants(self) -> dict[str, str]:
        """Variants with a run, and the md5 of its file."""
        found = {match["variant"]: md5 for path, md5 in self.outs.items() if (match := RUN.fullmatch(path))}
        return dict(sorted(found.items()))

    def files_of(self, variant: str) -> dict[str, str]:
        """What MLflow shows of a variant."""
        paths = [place(variant).as_posix() for place in OF_A_VARIANT]
        return {path: self.outs[path] for path in [*paths, PREPARED] if path in self.outs}

    def files_of_all(self) -> dict[str, str]:
        """What MLflow shows of the comparison."""
        return {path.as_posix(): self.outs[path.as_posix()] for path in OF_ALL if path.as_posix() in self.outs}


def commits(root: Path) -> Iterator[Commit]:
    """Every commit of every branch, tag and experiment that changed dvc.lock, newest first; each distinct content once."""
    seen: set[str] = set()
    for name in git(root, "log", "--all", "--format=%H", "--", "dvc.lock").split():
        listed = git(root, "ls-tree", name, "--", "dvc.lock").split()
        if len(listed) > 2 and listed[2] not in seen:
            seen.add(listed[2])
            yield Commit(name, outs_of(git(root, "cat-file", "blob", listed[2])))


def outs_of(lock: str) -> dict[str, str]:
    """Path and md5 of every output in a dvc.lock."""
    stages = (read_lock(lock) or {}).get("stages", {})
    outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outs if "md5" in out}


def git(root: Path, *words: str) -> str:
    """What git prints; SeesawError with its last line when it fails."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SeesawError(f"git {words[0]} failed ({' '.join(done.stderr.split()[-20:])}): --all-revs reads the history of a git checkout")
    return done.stdout


@dataclass(frozen=True)
class Cache:
    """DVC's cache of files by md5."""

    folder: Path

    @classmethod
    def of(cls, root: Path) -> "Cache":
        """The cache that dvc uses for a checkout."""
        named = Path(pipeline.asked(root, "cache", "dir").strip())
        return cls((root / named if not named.is_absolute() else named) / "files" / "md5")

    def lay(self, outs: Mapping[str, str], tree: Path) -> list[str]:
        """Links to these outputs below `tree`, all or none; the paths that the cache does not hold."""
        files = {place: self.place(md5) for path, md5 in outs.items() for place, md5 in self.files(path, md5)}
        gone = [path for path, stored in files.items() if not stored.is_file()]
        for path, stored in files.items() if not gone else ():
            link = tree / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(stored)
        return gone

    def files(self, path: str, md5: str) -> list[tuple[str, str]]:
        """The files of an output with their md5s; a folder whose list is gone stands for itself. Of prepared data, the card."""
        listed = self.place(md5)
        if not md5.endswith(".dir") or not listed.is_file():
            return [(path, md5)]
        entries = json.loads(listed.read_text(encoding="utf-8"))
        inside = [(f"{path}/{entry['relpath']}", entry["md5"]) for entry in entries]
        return [each for each in inside if path != PREPARED or each[0] == layout.CARD.as_posix()]

    def place(self, md5: str) -> Path:
        """Where a digest's file lies."""
        return self.folder / md5[:2] / md5[2:]


class Unreadable(Exception):
    """A past result's files are of another version."""


def readable(plan: Callable[[Result], Run], result: Result) -> Run:
    """A plan made from past files; Unreadable, which names the result, where they are not of this version's form."""
    try:
        return plan(result)
    except (SeesawError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{result.variant}, {result.run['fingerprint'][:9]} ({type(error).__name__}: {error})") from error


@dataclass
class Past:
    """What the history holds besides the workspace; `known`: every result by the md5 of its run file, the workspace's included."""

    known: dict[str, Result]
    commits: list[Commit] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)  # those that the workspace does not hold, newest first
    gone: list[str] = field(default_factory=list)  # what the cache no longer holds, in words
    unreadable: list[str] = field(default_factory=list)  # what another version wrote, in words

    def points_of(self, results: Sequence[Result]) -> int:
        """About how many points some results have, from their lengths alone: every measure of every lane, and medians."""
        curves = [len(result.execution["timeline"]["step"]) * (len(result.run["seeds"]) + 1) for result in results]
        return sum(curves) * len(projection.MEASURES)

    def notes(self) -> list[str]:
        """What could not be shown."""
        lost = "gone from the cache (`dvc fetch --all-commits` brings back what a remote holds):"
        told = ((lost, self.gone), ("of another version, left out:", self.unreadable))
        return ["\n  ".join([title, *names]) for title, names in told if names]


def read_past(root: Path, present: Sequence[Result], folder: Path) -> Past:
    """Every distinct result in the history of dvc.lock, laid out once below `folder`."""
    past, cache = Past({projection.md5(result.files["run"]): result for result in present}), Cache.of(root)
    fingerprints, seen = {result.run["fingerprint"] for result in present}, set(past.known)
    for commit in commits(root):
        past.commits.append(commit)
        for variant, run in commit.variants().items():
            if run not in seen:
                seen.add(run)
                result = _laid(past, commit, variant, cache, folder / run)
                if result is not None and result.run["fingerprint"] not in fingerprints:
                    fingerprints.add(result.run["fingerprint"])
                    past.known[run] = result
                    past.results.append(result)
    return past


def _laid(past: Past, commit: Commit, variant: str, cache: Cache, tree: Path) -> Result | None:
    """One result of a commit; None, and a word in `past`, where it cannot be had."""
    name = f"{variant} at {commit.short}"
    gone = cache.lay(commit.files_of(variant), tree)
    if gone:
        past.gone.append(f"{name} ({gone[0]}{f' and {len(gone) - 1} more' if len(gone) > 1 else ''})")
        return None
    try:
        results, notes = projection.read_results(tree)
        past.points_of(results)  # what identifies and measures a result must be there
        past.unreadable += [f"{name} ({note})" for note in notes if not results]
        return results[0] if results else None
    except (SeesawError, KeyError) as error:
        past.unreadable.append(f"{name} ({error})")
        return None
