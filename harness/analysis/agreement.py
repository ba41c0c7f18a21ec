"""How the claim verdicts agree with people's labels of the same claims, beside baselines.

Correlation across sources rewards whatever tells sources apart, so agreement is given for all
answers together and within each model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.score_table import ScoreTable
from harness.identity import text_id
from harness.records import HarnessError
from harness.results import Agreement, Estimate
from harness.stats import agreement
from harness.tables import read_rows


@dataclass(frozen=True)
class Judged:
    """One claim of one answer: what people said, and what each measure gave it."""

    model: str
    cluster: str
    positive: bool
    supported: bool
    measures: Mapping[str, float]
    raters: tuple[bool, ...]


def agreements(table: ScoreTable) -> tuple[Agreement, ...]:
    """Agreement of the scorer, of its baselines, and of people with each other."""
    columns = table.run.manifest.human_labels
    if columns is None:
        return ()
    judged = _judged(table, columns)
    if not judged:
        return ()
    groups = {"all": judged}
    for model in sorted({item.model for item in judged}):
        groups[model] = [item for item in judged if item.model == model]
    found = []
    for group, items in groups.items():
        names = list(items[0].measures)
        for name in names:
            found.append(_agreement(name, group, items, baseline=name != "support"))
        people = _people(group, items)
        if people is not None:
            found.append(people)
    return tuple(found)


def _agreement(name: str, group: str, items: Sequence[Judged], *, baseline: bool) -> Agreement:
    truth = [item.positive for item in items]
    clusters = [item.cluster for item in items]
    kappa = Estimate(None, method="a baseline has no verdicts")
    if not baseline:
        kappa = agreement.cohen_kappa(truth, [item.supported for item in items], clusters)
    return Agreement(
        measure="claim support" if name == "support" else name,
        group=group,
        auc=agreement.auc(truth, [item.measures[name] for item in items], clusters),
        kappa=kappa,
        n=len(items),
        positives=sum(truth),
        baseline=baseline,
    )


def _people(group: str, items: Sequence[Judged]) -> Agreement | None:
    """People's agreement by the same measures: each rater against the others' share."""
    count = min(len(item.raters) for item in items)
    if count < 2:
        return None
    truth, scores, votes, clusters = [], [], [], []
    for item in items:
        for i, vote in enumerate(item.raters):
            others = [v for j, v in enumerate(item.raters) if j != i]
            truth.append(sum(others) * 2 > len(others))
            scores.append(float(vote))
            votes.append(vote)
            clusters.append(item.cluster)
    return Agreement(
        measure="one person against the others",
        group=group,
        auc=agreement.auc(truth, scores, clusters),
        kappa=agreement.cohen_kappa(truth, votes, clusters),
        n=len(items),
        positives=sum(item.positive for item in items),
        people=True,
    )


def _judged(table: ScoreTable, columns: Mapping[str, str]) -> list[Judged]:
    claims = _claims(table)
    found = []
    for row in read_rows(columns["path"]):
        if "sample" in columns:
            sample = str(row.column(columns["sample"]))
        elif "input" in columns:
            sample = text_id(str(row.column(columns["input"])))
        else:
            raise HarnessError("human_labels: name one of the columns 'sample' and 'input'")
        model = str(row.column(columns["model"])) if "model" in columns else ""
        text = str(row.column(columns["claim"])).strip()
        entry = claims.get((model, sample, text)) or claims.get(("", sample, text))
        if entry is None:
            continue
        claim, words = entry
        raters = row.column(columns["raters"]) if "raters" in columns else ()
        measures = {
            key: float(value)
            for key, value in claim.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        found.append(
            Judged(
                model=model,
                cluster=table.run.cluster(sample),
                positive=row.column(columns["label"]) == columns["positive"],
                supported=claim["verdict"] == "supported",
                measures={**measures, "length of the answer": float(words)},
                raters=tuple(vote == columns["positive"] for vote in raters or ()),
            )
        )
    return found


def _claims(table: ScoreTable) -> dict[tuple[str, str, str], tuple[Mapping[str, Any], int]]:
    """Each claim's verdict by (model, sample, text), with the answer's number of words."""
    found: dict[tuple[str, str, str], tuple[Mapping[str, Any], int]] = {}
    for metric in table.metrics:
        for model in table.models:
            for row in table.all_rows(metric, model):
                detail = row.detail or {}
                if "claims" not in detail:
                    continue
                generation = table.run.answered[row.cell.id].generation
                words = len(generation.text.split()) if generation else 0
                for claim in detail["claims"]:
                    key = (model, row.cell.sample, str(claim["text"]).strip())
                    found.setdefault(key, (claim, words))
    return found
