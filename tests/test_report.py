"""The node `report`: one file that needs nothing else, the same bytes twice, every word in both languages, nothing unescaped."""

import json
import re
import shutil
import string
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from browser import CHROMIUM, Browser

from stages import report as node
from stages.compare import DIFFERENT, compare
from stages.draw.page import answer as answers
from stages.draw.page import charts, figures, html, pictures, sentences
from stages.draw.page.driven import driven
from stages.draw.page.markdown import plain
from stages.draw.page.material import Band, Incident, VariantMaterial
from stages.draw.page.numbers import figure, quantity
from stages.draw.page.words import CHINESE, CHINESE_WHY, ENGLISH, GRAVITY, Words
from stages.errors import SeesawError
from stages.measure import doubts, remedies, verdict_rules
from stages.report import report
from stages.store import layout, records
from stages.store.config import Config, parse

FATES = {
    "r3": "healthy",
    "non_saturating": "healthy",
    "wgan_gp": "undertrained",
    "minimax": "vanishing_gradient",
    "wgan_free": "non_finite",
    "overpowered": "discriminator_wins",
}
SHAPE = synthetic.Shape(seeds=tuple(range(8)))
HOSTILE = "</script><script>alert(1)</script> <img src=x onerror=alert(2)> \" ' & | **"


def config(names, language: str = "en", title: str = "Which objective?") -> Config:
    entry = {"loss": {"name": "hinge"}, "penalty": {"name": "none"}, "constraint": {"name": "none"}}
    return parse({"variants": dict.fromkeys(names, entry), "report": {"title": title, "language": language}})


def edit(path: Path, change) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def add_landscape(diagnosis: dict[str, Any]) -> None:
    """What `diagnose` adds on healthy lanes: spectra, a path, fresh discriminators, diversity."""
    spectrum = {"largest": [[2.0, 1.0], [2.0, -1.0], [0.1, None]], "smallest_real": [[-0.3, 0.0]]}
    spectrum["largest"].pop()
    path = {"alphas": [-0.1, 0.5, 1.1], "cosine": [0.9, 0.8, -0.9], "norm": [1.0, 1.0, 1.0]}
    spectra = [{"step": 0, **spectrum, "preconditioned": None}, {"step": 100, **spectrum, "preconditioned": spectrum}]
    diagnosis["landscape"] = {"lanes": [{"seed": 0, "spectra": spectra, "path": path}]}
    bare = [{"step": s, "auc": [0.5, 0.6], "saturating": [10.0**-s, None], "non_saturating": [1.0, 1.2]} for s in (0, 1, 2)]
    own = [{"step": s, "auc": [0.5, None], "generator": [2.0 + s, None]} for s in (0, 1, 2)]
    diagnosis["probe"] = {form: {"snapshots": [{"step": 100, "points": points}]} for form, points in (("bare", bare), ("own", own))}
    lanes = [[0.4, 1.0], [None, 0.9]]
    diagnosis["diversity"] = {"steps": [0, 100], "reason": None, "spacing": {"ema": lanes, "raw": lanes}, "modes": lanes, "coverage": lanes}


def add_field(diagnosis: dict[str, Any]) -> None:
    """What `diagnose` adds for two-dimensional data: D over a 5 x 5 grid, an arrow at every second place; nothing at step 100."""
    row, points = "-2 -1 0 1 2", ["-0.5 0.5", "0 0.1"]
    shot = {"reason": None, "centre": 0.0, "longest": 0.5, "logits": [row] * 5, "arrows": [["0.3 0 -0.3"] * 3, ["0.4 0 0"] * 3]}
    shots = [{"step": step, **shot, "generated": points} for step in (0, 25, 50, 75)]
    last = {"step": 100, "reason": "a weight is not finite"}
    axis = "-1 -0.5 0 0.5 1"
    diagnosis["field"] = {"seed": 0, "x": axis, "y": axis, "arrows_every": 2, "real": points, "snapshots": [*shots, last]}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A results tree with its comparison, made once."""
    root = synthetic.write_results(tmp_path_factory.mktemp("tree"), FATES, SHAPE)
    edit(root / layout.diagnostics("r3"), add_landscape)
    compare(config(FATES), root)
    return root


@pytest.fixture
def copied(tree, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(tree, tmp_path / "copy"))


def page(root: Path) -> str:
    return (root / layout.REPORT / "index.html").read_text(encoding="utf-8")


def without_library(text: str) -> str:
    """The page without the plotting library's own text."""
    return re.sub(r'<script type="text/plain" id="plotly">.*?</script>', "", text, flags=re.S)


