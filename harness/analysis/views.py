"""The samples that the report shows, each with its explanations and the claims they state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.analysis import explainers
from harness.analysis.score_table import ScoreTable
from harness.results import ClaimVerdict, Explanation, SampleView
from harness.scoring import Answered

# A report is read by a person: beyond this many explanations a sample it says how many there are.
PER_SAMPLE = 24


def views(table: ScoreTable) -> tuple[SampleView, ...]:
    """As many samples as the suite says, taken in turn from each label."""
    run = table.run
    by_sample: dict[str, list[Answered]] = {}
    for answered in run.answered.values():
        by_sample.setdefault(answered.cell.sample, []).append(answered)
    details = _details(table)
    scores = _scores(table)
    found = []
    chosen = _chosen(table, by_sample)
    attributed = explainers.shown(run.store, run.attribution_records(), chosen)
    for sample_id in chosen:
        shown = sorted(by_sample[sample_id], key=lambda a: _order(table, a))[:PER_SAMPLE]
        found.append(
            SampleView(
                sample=run.samples[sample_id],
                prediction=run.predictions.get(sample_id),
                explanations=tuple(_explanation(table, a, details, scores) for a in shown),
                attributions=attributed.get(sample_id, ((), 0))[0],
                attributions_left=attributed.get(sample_id, ((), 0))[1],
            )
        )
    return tuple(found)


def _chosen(table: ScoreTable, by_sample: Mapping[str, Any]) -> list[str]:
    queues: dict[str | None, list[str]] = {}
    for sample in table.run.samples.values():
        if sample.id in by_sample:
            queues.setdefault(sample.label, []).append(sample.id)
    chosen: list[str] = []
    while len(chosen) < table.run.manifest.report_samples and any(queues.values()):
        for queue in queues.values():
            if queue:
                chosen.append(queue.pop(0))
    return chosen[: table.run.manifest.report_samples]


def _order(table: ScoreTable, answered: Answered) -> tuple[Any, ...]:
    """Models before controls, main arm and base first, one aspect after the other."""
    cell = answered.cell
    return (
        cell.model in table.controls and cell.model != "control:gold",
        cell.repeat,
        cell.variant != "base",
        cell.arm != table.main_arm,
        table.run.manifest.family(cell.family).aspects.index(cell.aspect),
        cell,
    )


def _details(table: ScoreTable) -> dict[str, tuple[ClaimVerdict, ...]]:
    """The claims held against each cell, against the true label before the told one."""
    found: dict[str, tuple[ClaimVerdict, ...]] = {}
    for metric in sorted(table.metrics, key=lambda name: "told" in name):
        for model in [*table.models, *table.controls]:
            for cell, score in table.scores(metric, model):
                claims = (score.detail or {}).get("claims")
                if claims and cell.id not in found:
                    found[cell.id] = tuple(
                        ClaimVerdict(
                            str(claim.get("id", "")),
                            str(claim["text"]),
                            str(claim.get("importance", "must")),
                            claim["verdict"],
                            float(claim.get("support") or 0.0),
                            str(claim.get("sentence") or ""),
                        )
                        for claim in claims
                    )
    return found


def _scores(table: ScoreTable) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for metric, (_, spec) in table.metrics.items():
        if spec.subject != "cell":
            continue
        for model in [*table.models, *table.controls]:
            for cell, score in table.scores(metric, model):
                found.setdefault(cell.id, {})[metric] = score.value
    return found


def _explanation(
    table: ScoreTable,
    answered: Answered,
    details: Mapping[str, tuple[ClaimVerdict, ...]],
    scores: Mapping[str, Mapping[str, float | None]],
) -> Explanation:
    request, _ = table.run.store.request(answered.key)
    return Explanation(
        cell=answered.cell,
        told=answered.told,
        messages=request.messages,
        generation=answered.generation,
        claims=details.get(answered.cell.id, ()),
        scores=scores.get(answered.cell.id, {}),
    )
