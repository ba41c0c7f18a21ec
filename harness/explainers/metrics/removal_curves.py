"""Deletion and insertion: what the output does while the units that matter go, or come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.metrics.metric import Asking, Measured, Trial
from harness.records import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class _Curve:
    """The area under a curve of outputs, by the trapezoidal rule over the share of units.

    Outputs are stated as (value - empty) / scale, where scale is |full - empty|, or 1 % of the
    range of the outputs where that is larger: 1 is what the whole input does, 0 what the empty one
    does. `steps` is the number of steps of the curve, or of units where there are fewer.
    """

    family = "faithfulness"

    def __init__(self, steps: int = 20) -> None:
        fields.whole(f"metric '{self.metric.name}'", 1, steps=steps)
        self.settings: Mapping[str, Any] = {"steps": steps}

    metric: Metric

    def _area(self, trial: Trial, ranks: NDArray[np.int64], keep_first: bool) -> Asking:
        import numpy as np

        counts = cuts(trial.players, self.settings["steps"])
        first = ranks[None] < counts[:, None]
        values = yield first if keep_first else ~first
        shares = counts / trial.players
        heights = (values - trial.empty) / trial.scale
        area = float(np.trapezoid(heights, shares))
        return Measured(area, {"shares": shares.tolist(), "heights": heights.tolist()})


class Deletion(_Curve):
    """The area under the output while units are removed, largest value first: lower is better.

    Source: Petsiuk, Das and Saenko 2018, "RISE: Randomized Input Sampling for Explanation of
    Black-box Models", section 4.1; Samek et al. 2017, "Evaluating the visualization of what a deep
    neural network has learned", section II.B.
    """

    metric = Metric(
        "deletion", "attribution", (None, None), "lower",
        about="area under the output while units are removed, largest value first",
        title="output left while the top units go",
    )  # fmt: skip

    def ask(self, trial: Trial) -> Asking:
        """The curve is the metric's detail."""
        return self._area(trial, ranks_of(trial.order), keep_first=False)


class Insertion(_Curve):
    """The area under the output while units are put back into the empty input, largest value
    first: higher is better.

    Source: Petsiuk, Das and Saenko 2018, section 4.1.
    """

    metric = Metric(
        "insertion", "attribution", (None, None), "higher",
        about="area under the output while units are put back, largest value first",
        title="output reached while the top units come back",
    )  # fmt: skip

    def ask(self, trial: Trial) -> Asking:
        """The curve is the metric's detail."""
        return self._area(trial, ranks_of(trial.order), keep_first=True)


def ranks_of(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each player's place in the order."""
    import numpy as np

    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    return ranks


def cuts(players: int, steps: int) -> NDArray[np.int64]:
    """How many units are gone after each step, from none to all, in steps as equal as can be."""
    import numpy as np

    steps = min(steps, players)
    found: NDArray[np.int64] = np.round(np.arange(steps + 1) * players / steps).astype(np.int64)
    return found
