"""What a plan is made from: the source's samples, classified, with all labels mapped to gold's.

Whatever is wrong with samples, labels and predictions shows here, before a prompt is rendered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.gold import Gold
from harness.identity import digest
from harness.records import Attribution, HarnessError, Prediction, Sample
from harness.suite import FamilySpec, PartSpec, Suite


@dataclass(frozen=True)
class Inputs:
    """What a plan is made from: samples with mapped labels, predictions, gold by family."""

    samples: tuple[Sample, ...]
    predictions: Mapping[str, Prediction]
    classes: tuple[str, ...]
    gold: Mapping[str, Gold]
    baselines: Mapping[str, Mapping[str, Prediction]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # what the classifier says of its predictions, and what looks wrong
    cluster_name: str = "cluster"  # what the source's clusters are: forests, documents, patients
    attributions: tuple[Attribution, ...] = ()
    evidence: Mapping[str, str] = field(default_factory=dict)  # by sample, what its top units are
    revision: str = ""  # the classifier's
    classifier: Any = field(default=None, compare=False, repr=False)  # until it is explained

    @property
    def labels(self) -> frozenset[str]:
        """The classes, and the true labels of samples."""
        true = (sample.label for sample in self.samples)
        return frozenset((*self.classes, *(label for label in true if label is not None)))


def prepare(suite: Suite) -> Inputs:
    """Reads the samples, classifies them, and maps all labels to gold's.

    Raises `HarnessError` for duplicate ids and for labels outside the class list.
    """
    source = suite.source.create("sources", suite.folder)
    samples = _samples(suite, source)
    predictions: dict[str, Prediction] = {}
    classes: tuple[str, ...] = ()
    baselines: dict[str, dict[str, Prediction]] = {}
    notes: tuple[str, ...] = ()
    classifier: Any = None
    if suite.classifier is not None:
        classifier = suite.classifier.create("classifiers", suite.folder)
        classes, predictions, notes = _classify(suite, suite.classifier, classifier, samples)
        for name, part in suite.classifier_baselines.items():
            baseline = part.create("classifiers", suite.folder)
            baselines[name] = _classify(suite, part, baseline, samples)[1]
    own = list(source.gold()) if hasattr(source, "gold") else []
    gold = {}
    for spec in suite.families:
        mine = [record for record in own if record.aspect in spec.aspects]
        gold[spec.family.name] = Gold.of([*spec.gold.records, *mine]) if mine else spec.gold
        notes += _misplaced(spec, samples)
    notes += _never_seen(suite, samples, predictions)
    for name in suite.group_by:
        known = sorted({key for sample in samples for key in sample.metadata})
        if name not in known:
            raise HarnessError(
                f"report.group_by: no sample has metadata '{name}'; there is "
                f"{', '.join(known) or 'none (the source names it under metadata)'}"
            )
    cluster_name = getattr(source, "cluster_name", "cluster")
    return Inputs(
        tuple(samples), predictions, classes, gold, baselines, notes, cluster_name,
        revision=str(getattr(classifier, "revision", "")), classifier=classifier,
    )  # fmt: skip


def samples_of(suite: Suite, count: int | None = None) -> Sequence[Sample]:
    """The samples alone, their labels mapped to gold's; `count` of them as `limit` takes them."""
    return _taken(_samples(suite, suite.source.create("sources", suite.folder)), count)


def samples_hash(samples: Sequence[Sample]) -> str:
    """SHA-256 over samples in their order, their media among them."""
    return digest([digest(sample) for sample in samples])


def current_samples_hash(suite: Suite, count: int | None) -> str | None:
    """The hash of the samples that the suite's source holds now, `count` of them taken.

    `None` for a source that reads nothing: its samples follow from the suite alone.
    """
    values = suite.source.options.values()
    if not any(isinstance(value, str) and Path(value).exists() for value in values):
        return None
    return samples_hash(samples_of(suite, count))


