"""The tables of the report: results arranged by model, by metric and by cell field.

These functions only select, order and mark; every number comes from `harness.results`. What is
invalid keeps its number but carries the reason, so that the templates strike it through.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.records import ARMS, MODEL_OUTCOMES, UNSCORABLE, Outcome
from harness.report import charts
from harness.report.text import interval, number
from harness.results import (
    ArmEffect,
    Breakdown,
    Comparison,
    Estimate,
    GoldStatus,
    MetricSummary,
    ModelSummary,
    Rank,
    Results,
    WorstCase,
)

SHADES = 7
OUTCOMES: tuple[Outcome, ...] = ("ok", *MODEL_OUTCOMES, *UNSCORABLE, "not_run")
COMPARISONS = 400  # rows of pairwise comparisons that are shown


@dataclass(frozen=True)
class Column:
    """A metric as a table's column. `reason` says why it is not to be trusted, else empty."""

    summary: MetricSummary
    reason: str
    gold: str
    limits: tuple[float, float]

    @property
    def id(self) -> str:
        """The metric's id."""
        return self.summary.id


@dataclass(frozen=True)
class BoardCell:
    """An estimate with its bar and its rank by this metric."""

    column: Column
    estimate: Estimate
    bar: Markup
    rank: Rank | None


@dataclass(frozen=True)
class BoardRow:
    """One model or control of a board."""

    model: ModelSummary
    kind: charts.Kind
    cells: tuple[BoardCell, ...]
    coverage: float | None


@dataclass(frozen=True)
class GridCell:
    """A number of a heat map; `shade` runs from 0 (worst) to 6 (best), `None` without a value."""

    level: str
    estimate: Estimate
    shade: int | None


@dataclass(frozen=True)
class GridRow:
    """One model or control of a heat map."""

    name: str
    kind: charts.Kind
    cells: tuple[GridCell, ...]
    worst: WorstCase | None


@dataclass(frozen=True)
class Grid:
    """A metric by model and by the levels of one cell field."""

    axis: str
    column: Column
    levels: tuple[str, ...]
    rows: tuple[GridRow, ...]

    @property
    def has_worst(self) -> bool:
        """Whether any row knows its worst case."""
        return any(row.worst for row in self.rows)


@dataclass(frozen=True)
class ArmPair:
    """`vs_true` beside `vs_told` (or one metric alone) by model and arm."""

    against_true: Column
    against_told: Column | None
    rows: tuple[tuple[str, charts.Kind, str, Estimate | None, Estimate | None, int], ...]


@dataclass(frozen=True)
class CoverageRow:
    """What became of a model's cells."""

    model: ModelSummary
    kind: charts.Kind
    bar: Markup
    counts: tuple[tuple[str, int], ...]
    coverage: float | None


