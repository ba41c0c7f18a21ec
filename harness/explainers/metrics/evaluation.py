"""What was measured: every number, tables with intervals, ranks of methods, and their agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.explainers.explanation import Explanation
from harness.records import HarnessError, Metric
from harness.results import Estimate
from harness.stats import intervals, paired
from harness.stats.ranks import RankTable, rank

if TYPE_CHECKING:
    import pandas as pd

    from harness.drawing.figure import Figure

RANDOM = "random"


@dataclass(frozen=True)
class Measurement:
    """One metric of one attribution; `value` is `None` where it does not apply, and `why` says so.

    `reference` marks attributions that know nothing of the classifier.
    """

    sample: str
    method: str
    target: str
    metric: str
    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict, compare=False)
    why: str = ""
    reference: bool = False


@dataclass(frozen=True)
class MetricRow:
    """One method's mean of one metric. `above_random` is how much better it is than the mean of
    several random attributions on the same samples (positive is better, whatever the direction),
    `None` where there is no better."""

    method: str
    metric: str
    mean: Estimate
    above_random: Estimate | None
    reference: bool
    why: str = ""

    @property
    def shown(self) -> bool | None:
        """Whether it is shown to be better than random: the whole interval is above 0."""
        if self.above_random is None or self.above_random.low is None:
            return None
        return self.above_random.low > 0


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Everything measured of several methods on the same samples.

    `metrics` are the metrics by the names used in `measurements`, `clusters` each sample's largest
    shared cause, by which intervals are made.
    """

    explanation: Explanation
    measurements: tuple[Measurement, ...]
    metrics: Mapping[str, Any]
    clusters: Mapping[str, str]
    seed: int = 0

    def __repr__(self) -> str:
        samples = len({m.sample for m in self.measurements})
        return (
            f"Evaluation of {', '.join(self.methods)} by {len(self.metrics)} metrics on {samples} "
            "samples; table, ranking() and frame say more"
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that were measured, references left out."""
        return tuple(dict.fromkeys(m.method for m in self.measurements if not m.reference))

    @property
    def references(self) -> tuple[str, ...]:
        """The attributions that know nothing."""
        return tuple(dict.fromkeys(m.method for m in self.measurements if m.reference))

    def metric(self, name: str) -> Metric:
        """The record of a metric by the name it has here."""
        found: Metric = self.metrics[name].metric
        return found

    @property
    def frame(self) -> pd.DataFrame:
        """One row a measurement: sample, method, target, metric, value, why, reference."""
        import pandas as pd

        names = ("sample", "method", "target", "metric", "value", "why", "reference")
        rows = [tuple(getattr(m, name) for name in names) for m in self.measurements]
        found = pd.DataFrame(rows, columns=pd.Index(names))
        return found.astype({"value": "float64"})

    @cached_property
    def rows(self) -> tuple[MetricRow, ...]:
        """Each method's mean of each metric, with a 95 % interval by cluster."""
        by: dict[tuple[str, str], list[Measurement]] = {}
        for one in self.measurements:
            by.setdefault((one.metric, one.method), []).append(one)
        return tuple(
            self._row(method, metric, mine, by.get((metric, RANDOM), ()))
            for (metric, method), mine in by.items()
        )

    def _row(
        self, method: str, name: str, mine: Sequence[Measurement], random: Sequence[Measurement]
    ) -> MetricRow:
        metric = self.metric(name)
        known = [(m, m.value) for m in mine if m.value is not None]
        mean = intervals.mean(
            [value for _, value in known],
            [self.clusters[m.sample] for m, _ in known],
            bounds=_bounds(metric),
        )
        above = None
        if metric.direction is not None and method != RANDOM:
            above = self._above(known, random, metric)
        whys = [m.why for m in mine if m.why]
        why = whys[0] if not known and whys else ""
        return MetricRow(method, name, mean, above, mine[0].reference, why)

    def _above(
        self,
        known: Sequence[tuple[Measurement, float]],
        random: Sequence[Measurement],
        metric: Metric,
    ) -> Estimate | None:
        floor = {(m.sample, m.target): m.value for m in random if m.value is not None}
        both = [
            (m.sample, value, floor[m.sample, m.target])
            for m, value in known
            if (m.sample, m.target) in floor
        ]
        if not both:
            return None
        samples, values, floors = zip(*both, strict=True)
        a, b = (floors, values) if metric.direction == "lower" else (values, floors)
        clusters = [self.clusters[sample] for sample in samples]
        return paired.difference(a, b, clusters, bounds=_bounds(metric))

    @property
    def table(self) -> pd.DataFrame:
        """Means by method (rows, references last) and metric (columns)."""
        import pandas as pd

        found = pd.DataFrame(
            {name: {r.method: r.mean.value for r in self.rows if r.metric == name}
             for name in dict.fromkeys(r.metric for r in self.rows)}
        )  # fmt: skip
        return found.reindex([*self.methods, *self.references])

    def ranking(self, by: Iterable[str] = ()) -> RankTable:
        """The methods, and the random attribution among them, ranked by several metrics at once.

        On each sample and for each metric, methods are placed from 0 (best) to 1 (worst), equal
        ones in the middle; a method's score is its mean place. `by` names metrics; those of
        faithfulness unless given. Metrics that do not apply to all methods of a sample are left out
        there, as is one that orders nothing. Tests and intervals as of `harness.stats.ranks.rank`.
        """
        names = list(by) or [n for n, m in self.metrics.items() if m.family == "faithfulness"]
        for name in names:
            if name not in self.metrics:
                raise HarnessError(
                    f"there is no metric '{name}' here; there are {', '.join(self.metrics)}"
                )
            if self.metric(name).direction is None:
                raise HarnessError(f"metric '{name}' has no better and worse to rank by")
        ranked = [*self.methods, *(r for r in self.references if r == RANDOM)]
        scores = self._places(names, ranked)
        if not scores[ranked[0]]:
            return RankTable((), (), reason="no metric applies to all methods of a sample")
        cluster_of = {unit: self.clusters[_sample_of(unit)] for unit in scores[ranked[0]]}
        return rank(scores, cluster_of, "lower", seed=self.seed, bounds=(0.0, 1.0))

    def _places(self, names: Sequence[str], ranked: Sequence[str]) -> dict[str, dict[str, float]]:
        """Each method's mean place by sample and target."""
        import numpy as np
        from scipy.stats import rankdata

        by: dict[tuple[str, str], dict[str, float]] = {}
        for one in self.measurements:
            if one.metric in names and one.method in ranked and one.value is not None:
                unit = f"{one.target}\n{one.sample}"
                by.setdefault((unit, one.metric), {})[one.method] = one.value
        places: dict[str, list[Any]] = {}
        for (unit, metric), values in by.items():
            if len(values) < len(ranked) or len(ranked) < 2:
                continue
            sign = -1.0 if self.metric(metric).direction == "higher" else 1.0
            row = np.array([sign * round(values[method], 12) for method in ranked])
            places.setdefault(unit, []).append((rankdata(row) - 1) / (len(ranked) - 1))
        means = {unit: np.mean(rows, axis=0) for unit, rows in places.items()}
        return {
            method: {unit: float(row[place]) for unit, row in means.items()}
            for place, method in enumerate(ranked)
        }

    @property
    def heat_map(self) -> Figure:
        """Methods by metrics as a picture."""
        from harness.explainers.metrics.figures import methods_by_metrics

        return methods_by_metrics(self)

    @property
    def curves(self) -> Figure:
        """Mean curves of deletion and insertion as a picture."""
        from harness.explainers.metrics.figures import mean_curves

        return mean_curves(self)

    def _repr_html_(self) -> str:
        """The heat map, as a notebook shows it."""
        return self.heat_map.html

    @property
    def agreement(self) -> pd.DataFrame:
        """How alike the methods' attributions are, one row a pair and measure, with intervals."""
        from harness.explainers.metrics.agreement import agreement

        return agreement(self.explanation, self.clusters)


def _sample_of(unit: str) -> str:
    return unit.split("\n", 1)[1]


def _bounds(metric: Metric) -> tuple[float, float] | None:
    low, high = metric.range
    return None if low is None or high is None else (low, high)
