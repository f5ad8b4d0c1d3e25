"""Bring an MLflow store to show exactly what DVC's outputs hold: files in, runs out.

A parent run per variant (aggregates, verdict, samples), a child run per lane (curves at the recorded times), one run per comparison.
A run is identified by the tag pair (fingerprint, projection); projection = sha256 over the md5s of the files the run shows. The same pair:
nothing is done. Another projection of the same fingerprint: the new run is built, then the old one is deleted. Results of other
fingerprints stay: they are history.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from stages.draw import panels
from stages.draw.page.markdown import mlflow_links, with_links
from stages.errors import SeesawError
from stages.store import champion, history, layout, projection, scratch, tracking, tracking_registry
from stages.store.files import write_text
from stages.store.projection import Result
from stages.store.tracking import Found, Image, Run, Store

TONES = 256  # of a picture: heat maps must not take the tones that curves need
PICTURES = {"game": panels.game_panels, "landscape": panels.snapshot_panels}  # key of a picture, and what is on it


@dataclass
class SyncSummary:
    """What a sync did: parent and comparison runs created, replaced (built anew for new contents) and unchanged; runs deleted."""

    uri: str
    experiment: str
    created: int = 0
    replaced: int = 0
    unchanged: int = 0
    deleted: int = 0
    runs: dict[str, str] = field(default_factory=dict)  # variant to the id of its parent run
    notes: list[str] = field(default_factory=list)  # what was left out, and the command that mends it

    def __str__(self) -> str:
        done = f"created {self.created}, replaced {self.replaced}, unchanged {self.unchanged}, deleted {self.deleted}"
        return "\n".join([f"MLflow   {self.uri}: {done}", *self.notes])


@dataclass(frozen=True)
class Key:
    """What identifies a run, and the lanes it must have."""

    kind: str
    name: str
    fingerprint: str
    projection: str
    lanes: tuple[str, ...] = ()

    def names(self, run: Found, runs: Sequence[Found]) -> bool:
        """Whether `run`, one of `runs`, is the finished parent of that key with all its lanes."""
        if run.tags["seesaw.kind"] != self.kind or run.tags.get("projection") != self.projection:
            return False
        children = [child.tags for child in runs if child.parent == run.id]
        return sorted(tags["seed"] for tags in children if tags.get("projection") == self.projection) == sorted(self.lanes)


def sync(root: Path, verify: bool = False, progress: Callable[[str], None] | None = None, all_revs: bool = False) -> SyncSummary:
    """Show every variant under `root/results`, and their comparison, in the store that MLFLOW_TRACKING_URI names (default: sqlite).

    verify: compare whole runs point by point and build again what differs; otherwise tags are compared. `progress` hears the name of each
    run built. all_revs: show also what the history of dvc.lock recorded and DVC's cache still holds; `progress` hears an estimate first.
    Raises SeesawError when there is no result, or the store does not answer.
    """
    results, notes = projection.read_results(root)
    if not results and not all_revs:
        raise SeesawError(f"{root / 'results' / 'runs'} holds no finished result: run `dvc repro` first. {' '.join(notes)}".strip())
    scratch.sweep(root)
    with tracking.exclusive(root, "sync"):
        store = tracking.open_store(root)
        work = Work(store, SyncSummary(store.uri, store.experiment, notes=notes), verify, progress or str)
        with tracking.speaking(store.uri):
            if results:
                work.bring_everything(root, results)
            if all_revs:
                work.bring_history(root, results)
    write_summary(root, work.summary)
    return work.summary


def result_key(result: Result) -> Key:
    """What identifies a variant's run."""
    lanes = tuple(str(seed) for seed in result.run["seeds"])
    return Key("variant", result.variant, result.run["fingerprint"], result.projection, lanes)


def comparison_key(comparison: projection.Comparison) -> Key:
    """What identifies a comparison's run."""
    return Key("comparison", "comparison", comparison.digest, comparison.projection)


def write_summary(root: Path, shown: SyncSummary) -> None:
    """`.seesaw/summary.md`, for a CI job's page: report.md, with links into MLflow where the store is a server."""
    report = root / layout.REPORT / "report.md"
    if report.exists():
        links = mlflow_links(shown.uri, shown.experiment, shown.runs) if shown.uri.startswith("http") else None
        text = with_links(report.read_text(encoding="utf-8"), links, f"../{layout.RESULTS}/samples")
        write_text(root / layout.SUMMARY, text)


def variant_plan(result: Result) -> Run:
    """A variant's run with pictures of its diagnosis: layers and who drives whom; spectra, path-angle, probe, diversity."""
    run, diagnosis = projection.variant_run(result), result.read("diagnostics")
    drawn = {key: found for key, of in PICTURES.items() if diagnosis and (found := of(diagnosis))}
    pictures = [Image(key, result.run["steps"], result.execution["ended_at"], panels.png(found, 3, TONES)) for key, found in drawn.items()]
    return replace(run, images=[*run.images, *pictures])


