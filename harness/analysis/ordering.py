"""How often a stability scorer puts a reversal below a rewording, to stand beside its figures.

Measured on the gold at hand where the run asked both controls, else quoted from the scorer's own
measurement, with its source. Nothing that runs on a laptop keeps this promise on every record.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from harness.analysis.controls import RECORD, gold_record, unit_of
from harness.analysis.score_table import Row, ScoreTable
from harness.results import Estimate, Ordering
from harness.stats import intervals
from harness.suite import CONTROL_PREFIX

REWORDED, REVERSED = (f"{CONTROL_PREFIX}{name}" for name in ("reworded", "one-reversed"))


def orderings(table: ScoreTable, scorers: Mapping[str, Any]) -> tuple[Ordering, ...]:
    """One for each scorer that says which of its metrics order pairs (`ordered_by`)."""
    found = []
    for name, scorer in scorers.items():
        if not hasattr(scorer, "ordered_by") or name not in table.versions:
            continue
        at_hand = _measured(table, name, scorer.ordered_by)
        shipped = scorer.measured_order
        if at_hand is not None:
            found.append(at_hand)
        elif shipped is not None:
            value, low, high, records, source = shipped
            estimate = Estimate(value, low, high, records, records, f"measured on {source}")
            found.append(Ordering(name, estimate, source, False))
    return tuple(found)


def _measured(table: ScoreTable, scorer: str, by: tuple[str, str]) -> Ordering | None:
    """The share of gold records on which `one-reversed` ranks below `reworded`.

    A record's share is the mean over its groups of cells; equal ranks count half. The first of `by`
    counts before the second; of the first less is better, of the second more.
    """
    reversals, kept = (_by_group(table, f"{scorer}.{name}") for name in by)
    shares: dict[Hashable, list[float]] = {}
    clusters: dict[Hashable, Hashable] = {}
    for group in sorted(reversals[REWORDED].keys() & reversals[REVERSED].keys()):
        if not all(group in kept[control] for control in (REWORDED, REVERSED)):
            continue
        good, bad = (
            (-reversals[control][group].value, kept[control][group].value)
            for control in (REWORDED, REVERSED)
        )
        row = reversals[REWORDED][group]
        unit, clusters[unit] = unit_of(table, row, gold_record(table, row))
        shares.setdefault(unit, []).append(0.5 if good == bad else float(good > bad))
    if len(shares) < 2:
        return None
    means = [sum(own) / len(own) for own in shares.values()]
    estimate = intervals.mean(means, [clusters[unit] for unit in shares], cluster_name=RECORD)
    return Ordering(scorer, estimate, f"{len(shares):,} gold records of this run", True)


def _by_group(table: ScoreTable, metric: str) -> dict[str, dict[str, Row]]:
    """A metric's rows of both controls by what the groups have in common."""
    found: dict[str, dict[str, Row]] = {}
    for control in (REWORDED, REVERSED):
        rows = table.rows(metric, control, table.ranked) if metric in table.metrics else []
        found[control] = {row.cell.id.partition("/")[2]: row for row in rows}
    return found
