"""Whether each metric kept the promises it makes about controls, on the gold at hand.

Controls are no sample of models: what gold says, and what its paraphrases and contradictions say,
is the same however many samples it is said of. So what counts is the gold record.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from harness.analysis.score_table import Row, ScoreTable, by_unit
from harness.records import GoldRecord, Separation
from harness.results import Estimate, MetricSummary, SeparationResult, Validity
from harness.stats import paired
from harness.stats.arrays import plural
from harness.stats.paired import Needed
from harness.suite import CONTROL_PREFIX, EVIDENCE_CONTROLS

RECORD = "gold record"
_OF_NO_GOLD = {"empty", "echo"}  # what they say follows from the prompt alone


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
    """`3 gold records; at least 6 are needed for this margin`."""
    held = f"{difference.clusters:,} {plural(cluster_name, difference.clusters)}"
    if found is None:
        return f"{held}, which do not show the difference to exceed the margin"
    if found.at_least:
        return f"{held}; at least {found.clusters:,} are needed for this margin"
    more = max(found.clusters, difference.clusters + 1)
    return f"{held}; about {more:,} are needed for this margin if others differ as these do"


def _separation(table: ScoreTable, metric_id: str, separation: Separation) -> SeparationResult:
    """Pairs the two controls on the cells that both answered, averaged within each unit."""
    metric = table.metrics[metric_id][1]
    sides = []
    for name in (separation.better, separation.worse):
        rows = table.rows(metric_id, f"{CONTROL_PREFIX}{name}", table.not_oracle)
        sides.append(by_unit(rows, "model"))
    cells = sorted(sides[0].keys() & sides[1].keys())
    if not cells:
        return SeparationResult(
            metric_id, separation.better, separation.worse, separation.margin,
            Estimate(None, method=_missing(table, separation, sides)), "no controls",
        )  # fmt: skip
    if metric.direction == "lower":
        sides.reverse()  # the difference is then how far the worse control lies above the better
    units = _Units(table, separation)
    better, worse, clusters = units.means([(sides[0][c], sides[1][c]) for c in cells])
    margin, bounds, name = separation.margin, table.range(metric_id), units.cluster_name
    difference, validity = paired.separation(
        better, worse, clusters, margin, cluster_name=name, bounds=bounds
    )
    needed = ""
    if validity == "not shown":
        found = paired.clusters_needed(better, worse, clusters, margin, bounds=bounds)
        needed = _needed(found, difference, name)
    check = paired.separation_check(better, worse, clusters, margin, seed=table.seed)
    return SeparationResult(
        metric_id, separation.better, separation.worse, margin, difference, validity, needed, check
    )


class _Units:
    """What counts once for a promise, and the clusters of these units.

    A gold record where a control speaks from gold: records with the same claims are one, those of
    a label are each a cluster of their own, and those of a sample keep the sample's. Else a sample.
    """

    def __init__(self, table: ScoreTable, separation: Separation) -> None:
        kinds = {name.partition("(")[0] for name in (separation.better, separation.worse)}
        self._table = table
        self._told = "told" in kinds
        self._by_record = not kinds <= _OF_NO_GOLD and kinds.isdisjoint(EVIDENCE_CONTROLS)
        self.cluster_name = RECORD if self._by_record else "sample"
        manifest = table.run.manifest
        self._shared_name = manifest.cluster_name if manifest.cluster == "cluster" else "cluster"

    def means(
        self, pairs: Sequence[tuple[Row, Row]]
    ) -> tuple[list[float], list[float], list[Hashable]]:
        """Means of both sides by unit, and the unit's cluster."""
        sums: dict[Hashable, list[float]] = {}
        clusters: dict[Hashable, Hashable] = {}
        for first, second in pairs:
            unit, cluster = self._unit(first)
            clusters.setdefault(unit, cluster)
            mine = sums.setdefault(unit, [0.0, 0.0, 0.0])
            for i, value in enumerate((first.value, second.value, 1.0)):
                mine[i] += value
        better = [a / count for a, _, count in sums.values()]
        worse = [b / count for _, b, count in sums.values()]
        return better, worse, list(clusters.values())

    def _unit(self, row: Row) -> tuple[Hashable, Hashable]:
        """A row's unit and the cluster of that unit; notes what the clusters are called."""
        record = self._record(row) if self._by_record else None
        unit, cluster = unit_of(self._table, row, record)
        if cluster != unit:
            self.cluster_name = self._shared_name
        return unit, cluster

    def _record(self, row: Row) -> GoldRecord | None:
        if not self._told:
            return gold_record(self._table, row)
        run, cell = self._table.run, row.cell
        answered = run.answered.get(cell.id)
        label = answered.told if answered else run.samples[cell.sample].label
        return run.gold[cell.family].find(cell.aspect, sample=None, label=label)


def gold_record(table: ScoreTable, row: Row) -> GoldRecord | None:
    """The gold that a control's cell was made from: of the sample, or of its true label."""
    sample = table.run.samples[row.cell.sample]
    gold = table.run.gold[row.cell.family]
    return gold.find(row.cell.aspect, sample=sample.id, label=sample.label)


def unit_of(table: ScoreTable, row: Row, record: GoldRecord | None) -> tuple[Hashable, Hashable]:
    """What a row counts for, and the cluster of that unit.

    Records with the same claims are one unit, without a record it is the sample; a record of a
    label is a cluster of its own, all others are in the sample's where it has one.
    """
    sample = table.run.samples[row.cell.sample]
    unit = sample.id if record is None else frozenset(claim.text for claim in record.claims)
    alone = sample.cluster is None or (record is not None and record.sample is None)
    return unit, unit if alone else sample.cluster


def _missing(table: ScoreTable, separation: Separation, sides: Sequence[Mapping[str, Row]]) -> str:
    """Why two controls could not be compared."""
    for name, side in zip((separation.better, separation.worse), sides, strict=True):
        if f"{CONTROL_PREFIX}{name}" not in table.controls:
            return f"the suite asks no control '{name}'"
        if not side:
            return f"the control '{name}' has nothing that this metric could score"
    return "no cell that both controls answered"
