"""Whether a run is good enough: scores held against the bars of the suite's `require`.

A bar counts as kept only where the interval shows it, for a metric that kept its promises on this
gold; what cannot be told is not kept, and the reason stands with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.analysis.score_table import Row, ScoreTable, unit
from harness.records import Cell, HarnessError
from harness.requirements import ABOVE_FLOOR, Bar, above_floor, bars, levels_of, split
from harness.results import Estimate, MetricSummary, Requirement, Validity, interval

NOT_VALID: Mapping[Validity, str] = {
    "invalid": "the metric failed its controls on this gold",
    "not shown": "the metric is not shown to be valid on this gold",
    "no controls": "no control tested the metric on this gold",
    "baseline": "the metric is a baseline, which nothing shows to be valid",
}


def requirements(
    table: ScoreTable, metrics: Sequence[MetricSummary], require: Mapping[str, float]
) -> tuple[Requirement, ...]:
    """Every bar by model, controls apart: arm `predicted` (`none` without a classifier), variants
    that preserve meaning. Raises nothing: a bar that names what this run has not is not kept.
    """
    by_id = {summary.id: summary for summary in metrics}
    by_id |= {
        f"{one.id}{ABOVE_FLOOR}": replace(one, metric=above_floor(one.metric))
        for one in metrics
        if one.metric.floor is not None
    }
    found: list[Requirement] = []
    for name, value in require.items():
        try:
            (bar,) = checked(table, {name: value})
        except HarnessError as error:
            metric, chosen = split(name)
            title = by_id[metric].metric.title if metric in by_id else ""
            reason = str(error).removeprefix("require: ")
            found.append(Requirement(metric, title, value, "higher", chosen, reason=reason))
            continue
        models = table.models if bar.model is None else [bar.model]
        found += [_judged(table, by_id[bar.metric], bar, model) for model in models]
        if not models:
            found.append(_unjudged(by_id[bar.metric], bar, "the run asks no model"))
    return tuple(found)


def checked(table: ScoreTable, require: Mapping[str, float], where: str = "require") -> list[Bar]:
    """The bars of `require`, held against what this run has; raises `HarnessError`."""
    run = table.run
    return bars(
        require,
        {name: metric for name, (_, metric) in table.metrics.items()},
        table.models,
        levels_of(run.manifest.group_by, (s.metadata for s in run.samples.values())),
        run.manifest.arms,
        where,
    )


def _judged(table: ScoreTable, summary: MetricSummary, bar: Bar, model: str) -> Requirement:
    estimate = _measured(table, bar, model)
    metric = summary.metric
    direction = metric.direction or "higher"
    reason, kept = "", False
    if summary.validity != "valid":
        reason = NOT_VALID[summary.validity]
    elif estimate.value is None:
        reason = estimate.method or "nothing was scored"
    elif estimate.low is None or estimate.high is None:
        reason = interval(estimate)
    else:
        kept = estimate.low >= bar.value if direction == "higher" else estimate.high <= bar.value
    return Requirement(
        bar.metric, metric.title, bar.value, direction, model, bar.group_name, estimate, kept,
        reason,
    )  # fmt: skip


def _measured(table: ScoreTable, bar: Bar, model: str) -> Estimate:
    """The mean of a bar's metric, or of how far it lies above its floor on the same samples."""
    keep = _keep(table, bar)
    if not bar.metric.endswith(ABOVE_FLOOR):
        return table.estimate(bar.metric, table.rows(bar.metric, model, keep))
    metric = bar.metric.removesuffix(ABOVE_FLOOR)
    scorer, spec = table.metrics[metric]
    floors: dict[str, list[float]] = {}
    for row in table.rows(f"{scorer}.{spec.floor}", model, keep):
        floors.setdefault(unit(row.cell, "variant", "repeat"), []).append(row.value)
    pairs = [
        (row, Row(row.cell, sum(own) / len(own), None))
        for row in table.rows(metric, model, keep)
        if (own := floors.get(unit(row.cell, "variant", "repeat")))
    ]
    if not pairs:
        return Estimate(None, method="no sample has both wordings and repeats to compare")
    return table.difference(metric, pairs)


def _unjudged(summary: MetricSummary, bar: Bar, reason: str) -> Requirement:
    metric = summary.metric
    return Requirement(
        bar.metric, metric.title, bar.value, metric.direction or "higher", bar.model or "",
        bar.group_name, Estimate(None), reason=reason,
    )  # fmt: skip


def _keep(table: ScoreTable, bar: Bar) -> Callable[[Cell], bool]:
    """The cells that a bar is about."""
    arm = "none" if table.run.manifest.classifier is None else "predicted"

    def keep(cell: Cell) -> bool:
        if cell.arm not in (arm, "*") or not table.not_oracle(cell):
            return False
        if cell.variant != "*" and not table.preserves_meaning(cell):
            return False
        if bar.group is None:
            return True
        key, level = bar.group
        value = table.run.samples[cell.sample].metadata.get(key)
        return value is not None and str(value) == level

    return keep