class Tables:
    """The results with what all tables need: which metric is which, and who is a control."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.kinds = {model.name: kind(model) for model in results.models}
        self.columns = {m.id: self._column(m) for m in results.metrics}
        self.breakdowns = [
            b for b in results.breakdowns if compares(b) and b.metric in self.columns
        ]
        self.order = {m.name: i for i, m in enumerate(self._ordered())}
        self.outcomes = [o for o in OUTCOMES if any(m.outcomes.get(o) for m in results.models)]

    def headline(self, topic: str) -> list[Column]:
        """The metrics that open the report for `accuracy` or `stability`, valid ones first."""
        found = [c for c in self.columns.values() if c.summary.metric.headline == topic]
        return sorted(found, key=lambda c: c.summary.validity == "invalid")

    def leading(self) -> list[Column]:
        """The columns of the leaderboard: headline metrics, else all that are no baseline."""
        headline = [*self.headline("accuracy"), *self.headline("stability")]
        return (
            headline
            or [
                c
                for c in self.columns.values()
                if c.summary.validity not in ("baseline", "invalid")
            ][:4]
        )

    def board(self, columns: Sequence[Column]) -> list[BoardRow]:
        """One row a model, best first; oracle models and controls after those that are ranked."""
        return [
            BoardRow(
                model,
                self.kinds[model.name],
                tuple(self._board_cell(model, column) for column in columns),
                coverage(model),
            )
            for model in self._ordered()
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

    def arm_pairs(self) -> list[ArmPair]:
        """Metrics by arm; where a metric has a twin against the told label they share a table."""
        by_metric = {b.metric: b for b in self.breakdowns if b.axis == "arm"}
        twins = {metric: told_twin(metric, by_metric) for metric in by_metric}
        told = set(twins.values())
        pairs = []
        for metric, twin in twins.items():
            if metric not in told:
                pairs.append(self._arm_pair(by_metric[metric], by_metric.get(twin or "")))
        leading = {column.id for column in self.leading()}
        return sorted(
            pairs, key=lambda p: (p.against_told is None, p.against_true.id not in leading)
        )

    def effects(self) -> list[tuple[ArmEffect, Markup]]:
        """Contrasts between arms with a bar around zero, by contrast and metric."""
        known = [e for e in self.results.arm_effects if e.metric in self.columns]
        known.sort(key=lambda e: (e.contrast, e.metric, self.order.get(e.model, 0)))
        return list(zip(known, self._difference_bars(known), strict=True))

    def comparisons(self) -> tuple[list[tuple[Comparison, Markup]], int]:
        """Pairwise comparisons with bars, headline metrics first, and how many are left out."""
        leading = {column.id for column in self.leading()}
        known = [c for c in self.results.comparisons if c.metric in self.columns]
        known.sort(key=lambda c: (c.metric not in leading, c.metric))
        shown = known[:COMPARISONS]
        bars = self._difference_bars(shown)
        return list(zip(shown, bars, strict=True)), len(known) - len(shown)

    def coverage(self) -> list[CoverageRow]:
        """What became of every model's cells."""
        rows = []
        for model in self._ordered():
            counts = tuple((name, model.outcomes.get(name, 0)) for name in self.outcomes)
            bar = charts.stacked(counts, model.planned)
            rows.append(CoverageRow(model, self.kinds[model.name], bar, counts, coverage(model)))
        return rows

    def scatter(self) -> tuple[Column, Column, list[charts.Point]] | None:
        """Stability (x) and accuracy (y) of every model and control, `None` without both."""
        x, y = self.headline("stability"), self.headline("accuracy")
        if not x or not y:
            return None
        points = [
            charts.Point(m.name, self.kinds[m.name], m.estimates[x[0].id], m.estimates[y[0].id])
            for m in self._ordered()
            if x[0].id in m.estimates and y[0].id in m.estimates
        ]
        if not any(p.x.value is not None and p.y.value is not None for p in points):
            return None
        return x[0], y[0], points

    def _ordered(self) -> list[ModelSummary]:
        """Models by their first headline metric, best first, then oracle models, then controls."""
        leading = self.leading()
        groups = {"model": 0, "oracle": 1, "control": 2}

        def place(model: ModelSummary) -> tuple[int, float, str]:
            value = None
            if leading:
                estimate = model.estimates.get(leading[0].id)
                value = estimate.value if estimate else None
            if value is None:
                return groups[kind(model)], float("inf"), model.name
            sign = 1 if leading[0].summary.metric.direction == "lower" else -1
            return groups[kind(model)], sign * value, model.name

        return sorted(self.results.models, key=place)

    def _column(self, summary: MetricSummary) -> Column:
        models = self.results.models
        estimates = [m.estimates[summary.id] for m in models if summary.id in m.estimates]
        limits = charts.domain(estimates, summary.metric.range)
        return Column(summary, self._reason(summary), self._gold(summary), limits)

    def _reason(self, summary: MetricSummary) -> str:
        if summary.validity == "invalid":
            broken = [
                s for s in self.results.separations
                if s.metric == summary.id and s.validity == "invalid"
            ]  # fmt: skip
            told = "; ".join(
                f"control {s.better} less {s.worse} is {number(s.difference.value)} "
                f"{interval(s.difference)}, and its lower bound must exceed {number(s.margin)}"
                for s in broken
            )
            return f"Invalid: {told or 'a control did not separate as the scorer promises'}."
        if summary.validity == "not shown":
            return "Validity not shown: too few samples for the controls to prove it."
        if summary.validity == "no controls":
            return "Validity unknown: no controls were run for it."
        return ""

    def _gold(self, summary: MetricSummary) -> str:
        """The gold's status where the metric's scorer holds text against gold, else empty."""
        scorers = {m.scorer for m in self.results.metrics if m.metric.headline == "accuracy"}
        return gold_status(self.results.gold) if summary.scorer in scorers else ""

    def _board_cell(self, model: ModelSummary, column: Column) -> BoardCell:
        estimate = model.estimates.get(column.id, Estimate(None))
        who = self.kinds[model.name]
        ranks = [
            r for r in self.results.ranks
            if r.metric == column.id and r.model == model.name and who == "model"
        ]  # fmt: skip
        bar = charts.bar(estimate, column.limits, who)
        return BoardCell(column, estimate, bar, ranks[0] if ranks else None)

    def _grid(self, breakdown: Breakdown) -> Grid:
        column = self.columns[breakdown.metric]
        found = {(model, level): estimate for model, level, estimate in breakdown.rows}
        levels = list(dict.fromkeys(level for _, level, _ in breakdown.rows))
        if breakdown.axis == "arm":
            levels.sort(key=arm_place)
        names = dict.fromkeys(model for model, _, _ in breakdown.rows)
        low, high = charts.domain([e for _, _, e in breakdown.rows], column.summary.metric.range)
        lower_is_better = column.summary.metric.direction == "lower"
        rows = []
        for name in sorted(names, key=lambda n: self.order.get(n, len(self.order))):
            cells = []
            for level in levels:
                estimate = found.get((name, level), Estimate(None))
                cells.append(GridCell(level, estimate, shade(estimate, low, high, lower_is_better)))
            worst = None
            if breakdown.axis == "variant":
                worst = next(
                    (w for w in self.results.worst_cases
                     if w.metric == breakdown.metric and w.model == name),
                    None,
                )  # fmt: skip
            rows.append(GridRow(name, self.kinds.get(name, "model"), tuple(cells), worst))
        return Grid(breakdown.axis, column, tuple(levels), tuple(rows))

    def _arm_pair(self, true: Breakdown, told: Breakdown | None) -> ArmPair:
        left = {(m, a): e for m, a, e in true.rows}
        right = {(m, a): e for m, a, e in told.rows} if told else {}
        keys = sorted(
            dict.fromkeys([*left, *right]),
            key=lambda key: (self.order.get(key[0], len(self.order)), arm_place(key[1])),
        )
        return ArmPair(
            self.columns[true.metric],
            self.columns.get(told.metric) if told else None,
            tuple(
                (m, self.kinds.get(m, "model"), a, left.get((m, a)), right.get((m, a)), place)
                for place, (m, a) in enumerate(keys)
            ),
        )

    def _difference_bars(self, rows: Sequence[Comparison | ArmEffect]) -> list[Markup]:
        """Bars around zero on one scale: the share of the metric's range that the difference is.

        A metric with an open range has no such share and gets a scale of its own.
        """
        largest: dict[str, float] = {}
        for row in rows:
            key, unit = self._scale(row.metric)
            seen = (row.difference.value, row.difference.low, row.difference.high)
            reach = max((abs(v) / unit for v in seen if v is not None), default=0.0)
            largest[key] = max(largest.get(key, 0.0), reach)
        bars = []
        for row in rows:
            key, unit = self._scale(row.metric)
            reach = unit * (largest[key] or 1.0)
            bars.append(
                charts.bar(
                    row.difference,
                    (-reach, reach),
                    self.kinds.get(row.model if isinstance(row, ArmEffect) else row.a, "model"),
                )
            )
        return bars

    def _scale(self, metric: str) -> tuple[str, float]:
        low, high = self.columns[metric].summary.metric.range
        return (metric, 1.0) if low is None or high is None else ("", high - low)


