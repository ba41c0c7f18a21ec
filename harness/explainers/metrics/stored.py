"""Evaluations as scores in a run's store, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from harness import plugins
from harness.explainers.explanation import Explanation
from harness.explainers.metrics import references
from harness.explainers.metrics.evaluation import Evaluation, Measurement
from harness.identity import attribution_key, digest
from harness.records import Attribution, HarnessError, Sample, StoredScore
from harness.scoring import code_hash

SCORER = "attribution_metrics"


def stored_scores(evaluation: Evaluation) -> list[StoredScore]:
    """The measurements as scores of attributions. Those of a reference, which is no attribution of
    the run, have `reference/method/sample/target` for a subject."""
    keys = {(a.sample, a.method, a.target): attribution_key(a) for a in evaluation.explanation}
    versions = {
        name: digest(
            {
                "code": code_hash(type(metric).__module__),
                "settings": dict(metric.settings),
                "seed": evaluation.seed,
                "references": code_hash(references.__name__),
            }
        )[:16]
        for name, metric in evaluation.metrics.items()
    }
    return [
        StoredScore(
            "attribution",
            _reference(one) if one.reference else keys[one.sample, one.method, one.target],
            one.metric,
            SCORER,
            versions[one.metric],
            one.value,
            {**one.detail, **({"why": one.why} if one.why else {})},
        )
        for one in evaluation.measurements
    ]


def marks(scores: Iterable[StoredScore]) -> dict[str, Any]:
    """What tells the scores of one evaluation from those of others in the same run."""
    scores = list(scores)
    return {
        "versions": {score.metric: score.version for score in scores},
        "subjects": sorted({score.subject for score in scores}),
    }


def evaluation_of(
    scores: Iterable[StoredScore],
    marked: Mapping[str, Any],
    attributions: Iterable[tuple[str, Attribution]],
    samples: Sequence[Sample],
    seed: int = 0,
) -> Evaluation | None:
    """The evaluation that `stored_scores` and `marks` were made of, from the scores and the
    attributions (by key) of a run. Metrics of packages that are not installed are left out; `None`
    where nothing is left."""
    places = {key: (a.sample, a.method, a.target) for key, a in attributions}
    versions, subjects = marked.get("versions", {}), set(marked.get("subjects", ()))
    metrics = _metrics(versions)
    clusters = {sample.id: sample.cluster or sample.id for sample in samples}
    measurements = []
    for score in scores:
        mine = score.scorer == SCORER and versions.get(score.metric) == score.version
        if not mine or score.subject not in subjects or score.metric not in metrics:
            continue
        reference = score.subject.startswith("reference/")
        place = _place(score.subject) if reference else places.get(score.subject)
        if place is None or place[0] not in clusters:
            continue
        detail = dict(score.detail or {})
        why = str(detail.pop("why", ""))
        sample, method, target = place
        measurements.append(
            Measurement(sample, method, target, score.metric, score.value, detail, why, reference)
        )
    if not measurements:
        return None
    return Evaluation(Explanation(()), tuple(measurements), metrics, clusters, seed)


def _reference(one: Measurement) -> str:
    return "/".join(
        ["reference", *(quote(p, safe="") for p in (one.method, one.sample, one.target))]
    )


def _place(subject: str) -> tuple[str, str, str]:
    _, method, sample, target = subject.split("/")
    return unquote(sample), unquote(method), unquote(target)


def _metrics(names: Iterable[str]) -> dict[str, Any]:
    """The metrics by the names they had: `iou[name]` is `iou` of evidence of that name."""
    found: dict[str, Any] = {}
    for name in names:
        base, _, evidence = name.rstrip("]").partition("[")
        options: dict[str, Any] = {"evidence": evidence} if evidence else {}
        try:
            found[name] = plugins.create("metrics", base, **options)
        except HarnessError:
            continue
    return found
