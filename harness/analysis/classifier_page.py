"""The classifier's own page: how right, how sure, and for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.records import Prediction, Sample
from harness.results import ClassifierPage, Estimate
from harness.scoring import Run
from harness.stats import calibration, intervals


def classifier_page(run: Run) -> ClassifierPage | None:
    """The page, or `None` for a suite without a classifier."""
    if run.manifest.classifier is None:
        return None
    labelled = [s for s in run.samples.values() if s.label is not None]
    unlabelled = len(run.samples) - len(labelled)
    classes = run.manifest.classes
    if not labelled:
        nothing = Estimate(None, method="no sample has a true label")
        return ClassifierPage(
            run.manifest.classifier, classes, (), nothing, nothing, None, unlabelled=unlabelled
        )
    true, predicted = _labels(labelled, run.predictions)
    # The classifier's own clusters are samples that share a cause, never the label itself: that is
    # what it is judged on.
    clusters = [sample.cluster or sample.id for sample in labelled]
    sure = [
        (run.predictions[s.id].probabilities[p], p == t, c)
        for s, t, p, c in zip(labelled, true, predicted, clusters, strict=True)
        if p in run.predictions[s.id].probabilities
    ]
    confidence, correct = [row[0] for row in sure], [row[1] for row in sure]
    return ClassifierPage(
        name=run.manifest.classifier,
        classes=classes,
        confusion=tuple(
            tuple(int(n) for n in row) for row in calibration.confusion(true, predicted, classes)
        ),
        accuracy=intervals.mean(
            [float(t == p) for t, p in zip(true, predicted, strict=True)], clusters, bounds=(0, 1)
        ),
        balanced_accuracy=calibration.balanced_accuracy(true, predicted, classes, clusters),
        ece=calibration.ece(confidence, correct, clusters=[row[2] for row in sure])
        if sure
        else None,
        reliability=tuple(calibration.reliability(confidence, correct)) if sure else (),
        groups=_groups(run, labelled),
        baselines=tuple(
            (
                name,
                calibration.balanced_accuracy(
                    *_labels(labelled, run.store.predictions(f"baseline:{name}")), classes, clusters
                ),
            )
            for name in run.manifest.baselines
        ),
        unlabelled=unlabelled,
        note="" if sure else "The classifier gives no probabilities, so calibration is unknown.",
    )


def _labels(
    samples: Sequence[Sample], predictions: Mapping[str, Prediction]
) -> tuple[list[str], list[str]]:
    true = [str(sample.label) for sample in samples]
    predicted = [str(predictions[sample.id].label) for sample in samples]
    return true, predicted


def _groups(run: Run, labelled: Sequence[Sample]) -> tuple[tuple[str, str, Estimate], ...]:
    rows = []
    for key in run.manifest.group_by:
        values = sorted({str(s.metadata[key]) for s in labelled if key in s.metadata})
        for value in values:
            members = [s for s in labelled if str(s.metadata.get(key)) == value]
            true, predicted = _labels(members, run.predictions)
            clusters = [sample.cluster or sample.id for sample in members]
            estimate = calibration.balanced_accuracy(
                true, predicted, run.manifest.classes, clusters
            )
            rows.append((key, value, estimate))
    return tuple(rows)
