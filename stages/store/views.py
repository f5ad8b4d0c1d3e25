"""Prepared views of MLflow's runs page: columns, grouping and charts, opened with `?viewStateShareKey=variants` (or `lanes`).

MLflow keeps what a person arranged in the browser; a shared view is an experiment tag `mlflow.sharedViewState.<key>` with the same JSON
(written here as its page writes it: zlib, base64, the prefix `deflate;`).
"""

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

KEY = "mlflow.sharedViewState."
SCORES = ("precision", "recall", "coverage")
GAME = ("g_loss", "d_loss", "g_gradient_norm", "d_gradient_norm", "real_logit", "fake_logit")
SIGNS = ("auc", "saturation", "sample_movement", "d_penalty")


def view_tags(primary: str, step: int) -> dict[str, str]:
    """Both views as experiment tags; `primary` is the metric that ranks, samples are those of `step`."""
    return {f"{KEY}variants": packed(variants_view(primary, step)), f"{KEY}lanes": packed(lanes_view(primary))}


def packed(view: dict[str, Any]) -> str:
    """A view as MLflow's page compresses it."""
    return "deflate;" + base64.b64encode(zlib.compress(json.dumps(view, sort_keys=True).encode(), 9)).decode()


def variants_view(primary: str, step: int) -> dict[str, Any]:
    """One row a variant, ranked; bars of the result, the samples, median curves."""
    metrics = [f"metrics.`{name}`" for name in (primary, "failed_lanes", *SCORES)]
    columns = ["tags.`verdict`", *metrics, "params.`loss.name`", "params.`penalty.name`"]
    sections = {
        "Result": [bar(name) for name in (primary, f"{primary}_best", "failed_lanes", *SCORES, "modes")],
        "Samples": [images("samples", step)],
        "Gradients by layer, and who drives whom": [images("game", step)],
        "Landscape, probes, diversity": [images("landscape", step)],
        "Game (medians over lanes)": [line(f"{name}_median") for name in GAME],
    }
    return {"searchFilter": "tags.`seesaw.kind` = 'variant'", "groupBy": None} | best_first(primary) | table(columns) | charts(sections)


def lanes_view(primary: str) -> dict[str, Any]:
    """Lanes grouped by variant: average curves with their range."""
    scores = (primary, *SCORES)
    columns = ["tags.`verdict`", "params.`seed`", *(f"metrics.`{name}`" for name in (*scores, "g_loss", "d_loss"))]
    sections = {
        "Game": [line(name) for name in GAME],
        "Signs": [line(name) for name in SIGNS],
        "Quality": [line(name) for name in scores],
    }
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "lane.variant"}]}
    return {"searchFilter": "tags.`seesaw.kind` = 'lane'", "groupBy": group} | best_first(primary) | table(columns) | charts(sections)


def best_first(primary: str) -> dict[str, Any]:
    """Sorted by the metric that ranks."""
    return {"orderByKey": f"metrics.`{primary}`", "orderByAsc": True}


def table(columns: Sequence[str]) -> dict[str, Any]:
    """Columns in that order, the verdict wide enough to be read; every run drawn (MLflow hides all but ten, and the worst stand last)."""
    shown = {"runsHiddenMode": "SHOW_ALL"}
    return shown | {"selectedColumns": list(columns), "columnOrder": list(columns), "columnWidths": {"tags.`verdict`": 160}}


def charts(sections: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Sections of charts in that order; the page itself adds sections for metrics that have no chart here."""
    names = [*sections, "Model metrics", "System metrics"]
    shown = [
        section(name, large=all(card["type"] == "IMAGE" for card in sections.get(name, ({"type": ""},))), listed=name in sections)
        for name in names
    ]
    cards = [card | {"uuid": f"{name}-{i}", "metricSectionId": name} for name, some in sections.items() for i, card in enumerate(some)]
    return {"compareRunSections": shown, "compareRunCharts": cards, "isAccordionReordered": True, "hideEmptyCharts": True}


def section(name: str, large: bool, listed: bool) -> dict[str, Any]:
    """A foldable section; images get one wide card a row."""
    size = {"columns": 1, "cardHeight": 640} if large else {"columns": 3, "cardHeight": 300}
    return {"uuid": name, "name": name, "display": listed, "isReordered": False, "deleted": False, "isGenerated": not listed} | size


def bar(metric: str) -> dict[str, Any]:
    """Bars: one value a run."""
    return {"type": "BAR", "metricKey": metric, "displayName": metric, "runsCountToCompare": 20, "deleted": False, "isGenerated": False}


def line(metric: str) -> dict[str, Any]:
    """A curve over the steps."""
    axes = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "yAxisKey": "metric", "yAxisExpressions": []}
    rest = {"lineSmoothness": 0, "range": {}, "selectedXAxisMetricKey": "", "ignoreOutliers": False}
    return bar(metric) | {"type": "LINE", "useGlobalXaxisKey": True, "useGlobalLineSmoothing": True} | axes | rest


def images(key: str, step: int) -> dict[str, Any]:
    """The image grid, with a slider over the steps."""
    card = {"type": "IMAGE", "imageKeys": [key], "step": step, "showRunParams": False, "displayName": key}
    return card | {"runsCountToCompare": 20, "deleted": False, "isGenerated": False}