@dataclass(frozen=True)
class Work:
    """One sync under way."""

    store: Store
    summary: SyncSummary
    verify: bool
    progress: Callable[[str], object]
    comparisons: set[str] = field(default_factory=set)  # digests of those that the workspace holds

    def bring_everything(self, root: Path, results: Sequence[Result]) -> None:
        """Variants, their comparison, the experiment's description and views; then what nobody needs any more goes."""
        self.summary.deleted += self.store.sweep()
        for result in results:
            self.summary.runs[result.variant] = self.bring(result_key(result), partial(variant_plan, result))
        ended = self.store.end_unfed()
        self.summary.notes += (
            [f"{ended} runs of trainings that stopped without outputs were ended (KILLED, tagged partial)."] if ended else []
        )
        comparison = projection.read_comparison(root, results, self.summary.runs)
        if comparison is not None:
            self.comparisons.add(comparison.digest)
            self.bring(comparison_key(comparison), partial(projection.comparison_run, comparison))
        if held := champion.kept(root):
            self.summary.notes.append(f"registry {tracking_registry.project(self.store, held)}")
        self.store.describe(projection.experiment_tags(results, comparison))
        if self.verify or self.summary.created or self.summary.replaced or self.summary.deleted:
            self.store.clean_artifacts()

    def bring_history(self, root: Path, present: Sequence[Result]) -> None:
        """Results and comparisons that dvc.lock recorded before, from DVC's cache; the newest commit that holds a result decides."""
        with tempfile.TemporaryDirectory() as folder:
            past = history.read_past(root, present, Path(folder))
            missing = [result for result in past.results if not self.is_shown(result_key(result))]
            self.progress(
                f"history: {len(past.commits)} states of dvc.lock hold {len(past.results)} results besides the present ones; "
                f"{len(past.results) - len(missing)} are shown already, {len(missing)} to build: about {past.points_of(missing):,} points"
            )
            ids = {result.run["fingerprint"]: self.summary.runs[result.variant] for result in present}
            for result in past.results:
                try:
                    ids[result.run["fingerprint"]] = self.bring(result_key(result), partial(history.readable, variant_plan, result))
                except history.Unreadable as error:
                    past.unreadable.append(str(error))
            self.bring_comparisons(past, ids, history.Cache.of(root), Path(folder))
        self.summary.notes += past.notes()

    def bring_comparisons(self, past: history.Past, ids: Mapping[str, str], cache: history.Cache, folder: Path) -> None:
        """Each comparison of the history whose results are all shown."""
        seen: set[str] = set()
        for commit in past.commits:
            digest = commit.outs.get(layout.COMPARISON.as_posix())
            results = [past.known[run] for run in commit.variants().values() if run in past.known]
            if digest is None or digest in seen or len(results) < len(commit.variants()):
                continue
            seen.add(digest)
            runs = {result.variant: ids[result.run["fingerprint"]] for result in results if result.run["fingerprint"] in ids}
            gone = cache.lay(commit.files_of_all(), folder / "comparisons" / digest)
            comparison = None if gone else projection.read_comparison(folder / "comparisons" / digest, results, runs)
            if comparison is not None and comparison.digest not in self.comparisons:
                self.bring(comparison_key(comparison), partial(projection.comparison_run, comparison))

    def is_shown(self, key: Key) -> bool:
        """Whether the store shows that run."""
        runs = self.store.of(key.fingerprint)
        return any(key.names(run, runs) for run in runs)

    def bring(self, key: Key, plan: Callable[[], Run]) -> str:
        """The id of the run of that key, built when missing; every other run of its fingerprint is deleted afterwards."""
        runs = self.store.of(key.fingerprint)
        whole = [run for run in runs if key.names(run, runs)]
        good = [run for run in whole if not self.verify or self.shows(run, runs, plan())]
        if good:
            self.summary.unchanged += 1
        else:
            former = any(run.parent is None and "projection" in run.tags for run in runs)
            self.store.build(plan(), key.projection)
            self.summary.created, self.summary.replaced = self.summary.created + (not former), self.summary.replaced + former
            self.progress(key.name)
            runs = self.store.of(key.fingerprint)
            good = [run for run in runs if key.names(run, runs) and run not in whole]
        keep = min(good).id  # several only when two machines built at once: all of them keep the same one
        self.summary.deleted += self.remove_others(runs, keep)
        return keep

    def shows(self, found: Found, runs: Sequence[Found], plan: Run) -> bool:
        """Whether a run and its children show exactly the plan, point by point."""
        children = {run.tags["seed"]: run.id for run in runs if run.parent == found.id}
        pairs = [(found.id, plan), *((children[child.tags["seed"]], child) for child in plan.children)]
        return not any(self.store.differences(run_id, run) for run_id, run in pairs)

    def remove_others(self, runs: Sequence[Found], keep: str) -> int:
        """Delete what the kept run replaces: other whole runs, lanes without a parent, half-built runs that nobody builds any more.

        Also a lane of the kept run that is not whole: its creation was answered, the answer was lost, and another was made.
        """
        others = [run for run in runs if keep not in (run.id, run.parent)]
        parents = [run for run in others if run.parent is None]
        dead = [run for run in parents if "projection" in run.tags or self.store.abandoned(run)]
        orphans = [run for run in others if run.parent is not None and run.parent not in {parent.id for parent in parents}]
        twice = [run for run in runs if run.parent == keep and "projection" not in run.tags]
        for run in (*dead, *orphans, *twice):
            self.store.delete(run)
        return len(dead)
