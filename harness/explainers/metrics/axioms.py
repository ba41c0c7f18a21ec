"""What an attribution should keep to, whatever the network: completeness, input invariance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.explainers.metrics.alterations import Shift
from harness.explainers.metrics.metric import Measured, Repeated, Trial
from harness.explainers.metrics.robustness import change
from harness.records import HarnessError, Metric


class Completeness:
    """How far the sum of the values misses full - empty, over the larger of |full - empty| and 1 %
    of the range of the outputs: lower is better.

    Source: Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", section 3
    (completeness); Shapley 1953 (efficiency).
    """

    family = "axiom"
    metric = Metric(
        "completeness", "attribution", (0.0, None), "lower",
        about="how far the sum of the values misses the output's rise",
        title="gap between values and output",
    )  # fmt: skip

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def look(self, trial: Trial) -> Measured:
        """Also of methods that do not aim at it."""
        return Measured(abs(float(trial.values.sum()) - (trial.full - trial.empty)) / trial.scale)


class InputInvariance:
    """How far the values change where a constant is added to every feature and a network takes it
    away first, as a share of their length: lower is better. What removed units become is shifted
    too. `shift` is the constant over the range of the features.

    Source: Kindermans, Hooker, Adebayo, Alber, Schütt, Dähne, Erhan and Kim 2019, "The
    (Un)reliability of Saliency Methods", section 2.
    """

    family = "axiom"
    metric = Metric(
        "input_invariance", "attribution", (0.0, None), "lower",
        about="relative change of the values under a shift that the network undoes",
        title="change under a shift that changes nothing",
    )  # fmt: skip

    def __init__(self, shift: float = 1.0) -> None:
        if isinstance(shift, bool) or not isinstance(shift, (int, float)) or shift == 0:
            raise HarnessError(f"metric 'input_invariance': shift is a number, not {shift!r}")
        self.settings: Mapping[str, Any] = {"shift": shift}
        self.alterations = (Shift(float(shift)),)

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured:
        """`None` where all values are zero."""
        if not trial.values.any():
            return Measured(None, {}, "all values are zero")
        return Measured(change(trial.values, repeated[0].values))
