"""Metrics as columns of tables: how far each may be trusted, and what its gold is worth."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from harness.report import charts
from harness.results import GoldStatus, MetricSummary, Results, interval, number


@dataclass(frozen=True)
class Column:
    """A metric as a table's column. `reason` says why it is not to be trusted, else empty.

    `order` says, of a metric of stability, how often its scorer puts a reversal below a rewording.
    """

    summary: MetricSummary
    reason: str
    gold: str
    limits: tuple[float, float]
    order: str = ""

    @property
    def id(self) -> str:
        """The metric's id."""
        return self.summary.id

    @property
    def label(self) -> str:
        """Title and id."""
        return self.summary.label


def columns(results: Results) -> dict[str, Column]:
    """Every metric of the results by its id."""
    # A scorer with a headline accuracy holds text against gold, in all of its metrics.
    against_gold = {m.scorer for m in results.metrics if m.metric.headline == "accuracy"}
    orders = {
        one.scorer: f"reversal below rewording: {number(one.estimate.value)} "
        f"{interval(one.estimate)} of cases on {one.source}"
        for one in results.orderings
    }
    found = {}
    for summary in results.metrics:
        seen = [m.estimates[summary.id] for m in results.models if summary.id in m.estimates]
        gold = gold_status(results.gold) if summary.scorer in against_gold else ""
        limits = charts.domain(seen, summary.metric.range)
        compares = summary.metric.axis is not None and not summary.metric.baseline
        order = orders.get(summary.scorer, "") if compares else ""
        found[summary.id] = Column(summary, _reason(results, summary), gold, limits, order)
    return found


def _reason(results: Results, summary: MetricSummary) -> str:
    if summary.validity == "invalid":
        broken = "; ".join(
            f"control {high} less {low} is {number(s.difference.value)} {interval(s.difference)}, "
            f"and its lower bound must exceed {number(s.margin)}"
            for s in results.separations
            if s.metric == summary.id and s.validity == "invalid"
            for high, low in [
                (s.worse, s.better) if summary.metric.direction == "lower" else (s.better, s.worse)
            ]
        )
        return f"Invalid: {broken or 'a control did not separate as the scorer promises'}."
    if summary.validity == "not shown":
        lacking = summary.reason or "too few independent units for the controls to prove it"
        return f"Validity not shown: {lacking}."
    if summary.validity == "no controls":
        return f"Validity unknown: {summary.reason or 'no control tested the metric'}."
    return ""


_SOLE = {
    "draft": "draft gold",
    "disputed": "disputed gold",
    "constructed": "gold exact by construction",
    "reviewed": "reviewed gold",
}


def gold_status(gold: GoldStatus) -> str:
    """The status of the gold in a few words, for the head of every accuracy figure."""
    if not gold.counts:
        return "no gold"
    if len(gold.counts) == 1:
        return _SOLE[gold.counts[0][0]]
    listed = (
        f"{count:,} {'by construction' if name == 'constructed' else name}"
        for name, count in gold.counts
    )
    return f"gold: {', '.join(listed)}"


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
