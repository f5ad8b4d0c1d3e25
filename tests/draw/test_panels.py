"""Panels of a diagnosis: one PNG, the same bytes twice, and figures of what the results hold."""

import io

import pytest
from PIL import Image

from stages import figures
from stages.draw import panels
from stages.store import layout
from stages.store.files import write_json

SPECTRUM = {"largest": [[2.0, 1.0], [0.5, 0.0]], "smallest_real": [[-0.3, 0.2]]}


def diagnosis(**changes):
    ends = [{"step": 0, **SPECTRUM, "preconditioned": None}, {"step": 100, **SPECTRUM, "preconditioned": SPECTRUM}]
    for one in ends:
        one |= {"generator_block": [-1.0, 2.0], "discriminator_block": []}
    path = {"alphas": [-0.1, 0.5, 1.1], "cosine": [0.9, None, -0.9], "norm": [1.0, 1.0, 1.0]}
    bare = [{"step": s, "auc": [0.5, None], "saturating": [10.0**-s, None], "non_saturating": [1.0, 1.2]} for s in (0, 1)]
    own = [{"step": s, "auc": [0.5, 0.9], "generator": [None, 1.0]} for s in (0, 1)]
    lanes = [[0.4, 1.0], [None, None]]
    heat = {"steps": [1, 100], "layers": ["a.weight", "b.weight"], "values": [[1.0, None], [0.1, 10.0]]}
    course = {key: [0.5, None] for key in ("auc", "g_loss", "saturation", "sample_movement", "g_root_over_epsilon", "g_update_ratio")}
    legs = {key: [0.1, None] for key in ("g_own_change", "g_cross_change", "g_drive", "g_turn_cosine", "g_snr", "d_dead_units")}
    whole = {
        "verdict": "late_collapse",
        "story": {
            "steps": [1, 100],
            **course,
            "quality": {"steps": [0, 100], "distance": [60.0, None], "floor": 2.0},
            "layers": {"g_gradient_norm": heat, "d_gradient_norm": heat},
            "probes": {"steps": [2, 100], **legs},
        },
        "landscape": {"lanes": [{"seed": 0, "spectra": ends, "path": path}]},
        "probe": {form: {"snapshots": [{"step": 100, "points": points}]} for form, points in (("bare", bare), ("own", own))},
        "diversity": {"steps": [0, 100], "spacing": {"ema": lanes, "raw": lanes}, "modes": lanes, "coverage": lanes, "real_modes": 2.0},
    }
    return whole | changes


def size(png):
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        return picture.size


def test_a_diagnosis_is_one_picture_the_same_twice():
    one, two = (panels.png(panels.snapshot_panels(diagnosis()), 3) for _ in range(2))
    assert one == two
    assert size(one) == (3 * panels.WIDTH * panels.DPI, 2 * panels.HEIGHT * panels.DPI)


def test_what_was_not_measured_has_no_panel():
    whole = len(panels.snapshot_panels(diagnosis()))
    assert len(panels.snapshot_panels(diagnosis(landscape=None))) == whole - 3
    assert panels.snapshot_panels({"landscape": None, "probe": None}) == []


def test_medians_leave_out_what_is_missing():
    assert panels.medians([[1.0, None, None], [3.0, 2.0, None], [8.0, 4.0, None]]) == [3.0, 3.0, None]


@pytest.mark.parametrize("names", [("non_saturating", "overpowered"), figures.VARIANTS])
def test_every_figure_is_drawn_of_the_variants_that_are_there(names, tmp_path):
    for name in names:
        write_json(tmp_path / layout.diagnostics(name), diagnosis())
    written = figures.draw(tmp_path, tmp_path / "drawn")
    assert {path.stem.removeprefix("diagnostics-") for path in written} == set(figures.FIGURES)
    assert all(size(path.read_bytes())[0] > 0 for path in written)


def test_without_results_no_figure_is_written(tmp_path):
    assert figures.draw(tmp_path, tmp_path / "drawn") == []


def test_the_page_shows_every_figure_and_each_is_small():
    pages = (figures.FOLDER.parent / "diagnostics.md", figures.FOLDER.parent.parent / "README.md")
    page = "".join(each.read_text(encoding="utf-8") for each in pages)
    for name in figures.FIGURES:
        assert f"figures/diagnostics-{name}.png" in page
        assert (figures.FOLDER / f"diagnostics-{name}.png").stat().st_size < 60_000
