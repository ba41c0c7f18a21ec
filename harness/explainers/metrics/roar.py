"""Remove and retrain: what a classifier can still learn once the units that matter are gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.explainers.explain import blocks, make_methods
from harness.explainers.metrics.references import Random
from harness.explainers.metrics.removed import rows_without, sample_without
from harness.explainers.metrics.similarity import levels
from harness.records import HarnessError, Sample
from harness.results import Estimate
from harness.stats import intervals, paired

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # Hooker et al. 2019, section 3
RANDOM = "random"


@dataclass(frozen=True)
class RoarRow:
    """The accuracy of the classifier retrained without a share of the units, and how much lower it
    is than where as many random units were removed (positive is better for the method)."""

    method: str
    share: float
    accuracy: Estimate
    below_random: Estimate | None


@dataclass(frozen=True)
class Roar:
    """`rows` by method and share, the random attribution among them; `before` is the accuracy with
    everything kept. `below_random` of a method is the mean over the shares."""

    before: Estimate
    rows: tuple[RoarRow, ...]
    below_random: dict[str, Estimate]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a method and share: method, share, accuracy, below_random, low, high."""
        import pandas as pd

        names = ("method", "share", "accuracy", "below_random", "low", "high")
        rows = []
        for row in self.rows:
            below = row.below_random or Estimate(None)
            rows.append(
                (row.method, row.share, row.accuracy.value, below.value, below.low, below.high)
            )
        return pd.DataFrame(rows, columns=pd.Index(names))


def roar(
    train_fn: Callable[[Any], Any],
    train: Any,
    test: Any,
    method: Any = "kernel_shap",
    unit: Any = None,
    *,
    shares: Sequence[float] = SHARES,
    settings: Any = None,
    **options: Any,
) -> Roar:
    """Explains, removes the units of the largest values from training and test data alike, trains
    again on what is left, and asks how well that does on what is left of the test data. The better
    a method finds what matters, the lower it falls, against random units removed.

    - `train_fn`: makes a classifier of data like `train`; it is called once for every method and
      share, and should draw nothing anew, so that differences are those of the data
    - `train`, `test`: `Sample` records with labels, or pairs of a tensor with one example a row and
      its labels (numbers of classes)
    - `shares`: of the units that the classifier sees, rounded to whole ones
    - `method`, `unit`, `settings` and all `options` as of `harness.explain`. Removed words become
      what `removal` says; pixels and numbers become their mean over the training data

    Accuracies have intervals over test samples, by cluster. Raises `HarnessError` for data without
    labels, and as `harness.explain` does.

    Source: Hooker, Erhan, Kindermans and Kim 2019, "A Benchmark for Interpretability Methods in
    Deep Neural Networks" (ROAR).
    """
    if not shares or not all(isinstance(s, (int, float)) and 0 < s <= 1 for s in shares):
        raise HarnessError(f"roar: shares are numbers above 0 and at most 1, not {shares!r}")
    methods = make_methods(method, settings or {})
    if RANDOM in methods:
        raise HarnessError(f"roar: the name '{RANDOM}' is that of the random attribution")
    data = [_Data.of(given) for given in (train, test)]
    mean = data[0].mean
    classifier = train_fn(train)
    hits = _hits(classifier, data[1], options)
    orders = [_orders(classifier, one, methods, unit, options) for one in data]
    found: dict[tuple[str, float], NDArray[np.float64]] = {}
    for name in (*methods, RANDOM):
        for share in shares:
            left = [
                one.without(order[name], share, mean, options)
                for one, order in zip(data, orders, strict=True)
            ]
            found[name, share] = _hits(train_fn(left[0].given), left[1], options)
    return _summed(found, hits, data[1].clusters, list(methods), list(shares))


@dataclass(frozen=True, eq=False)
class _Order:
    """An attribution whose values are levels, by which units go first."""

    attribution: Any
    order: list[int]


