"""From a verdict to remedies that fit the variant: each a ready `dvc exp run` command; `seesaw remedy` tries them on a stored game.

A remedy is a row of REMEDIES: the verdicts it answers, when it fits a variant, what it sets. A key that params.yaml's entry already has
is set (`-S variants.v.rules.critic_steps=1`), one that it lacks is added (`-S '+variants.v.…'`), an argument of a part that is
replaced is removed (`-S '~variants.v.…'`), so that the changed file is valid. `command` and `applied` say the same thing twice: to dvc,
and to this project's own reader of params.yaml.
"""

import copy
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.game.spec import Player, network_for

Setting = Mapping[str, Any]  # a resolved variant as runs/v.json's `config` holds it, with `shape` of the data and the lane's `best_step`
Changes = dict[str, Any]  # key below `variants.v` (or below `train`, written `train.steps`) to its new value

D_STRONG = ("vanishing_gradient", "discriminator_wins")
UNSTABLE = ("non_finite", "exploding_gradient", "late_collapse", "oscillating")


@dataclass(frozen=True)
class Remedy:
    """What a remedy answers, whether it fits, what it changes and why it may help."""

    name: str
    answers: tuple[str, ...]  # verdicts and flags
    fits: Callable[[Setting], bool]
    changes: Callable[[Setting], Changes]
    why: str
    unforkable: str = ""  # why a stored game cannot go on with it; empty: it can


def fitting(words: tuple[str, ...], setting: Setting, variant: str, written: Mapping[str, Any]) -> list[dict[str, str]]:
    """Name, reason and command of every remedy that answers one of `words` (a verdict and its flags) and fits, in the table's order.

    `written` is the variant's own entry in params.yaml: it decides between setting, adding and removing a key.
    """
    return [{"name": r.name, "why": r.why, "command": command(r.changes(setting), variant, written)} for r in chosen(words, setting)]


def chosen(words: tuple[str, ...], setting: Setting) -> list["Remedy"]:
    """Every remedy that answers one of `words` and fits, in the table's order."""
    return [remedy for remedy in REMEDIES if set(words) & set(remedy.answers) and remedy.fits(setting)]


def command(changes: Changes, variant: str, written: Mapping[str, Any]) -> str:
    """The `dvc exp run` line. A change of `train` names the variant's stages, so that no other variant is trained again."""
    words = [word for key, value in changes.items() for word in _overrides(key, value, variant, written)]
    words += [f"~variants.{variant}.{key}" for key in _left_over(changes, written)]
    targets = [f"{stage}@{variant}" for stage in ("diagnose", "evaluate")] if any(key.startswith("train.") for key in changes) else []
    return shlex.join(["dvc", "exp", "run", *targets, *[part for word in words for part in ("-S", word)]])


