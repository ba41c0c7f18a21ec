"""The scores of a run by metric and subject, with the cells and clusters behind them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from harness.records import UNSCORABLE, Cell, Metric, StoredScore
from harness.results import Estimate
from harness.scoring import Run
from harness.stats import intervals, paired
from harness.stats.balanced import balanced_mean

Keep = Callable[[Cell], bool]
_FIELDS = tuple(field.name for field in fields(Cell))


@dataclass(frozen=True)
class Row:
    """One score: the cell it is about (for a group its first, with `*` in the varying field)."""

    cell: Cell
    value: float
    detail: Mapping[str, Any] | None


def unit(cell: Cell, *without: str) -> str:
    """What is compared when the fields in `without` differ: the cell's id, less those fields."""
    parts = zip(_FIELDS, cell.id.split("/"), strict=True)
    return "/".join(part for name, part in parts if name not in without)


def by_unit(rows: Sequence[Row], *without: str) -> dict[str, Row]:
    """Rows by `unit`."""
    return {unit(row.cell, *without): row for row in rows}


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
        self._scores: dict[str, dict[str, list[tuple[Cell, StoredScore]]]] = {
            name: {} for name in self.metrics
        }
        planned = {run.place(a): a.cell for a in reversed(list(run.answered.values()))}
        if run.store.old_schema:
            planned |= {a.key: a.cell for a in reversed(list(run.answered.values()))}
        self.unknown: dict[str, set[str]] = {}  # by scorer, metrics that it no longer has
        for score in run.scores():
            metric_id = f"{score.scorer}.{score.metric}"
            if metric_id not in self._scores and score.scorer in scorers:
                self.unknown.setdefault(score.scorer, set()).add(score.metric)
            cell = self._cell(score, planned)
            if metric_id in self._scores and cell is not None:
                self._scores[metric_id].setdefault(cell.model, []).append((cell, score))

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
        return [
            Row(cell, score.value, score.detail)
            for cell, score in self.scores(metric, model)
            if score.value is not None and (keep is None or keep(cell))
        ]

    def scores(self, metric: str, model: str) -> Sequence[tuple[Cell, StoredScore]]:
        """All scores of a model with their cells, also where the metric was not applicable."""
        return self._scores.get(metric, {}).get(model, ())

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

    def preserves_meaning(self, cell: Cell) -> bool:
        """Whether a cell's variant asks the same as the base."""
        return self.run.manifest.variant(cell.family, cell.variant).preserves_meaning

    def headline(self, kind: str, invalid: Container[str] = ()) -> str | None:
        """The metric that opens the report for `accuracy` or `stability`.

        A scored one if any, and one that is not `invalid` if any.
        """
        named = [name for name, (_, metric) in self.metrics.items() if metric.headline == kind]
        everyone = [*self.models, *self.controls]
        named.sort(
            key=lambda name: (
                not any(self.rows(name, model) for model in everyone),
                name in invalid,
            )
        )
        return next(iter(named), None)

    def estimate(
        self, metric: str, rows: Sequence[Row], *, of_one_variant: bool = False
    ) -> Estimate:
        """The mean of rows with its interval, by the run's cluster.

        A mean `of_one_variant` speaks of that variant alone, so it is never generalised.
        """
        if not rows:
            return Estimate(None, method="nothing was scored")
        values, clusters = [row.value for row in rows], self.clusters(rows)
        name, bounds = self.cluster_name, self.range(metric)
        spec = self.metrics[metric][1]
        if spec.balanced is not None:
            within, over = (
                [(row.detail or {}).get(field) for row in rows] for field in spec.balanced
            )
            return balanced_mean(
                values, within, over, clusters, seed=self.seed, cluster_name=name, bounds=bounds
            )
        if self._two_way and spec.subject != "group" and not of_one_variant:
            variants = [row.cell.variant for row in rows]
            return intervals.two_way(values, clusters, variants, cluster_name=name, bounds=bounds)
        return intervals.mean(values, clusters, cluster_name=name, bounds=bounds)

    def difference(self, metric: str, pairs: Sequence[tuple[Row, Row]]) -> Estimate:
        """The mean of the first less the second of each pair; both speak of one sample."""
        return paired.difference(
            [a.value for a, _ in pairs],
            [b.value for _, b in pairs],
            self.clusters([a for a, _ in pairs]),
            cluster_name=self.cluster_name,
            bounds=self.range(metric),
        )

    def clusters(self, rows: Sequence[Row]) -> list[str]:
        """The independent unit behind each row."""
        return [self.run.cluster(row.cell.sample) for row in rows]

    def range(self, metric: str) -> tuple[float, float] | None:
        """A metric's lowest and highest value, `None` where one of them is open."""
        low, high = self.metrics[metric][1].range
        return (low, high) if low is not None and high is not None else None

    @property
    def cluster_name(self) -> str:
        """What the independent units are called."""
        return self.run.manifest.cluster_name

    @property
    def seed(self) -> int:
        """The run's seed, for all resampling."""
        return self.run.manifest.seed

    def bounds(self, metric: str, model: str) -> tuple[float, float] | None:
        """The lowest and highest mean that unscorable cells could have led to.

        `None` where nothing was lost, and for a balanced metric: what a lost cell would have
        weighed is not known.
        """
        spec, edges = self.metrics[metric][1], self.range(metric)
        if spec.subject != "cell" or edges is None or spec.direction is None or spec.balanced:
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
        total = sum(row.value for row in rows)
        count = len(rows) + lost
        return (total + lost * low) / count, (total + lost * high) / count
