"""Where everything lies, relative to the folder of dvc.yaml (see docs/formats.md)."""

from pathlib import Path

PREPARED = Path("data/prepared")
CARD = PREPARED / "card.json"
RESULTS = Path("results")
CHECKED = RESULTS / "checked.txt"
COMPARISON = RESULTS / "comparison.json"
COMPARE_PLOT = RESULTS / "plots" / "compare.csv"
REPORT = RESULTS / "report"
SUMMARY = Path(".seesaw/summary.md")  # the report for a CI job's page, with links; no output


def run(variant: str) -> Path:
    """results/runs/v.json"""
    return RESULTS / "runs" / f"{variant}.json"


def records(variant: str) -> Path:
    """results/records/v.parquet"""
    return RESULTS / "records" / f"{variant}.parquet"


def snapshots(variant: str) -> Path:
    """results/snapshots/v/"""
    return RESULTS / "snapshots" / variant


def continuation(variant: str, step: int) -> Path:
    """results/snapshots/v/continuation-000300.safetensors"""
    return snapshots(variant) / f"continuation-{step:06d}.safetensors"


def snapshot(variant: str, step: int) -> Path:
    """results/snapshots/v/step-000300.safetensors"""
    return snapshots(variant) / f"step-{step:06d}.safetensors"


def glimpses(variant: str) -> Path:
    """results/snapshots/v/glimpses.safetensors"""
    return snapshots(variant) / "glimpses.safetensors"


def curves(variant: str) -> Path:
    """results/curves/v.csv"""
    return RESULTS / "curves" / f"{variant}.csv"


def executions(variant: str) -> Path:
    """results/executions/v.json"""
    return RESULTS / "executions" / f"{variant}.json"


def diagnostics(variant: str) -> Path:
    """results/diagnostics/v.json"""
    return RESULTS / "diagnostics" / f"{variant}.json"


def scores(variant: str) -> Path:
    """results/scores/v.json"""
    return RESULTS / "scores" / f"{variant}.json"


def metrics(variant: str) -> Path:
    """results/metrics/v.json"""
    return RESULTS / "metrics" / f"{variant}.json"


def samples(variant: str) -> Path:
    """results/samples/v/"""
    return RESULTS / "samples" / variant
