"""Whether each metric kept the promises it makes about controls."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.score_table import Row, ScoreTable, by_unit
from harness.records import Separation
from harness.results import Estimate, MetricSummary, SeparationResult, Validity
from harness.stats import paired
from harness.stats.arrays import plural
from harness.stats.paired import Needed
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
        mine = [r for r in results if r.metric == metric_id]
        validity = _validity(metric.baseline, [r.validity for r in mine])
        summaries.append(
            MetricSummary(
                metric_id, scorer, metric, table.versions[scorer], validity, _reason(validity, mine)
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


def _reason(validity: Validity, results: Sequence[SeparationResult]) -> str:
    """What a metric's validity lacks: of several promises, the one that lacks most."""
    if validity == "no controls":
        if not results:
            return "the metric promises nothing that controls could test"
        missing = dict.fromkeys(r.difference.method for r in results)
        return "; ".join(missing)
    lacking = [r for r in results if r.validity == "not shown"]
    if validity != "not shown" or not lacking:
        return ""
    hardest = min(lacking, key=lambda r: (r.difference.value or 0.0) - r.margin)
    return hardest.needed


def _needed(found: Needed | None, difference: Estimate, cluster_name: str) -> str:
    """`3 labels; at least 8 are needed for this margin`."""
    held = f"{difference.clusters:,} {plural(cluster_name, difference.clusters)}"
    if found is None:
        return f"{held}, which do not show the difference to exceed the margin"
    if found.at_least:
        return f"{held}; at least {found.clusters:,} are needed for this margin"
    more = max(found.clusters, difference.clusters + 1)
    return f"{held}; about {more:,} are needed for this margin if others differ as these do"


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
            Estimate(None, method=_missing(table, separation, sides)), "no controls",
        )  # fmt: skip
    if metric.direction == "lower":
        sides.reverse()  # the difference is then how far the worse control lies above the better
    better, worse = ([side[unit].value for unit in units] for side in sides)
    clusters = table.clusters([sides[0][unit] for unit in units])
    margin, bounds = separation.margin, table.range(metric_id)
    difference, validity = paired.separation(
        better, worse, clusters, margin, seed=table.seed, cluster_name=table.cluster_name,
        bounds=bounds,
    )  # fmt: skip
    needed = ""
    if validity == "not shown":
        found = paired.clusters_needed(better, worse, clusters, margin, bounds=bounds)
        needed = _needed(found, difference, table.cluster_name)
    return SeparationResult(
        metric_id, separation.better, separation.worse, margin, difference, validity, needed
    )


def _missing(table: ScoreTable, separation: Separation, sides: list[dict[str, Row]]) -> str:
    """Why two controls could not be compared."""
    for name, side in zip((separation.better, separation.worse), sides, strict=True):
        if f"{CONTROL_PREFIX}{name}" not in table.controls:
            return f"the suite asks no control '{name}'"
        if not side:
            return f"the control '{name}' has nothing that this metric could score"
    return "no cell that both controls answered"