def data(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


class Tags(HTMLParser):
    """Every start tag with its attributes, and the tags that were never closed."""

    VOID = frozenset(("meta", "link", "img", "input", "br", "line", "path", "circle", "rect"))

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    return parser.found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_one_file_that_loads_nothing(tree, language):
    report(config(FATES, language), tree)
    text = without_library(page(tree))
    loads = [(tag, key, value) for tag, given in tags(text) for key, value in given.items() if key in ("src", "href", "srcset", "poster")]
    assert [load for load in loads if not str(load[2]).startswith(("#", "data:"))] == []
    assert re.findall(r"(?:url\(|@import|fetch\(|https?://)", text.replace("http://www.w3.org/2000/svg", "")) == []
    assert len(page(tree)) < 8 * 1024 * 1024


@pytest.mark.parametrize("language", ["en", "zh"])
def test_running_it_twice_gives_the_same_bytes(tree, language):
    written = []
    for _ in range(2):
        report(config(FATES, language), tree)
        written.append([(tree / layout.REPORT / name).read_bytes() for name in ("index.html", "report.md")])
    assert written[0] == written[1]


def test_every_picture_and_chart_says_what_it_shows(tree):
    report(config(FATES), tree)
    found = tags(without_library(page(tree)))
    assert all(given.get("alt") for tag, given in found if tag == "img")
    drawn = [given for _, given in found if "data-chart" in given]
    assert all(given.get("role") == "img" and given.get("aria-label") for given in drawn)
    assert {given["data-chart"] for given in drawn} == set(data(page(tree))["charts"])
    ids = [given["id"] for _, given in found if "id" in given]
    assert len(ids) == len(set(ids))
    anchors = {str(given["href"])[1:] for tag, given in found if tag == "a" and str(given.get("href")).startswith("#")}
    assert anchors <= set(ids)


def test_the_answer_ranking_evidence_and_remedies_are_there(tree):
    report(config(FATES), tree)
    text = without_library(page(tree))
    comparison = json.loads((tree / layout.COMPARISON).read_text())
    first = comparison["ranking"][0]
    assert f"<strong>{first['variant']}</strong> ranks first" in text
    assert all(f'id="v-{name}"' in text for name in FATES)
    assert "discriminator wins" in text
    assert "dvc exp run -S variants.overpowered.penalty.name=r1" in text
    assert "Over the last quarter D&#39;s AUC has the median 0.700" in text
    assert "Eigenvalues of the game" in text


def test_every_variant_says_where_its_values_come_from(copied):
    for name, state in (("r3", "tuned"), ("minimax", "changed")):
        note = {"study": "s1", "trials": 8, "values": "v1"}
        edit(copied / layout.run(name), lambda run, state=state, note=note: (run["config"].update(tuned=note), run.update(tuning=state)))
    report(config(FATES), copied)
    text, summary = page(copied), (copied / layout.REPORT / "report.md").read_text()
    for name in FATES:
        said = {"r3": "tuned, 8 trials", "minimax": "changed since tuned"}.get(name, "at defaults")
        assert re.search(rf">{name}</a> <small>{said}</small>", text)
        assert re.search(rf"\*\*{re.escape(plain(name))}\*\* .*\| {said} \|$", summary, re.MULTILINE)
    assert ENGLISH["note.tuned_unequally"] in text


def test_equal_tuning_needs_no_warning(tree):
    report(config(FATES), tree)
    assert "at defaults" in page(tree)
    assert ENGLISH["note.tuned_unequally"] not in page(tree)


def test_what_comes_from_files_is_escaped(copied):
    def spoil(diagnosis):
        for lane in diagnosis["lanes"]:
            lane["evidence"][0].update(measure=HOSTILE, text=HOSTILE)
            lane["remedies"] = [{"name": HOSTILE, "why": HOSTILE, "command": HOSTILE}]
        diagnosis["doubts"] = [{"kind": "nearly", "verdict": HOSTILE, "conditions": []}]

    edit(copied / layout.diagnostics("overpowered"), spoil)
    edit(copied / layout.run("overpowered"), lambda run: run["lanes"][0].update(status="non_finite", reason=HOSTILE))
    report(config(FATES, title=HOSTILE), copied)
    text = page(copied)
    assert "alert(1)</script>" not in text
    assert "<img src=x" not in text
    summary = re.sub(r"`` .*? ``", "", (copied / layout.REPORT / "report.md").read_text())  # code spans are shown as they are
    assert re.findall(r'(?<!\\)<(?!img src="\.\./samples/)', summary) == []
    found = tags(without_library(text))
    assert [given for _, given in found if any(key.startswith("on") for key in given)] == []
    assert sum(tag == "script" for tag, _ in found) == 2  # data and the page's own; the library was cut out above


def test_json_in_a_script_cannot_end_it():
    assert "<" not in html._json({"a": "</script><!--", "b": ["&"]})
    assert json.loads(html._json({"a": "</script>\u2028&"})) == {"a": "</script>\u2028&"}


def test_a_comparison_of_other_variants_is_refused(tree):
    with pytest.raises(SeesawError, match=r"other variants than params.yaml \(added\): run `dvc repro`"):
        report(config([*FATES, "added"]), tree)


def test_a_missing_file_says_what_to_do(copied):
    (copied / layout.scores("r3")).unlink()
    with pytest.raises(SeesawError, match=r"scores/r3.json is missing: run `dvc repro`"):
        report(config(FATES), copied)


def test_a_variant_that_cannot_be_compared_is_shown_and_not_ranked(copied):
    edit(copied / layout.scores("wgan_gp"), lambda scores: scores["features"].update(digest="other"))
    compare(config(FATES), copied)
    report(config(FATES), copied)
    text = without_library(page(copied))
    assert "Not comparable, so not ranked" in text
    assert 'id="v-wgan_gp"' in text
    assert "wgan_gp" not in [series["name"] for series in data(text)["charts"]["overview"]["series"]]


@pytest.mark.parametrize(("kind", "names"), [("vector", ["non_saturating", "r3"]), ("image", ["non_saturating"])])
def test_few_variants_seeds_and_vectors_are_drawn_too(tmp_path, kind, names):
    shape = synthetic.Shape(kind=kind, seeds=(0, 1))
    synthetic.write_results(tmp_path, names, shape)
    compare(config(names), tmp_path)
    report(config(names), tmp_path)
    text = without_library(page(tmp_path))
    tags(text)
    assert ("Generated points (orange)" in text) == (kind == "vector")
    assert ("not testable" in text) == (len(names) > 1)


def test_all_lanes_failing_is_an_answer_too(tmp_path):
    synthetic.write_results(tmp_path, {"non_saturating": "non_finite", "r3": "non_finite"}, synthetic.Shape())

    def fail(scores):
        for snapshot in scores["snapshots"]:
            for lane in snapshot["lanes"]:
                lane.update(status="non_finite", metrics=None)
        scores["best_step"] = dict.fromkeys(scores["best_step"])

    for name in ("non_saturating", "r3"):
        edit(tmp_path / layout.scores(name), fail)
    names = ["non_saturating", "r3"]
    compare(config(names), tmp_path)
    report(config(names), tmp_path)
    assert "No variant can be recommended" in page(tmp_path)


def test_the_summary_answers_in_markdown(tree):
    report(config(FATES), tree)
    text = (tree / layout.REPORT / "report.md").read_text()
    comparison = json.loads((tree / layout.COMPARISON).read_text())
    rows = [line for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [row.split("|")[2].strip(" *").replace("\\", "") for row in rows] == [row["variant"] for row in comparison["ranking"]]
    assert len({row.count(" | ") for row in rows}) == 1
    for link in re.findall(r'src="([^"]+)"', text):
        assert (tree / layout.REPORT / link).resolve().is_file()
    assert plain("a|b *c* <d> _e_\nf") == r"a\|b \*c\* \<d\> \_e\_ f"


# words


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_words_and_places():
    assert list(ENGLISH) == list(CHINESE)
    assert {key: places(text) for key, text in ENGLISH.items()} == {key: places(text) for key, text in CHINESE.items()}
    assert [key for key in ENGLISH if not ENGLISH[key] or not CHINESE[key]] == ["sentence.gap"]  # Chinese sentences follow without a space


def test_chinese_is_chinese():
    allowed = {"none", "doubt.gap", "variant.parameters_value", "list.comma", "sentence.gap"}
    assert [key for key, text in CHINESE.items() if not re.search(r"[\u4e00-\u9fff]", text) and key not in allowed] == []


def test_every_word_is_used_and_every_word_used_exists():
    folder = Path(html.__file__).parent
    names = ("template.html", "html.py", "answer.py", "charts.py", "driven.py", "markdown.py", "sentences.py", "page.js")
    sources = [*(folder / name for name in names), Path(node.__file__)]
    text = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    used = set(re.findall(r"""["']([a-z]+\.[a-z_]+)["']""", text)) & set(ENGLISH) | {
        k for k in ENGLISH if f"'{k}'" in text or f'"{k}"' in text
    }
    composed = ("said.", "lack.", "doubt.", "differs.", "model.")
    composed += ("metric.", "measure.", "verdict.", "meaning.", "remedy.", "flag.", "relation.", "note.", "method.", "chart.", "series.")
    composed += (
        "reading.",
        "tuning.",
        "list.",
        "data.",
        "answer.",
        "ranking.",
        "better",
        "worse",
        "undecided",
        "not_testable",
        "variant.penalty",
        "variant.constraint",
        "driven.",
        "driver.",
    )
    assert [key for key in ENGLISH if key not in used and not key.startswith(composed)] == []
    asked = re.findall(r"""\b(?:t|words)\(\s*["']([a-z_.]+)["'][,)]""", text)
    assert [key for key in asked if key not in ENGLISH] == []


def test_every_verdict_remedy_and_measure_has_words():
    words = Words("en")
    conditions = [c for rule in (*verdict_rules.RULES, *verdict_rules.FLAGS) for way in rule.ways for c in way]
    asked = {f"measure.{c.measure}" for c in conditions} | {f"measure.{name}" for name in verdict_rules.CONTEXT}
    asked |= {f"verdict.{name}" for name in verdict_rules.SEVERITY} | {f"meaning.{name}" for name in verdict_rules.SEVERITY}
    known = {c.measure for c in (*conditions, *verdict_rules.ENOUGH)} | set(verdict_rules.CONTEXT)
    asked |= {f"said.{name}" for name in known} | {f"said.{name}.of" for name in sentences.REFERENCES}
    asked |= {f"lack.{source}" for source in (*sentences.SOURCES.values(), "records")}
    asked |= {f"doubt.{kind}" for kind in doubts.KINDS} | {f"differs.{name}" for name in DIFFERENT}
    asked |= {f"remedy.{remedy.name}" for remedy in remedies.REMEDIES} | {f"flag.{flag.verdict}" for flag in verdict_rules.FLAGS}
    assert sorted(key for key in asked if not words.has(key)) == []
    assert set(GRAVITY) == set(verdict_rules.SEVERITY)
    assert set(CHINESE_WHY) == {remedy.name for remedy in remedies.REMEDIES}


# names, terms and units that a Chinese reader of this field meets in Latin letters
TERMS = re.compile(
    r"AUC|CD|D|EMA|FLOP|[kMGT]?FLOP|GAN|G|L_[GD]|P|z|∂|R[12]|p|log|logits?|leaky|Seesaw|Student-t|Friedman|Nemenyi|Wilson|Wasserstein|Lipschitz|max-T|"
    r"Fréchet|params\.yaml|seesaw tune|et al\.|[kMGTx]|"
    r"Arjovsky|Bottou|Gidel|Goodfellow|Gulrajani|Huang|Lin|Mescheder|Miyato|Salimans|Sønderby|Yazıcı|Zhao"
)


class Said(HTMLParser):
    """What a reader sees or is told, code and scripts apart."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style", "code")
        self.found += [value for key, value in attrs if value and key in ("alt", "title", "aria-label")]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style", "code")

    def handle_data(self, text):
        if not self.hidden:
            self.found.append(text)


def strings(value: Any) -> list[str]:
    """Every string in a JSON value, but pictures, names of looks, and the reason that the script only compares with null."""
    if isinstance(value, dict):
        return [text for key, inner in value.items() if key not in ("role", "kind", "dash", "src", "reason") for text in strings(inner)]
    return [text for inner in value for text in strings(inner)] if isinstance(value, list) else [value] if isinstance(value, str) else []


def foreign(text: str, names) -> list[str]:
    """Latin words of a text that are neither names nor terms."""
    latin = re.sub(r"[\u3000-\u9fff\uff00-\uffef]|\b[0-9a-f]{12,}\b|\d[\d.]*e[−\d]\d*", " ", text)  # digests and 1e−5 are no words
    words = [word.strip(".") for word in re.findall(r"[A-Za-zÀ-ÖØ-öø-ž][\w.\-]*(?: al\.| tune)?", latin)]
    return [word for word in words if word not in names and not TERMS.fullmatch(word) and not TERMS.fullmatch(word + ".")]


def full_diagnosis(diagnosis: dict[str, Any], verdict: str) -> None:
    """Every measure with a value, without one and with an infinite one; every doubt, remedy and flag."""
    conditions = [c for rule in (*verdict_rules.RULES, *verdict_rules.FLAGS) for way in rule.ways for c in way]
    measures = sorted({c.measure for c in (*conditions, *verdict_rules.ENOUGH)} | set(verdict_rules.CONTEXT))
    evidence = [
        {"measure": name, "value": value, "threshold": 1.0, "relation": relation, "steps": [1, 2], "text": "an English sentence"}
        for name in measures
        for value, relation in ((1.5, "above"), (None, "below"), (None, None))
    ]
    missed = [(conditions[0], 1.0), (conditions[1], 2.0)]
    lane = [doubts.too_short(10, 1), doubts.near(conditions[0], 1.0), doubts.nearly(verdict, missed)]
    whole = [doubts.few_agree(verdict, 4, 8), doubts.lanes_doubt(4, 4, lane)]
    fits = [{"name": one.name, "why": one.why, "command": "dvc exp run"} for one in remedies.REMEDIES]
    for place in diagnosis["lanes"]:
        place.update(verdict=verdict, evidence=evidence, doubts=[one.as_json() for one in lane], remedies=fits)
    diagnosis["lanes"][-1].update(verdict="healthy" if verdict != "healthy" else "oscillating")
    quality = {"good": 2.0, "floor_precision": 0.9, "floor_coverage": None}
    flags = [flag.verdict for flag in verdict_rules.FLAGS]
    diagnosis.update(doubts=[one.as_json() for one in whole], flags=flags, story={**diagnosis["story"], "quality": quality})


@pytest.mark.parametrize("kind", ["image", "vector"])
def test_the_chinese_page_says_nothing_in_english(tmp_path, kind):
    """Every verdict, measure, doubt, remedy, flag and reason there is, shown to a reader of Chinese."""
    names = {"non_saturating": "healthy"} | {f"v_{verdict}": verdict for verdict in GRAVITY} | {"left": "healthy", "stale": "healthy"}
    synthetic.write_results(tmp_path, names, synthetic.Shape(kind=kind, seeds=tuple(range(8))))
    for name, verdict in names.items():
        edit(tmp_path / layout.diagnostics(name), lambda diagnosis, verdict=verdict: full_diagnosis(diagnosis, verdict))
        edit(tmp_path / layout.diagnostics(name), add_landscape)
        if kind == "vector":
            edit(tmp_path / layout.diagnostics(name), add_field)
    edit(tmp_path / layout.scores("left"), lambda scores: (scores["features"].update(digest="other"), scores.update(samples=7)))
    edit(tmp_path / layout.scores("stale"), lambda scores: scores.update(fingerprint="other"))
    chosen = config(names, "zh", title="")
    compare(chosen, tmp_path)
    report(chosen, tmp_path)
    parser = Said()
    parser.feed(without_library(page(tmp_path)))
    layers = {layer for found in synthetic.LAYERS.values() for layer in found}
    identifiers = {*names, *layers, "none", "hinge"}
    assert {word for text in parser.found for word in foreign(text, identifiers)} == set()
    told = data(page(tmp_path))
    texts = strings({key: told[key] for key in ("words", "alts", "charts")})
    assert {word for text in texts for word in foreign(text, identifiers)} == set()
    summary = re.sub(r"``.*?``|`[^`]*`|<img[^>]*>", "", (tmp_path / layout.REPORT / "report.md").read_text()).replace("\\", "")
    assert set(foreign(summary, identifiers)) == set()


def test_a_lane_that_broke_says_where(tmp_path):
    """The layers come from the records; more than three are counted."""
    layers = [("D", "a.weight", 3), ("D", "b.weight", 1), ("G", "c.weight", 9), ("G", "d.weight", 2)]
    assert sentences.ended(Incident(40, layers[:1]), Words("en")).endswith("first seen at step 40: 3 values of a.weight (D)")
    assert sentences.ended(Incident(40, layers), Words("en")).endswith("9 values of c.weight (G) and 1 more layers")
    assert sentences.ended(None, Words("zh")) == "损失不再是有限数"
    block = records.Block((("d_non_finite", "a.weight"), ("d_non_finite", "b.weight")), np.array([3, 5]), np.array([0, 0]),
                          np.array([[[0.0, 2.0], [0.0, 0.0]], [[1.0, 4.0], [0.0, 6.0]]]))  # fmt: skip
    records.write(tmp_path / "x.parquet", [7, 8], [block])
    found = records.read(tmp_path / "x.parquet")
    assert [node._incident(found, lane) for lane in (0, 1)] == [Incident(5, [("D", "a.weight", 1)]), Incident(3, [("D", "a.weight", 2)])]


def test_an_axis_turns_logarithmic_both_ways_where_a_linear_one_hides_a_curve():
    assert charts.linear_below([[0.5, -0.4, 0.3, None], [0.2, -0.1, 0.0]]) is None
    assert charts.linear_below([[0.25, 3e-6, 4e-7, 3e-10]]) == 1e-10
    assert charts.linear_below([[1.0, -2.0, 1.5]], [[-500.0, None]]) == 1.0  # a band may hide the medians, too
    assert charts.linear_below([[], [None], [0.0]]) is None


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("conclusion", ["better", "worse", "undecided", "not_testable"])
def test_the_answer_says_each_conclusion(tree, language, conclusion):
    comparison = json.loads((tree / layout.COMPARISON).read_text())
    comparison["ranking"].sort(key=lambda row: row["variant"] != "r3")
    pair = next(pair for pair in comparison["paired"] if pair["variant"] == "r3")
    pair["conclusion"] = conclusion
    said = answers.answer(comparison, 100, Words(language), {"overpowered": "because"})
    assert len(said) == 3
    assert "non_saturating" in said[1]
    assert "because" in said[2]
    assert "{" not in "".join(said)


# layout and numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (0, "0"), (1.234, "1.23"), (0.01234, "0.0123"), (999.6, "1,000"), (123456, "123,000"),
     (-2.5, "−2.50"), (1e7, "1.00e7"), (1.5e-6, "1.50e−6")],
)  # fmt: skip
def test_figures_have_three_digits(value, text):
    assert figure(value) == text


def test_quantities_have_prefixes():
    assert [quantity(v, "FLOP") for v in (5, 1.5e3, 2e12, None)] == ["5.00 FLOP", "1.50 kFLOP", "2.00 TFLOP", "–"]


def test_places_on_the_axis_are_logarithmic():
    row = {"per_lane": [1.0, 10.0, 100.0, None], "low": 10.0, "high": 100.0, "median": 10.0}
    laid = figures.intervals([{"variant": "a", **row}], 1.0)
    low, middle, high = laid["rows"]["a"]["dots"]
    assert middle - low == pytest.approx(high - middle, abs=0.02)
    assert (laid["floor"], laid["rows"]["a"]["low"], laid["rows"]["a"]["high"]) == (low, middle, high)
    assert figures.intervals([{"variant": "a", "per_lane": [None], "low": None, "high": None, "median": None}], None)["rows"] == {}


def test_thinning_keeps_the_ends_and_hides_no_peak():
    values: list[float | None] = [0.0] * 1000
    values[503] = 9.0
    band = Band(list(range(1000)), values, values, values)
    thin = charts._series(band, "x", "generator")
    assert (thin["x"][0], thin["x"][-1]) == (0, 999)
    assert len(thin["x"]) <= charts.STEPS
    assert max(thin["high"]) == 9.0


def test_pictures_are_kept_where_they_fit_and_share_one_encoding_where_not(tmp_path):
    rng = np.random.default_rng(0)
    png = {}
    for step in (0, 1):
        synthetic.write_png(tmp_path / "x.png", rng.integers(0, 255, (128, 128), dtype=np.uint8))
        png[step] = (tmp_path / "x.png").read_bytes()
    small = pictures.embedded({"a": png}, budget=10**6)
    assert all(uri.startswith("data:image/png;base64,") for uri in small["a"].values())
    tight = pictures.embedded({"a": png, "b": png}, budget=20_000)
    uris = [uri for steps in tight.values() for uri in steps.values()]
    assert all(uri.startswith("data:image/webp;base64,") for uri in uris)
    assert sum(len(uri) for uri in uris) * 3 / 4 < 21_000
    assert tight == pictures.embedded({"a": png, "b": png}, budget=20_000)


# in the browser


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_page_works_in_a_browser_without_a_word_on_the_console(tmp_path):
    names = {"non_saturating": "healthy", "r3": "mode_collapse"}
    synthetic.write_results(tmp_path, names, SHAPE)
    edit(tmp_path / layout.diagnostics("r3"), add_landscape)
    compare(config(names), tmp_path)
    report(config(names), tmp_path)
    index = (tmp_path / layout.REPORT / "index.html").as_uri()
    with Browser() as browser:
        browser.open(index)
        assert browser.wait_for("document.querySelectorAll('.js-plotly-plot').length > 0 || (scrollTo(0, 2500), false)")
        browser.run("document.querySelector('#v-r3').scrollIntoView({behavior: 'instant'})")
        assert browser.wait_for("document.querySelector('[data-chart=\"r3.quality\"].js-plotly-plot') !== null")
        last = browser.run("document.querySelector('[data-sample=\"r3\"]').src")
        browser.run("(s => { s.value = 0; s.dispatchEvent(new Event('input')); })(document.querySelector('[data-slide=\"r3\"]'))")
        assert browser.run("document.querySelector('[data-sample=\"r3\"]').src") != last
        browser.run("document.querySelector('[data-trace=\"r3\"]').click()")
        assert browser.run("document.querySelector('[data-trace=\"r3\"]').getAttribute('aria-pressed')") == "false"
        assert browser.run("[...document.images].every((image) => image.naturalWidth > 0)")
        for control in ("[name=axis][value=flops]", "#log", "[data-all=false]", "[data-all=true]", "[data-copy]"):
            browser.run(f"document.querySelector('{control}').click()")
        browser.run("dispatchEvent(new Event('beforeprint'))")
        assert browser.run("[...document.querySelectorAll('[data-chart]')].every((chart) => chart.matches('.js-plotly-plot'))")
        browser.run("dispatchEvent(new Event('afterprint'))")
        browser.resize(400)
        assert browser.wait_for("document.documentElement.scrollWidth === 400")
        assert browser.said() == []
        assert browser.requests() == [index]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_plane_follows_the_slider_in_both_themes_on_a_phone(tmp_path):
    names = {"non_saturating": "healthy", "r3": "mode_collapse"}
    synthetic.write_results(tmp_path, names, synthetic.Shape(kind="vector"))
    edit(tmp_path / layout.diagnostics("r3"), add_field)
    compare(config(names), tmp_path)
    report(config(names, "zh"), tmp_path)
    arrows = "document.querySelector('[data-plane=r3]').data.filter((trace) => trace.type === 'contour').length"
    told = "[...document.querySelectorAll('[data-told=r3]')].map((line) => line.hidden)"
    with Browser() as browser:
        browser.resize(360)
        browser.open((tmp_path / layout.REPORT / "index.html").as_uri())
        browser.run("document.querySelector('[data-plane=r3]').scrollIntoView({behavior: 'instant'})")
        assert browser.wait_for("document.querySelector('[data-plane=r3].js-plotly-plot') !== null")
        assert (browser.run(arrows), browser.run(told)) == (0, [True, True, True, True, False])
        browser.run("(s => { s.value = 1; s.dispatchEvent(new Event('input')); })(document.querySelector('[data-slide=r3]'))")
        assert (browser.run(arrows), browser.run(told)) == (2, [True, False, True, True, True])
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert browser.wait_for("document.querySelector('[data-plane=r3]').layout.font.color === '#b3ada2'")
        browser.run("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
        assert browser.wait_for("document.documentElement.scrollWidth <= 360")
        assert browser.said() == []


def test_the_script_is_valid_where_node_is_there():
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    subprocess.run([node, "--check", Path(html.__file__).parent / "page.js"], check=True)


def driven_bands(own, cross):
    """A variant whose G's loss is moved so, D's not at all."""
    values = {"g_own_predicted": own, "g_cross_predicted": cross, "d_own_predicted": [0.0] * 4, "d_cross_predicted": [0.0] * 4}
    bands = {name: Band([2, 100, 200, 300], cells, cells, cells) for name, cells in values.items()}
    return VariantMaterial({}, {}, {}, bands, {}, {})


def test_who_drives_whom_follows_signs_and_sizes():
    """The last quarter of the probes speaks, two at least: D raising L_G by more than half as much again as G lowers it drives it."""
    words = Words("en")
    told = driven(driven_bands([5.0, 5.0, -0.01, -0.01], [-9.0, -9.0, 0.04, 0.04]), words)
    assert told[0] == (
        "L_G over the last 2 probed steps: D's update raises it by 0.0400 a step, to first order, and G's own lowers it by 0.0100. "
        "L_G is driven by D (0.80 of the movement)."
    )
    assert told[1].endswith("L_D does not move.")
    assert "driven by G itself" in driven(driven_bands([-0.04] * 4, [0.01] * 4), words)[0]
    assert "about equally" in driven(driven_bands([-0.04] * 4, [0.03] * 4), words)[0]
    assert driven(driven_bands([None] * 4, [None] * 4), words)[0].startswith("L_D")


def test_probes_have_their_own_steps_and_a_panel(tree):
    """What is measured at few steps is drawn at those steps; signed changes get their zero line; four heat maps a variant."""
    report(config(FATES), tree)
    drawn = data(page(tree))["charts"]
    assert drawn["r3.driven_g"]["series"][0]["x"] == [10, 100]
    assert drawn["r3.driven_g"]["zero"] is True
    assert drawn["r3.losses"]["series"][0]["x"][:2] == [1, 10]
    names = ("generator", "discriminator", "generator_updates", "discriminator_updates")
    assert {key for key in drawn if key.startswith("r3.heat_")} == {f"r3.heat_{name}" for name in names}
    assert "L_G is driven by D (0.80 of the movement)." in page(tree)
