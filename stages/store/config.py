"""params.yaml, read once into frozen dataclasses.

An unknown key, a wrong type or a value out of range stops the run before any work with one line that names the key, what came,
what is allowed and the nearest spelling. This is the only module that imports yaml.
"""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from stages.errors import SeesawError, printable
from stages.game.spec import Part, Player, Rules, Tuned, Variant
from stages.store import catalogue

LARGEST_FILE = 1 << 20
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")

VECTORS = ("ring", "grid", "dirac", "table")  # sources whose items are never images
Source = Literal["digits", "ring", "grid", "stacked_digits", "dirac", "idx", "images", "array", "table"]


@dataclass(frozen=True)
class Data:
    """Where the data comes from and how an item becomes an array."""

    source: Source = "digits"
    path: str = "data/raw"  # folder, file or zip; a dependency of `prepare` whatever the source
    seed: int = 0  # of the split, and of generated sources
    items: int = 20000  # how many items a generated source draws (ring, grid, stacked_digits)
    size: int = 32  # side in pixels of prepared images (source images)
    color: Literal["auto", "grey", "rgb"] = "auto"  # auto: grey when every image is grey
    background: str = "white"  # what lies under transparent pixels: a colour name or #rrggbb
    skip_broken: bool = False  # true: an unreadable image is left out, and named
    validation: float = 0.1  # share of items on the validation side
    test: float = 0.2


@dataclass(frozen=True)
class Train:
    """What every variant shares, so that only the objective differs."""

    seeds: int = 8  # lanes: seeds first_seed .. first_seed + n-1
    first_seed: int = 0
    steps: int = 1000  # generator steps
    batch: int = 64
    latent: int = 32
    lanes_per_group: int = 4  # lanes that share one program; fixed for a result
    record_every: int = 10
    probe_every: int = 400  # at least 100: steps between the costlier measures
    snapshots: int = 5  # points after step 0, evenly spaced, the last one included
    generator: Player = field(default_factory=lambda: Player(activation="relu", normalisation="batch"))
    discriminator: Player = field(default_factory=lambda: Player(activation="leaky_relu", normalisation="none"))
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True)
class Evaluate:
    """How samples are judged."""

    features: str = "auto"  # auto: identity for vectors, classifier with labels, else random; file:PATH a program of yours
    trust: bool | str = False  # its sha256: that program of file:PATH may run, and no other; true: any may. It can do whatever you can
    input_low: float = 0.0  # what that program takes for black and for white
    input_high: float = 255.0
    input_size: int = 0  # side in pixels that it wants; 0: as prepared
    input_channels: int = 0  # 3: grey is repeated; 0: as prepared
    samples: int = 1024  # per lane and draw; never more than half the test part, which is scored against the other half
    draws: int = 10  # independent draws from the generator behind each spread
    seed: int = 0


@dataclass(frozen=True)
class Diagnose:
    """How the game is judged."""

    seed: int = 0
    samples: int = 512
    depth: Literal["default", "full"] = "default"


@dataclass(frozen=True)
class Compare:
    """The comparison, declared before the run."""

    baseline: str = "non_saturating"
    primary: Literal["frechet"] = "frechet"
    alpha: float = 0.05


@dataclass(frozen=True)
class Gate:
    """When a challenger takes the champion's place; read by `seesaw promote` alone, so that it makes no result stale."""

    min_effect: float = 0.02  # the Fréchet distance's reduction, as a share, that the whole interval must exceed
    margin: float = 0.05  # how much recall, coverage or memorisation may get worse
    floor_factor: float = 3.0  # without a champion: the median score stays below that many floors


@dataclass(frozen=True)
class Report:
    """The report's words."""

    title: str = ""  # empty: the question, in the report's language
    language: Literal["en", "zh"] = "en"


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    data: Data
    train: Train
    evaluate: Evaluate
    diagnose: Diagnose
    compare: Compare
    gate: Gate
    report: Report
    variants: Mapping[str, Variant]

    def variant(self, name: str) -> Variant:
        """The variant of that name; SeesawError with the nearest spelling when there is none."""
        if name not in self.variants:
            raise SeesawError(f"unknown variant {name!r}: params.yaml has {listing(self.variants)}{nearest(name, self.variants)}")
        return self.variants[name]


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars (`1e-4` is a number, `no` is a string), no aliases, no duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*{self.peek_event().anchor}) are not read here: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.YAMLError(f"key {key!r} on line {key_node.start_mark.line + 1} is not a word")
            if key in seen:
                raise yaml.YAMLError(f"key {key!r} stands twice (again on line {key_node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)


_KEEP = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] in _KEEP] for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
    list("-+0123456789."),
)


