"""What a plan is made from: the source's samples, classified, with all labels mapped to gold's.

Whatever is wrong with samples, labels and predictions shows here, before a prompt is rendered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness import checks, contracts, joins
from harness.gold import Gold
from harness.identity import digest
from harness.records import Attribution, GoldRecord, HarnessError, Prediction, Sample
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
    known: Mapping[str, str] = field(default_factory=dict)  # all the source's samples: id to text

    @property
    def labels(self) -> frozenset[str]:
        """The classes, and the true labels of samples."""
        true = (sample.label for sample in self.samples)
        return frozenset((*self.classes, *(label for label in true if label is not None)))


def prepare(suite: Suite) -> Inputs:
    """Reads the samples, classifies them, and maps all labels to gold's.

    What finds no partner (a row, a label, a name in `label_map`) is counted in the notes, with an
    example. Raises `HarnessError` for duplicate ids, for labels outside the class list, and for
    labels that differ only in form.
    """
    source = suite.source.create("sources", suite.folder)
    given = checks.samples_of(suite.source.name, source)
    samples = _mapped_samples(suite, given)
    known = {sample.id: sample.text for sample in samples}
    notes = checks.notes_of(source)
    predictions: dict[str, Prediction] = {}
    classes: tuple[str, ...] = ()
    baselines: dict[str, dict[str, Prediction]] = {}
    names = {sample.label for sample in given}
    classifier: Any = None
    if suite.classifier is not None:
        classifier = suite.classifier.create("classifiers", suite.folder)
        found = _classify(suite, suite.classifier, suite.classifier.name, classifier, samples)
        classes, predictions = found.classes, found.predictions
        names |= found.names
        notes += found.notes + _without_sample(classifier, known)
        for name, part in suite.classifier_baselines.items():
            baseline = part.create("classifiers", suite.folder)
            mine = _classify(suite, part, name, baseline, samples)
            baselines[name] = mine.predictions
            notes += _without_sample(baseline, known)
    else:
        _refuse_alike(suite, samples)
    own = checks.gold_of(suite.source.name, source)
    gold = {}
    for spec in suite.families:
        mine_own = [record for record in own if record.aspect in spec.aspects]
        name = spec.family.name
        gold[name] = Gold.of([*spec.gold.records, *mine_own]) if mine_own else spec.gold
        notes += _misplaced(spec, [*spec.gold.records, *own], samples)
        notes += _without_gold(spec, gold[name], samples)
    notes += _never_seen(suite, {name for name in names if name is not None})
    notes += _groups(suite, samples)
    cluster_name = "cluster"
    if isinstance(source, contracts.NamesClusters):
        cluster_name = source.cluster_name
    return Inputs(
        tuple(samples), predictions, classes, gold, baselines, notes, cluster_name,
        revision=str(getattr(classifier, "revision", "")), classifier=classifier, known=known,
    )  # fmt: skip


def samples_of(suite: Suite, count: int | None = None) -> Sequence[Sample]:
    """The samples alone, their labels mapped to gold's; `count` of them as `limit` takes them."""
    source = suite.source.create("sources", suite.folder)
    return _taken(_mapped_samples(suite, checks.samples_of(suite.source.name, source)), count)


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


def _misplaced(
    spec: FamilySpec, records: Sequence[GoldRecord], samples: Sequence[Sample]
) -> tuple[str, ...]:
    """Gold of aspects and samples that there are not: most likely typing errors."""
    known = {sample.id for sample in samples}
    aspects = sorted({record.aspect for record in spec.gold.records} - set(spec.family.aspects))
    owners = dict.fromkeys(r.sample for r in records if r.sample is not None)
    strangers = [owner for owner in owners if owner not in known]
    found = []
    if aspects:
        found.append(
            f"Gold of family {spec.family.name} speaks of aspects that the family does not have: "
            f"{', '.join(aspects)}{joins.hint(aspects, spec.family.aspects, 'the family')}."
        )
    if strangers:
        bare = sorted(known - set(owners))
        found.append(
            f"Gold of family {spec.family.name} speaks of {len(strangers):,} samples that there "
            f"are not ({_quoted(strangers)}){joins.hint(strangers, bare, 'the source')}."
        )
    return tuple(found)


def _quoted(names: Sequence[str]) -> str:
    return joins.shown({name: name for name in names}, names)