def applied(changes: Changes, variant: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The content of params.yaml after the changes, as `dvc exp run` with `command` would leave it; `params` stays as it is."""
    whole: dict[str, Any] = copy.deepcopy(dict(params))
    entry = whole["variants"][variant]
    for key in _left_over(changes, entry):
        section, name = key.split(".")
        del entry[section][name]
    for key, value in changes.items():
        section, name = key.split(".")
        target = whole if section == "train" else entry
        target.setdefault(section, {})[name] = float(_text(value)) if isinstance(value, float) else value
    return whole


def _overrides(key: str, value: Any, variant: str, written: Mapping[str, Any]) -> list[str]:
    if key.startswith("train."):
        return [f"{key}={_text(value)}"]
    section, name = key.split(".")
    sign = "" if name in written.get(section, {}) else "+"
    return [f"{sign}variants.{variant}.{key}={_text(value)}"]


def _left_over(changes: Changes, written: Mapping[str, Any]) -> list[str]:
    """Written arguments of a part that another one replaces, and that the new one is not given."""
    replaced = [key.split(".")[0] for key in changes if key.endswith(".name") and not key.startswith("train.")]
    return [f"{kind}.{key}" for kind in replaced for key in written.get(kind, {}) if key != "name" and f"{kind}.{key}" not in changes]


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _loss(setting: Setting) -> str:
    return str(setting["loss"]["name"])


def _unpenalised(setting: Setting) -> bool:
    """No penalty, and a D on which a penalty on input gradients is allowed: one that judges each sample on its own."""
    judge = setting["discriminator"]
    return setting["penalty"]["name"] == "none" and judge["normalisation"] != "batch" and not judge["minibatch_std"]


def _unconstrained(setting: Setting) -> bool:
    return setting["constraint"]["name"] == "none"


def _rule(setting: Setting, key: str) -> Any:
    return setting["rules"][key]


def _may_look_ahead(setting: Setting) -> bool:
    """Extra-gradient asks for one step each and an optimiser that does not look ahead by itself."""
    one_each = _rule(setting, "critic_steps") == _rule(setting, "generator_steps") == 1
    return one_each and _rule(setting, "method") == "gradient" and not _rule(setting, "optimizer").startswith("optimistic_")


def _scaled(setting: Setting, factor: float, *keys: str) -> Changes:
    return {f"rules.{key}": _rule(setting, key) * factor for key in keys}


def _unbalanced(setting: Setting) -> bool:
    """D takes more steps than G, or larger ones."""
    steps = _rule(setting, "critic_steps") > _rule(setting, "generator_steps")
    return steps or _rule(setting, "discriminator_lr") > _rule(setting, "generator_lr")


def _balanced(setting: Setting) -> Changes:
    """One step each at the faster player's rate."""
    rate = max(float(_rule(setting, "discriminator_lr")), float(_rule(setting, "generator_lr")))
    now = {"critic_steps": 1, "generator_steps": 1, "generator_lr": rate, "discriminator_lr": rate}
    return {f"rules.{key}": value for key, value in now.items() if _rule(setting, key) != value}


def _unmatched(setting: Setting) -> bool:
    """D has another network, width or depth than G."""
    kinds = [network_for(Player(**setting[role]), tuple(setting["shape"])) for role in ("generator", "discriminator")]
    sizes = [(setting[role]["width"], setting[role]["depth"]) for role in ("generator", "discriminator")]
    return "linear" not in kinds and (kinds[0] != kinds[1] or sizes[0] != sizes[1])


def _matched(setting: Setting) -> Changes:
    """D of G's network, width and depth, and the balanced rhythm."""
    unlike = [key for key in ("network", "width", "depth") if setting["discriminator"][key] != setting["generator"][key]]
    return _balanced(setting) | {f"discriminator.{key}": setting["generator"][key] for key in unlike}


def _heavier(setting: Setting) -> Changes:
    return {"penalty.weight": float(setting["penalty"]["arguments"]["weight"]) * 4}


REMEDIES = (
    Remedy(
        "more_steps",
        ("undertrained",),
        lambda s: True,
        lambda s: {"train.steps": 2 * s["steps"]},
        "quality was still improving when the run ended",
        unforkable="a longer run is what the branch `change_nothing` plays",
    ),
    Remedy(
        "higher_rates",
        ("undertrained",),
        lambda s: True,
        lambda s: _scaled(s, 2.0, "generator_lr", "discriminator_lr"),
        "larger steps go the same way in the same number of steps",
    ),
    Remedy(
        "rebalance_r1",
        D_STRONG,
        lambda s: _unbalanced(s) and _unpenalised(s) and _loss(s) != "wasserstein",
        lambda s: _balanced(s) | {"penalty.name": "r1", "penalty.weight": 1.0},
        "equal steps and rates let G follow, and R1 gives back the slope that a D which is too far ahead has lost (Mescheder et al. 2018)",
    ),
    Remedy(
        "rebalance_non_saturating",
        D_STRONG,
        lambda s: _unbalanced(s) and _loss(s) == "minimax",
        lambda s: _balanced(s) | {"loss.name": "non_saturating"},
        "equal steps and rates alone cannot act where the saturating loss has no slope; −log D(G(z)) has one (Goodfellow et al. 2014)",
    ),
    Remedy(
        "matched_discriminator",
        D_STRONG,
        _unmatched,
        _matched,
        "D gets G's own network, width and depth, one step each and one rate: neither is stronger by construction",
    ),
    Remedy(
        "rebalance",
        D_STRONG,
        lambda s: _rule(s, "discriminator_lr") > _rule(s, "generator_lr"),
        _balanced,
        "D takes larger steps than G: one step each at one rate",
    ),
    Remedy(
        "fewer_critic_steps",
        D_STRONG,
        lambda s: _rule(s, "critic_steps") > 1,
        lambda s: {"rules.critic_steps": 1},
        "D is trained several times for each step of G, and is too far ahead",
    ),
    Remedy(
        "non_saturating",
        D_STRONG,
        lambda s: _loss(s) == "minimax",
        lambda s: {"loss.name": "non_saturating"},
        "the saturating loss has no slope where D is sure; −log D(G(z)) has (Goodfellow et al. 2014, section 3)",
    ),
    Remedy(
        "label_smoothing",
        D_STRONG,
        lambda s: _loss(s) in ("minimax", "non_saturating"),
        lambda s: {"loss.name": "label_smoothing"},
        "targets of 0.9 and 0.1 keep D's logits bounded (Salimans et al. 2016)",
    ),
    Remedy(
        "add_r1",
        (*D_STRONG, "exploding_gradient", "oscillating", "late_collapse", "non_finite", "undetermined", "discriminator_overfit"),
        lambda s: _unpenalised(s) and _loss(s) != "wasserstein",
        lambda s: {"penalty.name": "r1", "penalty.weight": 1.0},
        "a bounded slope of D on real data makes the equilibrium attract (Mescheder et al. 2018)",
    ),
    Remedy(
        "add_gradient_penalty",
        (*D_STRONG, *UNSTABLE, "mode_collapse", "undetermined", "undertrained"),
        lambda s: _unpenalised(s) and _loss(s) == "wasserstein",
        lambda s: {"penalty.name": "gradient_penalty", "penalty.weight": 10.0, "constraint.name": "none"},
        "the Wasserstein critic must be Lipschitz; the penalty holds its slope at 1 (Gulrajani et al. 2017)",
    ),
    Remedy(
        "heavier_penalty",
        (*D_STRONG, "exploding_gradient", "oscillating", "late_collapse", "discriminator_overfit"),
        lambda s: s["penalty"]["name"] != "none",
        _heavier,
        "the penalty is there but D still gets too steep; its strength depends on the data's scale",
    ),
    Remedy(
        "lighter_penalty",
        ("generator_wins",),
        lambda s: s["penalty"]["name"] != "none",
        lambda s: {"penalty.weight": float(s["penalty"]["arguments"]["weight"]) / 4},
        "the penalty holds D back while a free discriminator still sees the difference",
    ),
    Remedy(
        "spectral_norm",
        (*D_STRONG, *UNSTABLE, "discriminator_overfit"),
        lambda s: _unconstrained(s) and s["penalty"]["name"] == "none",
        lambda s: {"constraint.name": "spectral_norm"},
        "every layer of D keeps spectral norm 1, so its slope is bounded everywhere (Miyato et al. 2018)",
    ),
    Remedy(
        "relativistic_r1_r2",
        ("mode_collapse", "undetermined", "oscillating"),
        lambda s: _unpenalised(s) and _loss(s) != "relativistic",
        lambda s: {"loss.name": "relativistic", "penalty.name": "r1_r2", "penalty.weight": 1.0, "constraint.name": "none"},
        "pairing each sample with a real one leaves no mode unpunished, and R1 with R2 makes it converge (Huang et al. 2024)",
    ),
    Remedy(
        "packing",
        ("mode_collapse",),
        lambda s: _rule(s, "pack") == 1 and s["batch"] % 2 == 0,
        lambda s: {"rules.pack": 2},
        "D judges two samples at once, so that a lack of variety shows (Lin et al. 2018)",
    ),
    Remedy(
        "adaptive_balance",
        D_STRONG,
        lambda s: _rule(s, "balance") == "none",
        lambda s: {"rules.balance": "adaptive"},
        "D rests while it is too far ahead",
    ),
    Remedy(
        "instance_noise",
        D_STRONG,
        lambda s: _rule(s, "instance_noise") == 0,
        lambda s: {"rules.instance_noise": 0.1},
        "noise on D's inputs makes the supports overlap, so that no perfect D exists (Arjovsky & Bottou 2017; Sønderby et al. 2017)",
    ),
    Remedy(
        "augmentation",
        ("discriminator_overfit",),
        lambda s: _rule(s, "augment") == "none" and len(s["shape"]) == 3,
        lambda s: {"rules.augment": "diffaugment"},
        "D never sees the same image twice (Zhao et al. 2020)",
    ),
    Remedy(
        "extra_gradient",
        ("oscillating",),
        _may_look_ahead,
        lambda s: {"rules.method": "extra_gradient", "rules.order": "simultaneous"},
        "a step that looks ahead turns rotation into attraction (Gidel et al. 2019)",
    ),
    Remedy(
        "slower_discriminator",
        (*D_STRONG, "mode_collapse"),
        lambda s: True,
        lambda s: _scaled(s, 0.25, "discriminator_lr"),
        "D learns four times slower against the same G",
    ),
    Remedy(
        "lower_rates",
        UNSTABLE,
        lambda s: True,
        lambda s: _scaled(s, 0.25, "generator_lr", "discriminator_lr"),
        "smaller steps stay where the linear picture of stability holds",
    ),
    Remedy(
        "smaller_discriminator",
        (*D_STRONG, "discriminator_overfit"),
        lambda s: s["discriminator"]["width"] > max(4, s["generator"]["width"]),
        lambda s: {"discriminator.width": s["generator"]["width"]},
        "D is wider than G",
    ),
    Remedy(
        "larger_discriminator",
        ("generator_wins",),
        lambda s: True,
        lambda s: {"discriminator.width": 2 * s["discriminator"]["width"]},
        "a fresh discriminator still tells samples from data; this one has not the capacity or the time",
    ),
    Remedy(
        "more_critic_steps",
        ("generator_wins",),
        lambda s: _rule(s, "critic_steps") < 5 and _rule(s, "method") != "extra_gradient",
        lambda s: {"rules.critic_steps": min(5, 2 * _rule(s, "critic_steps") + 1)},
        "D gets more steps for each step of G",
    ),
    Remedy(
        "longer_average",
        ("oscillating",),
        lambda s: _rule(s, "ema_half_life") < 0.1,
        lambda s: {"rules.ema_half_life": 0.1},
        "the average of G stands still in the middle of a circle that G runs (Yazıcı et al. 2019)",
    ),
    Remedy(
        "no_momentum",
        ("oscillating", "late_collapse"),
        lambda s: _rule(s, "optimizer") == "adam" and _rule(s, "beta1") > 0,
        lambda s: {"rules.beta1": 0.0},
        "positive momentum feeds rotation (Gidel et al. 2019)",
    ),
    Remedy(
        "stop_earlier",
        ("late_collapse",),
        lambda s: s.get("best_step") is not None and 0 < s["best_step"] < s["steps"],
        lambda s: {"train.steps": s["best_step"]},
        "the samples were good at that step; the snapshot is kept",
        unforkable="there is nothing to play: the snapshot of that step is kept",
    ),
    Remedy(
        "looser_clip",
        ("vanishing_gradient", "undertrained", "generator_wins"),
        lambda s: s["constraint"]["name"] == "clip" and math.isfinite(s["constraint"]["arguments"]["bound"]),
        lambda s: {"constraint.bound": float(s["constraint"]["arguments"]["bound"]) * 3},
        "a tight box makes the critic nearly linear and its gradients shrink from layer to layer (Gulrajani et al. 2017, section 3)",
    ),
)
