"""params.yaml: what is read, and the one line that each mistake ends in."""

from pathlib import Path

import pytest

from stages.errors import SeesawError
from stages.store.config import parse, read_config, read_yaml

ROOT = Path(__file__).resolve().parents[2]
HINGE = "{loss: {name: hinge}, penalty: {name: none}, constraint: {name: none}}"


def read(tmp_path: Path, text: str):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def with_variant(text: str) -> str:
    return f"compare: {{baseline: a}}\nvariants:\n  a: {text}\n"


def test_the_projects_own_file_is_read_whole():
    config = read_config(ROOT / "params.yaml")
    assert config.compare.baseline in config.variants
    assert config.variants["wgan_gp"].penalty.arguments["weight"] == 10.0


def test_a_variant_lies_over_the_shared_values(tmp_path):
    text = "train: {rules: {beta1: 0.1, critic_steps: 2}}\n" + with_variant(HINGE[:-1] + ", rules: {critic_steps: 5}}")
    rules = read(tmp_path, text).variants["a"].rules
    assert (rules.beta1, rules.critic_steps) == (0.1, 5)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-5", 1e-5), ("1e-05", 1e-5), ("2E-4", 2e-4), ("1.5e+2", 150.0), (".5", 0.5), ("3", 3.0), ("1.", 1.0)],
)
def test_yaml_1_2_numbers_are_numbers(tmp_path, text, value):
    config = read(tmp_path, f"train: {{rules: {{generator_lr: {text}}}}}\n" + with_variant(HINGE))
    assert config.train.rules.generator_lr == value


