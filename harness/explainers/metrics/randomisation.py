"""Does the attribution depend on what was learned, and on the class that is asked for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import fields
from harness.explainers.metrics.alterations import OtherTarget, Randomised
from harness.explainers.metrics.metric import Measured, Repeated, Trial
from harness.explainers.metrics.similarity import spearman
from harness.records import Metric

_SINGLE = "there is a single unit"


class ParameterRandomisation:
    """Spearman's correlation between the values and those of the same network with its weights
    drawn anew: lower is better, for an attribution that does not change does not depend on what was
    learned.

    The entries of each weight change places, which keeps their distribution. `stages` is the number
    of networks: the last 1/stages of the modules are drawn anew, then twice as many, and so on to
    all of them (cascading); the metric is the mean, the correlations by stage its detail.

    Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim 2018, "Sanity Checks for Saliency
    Maps", section 4.
    """

    family = "randomisation"
    metric = Metric(
        "parameter_randomisation", "attribution", (-1.0, 1.0), "lower",
        about="rank correlation with the values of the network with random weights",
        title="likeness to values of random weights",
    )  # fmt: skip

    def __init__(self, stages: int = 1) -> None:
        fields.whole("metric 'parameter_randomisation'", 1, stages=stages)
        self.settings: Mapping[str, Any] = {"stages": stages}
        self.alterations = tuple(Randomised((stage + 1) / stages) for stage in range(stages))

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured:
        """`None` for a single unit."""
        if trial.players < 2:
            return Measured(None, {}, _SINGLE)
        found = [spearman(trial.values, one.values) for one in repeated]
        return Measured(sum(found) / len(found), {"stages": found})


class RandomLogit:
    """Spearman's correlation between the values for the target and those for another class: lower
    is better, for an attribution that is the same for every class explains none. It does not apply
    to two classes of which one's output follows from the other's.

    Source: Sixt, Granz and Landgraf 2020, "When Explanations Lie: Why Many Modified BP Attributions
    Fail" (random logit test).
    """

    family = "randomisation"
    metric = Metric(
        "random_logit", "attribution", (-1.0, 1.0), "lower",
        about="rank correlation with the values for another class",
        title="likeness to another class's values",
    )  # fmt: skip

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}
        self.alterations = (OtherTarget(),)

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured:
        """`None` for a single unit."""
        if trial.players < 2:
            return Measured(None, {}, _SINGLE)
        return Measured(spearman(trial.values, repeated[0].values))
