"""Puts the pages of the report together, from a stored run and its scorers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.analysis import models
from harness.analysis.agreement import agreements, human_labels
from harness.analysis.classifier_page import classifier_page
from harness.analysis.compared import with_compared
from harness.analysis.controls import metric_summaries, separations
from harness.analysis.explainers import concepts, evaluation, explainers
from harness.analysis.failures import failure_shares, failures, share_warnings
from harness.analysis.mistakes import accuracy_by_label, on_mistakes, with_mistakes
from harness.analysis.ordering import orderings
from harness.analysis.provenance import origin_warnings, origins, who_answered, with_taken
from harness.analysis.requirements import requirements
from harness.analysis.score_table import ScoreTable
from harness.analysis.stability_said import with_reversals
from harness.analysis.verdict import verdict, without_answers
from harness.analysis.views import views
from harness.analysis.warnings import (
    anomalies,
    anomaly_warnings,
    answer_notes,
    answer_set_warnings,
    classifier_warnings,
    former_metrics,
    heeded,
    planned,
    served_versions,
)
from harness.manifest import Manifest
from harness.records import GoldRecord
from harness.results import Comparison, GoldStatus, Rank, Results, RunWarning
from harness.scoring import Run


def analyse(run: Run, scorers: Mapping[str, Any], *, generalise_variants: bool = False) -> Results:
    """Everything that the report shows. Reads the store, asks nothing, changes nothing.

    With `generalise_variants` the variants count as a sample of all ways of asking, and the
    intervals of models grow by what differs between them.
    """
    table = ScoreTable(run, scorers, generalise_variants=generalise_variants)
    manifest = run.manifest
    separated = separations(table)
    metrics = metric_summaries(table, separated)
    summaries = models.summaries(table)
    invalid = {m.id for m in metrics if m.validity == "invalid"}
    accuracy = table.headline("accuracy", invalid)
    others = (table.headline(kind, invalid) for kind in ("stability", "faithfulness"))
    headlines = [metric for metric in (accuracy, *others) if metric is not None]
    quiet = without_answers(summaries)
    ranks: list[Rank] = []
    comparisons: list[Comparison] = []
    for metric in headlines:
        if metric in invalid:
            continue  # an invalid metric ranks nothing
        stability = table.metrics[metric][1].headline == "stability"
        rows, pairs = models.ranking(table, metric, without=quiet if stability else ())
        ranks += rows
        comparisons += pairs
    told = [m.replace("vs_true", "vs_told") for m in headlines if "vs_true" in m]
    by_arm = [m for m in (*headlines, *told) if m in table.metrics]
    gold = _gold_status(run)
    labels = human_labels(table)
    agreed = agreements(labels.judged, seed=manifest.seed, cluster_name=manifest.cluster_name)
    origin = origins(run)
    floors = models.gains_over_floor(table, accuracy) if accuracy else {}
    required = requirements(table, metrics, manifest.require)
    against_truth = accuracy_by_label(table, invalid)
    mistakes = on_mistakes(table, against_truth) if against_truth else ()
    measured = next((m.label for m in metrics if m.id == against_truth), "")
    page = classifier_page(run)
    lost, shares, odd = failures(table), failure_shares(table), anomalies(run)
    warned = (
        *planned(manifest.warnings, manifest.topics),
        *(RunWarning(text, ("agreement",)) for text in labels.warnings),
        *served_versions(summaries),
        *(RunWarning(text, ("accuracy", "stability")) for text in origin_warnings(origin)),
        *classifier_warnings(page),
        *anomaly_warnings(odd),
        *answer_set_warnings(run),
        *answer_notes(run),
        *former_metrics(table.unknown),
        *share_warnings(shares),
    )
    said = verdict(
        headlines, metrics, summaries, ranks, comparisons, floors, gold, agreed, required,
        classifier=page, failures=lost,
    )  # fmt: skip
    ordered = orderings(table, scorers)
    said = with_reversals(said, metrics, summaries, ordered)
    return Results(
        suite=manifest.suite,
        run=run.store.folder.name,
        created=manifest.created,
        harness_version=manifest.harness_version,
        seed=manifest.seed,
        cluster=manifest.cluster_name,
        samples=len(run.samples),
        finished=run.complete,
        verdict=heeded(with_taken(with_mistakes(said, measured, mistakes), origin), warned),
        warnings=tuple(warning.text for warning in warned),
        metrics=metrics,
        models=summaries,
        ranks=tuple(ranks),
        comparisons=tuple(comparisons),
        breakdowns=tuple(models.breakdowns(table, dict.fromkeys(by_arm))),
        worst_cases=tuple(models.worst_cases(table, accuracy)) if accuracy else (),
        variance=tuple(models.variance(table, accuracy)) if accuracy else (),
        arm_effects=tuple(
            models.arm_effects(table, [m for m in by_arm if table.metrics[m][1].subject == "cell"])
        ),
        separations=tuple(separated),
        agreements=agreed,
        classifier=page,
        gold=gold,
        views=with_compared(table, views(table, accuracy)),
        explainers=explainers(run.attribution_records().values()),
        concepts=concepts(run.store, manifest.classifier_revision),
        evaluation=evaluation(run),
        requirements=required,
        manifest={
            "about": manifest.about,
            "oracle_variants": [
                f"{family.name}/{variant.name}"
                for family in manifest.families
                for variant in family.variants
                if variant.oracle
            ],
            "preserving_variants": _preserving(manifest),
            "versions": dict(manifest.versions),
            "scorers": dict(table.versions),
            "who answered": who_answered(origin),
            "taken over": {model: dict(runs) for model, runs in origin.taken.items()},
            "suite hash": manifest.hash,
            "samples hash": manifest.samples_hash,
            "gold hash": manifest.gold_hash,
            "prompt hashes": {family.name: family.hash for family in manifest.families},
        },
        failures=lost,
        failure_shares=shares,
        anomalies=odd,
        orderings=ordered,
    )


def _preserving(manifest: Manifest) -> list[str]:
    """The names of variants that ask the same as their base, in every family that has them."""
    by_name: dict[str, list[bool]] = {}
    for family in manifest.families:
        for variant in family.variants:
            same = variant.preserves_meaning and not variant.oracle
            by_name.setdefault(variant.name, []).append(same)
    return [name for name, same in by_name.items() if all(same)]


def _gold_status(run: Run) -> GoldStatus:
    """Counts the records that the run's cells are held against; the gold's folder may hold more."""
    used: dict[tuple[str | None, ...], GoldRecord] = {}
    for answered in run.answered.values():
        subject = run.subject(answered)
        for record in (subject.gold_true, subject.gold_told):
            if record is not None:
                place = (answered.cell.family, record.label, record.sample, record.aspect)
                used[place] = record
    records = list(used.values())
    sources = [s for record in records for claim in record.claims for s in claim.sources]
    return GoldStatus(
        records=len(records),
        claims=sum(len(record.claims) for record in records),
        by_status=dict(Counter(record.status for record in records)),
        sources_opened=sum(source.opened for source in sources),
        sources=len(sources),
    )
