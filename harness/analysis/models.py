"""What each model did: estimates, coverage, ranks, breakdowns, worst variants and arm effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from typing import TypedDict

from harness.analysis.score_table import Row, ScoreTable, by_unit, unit
from harness.measure import group_id
from harness.records import Cell
from harness.results import (
    ArmEffect,
    Breakdown,
    Comparison,
    Estimate,
    ModelSummary,
    Rank,
    VarianceShares,
    WorstCase,
)
from harness.stats import ranks, worst_case
from harness.stats.variance import variance_shares
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


def ranking(
    table: ScoreTable, metric: str, without: Container[str] = ()
) -> tuple[list[Rank], list[Comparison]]:
    """Ranks with intervals, and paired comparisons, of all models but `without`."""
    rows = {
        model: by_unit(table.rows(metric, model, table.ranked), "model")
        for model in table.models
        if model not in without
    }
    values, clusters = _values({model: own for model, own in rows.items() if own}, table)
    if len(values) < 2:
        return [], []
    found = ranks.rank(values, clusters, _direction(table, metric), **_settings(table, metric))
    places = [
        Rank(metric, r.model, r.rank, r.low, r.high, found.reason, r.simultaneous)
        for r in found.rows
    ]
    pairs = [
        Comparison(
            metric, pair.a, pair.b, pair.difference, pair.p_adjusted, found.test, pair.p,
            pair.together, pair.sign_flip,
        )
        for pair in found.comparisons
    ]  # fmt: skip
    return places, pairs


def _values(
    rows: Mapping[str, Mapping[str, Row]], table: ScoreTable
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Values by name and unit, and the cluster of every unit."""
    values = {name: {u: row.value for u, row in own.items()} for name, own in rows.items()}
    clusters = {
        u: table.run.cluster(row.cell.sample) for own in rows.values() for u, row in own.items()
    }
    return values, clusters


def _direction(table: ScoreTable, metric: str) -> str:
    return table.metrics[metric][1].direction or "higher"


class _Settings(TypedDict):
    """What all statistics of a metric share."""

    seed: int
    cluster_name: str
    bounds: tuple[float, float] | None


def _settings(table: ScoreTable, metric: str) -> _Settings:
    return {
        "seed": table.seed, "cluster_name": table.cluster_name, "bounds": table.range(metric)
    }  # fmt: skip


FLOORS = ("empty", "other-label", "echo")  # controls that know nothing of the sample


def gains_over_floor(table: ScoreTable, metric: str) -> dict[str, tuple[str, Estimate]]:
    """By model: the floor control that comes nearest, and how far the model lies above it.

    The difference is paired, on the cells that both answered, and positive where the model is
    better.
    """
    floors = {
        name: by_unit(table.rows(metric, f"{CONTROL_PREFIX}{name}", table.ranked), "model")
        for name in FLOORS
    }
    lower = _direction(table, metric) == "lower"
    found = {}
    for model in table.models:
        mine = by_unit(table.rows(metric, model, table.ranked), "model")
        gains = []
        for name, floor in floors.items():
            pairs = [(mine[u], floor[u]) for u in sorted(mine.keys() & floor.keys())]
            if pairs:
                pairs = [(b, a) for a, b in pairs] if lower else pairs
                gains.append((name, table.difference(metric, pairs)))
        if gains:
            found[model] = min(gains, key=lambda gain: gain[1].value or 0.0)
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
                rows += [
                    (model, level, table.estimate(metric, own, of_one_variant=axis == "variant"))
                    for level, own in levels.items()
                ]
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
    """For each model the variant that is worst, chosen on one half and measured on the other.

    Beside it the simultaneous bound, which holds whichever variant is the worst.
    """
    found = []
    for model in [*table.models, *table.controls]:
        by_variant: dict[str, list[Row]] = {}
        for row in _same_question(table, metric, model):
            by_variant.setdefault(row.cell.variant, []).append(row)
        if len(by_variant) < 2:
            continue
        rows = {name: by_unit(own, "model", "variant") for name, own in by_variant.items()}
        values, clusters = _values(rows, table)
        variant, estimate = worst_case.worst_variant(
            values, clusters, _direction(table, metric), **_settings(table, metric)
        )
        bound = worst_case.simultaneous_bound(
            values, clusters, _direction(table, metric), seed=table.seed, bounds=table.range(metric)
        )
        found.append(WorstCase(metric, model, variant, estimate, bound))
    return found


def variance(table: ScoreTable, metric: str) -> list[VarianceShares]:
    """For each model where its score's variance comes from: samples, these wordings, or chance."""
    found = []
    for model in table.models:
        rows = _same_question(table, metric, model)
        shares = variance_shares(
            [row.value for row in rows],
            [unit(row.cell, "model", "variant", "repeat") for row in rows],
            [f"{row.cell.family}/{row.cell.variant}" for row in rows],
            table.clusters(rows),
            seed=table.seed,
            cluster_name=table.cluster_name,
        )
        if any(share.value is not None for share in shares.values()):
            found.append(VarianceShares(metric, model, tuple(shares.items())))
    return found


def _same_question(table: ScoreTable, metric: str, model: str) -> list[Row]:
    """Rows of the main arm that differ in sample, wording and repeat, never in what is asked."""
    return table.rows(
        metric, model, lambda cell: table.ranked(cell) and table.preserves_meaning(cell)
    )


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
            by_arm: dict[str, list[Row]] = {}
            for row in table.rows(metric, model, table.not_oracle):
                by_arm.setdefault(row.cell.arm, []).append(row)
            arms = {arm: by_unit(rows, "model", "arm") for arm, rows in by_arm.items()}
            for first, second, where, keep in contrasts:
                a, b = arms.get(first, {}), arms.get(second, {})
                shared = sorted(a.keys() & b.keys())
                pairs = [(a[u], b[u]) for u in shared if keep(a[u].cell.sample)]
                if pairs:
                    difference = table.difference(metric, pairs)
                    contrast = f"{first} - {second}, {where}"
                    found.append(ArmEffect(model, metric, contrast, difference))
    return found