def read_yaml(path: Path, largest: int = LARGEST_FILE) -> Any:
    """A YAML file of at most 1 MiB (or `largest` bytes) as plain values; SeesawError when it is missing, too large or malformed."""
    if not path.is_file():
        raise SeesawError(f"{path} is missing: run this in the folder that holds params.yaml and dvc.yaml")
    if path.stat().st_size > largest:
        raise SeesawError(f"{path} has {path.stat().st_size} bytes; at most {largest} are read")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise SeesawError(f"{path} is not readable YAML: {' '.join(str(error).split())}") from None


def read_lock(text: str) -> Any:
    """A dvc.lock as plain values, by the fast loader where there is one: it was written by dvc, and may be large.

    SeesawError where it is no YAML: dvc was killed while it wrote it.
    """
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        raise SeesawError(f"dvc.lock is not readable YAML ({' '.join(str(error).split())}): seesaw doctor --mend") from None


def read_config(path: Path = Path("params.yaml")) -> Config:
    """params.yaml, checked whole; SeesawError names the first key that is wrong."""
    try:
        return parse(read_yaml(path))
    except SeesawError as error:
        message = printable(str(error))  # a key may hold a line end
        raise SeesawError(message if message.startswith(str(path)) else f"{path}: {message}") from None


def parse(raw: Any) -> Config:
    """A Config from plain values (the content of params.yaml)."""
    sections = {f.name: f.type for f in dataclasses.fields(Config)}
    entries = _mapping("params.yaml", raw)
    _known("", entries, sections)
    parsed = {key: read_dataclass(cast(type, kind), entries.get(key, {}), key) for key, kind in sections.items() if key != "variants"}
    variants = _mapping("variants", entries.get("variants", {}))
    if not variants:
        raise SeesawError("variants is empty: name at least one, with its loss, penalty and constraint")
    train = parsed["train"]
    resolved = {name: _variant(name, entry, train) for name, entry in variants.items()}
    config = Config(variants=resolved, **parsed)
    _check_values(config)
    return config


def read_dataclass(kind: type, raw: Any, where: str, base: Any = None) -> Any:
    """`raw` laid over `base` (or over the defaults) as a dataclass of that kind; every key and type checked."""
    entries = _mapping(where, raw)
    hints = typing.get_type_hints(kind)
    _known(where, entries, hints)
    base = kind() if base is None else base
    values = {key: _value(hints[key], value, f"{where}.{key}", getattr(base, key)) for key, value in entries.items()}
    return dataclasses.replace(base, **values)


def _variant(name: str, raw: Any, train: Train) -> Variant:
    where = f"variants.{name}"
    if not NAME.fullmatch(name):
        raise SeesawError(f"{where}: a variant's name is a small letter, then letters, digits and _ (at most 64)")
    entries = _mapping(where, raw)
    allowed = [f.name for f in dataclasses.fields(Variant) if f.name != "name"]
    _known(where, entries, allowed)
    for kind in ("loss", "penalty", "constraint"):
        if kind not in entries:
            raise SeesawError(
                f"{where} has no {kind}: every variant states loss, penalty and constraint ({kind}: {{name: none}} where there is none)"
                if kind != "loss"
                else f"{where} has no loss: choose one of {listing(catalogue.names('loss'))}"
            )
    return Variant(
        name=name,
        loss=_part("loss", entries["loss"], where),
        penalty=_part("penalty", entries["penalty"], where),
        constraint=_part("constraint", entries["constraint"], where),
        rules=read_dataclass(Rules, entries.get("rules", {}), f"{where}.rules", train.rules),
        generator=read_dataclass(Player, entries.get("generator", {}), f"{where}.generator", train.generator),
        discriminator=read_dataclass(Player, entries.get("discriminator", {}), f"{where}.discriminator", train.discriminator),
        tuned=_tuned(entries["tuned"], f"{where}.tuned") if "tuned" in entries else None,
    )


