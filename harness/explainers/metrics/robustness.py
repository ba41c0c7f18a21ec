"""Does the method say the same of nearly the same? Under noise, and with other seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.metrics.alterations import Noise, Reseeded
from harness.explainers.metrics.metric import Measured, Repeated, Trial
from harness.explainers.metrics.similarity import spearman
from harness.records import HarnessError, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Neighbours:
    """A metric over `copies` neighbours of the sample, each feature moved by at most `radius` times
    the range of the features. Both metrics of this kind share their neighbours."""

    family = "robustness"
    metric: Metric

    def __init__(self, radius: float = 0.02, copies: int = 5) -> None:
        where = f"metric '{self.metric.name}'"
        fields.whole(where, 1, copies=copies)
        if isinstance(radius, bool) or not isinstance(radius, (int, float)) or not radius > 0:
            raise HarnessError(f"{where}: radius is a number above 0, not {radius!r}")
        self.settings: Mapping[str, Any] = {"radius": radius, "copies": copies}
        self.alterations = tuple(Noise(float(radius), number) for number in range(copies))


class MaxSensitivity(_Neighbours):
    """The largest difference between the values of the sample and of a neighbour, as the length of
    the difference over the length of the values: lower is better. Settings: `radius`, `copies`.

    Source: Yeh, Hsieh, Suggala, Inouye and Ravikumar 2019, "On the (In)fidelity and Sensitivity of
    Explanations", definition 2.2, over the length as in Captum's `sensitivity_max`.
    """

    metric = Metric(
        "max_sensitivity", "attribution", (0.0, None), "lower",
        about="largest relative change of the values under small noise",
        title="largest change under small noise",
    )  # fmt: skip

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured:
        """`None` where all values are zero."""
        if not trial.values.any():
            return Measured(None, {}, "all values are zero")
        return Measured(max(change(trial.values, one.values) for one in repeated))


class LocalLipschitz(_Neighbours):
    """The largest ratio between the change of the values and that of the input, both as shares of
    their own length: lower is better. Settings: `radius`, `copies`.

    Source: Alvarez-Melis and Jaakkola 2018, "On the Robustness of Interpretability Methods",
    equation 2, with relative changes as in Agarwal et al. 2022, "Rethinking Stability for
    Attribution-based Explanations", so that it does not depend on the units of either.
    """

    metric = Metric(
        "local_lipschitz", "attribution", (0.0, None), "lower",
        about="largest relative change of the values over that of the input",
        title="largest change for its cause",
    )  # fmt: skip

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured:
        """`None` where all values, or all features, are zero."""
        if not trial.values.any():
            return Measured(None, {}, "all values are zero")
        ratios = [change(trial.values, one.values) / one.moved for one in repeated if one.moved]
        return Measured(max(ratios)) if ratios else Measured(None, {}, "the input is zero")


class SeedStability:
    """Spearman's correlation between values of different seeds, averaged over all pairs of the
    call's seed and `seeds` others: higher is better. 1 for a method that draws nothing."""

    family = "robustness"
    metric = Metric(
        "seed_stability", "attribution", (-1.0, 1.0), "higher",
        about="rank correlation between values of different seeds",
        title="agreement between seeds",
    )  # fmt: skip

    def __init__(self, seeds: int = 2) -> None:
        fields.whole("metric 'seed_stability'", 1, seeds=seeds)
        self.settings: Mapping[str, Any] = {"seeds": seeds}
        self.alterations = tuple(Reseeded(number) for number in range(seeds))

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured:
        """`None` for a single unit."""
        import itertools

        if trial.players < 2:
            return Measured(None, {}, "there is a single unit")
        several = [trial.values, *(one.values for one in repeated)]
        found = [spearman(a, b) for a, b in itertools.combinations(several, 2)]
        return Measured(sum(found) / len(found))


def change(values: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """The length of the difference over the length of the first, which is not zero."""
    import numpy as np

    return float(np.linalg.norm(others - values) / np.linalg.norm(values))