def compares(breakdown: Breakdown) -> bool:
    """Whether a breakdown has two levels or more; with one it says what the leaderboard says."""
    return len({level for _, level, _ in breakdown.rows}) > 1


def kind(model: ModelSummary) -> charts.Kind:
    """Whether a model is ranked, or set apart as oracle or control."""
    return "control" if model.control else "oracle" if model.oracle else "model"


def coverage(model: ModelSummary) -> float | None:
    """The share of planned cells that could be scored: all but unscorable and not run."""
    if not model.planned:
        return None
    return sum(model.outcomes.get(name, 0) for name in ("ok", *MODEL_OUTCOMES)) / model.planned


def shade(estimate: Estimate, low: float, high: float, lower_is_better: bool) -> int | None:
    """The step of the colour scale, 0 (worst) to `SHADES` - 1 (best)."""
    if estimate.value is None or not high > low:
        return None
    share = min(1.0, max(0.0, (estimate.value - low) / (high - low)))
    return min(SHADES - 1, int((1 - share if lower_is_better else share) * SHADES))


def arm_place(arm: str) -> tuple[int, str]:
    """Arms in the order of the vocabulary, others after them."""
    return (list(ARMS).index(arm), arm) if arm in ARMS else (len(ARMS), arm)


def told_twin(metric: str, known: Container[str]) -> str | None:
    """The id of the same metric against the told label, where `known` holds it."""
    for twin in (
        metric.replace("vs_true", "vs_told"),
        metric.replace("_true", "_told"),
        f"{metric}_vs_told",
        f"{metric}_told",
    ):
        if twin != metric and twin in known:
            return twin
    return None


def gold_status(gold: GoldStatus) -> str:
    """The status of the gold in a few words, for the head of every accuracy figure."""
    if not gold.records:
        return "no gold"
    reviewed = gold.by_status.get("reviewed", 0)
    disputed = gold.by_status.get("disputed", 0)
    if reviewed == gold.records:
        return "reviewed gold"
    text = f"gold: {reviewed:,} of {gold.records:,} reviewed" if reviewed else "draft gold"
    return f"{text}, {disputed:,} disputed" if disputed else text