def _tuned(raw: Any, where: str) -> Tuned:
    """The note of `seesaw tune`, whole: half a note says nothing."""
    note: Tuned = read_dataclass(Tuned, raw, where)
    if not (note.study and note.values and note.trials > 0):
        raise SeesawError(f"{where} needs study, trials and values, as `seesaw tune` prints them: give all three or remove the note")
    return note


def _part(kind: str, raw: Any, where: str) -> Part:
    where = f"{where}.{kind}"
    entries = dict(_mapping(where, raw))
    if "name" not in entries:
        raise SeesawError(f"{where} has no name: choose one of {listing(catalogue.names(kind))}")
    name, allowed = entries.pop("name"), catalogue.names(kind)
    if name not in allowed:
        raise SeesawError(f"{where}.name is {name!r}: the catalogue has {listing(allowed)}{nearest(str(name), allowed)}")
    known = catalogue.arguments(kind, name)
    _known(where, entries, known)
    missing = [key for key, (_, default) in known.items() if default is ... and key not in entries]
    if missing:
        raise SeesawError(f"{where} ({name}) needs {listing(missing)}")
    given = {key: _value(known[key][0], value, f"{where}.{key}", None) for key, value in entries.items()}
    return Part(name, {key: given.get(key, default) for key, (_, default) in known.items()})