@dataclass(frozen=True, eq=False)
class _Data:
    """Samples with labels, or rows with labels."""

    given: Any
    labels: list[Any]
    clusters: list[str]

    @classmethod
    def of(cls, given: Any) -> _Data:
        """Raises `HarnessError` where labels are missing."""
        if isinstance(given, tuple) and len(given) == 2 and hasattr(given[0], "detach"):
            labels = [int(label) for label in given[1]]
            if len(labels) != len(given[0]):
                raise HarnessError(f"roar: {len(given[0])} rows came with {len(labels)} labels")
            return cls(given, labels, [str(row) for row in range(len(labels))])
        samples = list(given)
        missing = next((s for s in samples if not isinstance(s, Sample) or s.label is None), None)
        if missing is not None or not samples:
            raise HarnessError("roar needs samples with labels, or a tensor and its labels")
        return cls(samples, [s.label for s in samples], [s.cluster or s.id for s in samples])

    @property
    def asked(self) -> Any:
        """What is explained and classified."""
        return self.given[0] if isinstance(self.given, tuple) else self.given

    @property
    def mean(self) -> Any:
        """Of the rows, by column; `None` for samples."""
        return self.given[0].mean(dim=0) if isinstance(self.given, tuple) else None

    def without(
        self, orders: Sequence[_Order], share: float, mean: Any, options: dict[str, Any]
    ) -> _Data:
        """The same with a share of each one's units removed."""
        gone = [(one, one.order[: round(share * len(one.order))]) for one in orders]
        if isinstance(self.given, tuple):
            rows = rows_without(self.given[0], [(o.attribution, p) for o, p in gone], mean)
            return replace(self, given=(rows, self.given[1]))
        if options.get("background") is not None:
            raise HarnessError("remove and retrain fills each sample once; give a baseline")
        removal, baseline = options.get("removal", "mask"), options.get("baseline")
        samples = [
            sample_without(sample, one.attribution, places, removal, baseline)
            for sample, (one, places) in zip(self.given, gone, strict=True)
        ]
        return replace(self, given=samples)


def _hits(classifier: Any, data: _Data, options: dict[str, Any]) -> NDArray[np.float64]:
    """1 for each example whose likeliest class is its label, else 0."""
    import numpy as np

    found: list[float] = []
    unitless = {k: v for k, v in options.items() if k not in ("target", "budget", "reduce")}
    for block in blocks(classifier, data.asked, **unitless):
        for subject in block.subjects:
            place = int(subject.outputs[0].argmax())
            label = data.labels[len(found)]
            said = block.engine.model.columns(subject.reading)[place]
            found.append(float(place == label if isinstance(label, int) else said == label))
    return np.array(found)


def _orders(
    classifier: Any, data: _Data, methods: Any, unit: Any, options: dict[str, Any]
) -> dict[str, list[_Order]]:
    """By method, and at random: each example's units, from the first to go to the last."""
    import numpy as np

    found: dict[str, list[_Order]] = {name: [] for name in (*methods, RANDOM)}
    for block in blocks(classifier, data.asked, unit, **options):
        attributed = block.explained(methods)
        for number, subject in enumerate(block.subjects):
            one = attributed[next(iter(methods)), number][0]
            values = {name: subject.values_of(attributed[name, number][0]) for name in methods}
            values[RANDOM] = Random().values(subject, block.question.seed, "")
            for name, row in values.items():
                shuffled = np.random.default_rng(block.question.seed).permutation(len(row))
                order = shuffled[np.argsort(-levels(row)[shuffled], kind="stable")]
                places = [subject.division.players[player] for player in order]
                found[name].append(_Order(one, places))
    return found


def _summed(
    found: dict[tuple[str, float], NDArray[np.float64]],
    before: NDArray[np.float64],
    clusters: list[str],
    methods: list[str],
    shares: list[float],
) -> Roar:
    import numpy as np

    rows = []
    for (name, share), hits in found.items():
        below = None
        if name != RANDOM:
            below = paired.difference(found[RANDOM, share], hits, clusters, bounds=(0.0, 1.0))
        rows.append(RoarRow(name, share, intervals.mean(hits, clusters), below))
    means = {
        name: np.mean([found[name, share] for share in shares], axis=0)
        for name in (*methods, RANDOM)
    }
    below_random = {
        name: paired.difference(means[RANDOM], means[name], clusters, bounds=(0.0, 1.0))
        for name in methods
    }
    return Roar(intervals.mean(before, clusters), tuple(rows), below_random)
