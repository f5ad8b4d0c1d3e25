"""`python -m stages.conventions` assembles docs/conventions.md from the docstrings of the catalogue and of the rules.

The docstrings are read with `ast`: no part is imported, and the page depends on their text alone.
"""

import ast
import inspect
import re
from pathlib import Path

from stages.store import catalogue, files

PAGE = Path(__file__).resolve().parent.parent / "docs" / "conventions.md"
HEADINGS = {"loss": "Losses", "penalty": "Penalties", "constraint": "Constraints"}
# A value of a rule, or a rule, and where its docstring stands.
RULES = {
    "method: extra_gradient": "extra_gradient.extra_gradient",
    "method: consensus": "consensus.consensus",
    "optimizer: sgd": "optimizers.Sgd",
    "optimizer: adam": "optimizers.Adam",
    "optimizer: rmsprop": "optimizers.RmsProp",
    "optimizer: optimistic_sgd, optimistic_adam, optimistic_rmsprop": "optimizers.Optimistic",
    "schedule": "motion.Scheduled",
    "gradient_clip": "motion.Clipped",
    "instance_noise": "views.InstanceNoise",
    "balance: adaptive": "balance.Adaptive",
    "pack": "packing.packed",
    "augment": "augmentation.Augmentation",
    "augment: diffaugment": "augmentation.diffaugment",
    "augment: ada": "augmentation.ada",
    "discriminator.minibatch_std": "lanes.LinearWithSpread",
}
OPENING = """# Conventions: every part of the game, and how its numbers convert

Assembled from the docstrings by `python -m stages.conventions`; edit those, not this page. A part's heading is its file name, its factory's
name and its word in params.yaml; the line under it lists the keys that params.yaml may set, with their defaults.

What holds for all of them:

- a = D(x) and b = D(G(z)) are logits (or critic values); σ is the logistic function, softplus(v) = log(1 + e^v), p the data's density,
  q the generator's. L lanes, B samples a lane; one lane never sees another's numbers.
- Losses are per sample; the step averages over B within a lane and sums lanes, so that every lane's gradient is that of training it
  alone. D minimises L_D + weight x mean of its penalty. G minimises L_G.
- Images are x / 127.5 - 1, in [-1, 1]. Penalties on input gradients depend on that scale: data in [0, 1] has gradients twice as large,
  so a weight tuned there on a squared norm (r1, r2) becomes 4 x that weight here.
- `lazy_interval` I: every I-th D step adds I x weight x penalty to the same loss; learning rate and betas stay as they are.
- Factors convert another code's hyperparameter into ours, for the same loss gradient. Under Adam a constant factor on a whole loss hardly
  matters; between a loss and its penalty it always does.
"""


def page() -> str:
    """The whole page as Markdown."""
    parts = [f"\n## {HEADINGS[kind]}\n" + "".join(_entry(kind, name) for name in catalogue.names(kind)) for kind in HEADINGS]
    return OPENING + "".join(parts) + _rules()


def _rules() -> str:
    """The keys of `rules` as a table, then what their values do."""
    rows = [f"| `{key}` | {default} | {words} |" for key, default, words in rule_keys()]
    table = "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])
    entries = [f"\n### {title}\n\n{_markdown(_docstring_of(place))}\n" for title, place in RULES.items()]
    return f"\n## Rules\n\nKeys of `train.rules` and of a variant's `rules`.\n\n{table}\n" + "".join(entries)


def rule_keys() -> list[tuple[str, str, str]]:
    """Every field of `Rules`: its name, its default, and its values or the comment beside it."""
    source = (catalogue.GAME / "spec.py").read_text(encoding="utf-8")
    rules = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Rules")
    return [_rule(node, source.splitlines()[node.lineno - 1]) for node in rules.body if isinstance(node, ast.AnnAssign)]


def _rule(node: ast.AnnAssign, line: str) -> tuple[str, str, str]:
    words = re.findall(r"\"(\w+)\"", ast.unparse(node.annotation).replace("'", '"'))
    comment = line.partition("# ")[2].replace("|", "\\|")
    return (
        ast.unparse(node.target),
        str(ast.literal_eval(node.value or ast.Constant(""))),
        "; ".join(filter(None, [", ".join(words), comment])),
    )


def _entry(kind: str, name: str) -> str:
    return f"\n### {name}\n\n{_keys(kind, name)}\n\n{_markdown(_docstring(kind, name))}\n"


def _keys(kind: str, name: str) -> str:
    arguments = catalogue.arguments(kind, name).items()
    shown = [f"`{key}` ({type_.__name__}, {'required' if default is ... else default})" for key, (type_, default) in arguments]
    return "Keys: " + (", ".join(shown) if shown else "none") + "."


def _docstring(kind: str, name: str) -> str:
    return _docstring_of(f"{catalogue.KINDS[kind]}.{name}.{name}")


def _docstring_of(place: str) -> str:
    """The docstring of a function or class of stages/game, given as `module.name`."""
    *module, name = place.split(".")
    tree = ast.parse(catalogue.GAME.joinpath(*module).with_suffix(".py").read_text(encoding="utf-8"))
    found = next(node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name)
    text = ast.get_docstring(found)
    if not text:
        raise ValueError(f"{place} has no docstring")
    return inspect.cleandoc(text)


def _markdown(text: str) -> str:
    """The docstring's indented blocks become fenced ones, and the `::` before them a colon; its prose is Markdown already."""
    blocks = re.sub(r"^ {4}.*\n?(?:(?: {4}.*|(?=\n {4}))\n?)*", lambda match: _fenced(match.group(0)), text, flags=re.MULTILINE)
    return blocks.replace("::\n", ":\n")


def _fenced(block: str) -> str:
    body = "\n".join(line[4:] for line in block.rstrip("\n").split("\n"))
    return f"```text\n{body}\n```\n"


if __name__ == "__main__":
    files.write_text(PAGE, page())
