"""What a metric of attributions is, and what it is told.

There are three kinds. One asks the classifier for values of sets of units, as a perturbation method
does, so that one engine answers methods and metrics together. One looks at the attribution and the
evidence alone. One compares the attribution with what the method says again, after something was
altered: the seed, the input, the weights, the target.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from harness.explainers.division import Division
from harness.explainers.metrics.similarity import levels
from harness.records import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.explainers.metrics.alterations import Alteration

Family = Literal[
    "faithfulness", "robustness", "localisation", "complexity", "randomisation", "axiom"
]


@dataclass(frozen=True, eq=False)
class Trial:
    """One attribution under test.

    `values` are those of the players, `full` and `empty` the target's values with every unit kept
    and with every unit removed, `range` the range of the outputs at both. `seed` belongs to the
    sample: every method draws the same. `evidence` says of each feature whether it is part of the
    known reason, by the evidence's name, under "" for all of them together; without evidence it is
    empty. `counted` are the features by which areas are measured: all but white space.
    """

    values: NDArray[np.float64]
    full: float
    empty: float
    range: float
    seed: int
    division: Division
    counted: NDArray[np.bool_]
    evidence: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def players(self) -> int:
        """How many units there are that the classifier sees."""
        return len(self.values)

    @property
    def scale(self) -> float:
        """What differences of values are divided by: |full - empty|, or 1 % of the range of the
        outputs where that is larger; 1 where both are zero."""
        return max(abs(self.full - self.empty), 0.01 * self.range) or 1.0

    @property
    def levels(self) -> NDArray[np.float64]:
        """The values as they are ordered: over their largest size, rounded."""
        return levels(self.values)

    @property
    def order(self) -> NDArray[np.int64]:
        """The players, largest value first. Equal values stand in an order drawn by the seed, so
        that an attribution that says nothing does not inherit the order of the text."""
        import numpy as np

        shuffled = np.random.default_rng(self.seed).permutation(self.players)
        found: NDArray[np.int64] = shuffled[np.argsort(-self.levels[shuffled], kind="stable")]
        return found


@dataclass(frozen=True, eq=False)
class Measured:
    """One number; `None` where the metric does not apply, with a sentence in `why`.

    `detail` holds what it was made of (a curve), as plain numbers.
    """

    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""


Asking = Generator["NDArray[np.bool_]", "NDArray[np.float64]", Measured]
"""Yields sets (sets x players), is sent the target's values (sets), ends with what it measured."""


class AttributionMetric(Protocol):
    """What every metric has: its record, its family, and its settings, defaults too."""

    metric: Metric
    family: Family
    settings: Mapping[str, Any]


@runtime_checkable
class AskingMetric(AttributionMetric, Protocol):
    """A metric that needs values of sets of units."""

    def ask(self, trial: Trial) -> Asking: ...


@runtime_checkable
class LookingMetric(AttributionMetric, Protocol):
    """A metric of the attribution as it stands."""

    def look(self, trial: Trial) -> Measured: ...


@runtime_checkable
class RepeatingMetric(AttributionMetric, Protocol):
    """A metric of what the method says again.

    `alterations` are what it is to be explained under, once each, whatever metrics ask for it;
    `compare` is given the values under each, in their order, and how far each moved the input.
    """

    @property
    def alterations(self) -> Sequence[Alteration]: ...

    def compare(self, trial: Trial, repeated: Sequence[Repeated]) -> Measured: ...


@dataclass(frozen=True, eq=False)
class Repeated:
    """What a method said under an alteration: values of the players; `moved` is the distance
    between the inputs over the length of the sample's own."""

    values: NDArray[np.float64]
    moved: float = 0.0
