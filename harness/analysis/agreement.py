"""How the claim verdicts agree with people's labels of the same claims, beside baselines.

Agreement over several models rewards whatever tells the models apart, so it is given for all
answers together, within models, and for each model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.claim_baselines import claim_baselines
from harness.analysis.score_table import ScoreTable
from harness.identity import text_id
from harness.records import HarnessError
from harness.results import ALL_MODELS, WITHIN_MODELS, Agreement, Estimate
from harness.scorers.explanations import explanation_text
from harness.stats import agreement
from harness.tables import Row, as_text, read_rows


@dataclass(frozen=True)
class Judged:
    """One claim of one answer: what people said, and what the scorer gave it.

    `positive` is the label that people agreed on; `raters` are their votes where known.
    """

    model: str
    cluster: str
    claim: str
    answer: str
    positive: bool
    supported: bool
    support: float
    raters: tuple[bool, ...]


@dataclass(frozen=True)
class Labels:
    """The judged claims of a run, and in `warnings` what stands in the way of using the others."""

    judged: tuple[Judged, ...] = ()
    warnings: tuple[str, ...] = ()


def agreements(judged: Sequence[Judged], *, seed: int, cluster_name: str) -> tuple[Agreement, ...]:
    """Agreement of the scorer, of its baselines, and of people with each other."""
    if not judged:
        return ()
    models = sorted({item.model for item in judged})
    measures = {"claim support": [item.support for item in judged]}
    measures |= claim_baselines([(item.answer, item.claim) for item in judged])
    groups: dict[str, list[int]] = {ALL_MODELS: list(range(len(judged)))}
    if len(models) > 1:
        groups[WITHIN_MODELS] = groups[ALL_MODELS]
        for model in models:
            groups[model] = [i for i, item in enumerate(judged) if item.model == model]
    found = []
    for group, places in groups.items():
        items = [judged[i] for i in places]
        scores = {name: [values[i] for i in places] for name, values in measures.items()}
        compared = _Compared(group, items, seed, cluster_name)
        found += compared.measures(scores)
        if min(len(item.raters) for item in items) > 1:
            found.append(compared.people())
    return tuple(found)


@dataclass(frozen=True)
class _Compared:
    """One group of judged claims, held against people by several measures."""

    group: str
    items: Sequence[Judged]
    seed: int
    cluster_name: str

    @property
    def positives(self) -> int:
        return sum(item.positive for item in self.items)

    def measures(self, scores: Mapping[str, Sequence[float]]) -> list[Agreement]:
        """The first measure is the scorer's own, the others are baselines."""
        truth = [item.positive for item in self.items]
        clusters = [item.cluster for item in self.items]
        own, *_ = scores.values()
        found = []
        for name, values in scores.items():
            baseline = values is not own
            gain, kappa = None, Estimate(None, method="a baseline has no verdicts")
            if baseline:
                gain = agreement.auc_difference(
                    truth, own, values, clusters, strata=self._strata(self.items), **self._names
                )
            elif self.group == WITHIN_MODELS:
                kappa = Estimate(None, method="kappa is of one model, or of all")
            else:
                supported = [item.supported for item in self.items]
                kappa = agreement.cohen_kappa(truth, supported, clusters, **self._names)
            auc = agreement.auc(
                truth, values, clusters, strata=self._strata(self.items), **self._names
            )
            found.append(
                Agreement(
                    name, self.group, auc, kappa, len(self.items), self.positives,
                    baseline=baseline, gain=gain,
                )
            )  # fmt: skip
        return found

    def people(self) -> Agreement:
        """People by the same measures: each against what more than half of the others say.

        Where half of the others say so, that is no majority and counts as not positive.
        """
        units, truth, votes = [], [], []
        for item in self.items:
            for i, vote in enumerate(item.raters):
                others = item.raters[:i] + item.raters[i + 1 :]
                units.append(item)
                truth.append(sum(others) * 2 > len(others))
                votes.append(vote)
        clusters = [item.cluster for item in units]
        return Agreement(
            measure="one person against the others",
            group=self.group,
            auc=agreement.auc(truth, votes, clusters, strata=self._strata(units), **self._names),
            kappa=Estimate(None, method="kappa is of one model, or of all")
            if self.group == WITHIN_MODELS
            else agreement.cohen_kappa(truth, votes, clusters, **self._names),
            n=len(self.items),
            positives=self.positives,
            people=True,
            alpha=None
            if self.group == WITHIN_MODELS
            else agreement.krippendorff_alpha(
                [item.raters for item in self.items],
                [item.cluster for item in self.items],
                **self._names,
            ),
        )

    def _strata(self, items: Sequence[Judged]) -> list[str] | None:
        return [item.model for item in items] if self.group == WITHIN_MODELS else None

    @property
    def _names(self) -> dict[str, Any]:
        return {"seed": self.seed, "cluster_name": self.cluster_name}