def _without_gold(spec: FamilySpec, gold: Gold, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Samples that gold of single samples leaves out, and that no label's gold speaks of."""
    if all(record.sample is None for record in gold.records):
        return ()  # gold of labels: those without are listed by label
    bare = [
        sample.id
        for sample in samples
        if not any(gold.find(a, sample=sample.id, label=sample.label) for a in spec.aspects)
    ]
    if not bare:
        return ()
    return (
        f"Family {spec.family.name} has no gold for {len(bare):,} of {len(samples):,} samples "
        f"({_quoted(bare)}).",
    )


def _without_sample(reader: Any, known: Mapping[str, str]) -> tuple[str, ...]:
    """Rows of a classifier's table that no sample of the source asks for."""
    if not isinstance(reader, contracts.NamesSamples):
        return ()
    partners = joins.Partners(dict.fromkeys(known, ""), reader.named)
    if not partners.strangers:
        return ()
    return (
        f"{reader.table}: {partners.unused()} predictions are of samples that the source does not "
        "have.",
    )


def _never_seen(suite: Suite, names: Collection[str]) -> tuple[str, ...]:
    """Names of `label_map` that no sample and no class has."""
    stripped = {name.strip() for name in names}
    unused = [old for old in suite.label_map if old not in stripped]
    if not unused:
        return ()
    hint = joins.hint(unused, sorted(stripped), "the data")
    return (f"label_map: nothing is called {', '.join(unused)}{hint}.",)


def _groups(suite: Suite, samples: Sequence[Sample]) -> tuple[str, ...]:
    """What is wrong with the metadata that the report groups by: none, too little, two spellings.

    Raises `HarnessError` where no sample has it.
    """
    found = []
    for name in suite.group_by:
        known = sorted({key for sample in samples for key in sample.metadata})
        if name not in known:
            raise HarnessError(
                f"report.group_by: no sample has metadata '{name}'; there is "
                f"{', '.join(known) or 'none (the source names it under metadata)'}"
            )
        bare = [sample.id for sample in samples if name not in sample.metadata]
        if bare:
            found.append(
                f"report.group_by: {len(bare):,} of {len(samples):,} samples have no '{name}' "
                f"({_quoted(bare)}) and are in no group."
            )
        values = dict.fromkeys(str(s.metadata[name]) for s in samples if name in s.metadata)
        two = joins.first_alike(values)
        if two is not None:
            found.append(f"report.group_by: {two}, and are two groups of '{name}'.")
    return tuple(found)


def _refuse_alike(
    suite: Suite, samples: Sequence[Sample], predictions: Sequence[Prediction] = ()
) -> None:
    """Two labels of one form would be two labels in every figure, and most likely are one.

    `label_map` says what they are: it makes them one, or names one of them as its own. Where a
    classifier lists its classes, these say it, and nothing else is a label.
    """
    settled = {None, *suite.label_map, *suite.label_map.values()}
    said = {prediction.sample: _mapped(suite, prediction.label) for prediction in predictions}
    owners: dict[str, str] = {}
    for sample in samples:
        for label in (sample.label, said.get(sample.id)):
            if label is not None and label not in settled:
                owners.setdefault(label, sample.id)
    two = joins.first_alike(owners)
    if two is not None:
        raise HarnessError(
            f"the labels {two} (samples '{owners[two.name]}' and '{owners[two.other]}'); "
            f"label_map: {{{two.other}: {two.name}}} makes them one, {{{two.other}: {two.other}}} "
            "says that they are two"
        )


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


def _mapped_samples(suite: Suite, samples: Sequence[Sample]) -> list[Sample]:
    return [replace(sample, label=_mapped(suite, sample.label)) for sample in samples]


def _mapped(suite: Suite, label: str | None) -> str | None:
    return None if label is None else gold_name(suite.label_map, label)


def gold_name(label_map: Mapping[str, str], label: str) -> str:
    """What gold calls a label: white space around it is no part of it."""
    return label_map.get(label.strip(), label.strip())


def _by_gold_label(suite: Suite, values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(_mapped(suite, name)): value for name, value in values.items()}


@dataclass(frozen=True)
class _Classified:
    """What a classifier said: its classes as gold calls them, predictions by sample, and the names
    that it uses itself."""

    classes: tuple[str, ...]
    predictions: dict[str, Prediction]
    names: frozenset[str]
    notes: tuple[str, ...]


def _classify(
    suite: Suite, part: PartSpec, called: str, classifier: Any, samples: Sequence[Sample]
) -> _Classified:
    own = checks.check_classifier(called, classifier)
    predictions = checks.predictions_of(called, classifier, samples)
    names = frozenset(own) | {p.label for p in predictions if p.label is not None}
    classes = [str(_mapped(suite, name)) for name in own]
    doubled = [name for name, count in Counter(classes).items() if count > 1]
    if doubled:
        raise HarnessError(f"label_map: two classes of the classifier become '{doubled[0]}'")
    true = dict.fromkeys(sample.label for sample in samples if sample.label is not None)
    strange = [label for label in true if label not in classes]
    if isinstance(classifier, contracts.OpenClasses) and not classifier.classes_known:
        said = dict.fromkeys(str(_mapped(suite, p.label)) for p in predictions if p.label)
        _refuse_alike(suite, samples, predictions)
        classes = list(dict.fromkeys([*classes, *said, *strange]))
    elif strange:
        sample = next(sample for sample in samples if sample.label == strange[0])
        likely = joins.alike(strange, classes)
        example = f": {{{likely[0].name}: {likely[0].other}}}" if likely else " can map its names"
        raise HarnessError(
            f"sample '{sample.id}' has the label '{strange[0]}', which is none of the classes of "
            f"classifier '{part.kind}': {', '.join(classes)}; label_map{example}"
        )
    mapped = {
        prediction.sample: replace(
            prediction,
            label=_mapped(suite, prediction.label),
            probabilities=_by_gold_label(suite, prediction.probabilities),
            output=_by_gold_label(suite, prediction.output)
            if isinstance(prediction.output, Mapping)
            else prediction.output,
        )
        for prediction in predictions
    }
    return _Classified(tuple(classes), mapped, names, checks.notes_of(classifier))
