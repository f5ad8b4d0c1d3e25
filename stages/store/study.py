"""The sampler behind `seesaw tune`; the only module that imports optuna.

A study is kept as a list of finished trials (`.seesaw/tune/v.json`), and every suggestion is a function of that list and of a seed: the
sampler is made anew for each trial. So a study that was stopped and taken up again is the study that was not.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.measure.ranges import Range, Values, rounded

STARTUP = 4  # trials, the first one included, before the sampler models what it saw


@dataclass(frozen=True)
class Tried:
    """A finished trial: what was chosen and what came out; None counts as worse than every number."""

    values: Values
    score: float | None


def suggest(ranges: Sequence[Range], finished: Sequence[Tried], seed: int) -> Values:
    """The next values by a tree-structured Parzen estimator (Bergstra et al. 2011), seeded; lower scores are better.

    Trials whose values lie outside the ranges (the variant as it was written may) are not shown to the sampler.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's own about its experimental parts
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {one.key: _distribution(one) for one in ranges}
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP))
    for trial in finished:
        if all(one.holds(trial.values[one.key]) for one in ranges):
            score = math.inf if trial.score is None else trial.score
            study.add_trial(optuna.trial.create_trial(params=trial.values, distributions=distributions, value=score))
    return {key: rounded(value) for key, value in study.ask(distributions).params.items()}


def _distribution(one: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(one.choices) if one.choices else FloatDistribution(one.low, one.high, log=True)
