"""How the claim verdicts agree with people's labels of the same claims, beside baselines.

Agreement over several models rewards whatever tells the models apart, so it is given for all
answers together, within models, and for each model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import joins
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
        found = _judged(table, columns)
    except HarnessError as error:
        return Labels(warnings=(f"Agreement with people is not shown: {error}.",))
    return Labels(found.judged, found.warnings)


@dataclass
class _Matched:
    """The labelled claims that the run scored, and what the other labels speak of."""

    judged: tuple[Judged, ...] = ()
    unscored: int = 0
    samples: dict[str, str] = field(default_factory=dict)  # not the run's: by id, as written
    models: dict[str, None] = field(default_factory=dict)  # not the run's
    strange: int = 0  # labels of those samples and models
    known: Mapping[str, str] = field(default_factory=dict)
    asked: Sequence[str] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """How many labels found no partner, with an example."""
        found = []
        total = len(self.judged) + self.unscored
        if self.unscored:
            found.append(
                f"{self.unscored:,} of {total:,} labels by people are of claims or answers "
                "that this run did not score; agreement with people is of the others."
            )
        if self.strange:
            who = []
            if self.samples:
                hint = joins.hint(list(self.samples.values()), list(self.known.values()), "the run")
                who.append(f"samples ({joins.shown(self.samples, self.samples)}{hint})")
            if self.models:
                hint = joins.hint(self.models, self.asked, "the run")
                named = {name: name for name in self.models}
                who.append(f"models ({joins.shown(named, named)}{hint})")
            found.append(
                f"{self.strange:,} of {total + self.strange:,} labels by people are of "
                f"{' or '.join(who)} that this run does not have."
            )
        return tuple(found)


def _judged(table: ScoreTable, columns: Mapping[str, str]) -> _Matched:
    """The labelled claims, and how many labels found none."""
    if "model" not in columns and len(table.models) > 1:
        raise HarnessError("human_labels must name the column that says whose answer was judged")
    scored, positive = _scored(table), columns["positive"].strip()
    samples = table.run.samples
    by_text = "input" in columns
    known = {name: sample.text if by_text else name for name, sample in samples.items()}
    matched = _Matched(known=known, asked=table.models)
    found, labels = [], set()
    for row in read_rows(columns["path"]):
        sample, written = _sample(row, columns)
        model = str(row.text(columns["model"])) if "model" in columns else table.models[0]
        label = row.label(columns["label"])
        labels.add(label or "")
        if sample not in samples or model not in table.models:
            matched.strange += 1
            if sample not in samples:
                matched.samples[sample] = written
            else:
                matched.models[model] = None
            continue
        claim = str(row.text(columns["claim"])).strip()
        verdict = scored.get((model, sample, claim))
        if verdict is None:
            matched.unscored += 1
            continue
        raters = row.structure(columns["raters"]) if "raters" in columns else None
        found.append(
            Judged(
                model=model,
                cluster=table.run.cluster(sample),
                claim=claim,
                answer=verdict.answer,
                positive=label == positive,
                supported=verdict.supported,
                support=verdict.support,
                raters=tuple(as_text(vote).strip() == positive for vote in raters or ()),
            )
        )
    if labels and positive not in labels:
        held = ", ".join(f"'{label}'" for label in sorted(labels)[:5])
        raise HarnessError(
            f"human_labels: no row of column '{columns['label']}' holds '{positive}'; it holds "
            f"{held}{joins.hint([positive], labels, 'the column')}"
        )
    matched.judged = tuple(found)
    return matched


def _sample(row: Row, columns: Mapping[str, str]) -> tuple[str, str]:
    """Whose answer was judged: the sample's id, and how the table writes it."""
    if "sample" in columns:
        written = row.text(columns["sample"]) or ""
        return written, written
    if "input" in columns:
        written = row.written(columns["input"]) or ""
        return text_id(written), written
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
