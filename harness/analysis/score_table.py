"""The scores of a run by metric and subject, with the cells and clusters behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.records import UNSCORABLE, Cell, Metric, StoredScore
from harness.results import Estimate
from harness.scoring import Run
from harness.stats import intervals
from harness.stats.balanced import balanced_mean

Keep = Callable[[Cell], bool]


@dataclass(frozen=True)
class Row:
    """One score: the cell it is about (for a group its first, with `*` in the varying field)."""

    cell: Cell
    value: float | None
    detail: Mapping[str, Any] | None

    @property
    def unit(self) -> str:
        """What is compared between models: the cell without its model."""
        return self.cell.id.partition("/")[2]


class ScoreTable:
    """Scores of the versions that were scored last, indexed by metric id and model."""

    def __init__(
        self, run: Run, scorers: Mapping[str, Any], *, generalise_variants: bool = False
    ) -> None:
        self.run = run
        self._two_way = generalise_variants
        self.versions: dict[str, str] = run.store.meta().get("versions_scored", {})
        self.metrics: dict[str, tuple[str, Metric]] = {
            f"{name}.{metric.name}": (name, metric)
            for name, scorer in scorers.items()
            if name in self.versions
            for metric in scorer.metrics
        }
        self._rows: dict[str, dict[str, list[Row]]] = {name: {} for name in self.metrics}
        planned = {a.key: a.cell for a in reversed(list(run.answered.values()))}
        for score in run.store.scores(self.versions):
            metric_id = f"{score.scorer}.{score.metric}"
            cell = self._cell(score, planned)
            if metric_id in self._rows and cell is not None:
                row = Row(cell, score.value, score.detail)
                self._rows[metric_id].setdefault(cell.model, []).append(row)

    def _cell(self, score: StoredScore, planned: Mapping[str, Cell]) -> Cell | None:
        """The cell a score speaks of, if it is still in the plan."""
        if score.subject_kind == "generation":
            return planned.get(score.subject)
        if score.subject_kind == "group":
            parts = score.subject.split("/")
            if parts[6] == "*":
                parts[6] = "0"
            cell = Cell.parse("/".join(parts))
            return cell if cell.sample in self.run.samples else None
        return self.run.answered[score.subject].cell if score.subject in self.run.answered else None

    def rows(self, metric: str, model: str, keep: Keep | None = None) -> list[Row]:
        """Scored rows of a model, not applicable ones left out."""
        found = self._rows.get(metric, {}).get(model, [])
        return [row for row in found if row.value is not None and (keep is None or keep(row.cell))]

    def all_rows(self, metric: str, model: str) -> list[Row]:
        """Rows of a model, also where the metric was not applicable but left a detail."""
        return self._rows.get(metric, {}).get(model, [])

    @cached_property
    def models(self) -> list[str]:
        """The models in the order of the suite, without controls."""
        return [model.name for model in self.run.manifest.models if not model.control]

    @cached_property
    def controls(self) -> list[str]:
        """The controls in the order of the suite."""
        return [model.name for model in self.run.manifest.models if model.control]

    @cached_property
    def main_arm(self) -> str:
        """The arm of the headline: what the classifier said, where there is one."""
        arms = self.run.manifest.arms
        return "predicted" if "predicted" in arms else arms[0]

    def ranked(self, cell: Cell) -> bool:
        """Whether a cell counts for the headline: main arm, no oracle variant."""
        if cell.arm not in (self.main_arm, "*"):
            return False
        return self.not_oracle(cell)

    def not_oracle(self, cell: Cell) -> bool:
        """Whether a cell's prompt hides the gold evidence."""
        return (
            cell.variant == "*" or not self.run.manifest.variant(cell.family, cell.variant).oracle
        )

    def headline(self, kind: str) -> str | None:
        """The metric that opens the report for `accuracy` or `stability`; a scored one if any."""
        named = [name for name, (_, metric) in self.metrics.items() if metric.headline == kind]
        scored = [
            name
            for name in named
            if any(self.rows(name, model) for model in [*self.models, *self.controls])
        ]
        return next(iter(scored or named), None)

    def estimate(self, metric: str, rows: Iterable[Row]) -> Estimate:
        """The mean of rows with its interval, by the run's cluster."""
        rows = list(rows)
        if not rows:
            return Estimate(None, method="nothing was scored")
        balanced = self.metrics[metric][1].balanced
        if balanced is not None:
            within, over = ([(row.detail or {}).get(name) for row in rows] for name in balanced)
            return balanced_mean(
                [float(row.value or 0.0) for row in rows],
                within,
                over,
                [self.run.cluster(row.cell.sample) for row in rows],
                seed=self.run.manifest.seed,
                cluster_name=self.cluster_name,
                bounds=self.range(metric),
            )
        if self._two_way and self.metrics[metric][1].subject != "group":
            return intervals.two_way(
                [float(row.value or 0.0) for row in rows],
                [self.run.cluster(row.cell.sample) for row in rows],
                [row.cell.variant for row in rows],
                cluster_name=self.cluster_name,
                bounds=self.range(metric),
            )
        return intervals.mean(
            [float(row.value or 0.0) for row in rows],
            [self.run.cluster(row.cell.sample) for row in rows],
            seed=self.run.manifest.seed,
            cluster_name=self.cluster_name,
            bounds=self.range(metric),
        )

    def range(self, metric: str) -> tuple[float, float] | None:
        """A metric's lowest and highest value, `None` where one of them is open."""
        low, high = self.metrics[metric][1].range
        return (low, high) if low is not None and high is not None else None

    @property
    def cluster_name(self) -> str:
        """What the independent units are called."""
        return self.run.manifest.cluster_name

    def bounds(self, metric: str, model: str) -> tuple[float, float] | None:
        """The lowest and highest mean that unscorable cells could have led to."""
        spec, edges = self.metrics[metric][1], self.range(metric)
        if spec.subject != "cell" or edges is None or spec.direction is None:
            return None
        low, high = edges
        rows = self.rows(metric, model, self.ranked)
        lost = sum(
            1
            for answered in self.run.answered.values()
            if answered.cell.model == model
            and answered.outcome in (*UNSCORABLE, "not_run")
            and self.ranked(answered.cell)
        )
        if not lost or not rows:
            return None
        total = sum(float(row.value or 0.0) for row in rows)
        count = len(rows) + lost
        return (total + lost * low) / count, (total + lost * high) / count