def human_labels(table: ScoreTable) -> Labels:
    """People's labels that the suite names, each with the verdict on the same claim.

    What cannot be used is said in the warnings and never ends a report: a run's folder can be
    copied without the table of labels.
    """
    columns = table.run.manifest.human_labels
    if columns is None:
        return Labels()
    try:
        judged, missed = _judged(table, columns)
    except HarnessError as error:
        return Labels(warnings=(f"Agreement with people is not shown: {error}.",))
    if not missed:
        return Labels(judged)
    return Labels(
        judged,
        (
            f"{missed:,} of {missed + len(judged):,} labels by people are of claims or answers "
            "that this run did not score; agreement with people is of the others.",
        ),
    )


def _judged(table: ScoreTable, columns: Mapping[str, str]) -> tuple[tuple[Judged, ...], int]:
    """The labelled claims, and how many labels of the run's own samples and models found none."""
    if "model" not in columns and len(table.models) > 1:
        raise HarnessError("human_labels must name the column that says whose answer was judged")
    scored, positive = _scored(table), columns["positive"]
    found, missed = [], 0
    for row in read_rows(columns["path"]):
        sample = _sample(row, columns)
        model = str(row.text(columns["model"])) if "model" in columns else table.models[0]
        if sample not in table.run.samples or model not in table.models:
            continue  # the run was limited to others
        claim = str(row.text(columns["claim"])).strip()
        verdict = scored.get((model, sample, claim))
        if verdict is None:
            missed += 1
            continue
        raters = row.structure(columns["raters"]) if "raters" in columns else None
        found.append(
            Judged(
                model=model,
                cluster=table.run.cluster(sample),
                claim=claim,
                answer=verdict.answer,
                positive=row.text(columns["label"]) == positive,
                supported=verdict.supported,
                support=verdict.support,
                raters=tuple(as_text(vote) == positive for vote in raters or ()),
            )
        )
    return tuple(found), missed


def _sample(row: Row, columns: Mapping[str, str]) -> str:
    if "sample" in columns:
        return str(row.text(columns["sample"]))
    if "input" in columns:
        return text_id(str(row.text(columns["input"])))
    raise HarnessError("human_labels: name one of the columns 'sample' and 'input'")


@dataclass(frozen=True)
class _Scored:
    answer: str
    supported: bool
    support: float


def _scored(table: ScoreTable) -> dict[tuple[str, str, str], _Scored]:
    """The first verdict on each claim by (model, sample, text of the claim)."""
    found: dict[tuple[str, str, str], _Scored] = {}
    for metric in table.metrics:
        for model in table.models:
            for cell, score in table.scores(metric, model):
                claims = (score.detail or {}).get("claims", ())
                generation = table.run.answered[cell.id].generation if claims else None
                if generation is None:
                    continue
                schema = table.run.manifest.variant(cell.family, cell.variant).schema
                answer = explanation_text(generation, schema)
                for claim in claims:
                    key = (model, cell.sample, str(claim["text"]).strip())
                    found.setdefault(
                        key,
                        _Scored(answer, claim["verdict"] == "supported", float(claim["support"])),
                    )
    return found
