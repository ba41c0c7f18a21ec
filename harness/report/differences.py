"""Paired differences, each with a bar around zero: between models, and between label arms."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from markupsafe import Markup

from harness.report import charts
from harness.report.columns import Column
from harness.results import ArmEffect, Comparison, Results

COMPARISONS = 400  # rows of pairwise comparisons that are shown


def comparisons(
    results: Results, columns: Mapping[str, Column], leading: Sequence[str]
) -> tuple[list[tuple[Comparison, Markup]], int]:
    """Pairwise comparisons with bars, `leading` metrics first, and how many are left out."""
    known = [c for c in results.comparisons if c.metric in columns]
    known.sort(key=lambda c: (c.metric not in leading, c.metric))
    shown = known[:COMPARISONS]
    return list(zip(shown, _bars(shown, columns), strict=True)), len(known) - len(shown)


def effects(
    results: Results, columns: Mapping[str, Column], order: Mapping[str, int]
) -> list[tuple[ArmEffect, Markup]]:
    """Contrasts between arms with bars, by contrast and metric, models in their `order`."""
    known = [e for e in results.arm_effects if e.metric in columns]
    known.sort(key=lambda e: (e.contrast, e.metric, order.get(e.model, 0)))
    controls = {model.name for model in results.models if model.control}
    return list(zip(known, _bars(known, columns, controls), strict=True))


def _bars(
    rows: Sequence[Comparison | ArmEffect],
    columns: Mapping[str, Column],
    controls: Container[str] = (),
) -> list[Markup]:
    """Bars on one scale: the share of the metric's range that the difference is.

    A metric with an open range has no such share and gets a scale of its own.
    """
    scales = {row.metric: _scale(columns[row.metric]) for row in rows}
    largest: dict[str, float] = {}
    for row in rows:
        name, unit = scales[row.metric]
        seen = (row.difference.value, row.difference.low, row.difference.high)
        reach = max((abs(v) / unit for v in seen if v is not None), default=0.0)
        largest[name] = max(largest.get(name, 0.0), reach)
    bars = []
    for row in rows:
        name, unit = scales[row.metric]
        reach = unit * (largest[name] or 1.0)
        control = isinstance(row, ArmEffect) and row.model in controls
        bars.append(charts.bar(row.difference, (-reach, reach), "control" if control else "model"))
    return bars


def _scale(column: Column) -> tuple[str, float]:
    low, high = column.summary.metric.range
    return (column.id, 1.0) if low is None or high is None else ("", high - low)
