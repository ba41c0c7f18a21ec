"""The tables of the report: results arranged by model, by metric and by cell field.

These functions only select, order and mark; every number comes from `harness.results`. What is
invalid keeps its number but carries the reason, so that the templates strike it through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from markupsafe import Markup

from harness.records import ARMS, MODEL_OUTCOMES, UNSCORABLE, Outcome
from harness.report import charts, differences
from harness.report.columns import Column, columns, told_twin
from harness.results import (
    ArmEffect,
    Breakdown,
    Comparison,
    Estimate,
    ModelSummary,
    Rank,
    Results,
    VarianceShares,
    WorstCase,
)

SHADES = 7
OUTCOMES: tuple[Outcome, ...] = ("ok", *MODEL_OUTCOMES, *UNSCORABLE, "not_run")
CellT = TypeVar("CellT")


@dataclass(frozen=True)
class Row(Generic[CellT]):
    """One model or control of a table."""

    name: str
    kind: charts.Kind
    cells: tuple[CellT, ...]


@dataclass(frozen=True)
class BoardCell:
    """An estimate with its bar and its rank by this metric."""

    column: Column
    estimate: Estimate
    bar: Markup
    rank: Rank | None


@dataclass(frozen=True)
class GridCell:
    """A number of a heat map; `shade` runs from 0 (worst) to 6 (best), `None` without a value."""

    level: str
    estimate: Estimate
    shade: int | None


@dataclass(frozen=True)
class Grid:
    """A metric by model and by the levels of one cell field; `worst` by model, for variants."""

    axis: str
    column: Column
    levels: tuple[str, ...]
    rows: tuple[Row[GridCell], ...]
    worst: Mapping[str, WorstCase]


@dataclass(frozen=True)
class ArmCell:
    """What a model scores in one arm against the true label, and against the told one."""

    arm: str
    true: Estimate | None
    told: Estimate | None


@dataclass(frozen=True)
class ArmTable:
    """`vs_true` beside `vs_told` (or one metric alone) by model and arm."""

    against_true: Column
    against_told: Column | None
    rows: tuple[Row[ArmCell], ...]


class Tables:
    """The results with what all tables need: which metric is which, and who is a control."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.kinds = {model.name: kind(model) for model in results.models}
        self.columns = columns(results)
        self.breakdowns = [
            b for b in results.breakdowns if compares(b) and b.metric in self.columns
        ]
        self.models = self._ordered()
        self.order = {m.name: i for i, m in enumerate(self.models)}
        self.outcomes = [o for o in OUTCOMES if any(m.outcomes.get(o) for m in results.models)]

    def headline(self, topic: str) -> list[Column]:
        """The metrics that open the report for `accuracy` or `stability`, valid ones first."""
        found = [c for c in self.columns.values() if c.summary.metric.headline == topic]
        return sorted(found, key=lambda c: c.summary.validity == "invalid")

    def leading(self) -> list[Column]:
        """The columns of the leaderboard: headline metrics, else all that are no baseline."""
        kinds = ("accuracy", "stability", "faithfulness")
        headline = [column for kind in kinds for column in self.headline(kind)]
        return (
            headline
            or [
                c
                for c in self.columns.values()
                if c.summary.validity not in ("baseline", "invalid")
            ][:4]
        )

    def board(self, shown: Sequence[Column]) -> list[Row[BoardCell]]:
        """One row a model, best first, then controls; a control that was never asked is left out.

        What it would have needed stands with the coverage.
        """
        return [
            Row(
                model.name,
                self.kinds[model.name],
                tuple(self._board_cell(model, column) for column in shown),
            )
            for model in self.models
            if model.planned or not model.control
        ]

    def grids(self, axes: Sequence[str] | None, without: Sequence[str] = ()) -> list[Grid]:
        """Heat maps of the breakdowns along `axes` (`None`: all but `without`), headline first."""
        chosen = [
            b for b in self.breakdowns
            if b.axis not in without and (axes is None or b.axis in axes)
        ]  # fmt: skip
        leading = [column.id for column in self.leading()]
        rank = {metric: i for i, metric in enumerate(leading)}
        chosen.sort(key=lambda b: (b.axis, rank.get(b.metric, len(leading))))
        return [self._grid(b) for b in chosen]

    def arm_tables(self) -> list[ArmTable]:
        """Metrics by arm; where a metric has a twin against the told label they share a table."""
        by_metric = {b.metric: b for b in self.breakdowns if b.axis == "arm"}
        twins = {metric: told_twin(metric, by_metric) for metric in by_metric}
        told = set(twins.values())
        found = [
            self._arm_table(by_metric[metric], by_metric.get(twin or ""))
            for metric, twin in twins.items()
            if metric not in told
        ]
        leading = {column.id for column in self.leading()}
        return sorted(
            found, key=lambda t: (t.against_told is None, t.against_true.id not in leading)
        )

    def reasons(self) -> list[tuple[str, list[Column]]]:
        """Each reason not to trust a metric with the metrics it holds for, the gravest first."""
        found: dict[str, list[Column]] = {}
        grave = ("invalid", "not shown", "no controls")
        doubted = [c for c in self.columns.values() if c.reason]
        for column in sorted(doubted, key=lambda c: grave.index(c.summary.validity)):
            found.setdefault(column.reason, []).append(column)
        for column in self.columns.values():
            if note := column.summary.metric.not_validated:
                found.setdefault(f"Not validated: {note}", []).append(column)
        return list(found.items())

    def effects(self) -> list[tuple[ArmEffect, Markup]]:
        """Contrasts between arms, each with a bar around zero."""
        return differences.effects(self.results, self.columns, self.order)

    def comparisons(self) -> tuple[list[tuple[Comparison, Markup]], int]:
        """Pairwise comparisons with bars, and how many are left out."""
        leading = [column.id for column in self.leading()]
        return differences.comparisons(self.results, self.columns, leading)

    def floors(self) -> list[tuple[Column, Column]]:
        """Metrics of what wordings do, each with the same among repeats of one prompt, where any
        model has both: those that have a floor, and what is kept."""
        found = []
        for column in self.columns.values():
            metric, scorer = column.summary.metric, column.summary.scorer
            beside = metric.floor or metric.name.replace("prompt_", "sampling_")
            floor = self.columns.get(f"{scorer}.{beside}")
            if metric.axis == "variant" and floor is not None and floor is not column:
                found.append((column, floor))
        measured = [
            (column, floor)
            for column, floor in found
            if any(floor.id in model.estimates for model in self.models if not model.control)
        ]
        return found if measured else []

    def variance(self) -> list[VarianceShares]:
        """Where the variance of the headline's scores comes from, models in their order."""
        known = [v for v in self.results.variance if v.metric in self.columns]
        return sorted(known, key=lambda v: self.order.get(v.model, len(self.order)))

    def scatter(self) -> tuple[Column, Column, list[charts.Point]] | None:
        """Stability (x) and accuracy (y) of every model and control, `None` without both."""
        x, y = self.headline("stability"), self.headline("accuracy")
        if not x or not y:
            return None
        points = [
            charts.Point(m.name, self.kinds[m.name], m.estimates[x[0].id], m.estimates[y[0].id])
            for m in self.models
            if x[0].id in m.estimates and y[0].id in m.estimates
        ]
        if not any(p.x.value is not None and p.y.value is not None for p in points):
            return None
        return x[0], y[0], points

    def _ordered(self) -> list[ModelSummary]:
        """Models by their first headline metric, best first, then controls."""
        leading = self.leading()

        def place(model: ModelSummary) -> tuple[bool, float, str]:
            estimate = model.estimates.get(leading[0].id) if leading else None
            if estimate is None or estimate.value is None:
                return model.control, float("inf"), model.name
            sign = 1 if leading[0].summary.metric.direction == "lower" else -1
            return model.control, sign * estimate.value, model.name

        return sorted(self.results.models, key=place)

    def _board_cell(self, model: ModelSummary, column: Column) -> BoardCell:
        estimate = model.estimates.get(column.id, Estimate(None))
        ranks = [
            r for r in self.results.ranks if (r.metric, r.model) == (column.id, model.name)
        ]  # fmt: skip
        bar = charts.bar(estimate, column.limits, self.kinds[model.name])
        return BoardCell(column, estimate, bar, ranks[0] if ranks else None)

    def _grid(self, breakdown: Breakdown) -> Grid:
        column = self.columns[breakdown.metric]
        found = {(model, level): estimate for model, level, estimate in breakdown.rows}
        levels = list(dict.fromkeys(level for _, level, _ in breakdown.rows))
        if breakdown.axis == "arm":
            levels.sort(key=arm_place)
        low, high = charts.domain([e for _, _, e in breakdown.rows], column.summary.metric.range)
        lower_is_better = column.summary.metric.direction == "lower"
        rows = []
        for name in self._names(breakdown):
            cells = []
            for level in levels:
                estimate = found.get((name, level), Estimate(None))
                cells.append(GridCell(level, estimate, shade(estimate, low, high, lower_is_better)))
            rows.append(Row(name, self.kinds.get(name, "model"), tuple(cells)))
        worst = {
            w.model: w
            for w in self.results.worst_cases
            if w.metric == breakdown.metric and breakdown.axis == "variant"
        }
        return Grid(breakdown.axis, column, tuple(levels), tuple(rows), worst)

    def _arm_table(self, true: Breakdown, told: Breakdown | None) -> ArmTable:
        left = {(m, a): e for m, a, e in true.rows}
        right = {(m, a): e for m, a, e in told.rows} if told else {}
        rows = []
        for name in self._names(true, told):
            arms = sorted({a for m, a in [*left, *right] if m == name}, key=arm_place)
            cells = (ArmCell(a, left.get((name, a)), right.get((name, a))) for a in arms)
            rows.append(Row(name, self.kinds.get(name, "model"), tuple(cells)))
        return ArmTable(
            self.columns[true.metric], self.columns[told.metric] if told else None, tuple(rows)
        )

    def _names(self, *breakdowns: Breakdown | None) -> list[str]:
        """The models and controls of the breakdowns in the order of the leaderboard."""
        names = dict.fromkeys(model for b in breakdowns if b for model, _, _ in b.rows)
        return sorted(names, key=lambda name: self.order.get(name, len(self.order)))