def _value(hint: Any, value: Any, where: str, base: Any) -> Any:
    """`value` as the hinted type; integers pass for floats, nothing else is converted."""
    if dataclasses.is_dataclass(hint):
        return read_dataclass(cast(type, hint), value, where, base)
    if typing.get_origin(hint) is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise SeesawError(f"{where} is {value!r}: allowed are {listing(allowed)}{nearest(str(value), allowed)}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise SeesawError(f"{where} is {value!r} ({type(value).__name__}): a value of type {getattr(hint, '__name__', hint)} is needed")
    if hint is float and not math.isfinite(value):
        raise SeesawError(f"{where} is {value!r}: a finite number is needed")
    return value


def _mapping(where: str, raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise SeesawError(f"{where} is {raw!r}: keys and values are needed")
    return raw


def _known(where: str, entries: Mapping[str, Any], allowed: Any) -> None:
    for key in entries:
        if key not in allowed:
            place = f"{where}.{key}" if where else key
            raise SeesawError(f"unknown key {place}: allowed are {listing(allowed)}{nearest(key, allowed)}")


def _check_values(config: Config) -> None:
    """Ranges of single values and of pairs; combinations of parts are checked where the parts are built."""
    data, train = config.data, config.train
    _at_least("data.items", data.items, 2)
    _at_least("data.size", data.size, 1)
    _within("data.validation", data.validation, 0.0, 0.5)
    _within("data.test", data.test, 0.0, 0.5)
    for key in ("seeds", "steps", "batch", "latent", "record_every", "snapshots"):
        _at_least(f"train.{key}", getattr(train, key), 1)
    _at_least("train.lanes_per_group", train.lanes_per_group, 2)
    _at_least("train.probe_every", train.probe_every, 100)
    _within("train.first_seed", train.first_seed, 0, 1 << 31)
    if train.snapshots > train.steps:
        raise SeesawError(f"train.snapshots is {train.snapshots}, more than train.steps ({train.steps})")
    _at_least("evaluate.samples", config.evaluate.samples, 16)
    _at_least("evaluate.draws", config.evaluate.draws, 2)
    _check_features(config.evaluate)
    if data.source in VECTORS:
        _check_vectors(config)
    _at_least("diagnose.samples", config.diagnose.samples, 16)
    _within("compare.alpha", config.compare.alpha, 1e-6, 0.5)
    _within("gate.min_effect", config.gate.min_effect, 0.0, 0.99)
    _within("gate.margin", config.gate.margin, 0.0, 1.0)
    _at_least("gate.floor_factor", config.gate.floor_factor, 1.0)
    if config.compare.baseline not in config.variants:
        raise SeesawError(
            f"compare.baseline is {config.compare.baseline!r}: variants has {listing(config.variants)}"
            f"{nearest(config.compare.baseline, config.variants)}"
        )
    for name, variant in config.variants.items():
        _check_variant(f"variants.{name}", variant)
        _check_rules(f"variants.{name}.rules", variant.rules)
        if train.batch % variant.rules.pack:
            raise SeesawError(f"variants.{name}.rules.pack is {variant.rules.pack}: it does not divide train.batch ({train.batch})")


def _check_vectors(config: Config) -> None:
    """What only images allow, asked of a source whose items are vectors."""
    gives, features = f"data.source {config.data.source} gives vectors", config.evaluate.features
    needed = {"classifier": "labelled images", "random": "images"}
    if features in needed:
        raise SeesawError(
            f"evaluate.features is {features!r}: it needs {needed[features]}, and {gives}; allowed are auto, identity, file:PATH"
        )
    for name, variant in config.variants.items():
        if variant.rules.augment != "none":
            raise SeesawError(f"variants.{name}.rules.augment is {variant.rules.augment!r}: it is for images, and {gives}; allowed is none")


def _check_features(evaluate: Evaluate) -> None:
    """The word of `evaluate.features` and what belongs to a program of the user's own."""
    words = ("auto", "identity", "classifier", "random")
    named = evaluate.features.startswith("file:") and len(evaluate.features) > len("file:")
    if evaluate.features not in words and not named:
        close = nearest(evaluate.features, words)
        raise SeesawError(f"evaluate.features is {evaluate.features!r}: allowed are {listing(words)}, file:PATH{close}")
    if isinstance(evaluate.trust, str) and not SHA256.fullmatch(evaluate.trust):
        raise SeesawError(f"evaluate.trust is {evaluate.trust!r}: allowed are true, false, and the sha256 of a program (64 digits, a to f)")
    if named and not evaluate.trust:
        raise SeesawError(
            "evaluate.features names a program, and loading it runs code: set evaluate.trust to its sha256 (or to true) if you trust it"
        )
    if evaluate.input_low >= evaluate.input_high:
        raise SeesawError(
            f"evaluate.input_low is {evaluate.input_low}: a number below evaluate.input_high ({evaluate.input_high}) is needed"
        )
    _at_least("evaluate.input_size", evaluate.input_size, 0)
    _at_least("evaluate.input_channels", evaluate.input_channels, 0)


def _check_rules(where: str, rules: Rules) -> None:
    """Ranges of the rules' numbers, key by key."""
    for key in ("critic_steps", "generator_steps", "lazy_interval", "pack"):
        _at_least(f"{where}.{key}", getattr(rules, key), 1)
    for key in ("generator_lr", "discriminator_lr", "epsilon", "consensus_weight", "augment_ramp"):
        if getattr(rules, key) <= 0:
            raise SeesawError(f"{where}.{key} is {getattr(rules, key)}: a number above 0 is needed")
    for key in ("beta1", "beta2", "balance_memory"):
        _within(f"{where}.{key}", getattr(rules, key), 0.0, 1.0 - 1e-9)
    for key in ("gradient_clip", "instance_noise"):
        _at_least(f"{where}.{key}", getattr(rules, key), 0.0)
    _within(f"{where}.ema_half_life", rules.ema_half_life, 0.0, 10.0)
    _within(f"{where}.instance_noise_share", rules.instance_noise_share, 1e-6, 1e6)
    _within(f"{where}.balance_threshold", rules.balance_threshold, 0.5, 1.0)
    _within(f"{where}.augment_target", rules.augment_target, -1.0, 1.0)


def _check_variant(where: str, variant: Variant) -> None:
    for role in ("generator", "discriminator"):
        player = getattr(variant, role)
        _at_least(f"{where}.{role}.width", player.width, 1)
        _at_least(f"{where}.{role}.depth", player.depth, 1)
        allowed = ["auto", *catalogue.names("network")]
        if player.network not in allowed:
            raise SeesawError(
                f"{where}.{role}.network is {player.network!r}: allowed are {listing(allowed)}{nearest(player.network, allowed)}"
            )


def _at_least(where: str, value: float, low: float) -> None:
    if value < low:
        raise SeesawError(f"{where} is {value}: at least {low} is needed")


def _within(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SeesawError(f"{where} is {value}: between {low} and {high} is needed")


def listing(names: Any) -> str:
    """`a, b, c` for an error line."""
    return ", ".join(str(name) for name in names)


def nearest(name: str, allowed: Any) -> str:
    """`; did you mean 'hinge'?`, or nothing when no spelling is near."""
    close = difflib.get_close_matches(name, [str(word) for word in allowed], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
