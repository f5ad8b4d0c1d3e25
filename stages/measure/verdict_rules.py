"""The verdicts' rules, as data: one table, read from top to bottom; the first rule that holds is the verdict.

Fate comes first and rests on samples alone; a cause is looked for only when the samples are bad. `above` means value >= threshold,
`below` means value < threshold. `band` is the distance from the threshold within which the verdict says that it doubts. An `optional`
condition is left out where its measure does not exist (precision of data that are a single point); any other condition whose measure
does not exist cannot hold. What each measure is: `facts.py`. Prose: docs/verdicts.md.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Condition:
    """`measure` stands `above` (>=) or `below` (<) `threshold`; nearer to it than `band`, it is doubted."""

    measure: str
    relation: Literal["above", "below"]
    threshold: float
    band: float
    optional: bool = False


@dataclass(frozen=True)
class Rule:
    """A verdict and the ways to it: it holds when every condition of one way holds."""

    verdict: str
    ways: tuple[tuple[Condition, ...], ...]
    meaning: str
    source: str
    needs_length: bool = False  # not asked of a run that is too short (see ENOUGH)


GOOD_FLOORS = 3.0  # good: a distance below three times the floor (real against real) is within sampling error of a close fit ...
GOOD_SHARE = 0.1  # ... or, for vectors, below a tenth of the untrained generator's (the run closed nine tenths of the way) ...
GOOD_BASELINES = 1.0  # ... or no worse than the baseline model fitted to the same data

ENOUGH = (  # a run with less behind it is not asked for a cause
    Condition("steps_done", "above", 200, 0.0),
    Condition("snapshots", "above", 3, 0.0),
)

HEALTHY = (
    Condition("distance_over_good", "below", 1.0, 0.15),
    Condition("late_energy", "below", 0.25, 0.05, optional=True),  # not good for a moment only
    Condition("precision_over_floor", "above", 0.5, 0.05, optional=True),
    Condition("coverage_over_floor", "above", 0.5, 0.05, optional=True),
)

RULES = (
    Rule(
        "non_finite",
        ((Condition("finite", "below", 0.5, 0.0),),),
        "a loss, a weight or a sample is NaN or infinite",
        "Mescheder et al. 2018; StudioGAN's, StyleGAN2's and lucidrains' NaN threads",
    ),
    Rule(
        "late_collapse",
        (
            (
                Condition("final_over_best", "above", 2.0, 0.2),
                Condition("loss_of_quality_over_spread", "above", 2.0, 0.5),
                Condition("best_over_good", "below", 2.0, 0.2),
                Condition("good_in_a_row", "above", 2, 0),  # a game that goes round is good in passing
                Condition("distance_over_good", "above", 1.0, 0.15),  # what still passes as good has not collapsed ...
                Condition("beyond_good_over_spread", "above", 2.0, 0.5),  # ... nor what another draw of samples may let pass
                Condition("best_precision_over_floor", "above", 0.25, 0.025, optional=True),
                Condition("best_coverage_over_floor", "above", 0.25, 0.025, optional=True),
                Condition("energy_relapse", "above", 2.0, 0.2, optional=True),  # and the glimpses had it and lost it, too
                Condition("near_stretch", "above", 0.18, 0.02, optional=True),
            ),
            (  # a Fréchet distance goes by the square of the way: half-way back it may still pass as good
                Condition("near_stretch", "above", 0.18, 0.02),
                Condition("energy_relapse", "above", 3.0, 0.3),
                Condition("late_energy", "above", 0.3, 0.03),  # the last fifth of the run decides, not the last snapshot
                Condition("best_over_good", "below", 2.0, 0.2),
                Condition("precision_over_floor", "below", 0.5, 0.05, optional=True),  # modes of unequal weight are no collapse ...
            ),
            (
                Condition("near_stretch", "above", 0.18, 0.02),
                Condition("energy_relapse", "above", 3.0, 0.3),
                Condition("late_energy", "above", 0.3, 0.03),
                Condition("best_over_good", "below", 2.0, 0.2),
                Condition("coverage_over_floor", "below", 0.5, 0.05, optional=True),  # ... while samples are real and all modes are there
            ),
        ),
        "the samples were good once and are now at least twice as bad, outside their spread",
        "Brock et al. 2019 (BigGAN), section 4; stylegan2-ada-pytorch threads on late collapse",
    ),
    Rule(
        "healthy",
        (HEALTHY,),
        "the samples are good against the floor and the baseline, whatever the gradients do",
        "Lucic et al. 2018; Kynkäänniemi et al. 2019; Naeem et al. 2020; Berard et al. 2020 (good samples at saddles)",
    ),
    Rule(
        "undertrained",
        (
            (
                Condition("energy_trend", "below", -0.5, 0.05),
                Condition("energy_fall", "above", 0.06, 0.02),
                Condition("on_gain", "above", -0.08, 0.02),  # while the other one does not get worse
                Condition("final_over_best", "below", 1.5, 0.1),  # recovering from a bad turn is not improving ...
                Condition("energy_turns", "below", 1, 0),  # ... nor is the way down of a swing ...
                Condition("late_energy", "below", 1.0, 0.1),  # ... that is farther off than the untrained generator was
            ),
            (  # steady or not, when the snapshots say the same
                Condition("energy_fall", "above", 0.2, 0.03),
                Condition("late_energy", "below", 1.0, 0.1),
                Condition("improvement", "above", 0.1, 0.02),
                Condition("improvement_over_spread", "above", 3.0, 0.5),
                Condition("final_over_best", "below", 1.1, 0.05),
                Condition("improvement_over_relapse", "above", 2.0, 0.2),
            ),
            (  # energy may be right long before single samples are: on a ring it says little of what lies between the modes
                Condition("on_trend", "above", 0.5, 0.05),
                Condition("on_gain", "above", 0.04, 0.01),
                Condition("energy_fall", "above", -0.08, 0.02),
            ),
            (  # samples creep up to tight modes when energy has long been right
                Condition("late_energy", "below", 0.25, 0.05),
                Condition("gap_fall", "above", 0.15, 0.03),
                Condition("gap_fall_over_spread", "above", 3.0, 0.5),
                Condition("gap_over_best", "below", 1.05, 0.02),
                Condition("energy_turns", "below", 1, 0),
            ),
            (  # a run too short for glimpses
                Condition("glimpses", "below", 6, 0),
                Condition("improvement", "above", 0.1, 0.02),
                Condition("improvement_over_spread", "above", 2.0, 0.5),
                Condition("final_over_best", "below", 1.1, 0.05),  # recovering from a bad turn is not improving ...
                Condition("improvement_over_relapse", "above", 2.0, 0.2),  # ... nor is a swing that happens to end low
            ),
        ),
        "the samples are not good yet, and the last quarter still improved them by more than their spread",
        "Lucic et al. 2018 (budget decides ranks)",
    ),
    Rule(
        "mode_collapse",
        (
            (
                Condition("precision_over_floor", "above", 0.5, 0.05),
                Condition("density_over_floor", "above", 0.5, 0.05, optional=True),  # precision that one outlier's ball gives is none
                Condition("coverage_over_floor", "below", 0.5, 0.05),
                Condition("share_rounds", "below", 3.0, 0.25, optional=True),  # modes that take turns are not missing: they go round
            ),
        ),
        "single samples look real, but less than half of the data's variety is covered",
        "Sajjadi et al. 2018; Kynkäänniemi et al. 2019; Naeem et al. 2020",
        needs_length=True,
    ),
    Rule(
        "oscillating",
        (
            (Condition("energy_turns", "above", 2, 0),),
            (Condition("share_reach", "above", 0.5, 0.05), Condition("share_rounds", "above", 1.0, 0.1)),  # once there and back
        ),
        "quality or the modes' shares go round instead of settling",
        "Mescheder et al. 2018; Berard et al. 2020; Richardson & Weiss 2018 (shares per bin)",
        needs_length=True,
    ),
    Rule(
        "vanishing_gradient",
        (
            (
                Condition("auc_late", "above", 0.99, 0.005),
                Condition("movement_drop", "above", 100, 30),
                Condition("drift", "below", 0.1, 0.02, optional=True),  # a step is small, and so is the way over the last three tenths
            ),
        ),
        "D separates the batches perfectly and G's samples all but stopped moving",
        "Arjovsky & Bottou 2017, theorem 2.4",
        needs_length=True,
    ),
    Rule(
        "exploding_gradient",
        (
            (Condition("d_gradient_growth", "above", 1e3, 300),),
            (Condition("g_gradient_growth", "above", 1e3, 300),),
        ),
        "a player's gradient grew a thousandfold over its own early median",
        "Pascanu et al. 2013; Gulrajani et al. 2017, section 4 (clipping's exploding gradients)",
        needs_length=True,
    ),
    Rule(
        "discriminator_wins",
        (
            (
                Condition("auc_late", "above", 0.99, 0.005),
                Condition("movement_drop", "below", 100, 30),
                Condition("drift", "above", 0.03, 0.01, optional=True),  # a G that never moved is not beaten: it never played
            ),
            (Condition("auc_late", "above", 0.99, 0.005), Condition("drift", "above", 0.1, 0.02)),
        ),
        "D converged (it separates the batches perfectly) while G still moves and gets no better",
        "Arjovsky & Bottou 2017; PyTorch-GAN and ganhacks threads on D's loss going to zero",
        needs_length=True,
    ),
    Rule(
        "generator_wins",
        ((Condition("auc_late", "below", 0.62, 0.02), Condition("probe_auc", "above", 0.9, 0.02)),),
        "D cannot tell the samples from data (or ranks them above), though a fresh discriminator can",
        "Arjovsky & Bottou 2017 (a discriminator trained to its optimum)",
        needs_length=True,
    ),
)

FLAGS = (
    Rule(
        "discriminator_overfit",
        ((Condition("overfit_auc", "above", 0.6, 0.02), Condition("overfit_over_error", "above", 3.0, 0.5)),),
        "D scores its training data well above data it never saw",
        "Karras et al. 2020 (ADA), r_v; Brock et al. 2019, section 4.2",
    ),
)

UNDETERMINED = "undetermined"
CONTEXT = ("auc_late", "movement_drop", "d_gradient_growth", "g_gradient_growth", "saturation_late", "g_loss_rise")  # evidence, not judges

SEVERITY = (  # the worse comes first: decides ties between lanes
    "non_finite",
    "late_collapse",
    "exploding_gradient",
    "vanishing_gradient",
    "discriminator_wins",
    "generator_wins",
    "mode_collapse",
    "oscillating",
    "undetermined",
    "undertrained",
    "healthy",
)