def compares(breakdown: Breakdown) -> bool:
    """Whether a breakdown has two levels or more; with one it says what the leaderboard says."""
    return len({level for _, level, _ in breakdown.rows}) > 1


def kind(model: ModelSummary) -> charts.Kind:
    """Whether a model is ranked, or set apart as a control."""
    return "control" if model.control else "model"


def coverage(model: ModelSummary) -> float | None:
    """The share of planned cells that could be scored: all but unscorable and not run."""
    if not model.planned:
        return None
    return sum(model.outcomes.get(name, 0) for name in ("ok", *MODEL_OUTCOMES)) / model.planned


def outcome_bar(model: ModelSummary) -> Markup:
    """What became of a model's cells, as one divided bar."""
    return charts.stacked([(name, model.outcomes.get(name, 0)) for name in OUTCOMES], model.planned)


def shade(estimate: Estimate, low: float, high: float, lower_is_better: bool) -> int | None:
    """The step of the colour scale, 0 (worst) to `SHADES` - 1 (best)."""
    if estimate.value is None or not high > low:
        return None
    share = min(1.0, max(0.0, (estimate.value - low) / (high - low)))
    return min(SHADES - 1, int((1 - share if lower_is_better else share) * SHADES))


def arm_place(arm: str) -> tuple[int, str]:
    """Arms in the order of the vocabulary, others after them."""
    return (list(ARMS).index(arm), arm) if arm in ARMS else (len(ARMS), arm)
