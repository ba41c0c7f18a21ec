"""The classifier's own page: how right, how sure, and for whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from harness.records import Prediction, Sample
from harness.results import ClassifierPage, Estimate
from harness.scoring import Run
from harness.stats import calibration, intervals, permutation
from harness.stats.ranks import LEVEL, holm


def classifier_page(run: Run) -> ClassifierPage | None:
    """The page, or `None` for a suite without a classifier."""
    if run.manifest.classifier is None:
        return None
    # A classifier that gives a sequence or a text names no class; nothing is right or wrong then.
    labelled = [
        s for s in run.samples.values()
        if s.label is not None and run.predictions[s.id].label is not None
    ]  # fmt: skip
    unlabelled = len(run.samples) - len(labelled)
    classes = run.manifest.classes
    if not labelled:
        nothing = Estimate(None, method="no sample has a true and a predicted label")
        return ClassifierPage(
            run.manifest.classifier, classes, (), nothing, nothing, None, unlabelled=unlabelled
        )
    true, predicted = _labels(labelled, run.predictions)
    # The classifier's own clusters are samples that share a cause, never the label itself: that is
    # what it is judged on.
    clusters, unit = _clusters(run, labelled)
    sure = [
        (run.predictions[s.id].probabilities[p], p == t, c)
        for s, t, p, c in zip(labelled, true, predicted, clusters, strict=True)
        if p in run.predictions[s.id].probabilities
    ]
    confidence, correct = [row[0] for row in sure], [row[1] for row in sure]
    of_sure, seed = [row[2] for row in sure], run.manifest.seed
    return ClassifierPage(
        name=run.manifest.classifier,
        classes=classes,
        confusion=tuple(
            tuple(int(n) for n in row) for row in calibration.confusion(true, predicted, classes)
        ),
        accuracy=intervals.mean(
            [float(t == p) for t, p in zip(true, predicted, strict=True)],
            clusters,
            cluster_name=unit,
        ),
        balanced_accuracy=_balanced_accuracy(run, labelled, run.predictions),
        ece=calibration.ece(confidence, correct, clusters=of_sure, seed=seed, cluster_name=unit)
        if sure
        else None,
        brier=calibration.brier(confidence, correct, of_sure, cluster_name=unit) if sure else None,
        reliability=tuple(calibration.reliability(confidence, correct)) if sure else (),
        groups=_groups(run, labelled),
        baselines=tuple(
            (name, _balanced_accuracy(run, labelled, run.store.predictions(f"baseline:{name}")))
            for name in run.manifest.baselines
        ),
        unlabelled=unlabelled,
        p_below_chance=permutation.below_chance(true, predicted, clusters, seed=seed),
        exchanged=_exchanged(true, predicted, clusters, classes),
        note="" if sure else "The classifier gives no probabilities, so calibration is unknown.",
    )


def _exchanged(
    true: Sequence[str], predicted: Sequence[str], clusters: Sequence[str], classes: Sequence[str]
) -> tuple[tuple[str, str, float], ...]:
    """Pairs of classes that are predicted as each other, with their p (Fisher's, Holm-adjusted).

    One sample of each cluster counts, the first.
    """
    first = {c: (t, p) for c, t, p in reversed(list(zip(clusters, true, predicted, strict=True)))}
    counts = Counter(first.values())
    from scipy.stats import fisher_exact

    pairs = [
        (a, b, fisher_exact([[counts[a, a], counts[a, b]], [counts[b, a], counts[b, b]]], "less"))
        for a, b in combinations(classes, 2)
        if counts[a, b] and counts[b, a]
    ]
    adjusted = holm([found.pvalue for *_, found in pairs]) if pairs else ()
    return tuple(
        (a, b, float(p)) for (a, b, _), p in zip(pairs, adjusted, strict=True) if p < LEVEL
    )


def _labels(
    samples: Sequence[Sample], predictions: Mapping[str, Prediction]
) -> tuple[list[str], list[str]]:
    true = [str(sample.label) for sample in samples]
    predicted = [str(predictions[sample.id].label) for sample in samples]
    return true, predicted


def _clusters(run: Run, samples: Sequence[Sample]) -> tuple[list[str], str]:
    """The independent unit behind each sample, and what such units are called."""
    if not any(sample.cluster for sample in samples):
        return [sample.id for sample in samples], "sample"
    name = run.manifest.cluster_name if run.manifest.cluster == "cluster" else "cluster"
    return [sample.cluster or sample.id for sample in samples], name


def _balanced_accuracy(
    run: Run, samples: Sequence[Sample], predictions: Mapping[str, Prediction]
) -> Estimate:
    clusters, name = _clusters(run, samples)
    return calibration.balanced_accuracy(
        *_labels(samples, predictions),
        run.manifest.classes,
        clusters,
        seed=run.manifest.seed,
        cluster_name=name,
    )


def _groups(run: Run, labelled: Sequence[Sample]) -> tuple[tuple[str, str, Estimate], ...]:
    rows = []
    for key in run.manifest.group_by:
        values = sorted({str(s.metadata[key]) for s in labelled if key in s.metadata})
        for value in values:
            members = [s for s in labelled if key in s.metadata and str(s.metadata[key]) == value]
            rows.append((key, value, _balanced_accuracy(run, members, run.predictions)))
    return tuple(rows)
