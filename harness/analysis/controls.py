"""Whether each metric kept the promises it makes about controls."""

from __future__ import annotations

from harness.analysis.score_table import ScoreTable, by_unit
from harness.records import Separation
from harness.results import Estimate, MetricSummary, SeparationResult, Validity
from harness.stats import paired
from harness.suite import CONTROL_PREFIX


def separations(table: ScoreTable) -> list[SeparationResult]:
    """Every separation that a metric declares, held against the controls of this run."""
    return [
        _separation(table, metric_id, separation)
        for metric_id, (_, metric) in table.metrics.items()
        for separation in metric.separates
    ]


def metric_summaries(
    table: ScoreTable, results: list[SeparationResult]
) -> tuple[MetricSummary, ...]:
    """Each metric with its validity: the worst of its separations."""
    summaries = []
    for metric_id, (scorer, metric) in table.metrics.items():
        mine = [r.validity for r in results if r.metric == metric_id]
        summaries.append(
            MetricSummary(
                metric_id, scorer, metric, table.versions[scorer], _validity(metric.baseline, mine)
            )
        )
    return tuple(summaries)


def _validity(baseline: bool, results: list[Validity]) -> Validity:
    if baseline:
        return "baseline"
    tested = [validity for validity in results if validity != "no controls"]
    if not tested:
        return "no controls"
    if "invalid" in tested:
        return "invalid"
    return "not shown" if "not shown" in tested else "valid"


def _separation(table: ScoreTable, metric_id: str, separation: Separation) -> SeparationResult:
    """Pairs the two controls on the cells that both answered."""
    metric = table.metrics[metric_id][1]
    sides = []
    for name in (separation.better, separation.worse):
        rows = table.rows(metric_id, f"{CONTROL_PREFIX}{name}", table.not_oracle)
        sides.append(by_unit(rows, "model"))
    units = sorted(sides[0].keys() & sides[1].keys())
    if not units:
        return SeparationResult(
            metric_id, separation.better, separation.worse, separation.margin,
            Estimate(None, method="no cell that both controls answered"), "no controls",
        )  # fmt: skip
    if metric.direction == "lower":
        sides.reverse()  # the difference is then how far the worse control lies above the better
    difference, validity = paired.separation(
        [sides[0][unit].value for unit in units],
        [sides[1][unit].value for unit in units],
        table.clusters([sides[0][unit] for unit in units]),
        separation.margin,
        seed=table.seed,
        cluster_name=table.cluster_name,
        bounds=table.range(metric_id),
    )
    return SeparationResult(
        metric_id, separation.better, separation.worse, separation.margin, difference, validity
    )