def test_yaml_1_1_booleans_are_words(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("a: no\nb: on\nc: true\nd: 0o7\ne: 1:30\nf: 2024-01-01\ng: 0x1F\n")
    assert read_yaml(path) == {"a": "no", "b": "on", "c": True, "d": "0o7", "e": "1:30", "f": "2024-01-01", "g": "0x1F"}


MISTAKES = {
    "unknown section": ("trian: {}\n" + with_variant(HINGE), "unknown key trian: allowed are .*; did you mean 'train'\\?"),
    "unknown key": ("train: {step: 5}\n" + with_variant(HINGE), "unknown key train.step: .*did you mean 'steps'"),
    "unknown key in depth": (
        "train: {rules: {critic_step: 5}}\n" + with_variant(HINGE),
        "unknown key train.rules.critic_step: .*critic_steps",
    ),
    "wrong type": ("train: {steps: many}\n" + with_variant(HINGE), r"train.steps is 'many' \(str\): a value of type int is needed"),
    "a fraction for a count": ("train: {steps: 1.5}\n" + with_variant(HINGE), r"train.steps is 1.5 \(float\)"),
    "a bool for a count": ("train: {steps: true}\n" + with_variant(HINGE), r"train.steps is True \(bool\)"),
    "nothing for a count": ("train: {steps: }\n" + with_variant(HINGE), r"train.steps is None \(NoneType\)"),
    "not finite": ("train: {rules: {generator_lr: .inf}}\n" + with_variant(HINGE), "a finite number is needed"),
    "out of range": ("train: {batch: 0}\n" + with_variant(HINGE), "train.batch is 0: at least 1 is needed"),
    "lr of zero": ("train: {rules: {generator_lr: 0}}\n" + with_variant(HINGE), "generator_lr is 0.0: a number above 0"),
    "pack": (
        "train: {batch: 64, rules: {pack: 3}}\n" + with_variant(HINGE),
        r"variants.a.rules.pack is 3: it does not divide train.batch \(64\)",
    ),
    "augment on vectors": (
        "data: {source: ring}\ntrain: {rules: {augment: ada}}\n" + with_variant(HINGE),
        "variants.a.rules.augment is 'ada': it is for images, and data.source ring gives vectors",
    ),
    "labels asked of a source without any": (
        "data: {source: dirac}\nevaluate: {features: classifier}\n" + with_variant(HINGE),
        "evaluate.features is 'classifier': it needs labelled images, and data.source dirac gives vectors",
    ),
    "unknown method": ("train: {rules: {method: extragradient}}\n" + with_variant(HINGE), "did you mean 'extra_gradient'"),
    "threshold": ("train: {rules: {balance_threshold: 0.2}}\n" + with_variant(HINGE), "balance_threshold is 0.2: between 0.5 and 1.0"),
    "negative clip": ("train: {rules: {gradient_clip: -1}}\n" + with_variant(HINGE), "gradient_clip is -1.0: at least 0.0"),
    "a seed below 0": ("train: {first_seed: -1}\n" + with_variant(HINGE), "train.first_seed is -1: between 0 and"),
    "one lane a group": ("train: {lanes_per_group: 1}\n" + with_variant(HINGE), "train.lanes_per_group is 1: at least 2"),
    "probes too often": ("train: {probe_every: 99}\n" + with_variant(HINGE), "train.probe_every is 99: at least 100"),
    "snapshots": ("train: {steps: 3, snapshots: 4}\n" + with_variant(HINGE), "train.snapshots is 4, more than train.steps"),
    "unknown source": ("data: {source: digit}\n" + with_variant(HINGE), "data.source is 'digit': allowed are .*did you mean 'digits'"),
    "unknown loss": (
        with_variant(HINGE.replace("hinge", "hing")),
        "variants.a.loss.name is 'hing': the catalogue has .*did you mean 'hinge'",
    ),
    "unknown argument": (with_variant(HINGE.replace("name: hinge", "name: hinge, margin: 2")), "unknown key variants.a.loss.margin"),
    "argument of a wrong type": (
        with_variant(HINGE.replace("constraint: {name: none}", "constraint: {name: clip, bound: wide}")),
        "bound is 'wide'",
    ),
    "weight missing": (
        with_variant(HINGE.replace("penalty: {name: none}", "penalty: {name: r1}")),
        r"variants.a.penalty \(r1\) needs weight",
    ),
    "no penalty": (with_variant("{loss: {name: hinge}, constraint: {name: none}}"), "variants.a has no penalty: every variant states"),
    "no loss": (with_variant("{penalty: {name: none}, constraint: {name: none}}"), "variants.a has no loss: choose one of"),
    "a part without a name": (with_variant(HINGE.replace("{name: hinge}", "{}")), "variants.a.loss has no name"),
    "a part that is a word": (with_variant(HINGE.replace("{name: hinge}", "hinge")), "variants.a.loss is 'hinge': keys and values"),
    "unknown key of a variant": (with_variant(HINGE[:-1] + ", lr: 1}"), "unknown key variants.a.lr"),
    "unknown network": (with_variant(HINGE[:-1] + ", generator: {network: dcgann}}"), "network is 'dcgann': .*did you mean 'dcgan'"),
    "a bad name": ("compare: {baseline: A b}\nvariants:\n  A b: " + HINGE, "a variant's name is a small letter"),
    "no variants": ("variants: {}\n", "variants is empty"),
    "baseline": ("compare: {baseline: b}\nvariants:\n  a: " + HINGE, "compare.baseline is 'b': variants has a"),
    "gate effect": ("gate: {min_effect: 1.5}\n" + with_variant(HINGE), "gate.min_effect is 1.5: between 0.0 and 0.99"),
    "gate floors": ("gate: {floor_factor: 0.5}\n" + with_variant(HINGE), "gate.floor_factor is 0.5: at least 1.0"),
    "gate key": ("gate: {min_efect: 0.1}\n" + with_variant(HINGE), "unknown key gate.min_efect: .*did you mean 'min_effect'"),
    "twice the same": (with_variant(HINGE) + "  a: " + HINGE + "\n", "key 'a' stands twice"),
    "an alias": ("train: &x {steps: 5}\nreport: *x\n", r"aliases \(\*x\) are not read here"),
    "a tag": ("train: !!python/object/apply:os.system [ls]\n", "not readable YAML: could not determine a constructor"),
    "not yaml": ("train: [\n", "not readable YAML"),
    "a list": ("- 1\n", "keys and values are needed"),
    "a number for a key": ("1: 2\n", "key 1 on line 1 is not a word"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_file_and_the_key(tmp_path, mistake):
    text, expected = MISTAKES[mistake]
    with pytest.raises(SeesawError, match=expected) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "params.yaml"))


def test_a_missing_file_says_where_to_stand(tmp_path):
    with pytest.raises(SeesawError, match="is missing: run this in the folder"):
        read_config(tmp_path / "params.yaml")


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(SeesawError, match="at most 1048576 are read"):
        read_config(path)


def test_an_unknown_variant_is_named_with_its_neighbour():
    config = parse(
        {
            "compare": {"baseline": "hinge"},
            "variants": {
                "hinge": {kind: {"name": name} for kind, name in (("loss", "hinge"), ("penalty", "none"), ("constraint", "none"))}
            },
        }
    )
    with pytest.raises(SeesawError, match=r"unknown variant 'hinje': params\.yaml has hinge; did you mean 'hinge'\?"):
        config.variant("hinje")
