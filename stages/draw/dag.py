"""The pipeline's graph as an SVG that reads well on light and dark pages; docs/dag.svg is its output."""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 900, 268
BOX = (120, 52)  # width and height of a node
STYLE = """
    .node { fill: #ffffff; stroke: #c9c3b8; }
    .shadow { fill: #f3f0ea; stroke: #d9d4ca; }
    .side { fill: none; stroke: #b9480f; stroke-dasharray: 5 4; }
    .edge { fill: none; stroke: #8b877f; stroke-width: 1.5; }
    .head { fill: #8b877f; }
    .fence { stroke: #c9c3b8; stroke-dasharray: 2 5; }
    text { font-family: ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; }
    text { text-anchor: middle; fill: #1c1b19; font-size: 14.5px; }
    text.name { font-weight: 600; }
    text.note { fill: #77736b; font-size: 11.5px; }
    @media (prefers-color-scheme: dark) {
      .node { fill: #262420; stroke: #55514a; }
      .shadow { fill: #1e1d1a; stroke: #45423c; }
      .side { stroke: #f0884a; }
      text { fill: #ece8e0; }
      text.note { fill: #a39d92; }
      .fence { stroke: #55514a; }
    }"""


@dataclass(frozen=True)
class Node:
    """A box: its centre, what it is called and what it does."""

    x: int
    y: int
    name: str
    note: str
    each: bool = False  # one per variant
    outside: bool = False  # a side effect, not a stage


NODES = {
    node.name: node
    for node in (
        Node(70, 120, "check", "params.yaml"),
        Node(216, 120, "prepare", "split, features"),
        Node(362, 120, "train", "all seeds at once", each=True),
        Node(516, 58, "diagnose", "verdict, remedies", each=True),
        Node(516, 182, "evaluate", "scores, samples", each=True),
        Node(670, 120, "compare", "ranks, intervals"),
        Node(816, 120, "report", "index.html"),
        Node(670, 226, "sync", "fills MLflow", outside=True),
        Node(816, 226, "promote", "gate, champion", outside=True),
    )
}
EDGES = (
    ("check", "prepare"),
    ("prepare", "train"),
    ("train", "diagnose"),
    ("train", "evaluate"),
    ("diagnose", "compare"),
    ("evaluate", "compare"),
    ("compare", "report"),
    ("sync", "promote"),
)


def dag(path: Path) -> None:
    """Write the picture; the same bytes every time."""
    parts = [_edge(NODES[start], NODES[end]) for start, end in EDGES] + [_box(node) for node in NODES.values()]
    fence = '<path class="fence" d="M608 178H884" fill="none"/><text class="note" x="554" y="230">after dvc repro</text>'
    title = "check, prepare, train each variant, diagnose and evaluate each variant, compare, report; outside the graph: sync, then promote"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">\n'
        f"  <style>{STYLE}\n  </style>\n  {fence}\n  " + "\n  ".join(parts) + "\n</svg>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg, encoding="utf-8")


def _box(node: Node) -> str:
    width, height = BOX
    left, top = node.x - width // 2, node.y - height // 2
    behind = "".join(f'<rect class="shadow" x="{left + d}" y="{top - d}" width="{width}" height="{height}" rx="9"/>' for d in (8, 4))
    kind = "side" if node.outside else "node"
    name = f"{node.name}@v" if node.each else node.name
    return (
        f"{behind if node.each else ''}"
        f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{height}" rx="9"/>'
        f'<text class="name" x="{node.x}" y="{node.y - 2}">{escape(name)}</text>'
        f'<text class="note" x="{node.x}" y="{node.y + 16}">{escape(node.note)}</text>'
    )


def _edge(start: Node, end: Node) -> str:
    """A curve from the right side of one box to the left side of the next, with an arrow head."""
    x1, x2 = start.x + BOX[0] // 2 + (8 if start.each and start.y != end.y else 0), end.x - BOX[0] // 2 - 7
    middle = (x1 + x2) // 2
    curve = f"M{x1} {start.y}C{middle} {start.y} {middle} {end.y} {x2} {end.y}"
    return f'<path class="edge" d="{curve}"/><path class="head" d="M{x2 + 6} {end.y}l-8 -4.5v9z"/>'
