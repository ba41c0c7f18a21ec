"""How much a reader has to take in: is the attribution spread over many units, or a few?

None of these says that an attribution is right; a single wrong unit is the simplest of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.explainers.metrics.metric import Measured, Trial
from harness.records import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NOTHING = "all values are zero"


class _OfSizes:
    """A number made of the sizes of the values, whatever their signs."""

    family = "complexity"

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}

    def look(self, trial: Trial) -> Measured:
        """`None` where all values are zero."""
        import numpy as np

        sizes = np.abs(trial.values)
        return Measured(self._of(sizes)) if sizes.sum() > 0 else Measured(None, {}, _NOTHING)

    def _of(self, sizes: NDArray[np.float64]) -> float:
        raise NotImplementedError


class Sparseness(_OfSizes):
    """Gini's index of the sizes of the values: 0 where all are equal, 1 - 1/n where one of n units
    has everything.

    Source: Chalasani, Chen, Chowdhury, Jha and Wu 2020, "Concise Explanations of Neural Networks
    using Adversarial Training" (the sparseness of an explanation);
    Hurley and Rickard 2009, "Comparing Measures of Sparsity".
    """

    metric = Metric(
        "sparseness", "attribution", (0.0, 1.0), None,
        about="Gini's index of the sizes of the values",
        title="value on few units",
    )  # fmt: skip

    def _of(self, sizes: NDArray[np.float64]) -> float:
        import numpy as np

        n = len(sizes)
        ranks = np.arange(1, n + 1)
        return float(1 - 2 * np.sum(np.sort(sizes) / sizes.sum() * (n - ranks + 0.5) / n))


class Entropy(_OfSizes):
    """Shannon's entropy, in nats, of the sizes of the values as shares of their sum: 0 where one
    unit has everything, log n where all n are equal.

    Source: Bhatt, Weller and Moura 2020, "Evaluating and Aggregating Feature-based Model
    Explanations" (complexity).
    """

    metric = Metric(
        "entropy", "attribution", (0.0, None), None,
        about="Shannon's entropy of the sizes of the values, in nats",
        title="value spread over units",
    )  # fmt: skip

    def _of(self, sizes: NDArray[np.float64]) -> float:
        import numpy as np

        shares = sizes[sizes > 0] / sizes.sum()
        return float(max(0.0, -np.sum(shares * np.log(shares))))


class EffectiveSize(_OfSizes):
    """How many units of equal size would be spread as widely: one over the sum of squared shares,
    from 1 to n.

    Source: Hill 1973, "Diversity and Evenness", order 2 (Simpson's reciprocal index).
    """

    metric = Metric(
        "effective_size", "attribution", (1.0, None), None,
        about="how many units of equal size would be spread as widely",
        title="number of units that count",
    )  # fmt: skip

    def _of(self, sizes: NDArray[np.float64]) -> float:
        import numpy as np

        shares = sizes / sizes.sum()
        return float(1 / np.sum(shares**2))
