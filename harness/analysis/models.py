"""What each model did: estimates, coverage, ranks, breakdowns, worst variants and arm effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from harness.analysis.score_table import Row, ScoreTable
from harness.records import Cell
from harness.results import (
    ArmEffect,
    Breakdown,
    Comparison,
    Estimate,
    ModelSummary,
    Rank,
    WorstCase,
)
from harness.scoring import group_id
from harness.stats import paired, ranks, worst_case
from harness.suite import CONTROL_PREFIX


def summaries(table: ScoreTable) -> tuple[ModelSummary, ...]:
    """Every model and control: estimates by metric, outcomes, bounds, identical repeats."""
    found = []
    for info in table.run.manifest.models:
        mine = [a for a in table.run.answered.values() if a.cell.model == info.name]
        estimates, bounds = {}, {}
        for metric in table.metrics:
            rows = table.rows(metric, info.name, table.ranked)
            if rows:
                estimates[metric] = table.estimate(metric, rows)
            edge = table.bounds(metric, info.name)
            if edge is not None:
                bounds[metric] = edge
        served = {
            " ".join(filter(None, (a.generation.served_model, a.generation.fingerprint)))
            for a in mine
            if a.generation is not None
        } - {""}
        found.append(
            ModelSummary(
                name=info.name,
                backend=info.backend,
                control=info.control,
                estimates=estimates,
                planned=len(mine),
                outcomes=dict(Counter(a.outcome for a in mine)),
                not_planned=info.not_planned,
                bounds=bounds,
                repro_rate=_repro_rate(table, info.name),
                served=tuple(sorted(served)),
            )
        )
    return tuple(found)


def _repro_rate(table: ScoreTable, model: str) -> float | None:
    """The share of repeats that say the very same as the first of their cell."""
    texts: dict[str, list[str]] = {}
    for answered in table.run.scorable():
        if answered.cell.model == model and answered.generation is not None:
            texts.setdefault(group_id(answered.cell, "repeat"), []).append(answered.generation.text)
    repeated = [group for group in texts.values() if len(group) > 1]
    if not repeated:
        return None
    same = sum(sum(text == group[0] for text in group[1:]) for group in repeated)
    return same / sum(len(group) - 1 for group in repeated)


def ranking(table: ScoreTable, metric: str) -> tuple[list[Rank], list[Comparison]]:
    """Ranks with bootstrap intervals, and Holm-adjusted paired comparisons."""
    values: dict[str, dict[str, float]] = {}
    clusters: dict[str, str] = {}
    for model in table.models:
        for row in table.rows(metric, model, table.ranked):
            values.setdefault(model, {})[row.unit] = float(row.value or 0.0)
            clusters[row.unit] = table.run.cluster(row.cell.sample)
    if len(values) < 2:
        return [], []
    direction = table.metrics[metric][1].direction or "higher"
    found = ranks.rank(
        values,
        clusters,
        direction,
        seed=table.run.manifest.seed,
        cluster_name=table.cluster_name,
        bounds=table.range(metric),
    )
    rows = [Rank(metric, r.model, r.rank, r.low, r.high, found.reason) for r in found.rows]
    pairs = [
        Comparison(metric, pair.a, pair.b, pair.difference, pair.p_adjusted)
        for pair in found.comparisons
    ]
    return rows, pairs


FLOORS = ("empty", "other-label", "echo")  # controls that know nothing of the sample


def no_better_than_floor(table: ScoreTable, metric: str) -> dict[str, str]:
    """Models whose mean is not above that of the best floor control, on the cells both answered.

    The value is that control's name.
    """
    sign = -1.0 if table.metrics[metric][1].direction == "lower" else 1.0
    floors = {}
    for name in FLOORS:
        rows = table.rows(metric, f"{CONTROL_PREFIX}{name}", table.ranked)
        floors[name] = {row.unit: sign * float(row.value or 0.0) for row in rows}
    found = {}
    for model in table.models:
        mine = {
            row.unit: sign * float(row.value or 0.0)
            for row in table.rows(metric, model, table.ranked)
        }
        gains = {
            name: sum(mine[unit] - floor[unit] for unit in mine.keys() & floor.keys())
            for name, floor in floors.items()
            if mine.keys() & floor.keys()
        }
        if gains and min(gains.values()) <= 0:
            found[model] = min(gains, key=lambda name: gains[name])
    return found


def breakdowns(table: ScoreTable, metrics: Iterable[str]) -> list[Breakdown]:
    """Metrics by aspect, variant, arm, and by the metadata that the suite groups by."""
    manifest = table.run.manifest
    found = []
    for metric in metrics:
        is_group = table.metrics[metric][1].subject == "group"
        axes: list[tuple[str, Callable[[Cell], str | None], Callable[[Cell], bool]]] = [
            ("aspect", lambda cell: cell.aspect, table.ranked)
        ]
        if not is_group:
            axes.append(("variant", lambda cell: cell.variant, _main_arm(table)))
            axes.append(("arm", lambda cell: cell.arm, table.not_oracle))
        for key in manifest.group_by:
            axes.append((key, _metadata(table, key), table.ranked))
        for axis, level_of, keep in axes:
            rows = []
            for model in [*table.models, *table.controls]:
                levels: dict[str, list[Row]] = {}
                for row in table.rows(metric, model, keep):
                    level = level_of(row.cell)
                    if level is not None:
                        levels.setdefault(level, []).append(row)
                rows += [(model, level, table.estimate(metric, levels[level])) for level in levels]
            if rows:
                found.append(Breakdown(axis, metric, tuple(rows)))
    return found


def _main_arm(table: ScoreTable) -> Callable[[Cell], bool]:
    return lambda cell: cell.arm == table.main_arm


def _metadata(table: ScoreTable, key: str) -> Callable[[Cell], str | None]:
    def level(cell: Cell) -> str | None:
        value = table.run.samples[cell.sample].metadata.get(key)
        return None if value is None else str(value)

    return level


def worst_cases(table: ScoreTable, metric: str) -> list[WorstCase]:
    """For each model the variant that is worst, chosen on one half and measured on the other."""
    found = []
    direction = table.metrics[metric][1].direction or "higher"
    for model in [*table.models, *table.controls]:
        by_variant: dict[str, dict[str, float]] = {}
        clusters: dict[str, str] = {}
        for row in table.rows(metric, model, table.ranked):
            if not _preserves(table, row.cell):
                continue
            cell = row.cell
            unit = "/".join((cell.sample, cell.family, cell.aspect, str(cell.repeat)))
            by_variant.setdefault(cell.variant, {})[unit] = float(row.value or 0.0)
            clusters[unit] = table.run.cluster(cell.sample)
        if len(by_variant) < 2:
            continue
        variant, estimate = worst_case.worst_variant(
            by_variant,
            clusters,
            direction,
            seed=table.run.manifest.seed,
            cluster_name=table.cluster_name,
            bounds=table.range(metric),
        )
        found.append(WorstCase(metric, model, variant, estimate))
    return found


def _preserves(table: ScoreTable, cell: Cell) -> bool:
    return table.run.manifest.variant(cell.family, cell.variant).preserves_meaning


def arm_effects(table: ScoreTable, metrics: Iterable[str]) -> list[ArmEffect]:
    """Paired differences of arms, each on the samples where the two arms tell different labels."""
    run = table.run
    wrong = {s for s, p in run.predictions.items() if p.label != run.samples[s].label}
    contrasts: list[tuple[str, str, str, Callable[[str], bool]]] = [
        ("gold", "predicted", "misclassified samples", lambda s: s in wrong),
        ("predicted", "wrong", "correctly classified samples", lambda s: s not in wrong),
        ("gold", "wrong", "all samples", lambda _: True),
        ("gold", "none", "all samples", lambda _: True),
    ]
    found = []
    for metric in metrics:
        for model in [*table.models, *table.controls]:
            by_arm: dict[str, dict[str, Row]] = {}
            for row in table.rows(metric, model, table.not_oracle):
                parts = row.cell.id.split("/")
                unit = "/".join((*parts[1:4], *parts[5:]))
                by_arm.setdefault(row.cell.arm, {})[unit] = row
            for first, second, where, keep in contrasts:
                a, b = by_arm.get(first, {}), by_arm.get(second, {})
                units = [u for u in sorted(a.keys() & b.keys()) if keep(a[u].cell.sample)]
                if units:
                    difference = _difference(
                        table, metric, [a[u] for u in units], [b[u] for u in units]
                    )
                    found.append(
                        ArmEffect(model, metric, f"{first} - {second}, {where}", difference)
                    )
    return found


def _difference(table: ScoreTable, metric: str, a: list[Row], b: list[Row]) -> Estimate:
    return paired.difference(
        [float(row.value or 0.0) for row in a],
        [float(row.value or 0.0) for row in b],
        [table.run.cluster(row.cell.sample) for row in a],
        seed=table.run.manifest.seed,
        cluster_name=table.cluster_name,
        bounds=table.range(metric),
    )
