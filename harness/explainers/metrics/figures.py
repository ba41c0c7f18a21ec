"""Pictures of an evaluation: methods by metrics, and the mean curves of deletion and insertion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.drawing.figure import Figure
from harness.explainers.metrics.evaluation import Evaluation, Measurement
from harness.explainers.pictures.curves import Curve, deletion_and_insertion
from harness.explainers.pictures.heat_map import Column, Entry, Row, heat_map
from harness.records import HarnessError
from harness.stats import intervals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHARES = 21  # at which curves of samples with different numbers of units are averaged


def methods_by_metrics(evaluation: Evaluation, families: Sequence[str] = ()) -> Figure:
    """The heat map of mean values, with intervals, of the metrics that have a better and a worse.

    `families` leaves all other metrics out. Metrics of single names of evidence are left out.
    """
    names = [
        name
        for name, metric in evaluation.metrics.items()
        if metric.metric.direction is not None
        and "[" not in name
        and (not families or metric.family in families)
        and any(m.metric == name and m.value is not None for m in evaluation.measurements)
    ]
    columns = [Column(name, evaluation.metric(name).direction or "higher") for name in names]
    entries: dict[str, dict[str, Entry]] = {}
    for row in evaluation.rows:
        if row.metric in names:
            mean = (_said(row.mean.value), _said(row.mean.low), _said(row.mean.high))
            entries.setdefault(row.method, {})[row.metric] = Entry(*mean, row.shown)
    references = set(evaluation.references)
    rows = [Row(name, mine, name in references) for name, mine in entries.items()]
    of = f": {', '.join(families)}" if families else ""
    return heat_map(rows, columns, f"Methods by metrics{of}")


def _said(value: float | None) -> float | None:
    """A number without what an arithmetic leaves where it should be zero."""
    return None if value is None else round(value, 9) + 0.0


def mean_curves(evaluation: Evaluation, width: float = 640.0) -> Figure:
    """Deletion and insertion of each method, averaged over samples, with 95 % bands by cluster.

    Outputs are stated as shares of the way from the empty input to the whole one. Raises
    `HarnessError` where neither was measured.
    """
    found = {name: list(_curves(evaluation, name)) for name in ("deletion", "insertion")}
    if not any(found.values()):
        raise HarnessError("curves need the metric deletion or insertion, and neither was measured")
    return deletion_and_insertion(
        found["deletion"], found["insertion"], "output (0 empty, 1 whole input)", width
    )


def _curves(evaluation: Evaluation, metric: str) -> Iterator[Curve]:
    import numpy as np

    grid = np.linspace(0, 1, _SHARES)
    for method in (*evaluation.methods, *evaluation.references):
        mine = [
            m
            for m in evaluation.measurements
            if (m.metric, m.method) == (metric, method) and "heights" in m.detail
        ]
        if not mine:
            continue
        rows = np.array([_at(one, grid) for one in mine])
        clusters = [evaluation.clusters[one.sample] for one in mine]
        means = [intervals.mean(column, clusters, bounds=None) for column in rows.T]
        centre = tuple(float(value) for value in rows.mean(axis=0))
        ends = [(m.low, m.high) for m in means]
        low = tuple(c if a is None else a for c, (a, _) in zip(centre, ends, strict=True))
        high = tuple(c if b is None else b for c, (_, b) in zip(centre, ends, strict=True))
        known = len(set(clusters)) > 1
        yield Curve(
            method,
            tuple(grid.tolist()),
            centre,
            low if known else (),
            high if known else (),
            method in evaluation.references,
        )


def _at(one: Measurement, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve at the shares of the grid, by straight lines between its points."""
    import numpy as np

    found: NDArray[np.float64] = np.interp(grid, one.detail["shares"], one.detail["heights"])
    return found