def limit(inputs: Inputs, count: int | None) -> Inputs:
    """The first `count` samples, taken in turn from each label so that all labels occur."""
    samples = tuple(_taken(inputs.samples, count))
    if len(samples) == len(inputs.samples):
        return inputs
    chosen = {sample.id for sample in samples}

    def kept(predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        return {sample: p for sample, p in predictions.items() if sample in chosen}

    return replace(
        inputs,
        samples=samples,
        predictions=kept(inputs.predictions),
        baselines={name: kept(found) for name, found in inputs.baselines.items()},
    )


def _misplaced(spec: FamilySpec, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Gold of aspects and samples that there are not: most likely typing errors."""
    known = {sample.id for sample in samples}
    aspects = sorted({record.aspect for record in spec.gold.records} - set(spec.family.aspects))
    strangers = sorted({r.sample for r in spec.gold.records if r.sample is not None} - known)
    found = []
    if aspects:
        found.append(
            f"Gold of family {spec.family.name} speaks of aspects that the family does not have: "
            f"{', '.join(aspects)}."
        )
    if strangers:
        found.append(
            f"Gold of family {spec.family.name} speaks of {len(strangers)} samples that there are "
            f"not, {strangers[0]} the first."
        )
    return tuple(found)


def _never_seen(
    suite: Suite, samples: Sequence[Sample], predictions: Mapping[str, Prediction]
) -> tuple[str, ...]:
    """Names of `label_map` that no sample and no class has."""
    mapped = {sample.label for sample in samples} | {p.label for p in predictions.values()}
    classes = {name for p in predictions.values() for name in p.probabilities}
    unused = [old for old, new in suite.label_map.items() if new not in mapped | classes]
    return (f"label_map: nothing is called {', '.join(unused)}.",) if unused else ()


def _taken(samples: Sequence[Sample], count: int | None) -> Sequence[Sample]:
    if count is None or count >= len(samples):
        return samples
    queues: dict[str | None, list[Sample]] = {}
    for sample in samples:
        queues.setdefault(sample.label, []).append(sample)
    chosen: set[str] = set()
    while len(chosen) < count:
        for queue in queues.values():
            if queue and len(chosen) < count:
                chosen.add(queue.pop(0).id)
    return [sample for sample in samples if sample.id in chosen]


def _samples(suite: Suite, source: Any) -> list[Sample]:
    samples = [replace(sample, label=_mapped(suite, sample.label)) for sample in source.samples()]
    if not samples:
        raise HarnessError(f"the source '{suite.source.kind}' gave no samples")
    _refuse_duplicates(samples)
    return samples


def _mapped(suite: Suite, label: str | None) -> str | None:
    return None if label is None else suite.label_map.get(label, label)


def _by_gold_label(suite: Suite, values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(_mapped(suite, name)): value for name, value in values.items()}


def _refuse_duplicates(samples: Sequence[Sample]) -> None:
    counts = Counter(sample.id for sample in samples)
    double = [sample_id for sample_id, count in counts.items() if count > 1]
    if double:
        raise HarnessError(f"the sample id '{double[0]}' stands {counts[double[0]]} times")


def _classify(
    suite: Suite, part: PartSpec, classifier: Any, samples: Sequence[Sample]
) -> tuple[tuple[str, ...], dict[str, Prediction], tuple[str, ...]]:
    predictions = classifier.predict(samples)
    classes = [str(_mapped(suite, name)) for name in classifier.classes]
    true = dict.fromkeys(sample.label for sample in samples if sample.label is not None)
    strange = [label for label in true if label not in classes]
    if not getattr(classifier, "classes_known", True):
        classes += strange
    elif strange:
        sample = next(sample for sample in samples if sample.label == strange[0])
        raise HarnessError(
            f"sample '{sample.id}' has the label '{strange[0]}', which is none of the classes of "
            f"classifier '{part.kind}': {', '.join(classes)}; label_map can map its names"
        )
    doubled = [name for name, count in Counter(classes).items() if count > 1]
    if doubled:
        raise HarnessError(f"label_map: two classes of the classifier become '{doubled[0]}'")
    mapped = {}
    for sample, prediction in zip(samples, predictions, strict=True):
        if prediction.label is not None and prediction.label not in classifier.classes:
            raise HarnessError(
                f"classifier '{part.kind}': sample '{sample.id}' is given the label "
                f"'{prediction.label}', which is none of its classes "
                f"{', '.join(classifier.classes)}"
            )
        output = prediction.output
        mapped[sample.id] = replace(
            prediction,
            sample=sample.id,
            label=_mapped(suite, prediction.label),
            probabilities=_by_gold_label(suite, prediction.probabilities),
            output=_by_gold_label(suite, output) if isinstance(output, Mapping) else output,
        )
    return tuple(classes), mapped, tuple(getattr(classifier, "notes", ()))
