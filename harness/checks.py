"""What sources, classifiers and units give, checked before anything is computed on it.

The code of a part is called here and nowhere else, so that whatever it raises or gives becomes one
sentence that begins with the part's kind and name. (`harness.measure` does the same for scorers.)
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import contracts, plugins
from harness.classifiers.distribution import TOLERANCE
from harness.identity import canonical
from harness.plugins import blamed
from harness.records import (
    Claim,
    Evidence,
    GoldRecord,
    HarnessError,
    Media,
    Part,
    Prediction,
    Sample,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NEAR = 0.8  # difflib's ratio from which a name is taken for a misspelt one
_READS = ("text", "array", "tokens")
_KINDS = ("distribution", "ranking", "sequence", "array", "text")


# --- sources ------------------------------------------------------------------------------


def samples_of(name: str, source: Any) -> list[Sample]:
    """The samples of a source, white space around their labels left out.

    Raises `HarnessError` for what is no sample, for ids that stand twice, and where there is none.
    """
    where = f"source '{name}'"
    _refuse_lacking(where, source, "samples")
    found = [
        _sample(given, number, where)
        for number, given in enumerate(_items(where, "samples", source.samples, "samples"))
    ]
    if not found:
        raise HarnessError(f"{where} gave no samples")
    seen: set[str] = set()
    for sample in found:
        if sample.id in seen:
            count = sum(other.id == sample.id for other in found)
            raise HarnessError(f"{where}: the sample id '{sample.id}' stands {count} times")
        seen.add(sample.id)
    return found


def gold_of(name: str, source: Any) -> list[GoldRecord]:
    """The gold that a source brings along; none of a source without any."""
    if not isinstance(source, contracts.SourceWithGold):
        return []
    where = f"source '{name}'"
    return [
        _gold(given, number, where)
        for number, given in enumerate(_items(where, "gold", source.gold, "gold records"))
    ]


def notes_of(part: Any) -> tuple[str, ...]:
    """What a source or classifier says about what it gave last."""
    return tuple(map(str, part.notes)) if isinstance(part, contracts.Notes) else ()


def _items(where: str, method: str, call: Any, what: str) -> list[Any]:
    """All that a method gives; it may be a generator, which runs here."""
    with blamed(f"{where} failed in {method}"):
        given = call()
        if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
            raise HarnessError(f"{where} gave {_a(given)} in {method}, no {what}")
        return list(given)


def _sample(given: Any, number: int, where: str) -> Sample:
    if not isinstance(given, Sample):
        raise HarnessError(f"{where}: item {number} is {_a(given)}, no harness.records.Sample")
    name = _text(given.id, f"{where}: item {number}", "id")
    if not name.strip():
        raise HarnessError(f"{where}: item {number} has an empty id")
    where = f"{where}: sample '{name}'"
    return replace(
        given,
        id=name,
        input=_parts(given.input, where),
        label=_label(given.label, where),
        evidence=_evidence(given, where),
        metadata=_metadata(given.metadata, where),
        cluster=None if given.cluster is None else _text(given.cluster, where, "cluster"),
    )


def _parts(given: Any, where: str) -> tuple[Part, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not len(given):
        raise HarnessError(
            f"{where}: its input is {_a(given)}, no tuple of harness.records.Part"
            if not isinstance(given, Sequence) or len(given)
            else f"{where}: its input is empty"
        )
    found = []
    for part in given:
        if not isinstance(part, Part):
            raise HarnessError(f"{where}: its input holds {_a(part)}, no harness.records.Part")
        if part.media is not None and not isinstance(part.media, Media):
            raise HarnessError(f"{where}: a medium is {_a(part.media)}, no harness.records.Media")
        text = _text(part.text, where, "text")
        found.append(part if text is part.text else replace(part, text=text))
    return tuple(found)


def _text(value: Any, where: str, what: str) -> str:
    """Text, also of bytes that are UTF-8 and of NumPy's strings."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise HarnessError(f"{where}: its {what} is bytes that are no UTF-8") from error
    if not isinstance(value, str):
        raise HarnessError(f"{where}: its {what} is {value!r:.40}, no text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise HarnessError(f"{where}: its {what} holds half of a surrogate pair") from error
    return value if type(value) is str else str(value)


def _label(value: Any, where: str) -> str | None:
    if value is None:
        return None
    label = _text(value, where, "label").strip()
    if not label:
        raise HarnessError(f"{where}: its label is empty; without a label it is None")
    return label


def _evidence(sample: Sample, where: str) -> tuple[Evidence, ...]:
    longest = max((len(p.text) for p in sample.input if isinstance(p, Part)), default=0)
    for one in sample.evidence:
        if not isinstance(one, Evidence):
            raise HarnessError(f"{where}: {_a(one)} is no harness.records.Evidence")
        if one.kind in ("mask", "landmark") and not isinstance(one.value, Media):
            raise HarnessError(f"{where}: its evidence '{one.name}' is {_a(one.value)}, no mask")
        for span in one.value if one.kind == "spans" else ():
            if not _is_span(span) or span[1] > longest:
                raise HarnessError(
                    f"{where}: its evidence '{one.name}' holds {span!r:.40}, which lies in no text "
                    f"of it (the longest has {longest} characters)"
                )
    return tuple(sample.evidence)


def _is_span(value: Any) -> bool:
    if not isinstance(value, Sequence) or len(value) != 2:
        return False
    return all(_is_whole(edge) for edge in value) and 0 <= value[0] < value[1]


def _metadata(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise HarnessError(f"{where}: its metadata is {_a(given)}, no mapping")
    for name, value in given.items():
        try:
            canonical(value)
        except Exception as error:  # what the encoder raises depends on the value
            raise HarnessError(
                f"{where}: its metadata '{name}' is {value!r:.40}, which JSON cannot hold"
            ) from error
    return given


def _gold(given: Any, number: int, where: str) -> GoldRecord:
    if not isinstance(given, GoldRecord):
        raise HarnessError(
            f"{where}: gold record {number} is {_a(given)}, no harness.records.GoldRecord"
        )
    if (given.label is None) == (given.sample is None):
        raise HarnessError(f"{where}: gold record {number} names a label or a sample, one of both")
    where = f"{where}: gold of '{given.sample if given.label is None else given.label}'"
    strangers = [claim for claim in given.claims if not isinstance(claim, Claim)]
    if strangers:
        raise HarnessError(f"{where}: it holds {_a(strangers[0])}, no harness.records.Claim")
    for claim in given.claims:
        if not _text(claim.text, where, f"claim '{claim.id}'").strip():
            raise HarnessError(f"{where}: its claim '{claim.id}' is empty")
    if not given.claims:
        raise HarnessError(f"{where}: it holds no claim")
    return given if given.label is None else replace(given, label=_label(given.label, where))


# --- classifiers --------------------------------------------------------------------------


def check_classifier(name: str, classifier: Any) -> tuple[str, ...]:
    """The classes of a classifier, before it is asked anything.

    Raises `HarnessError` for one without `classes`, `revision` or `predict`.
    """
    where = f"classifier '{name}'"
    _refuse_lacking(
        where, classifier, "classes", "the names of its classes in the order of its outputs"
    )
    _refuse_lacking(where, classifier, "revision", "the hash of what it predicts by")
    _refuse_lacking(where, classifier, "predict")
    given = classifier.classes
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise HarnessError(f"{where}: 'classes' is {_a(given)}, no list of names")
    classes = tuple(_text(one, where, "class") for one in given)
    doubled = next((one for one in classes if classes.count(one) > 1), None)
    if doubled is not None:
        raise HarnessError(f"{where} has two classes named '{doubled}'")
    if not classes and _knows_its_classes(classifier):
        raise HarnessError(f"{where} has no classes")
    if not isinstance(classifier.revision, str):
        raise HarnessError(
            f"{where}: 'revision' is {classifier.revision!r:.40}, no text; it is the hash of what "
            "the classifier predicts by"
        )
    return classes


def _knows_its_classes(classifier: Any) -> bool:
    return not isinstance(classifier, contracts.OpenClasses) or classifier.classes_known


def predictions_of(name: str, classifier: Any, samples: Sequence[Sample]) -> list[Prediction]:
    """What a classifier says of samples, white space around labels left out.

    Raises `HarnessError` where it fails, gives another number of predictions or another order,
    names a class that it does not have, or gives probabilities that are none.
    """
    where = f"classifier '{name}'"
    classes = {label.strip() for label in check_classifier(name, classifier)}
    known = classes if _knows_its_classes(classifier) else None
    given = _items(where, "predict", lambda: classifier.predict(samples), "predictions")
    for number, one in enumerate(given):
        if not isinstance(one, Prediction):
            raise HarnessError(
                f"{where}: prediction {number} is {_a(one)}, no harness.records.Prediction"
            )
    if len(given) != len(samples):
        raise HarnessError(f"{where} gave {len(given)} predictions for {len(samples)} samples")
    return [
        _prediction(one, sample, known, where) for one, sample in zip(given, samples, strict=True)
    ]


def _prediction(
    given: Prediction, sample: Sample, classes: set[str] | None, where: str
) -> Prediction:
    if given.sample != sample.id:
        raise HarnessError(
            f"{where}: sample '{sample.id}' is given the prediction of sample '{given.sample}'; "
            "predictions come in the order of the samples"
        )
    where = f"{where}: sample '{sample.id}'"
    if given.kind not in _KINDS:
        raise HarnessError(
            f"{where}: its prediction is of the kind {given.kind!r:.40}; there is "
            f"{', '.join(_KINDS)}"
        )
    label = _label(given.label, where)
    if label is not None and classes is not None and label not in classes:
        raise HarnessError(
            f"{where} is given the label '{label}', which is none of its classes "
            f"{', '.join(sorted(classes))}"
        )
    shares = _shares(given.probabilities, classes, where)
    total = math.fsum(shares.values())
    if shares and given.kind == "distribution" and abs(total - 1) > TOLERANCE:
        raise HarnessError(f"{where}: the probabilities sum to {total:.6g}, not 1")
    return replace(given, label=label, probabilities=shares, output=_output(given, classes, where))


def _shares(given: Any, classes: set[str] | None, where: str) -> dict[str, float]:
    """Numbers between 0 and 1 by class."""
    if not isinstance(given, Mapping):
        raise HarnessError(f"{where}: its probabilities are {_a(given)}, no mapping by class")
    found = {}
    for name, value in given.items():
        label = _text(name, where, "class").strip()
        if classes is not None and label not in classes:
            raise HarnessError(
                f"{where} is given a probability for '{label}', which is none of its classes "
                f"{', '.join(sorted(classes))}"
            )
        number = _number(value)
        if number is None or not -TOLERANCE <= number <= 1 + TOLERANCE:
            raise HarnessError(
                f"{where}: the probability of '{label}' is {value!r:.40}, no number between 0 and 1"
            )
        found[label] = number
    return found


def _output(given: Prediction, classes: set[str] | None, where: str) -> Any:
    """The output of a prediction that is no distribution, with what its kind promises."""
    value = given.output
    if given.kind == "distribution":
        return value
    if given.kind == "text":
        return _text(value, where, "output")
    if given.kind == "array" and isinstance(value, Media):
        return value
    if given.kind == "array" and isinstance(value, Mapping):
        return _shares(value, classes, where)
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise HarnessError(
            f"{where}: its output is {_a(value)}, which no record holds as {_an(given.kind)}; give "
            "plain numbers in a tuple"
        )
    if given.kind == "ranking":
        _check_ranking(value, where)
    elif not all(_is_finite(item) for item in value):
        raise HarnessError(f"{where}: its {given.kind} holds what is no finite number")
    return value


def _check_ranking(value: Sequence[Any], where: str) -> None:
    """Ids, or (id, score) with falling scores; each id once."""
    pairs = [item for item in value if not isinstance(item, str)]
    if any(not isinstance(p, Sequence) or len(p) != 2 or not _is_finite(p[1]) for p in pairs):
        raise HarnessError(f"{where}: its ranking is a tuple of ids, or of (id, score)")
    ids = [item if isinstance(item, str) else item[0] for item in value]
    doubled = next((one for one in ids if ids.count(one) > 1), None)
    if doubled is not None:
        raise HarnessError(f"{where}: its ranking names '{doubled}' twice")
    for before, after in itertools.pairwise(pairs):
        if before[1] < after[1]:
            raise HarnessError(f"{where}: its ranking rises from {before!r} to {after!r}")


def _is_finite(value: Any) -> bool:
    """A finite number, `None`, or a sequence of these."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_is_finite, value))
    return value is None or _number(value) is not None


def _number(value: Any) -> float | None:
    if isinstance(value, (str, bytes, bool)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _is_whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


# --- units --------------------------------------------------------------------------------


def check_unit(name: str, kind: Any) -> None:
    """Raises `HarnessError` for a kind of units that could divide nothing."""
    where = f"unit '{name}'"
    _refuse_lacking(where, kind, "reads", f"which is one of {', '.join(_READS)}")
    if kind.reads not in _READS:
        raise HarnessError(f"{where}: 'reads' is {kind.reads!r:.40}, none of {', '.join(_READS)}")
    _refuse_lacking(
        where, kind, "within", "the larger kind that its units lie in, or None where there is none"
    )
    if kind.within is not None and kind.within not in plugins.registered("units"):
        raise HarnessError(
            f"{where}: 'within' is {kind.within!r:.40}, which is no registered unit; they are "
            f"{', '.join(sorted(plugins.registered('units')))}"
        )
    if kind.reads != "tokens":
        _refuse_lacking(where, kind, "split")
    if isinstance(kind, contracts.HasSettings):
        with blamed(f"{where} has settings that are no JSON"):
            canonical(dict(kind.settings))


def spans_of(name: str, kind: Any, text: str, sample: str) -> tuple[tuple[int, int], ...]:
    """The characters [start, end) of a text's units, in order.

    Raises `HarnessError` for spans that overlap, lie outside of the text, or leave some of it out.
    """
    where = f"unit '{name}'"
    given = _items(where, "split", lambda: kind.split(text, sample), "spans")
    where = f"{where}: the units of sample '{sample}'"
    spans = []
    for span in given:
        if not _is_span(span):
            raise HarnessError(f"{where} hold {span!r:.40}, no (start, end) of characters")
        spans.append((int(span[0]), int(span[1])))
    gaps = isinstance(kind, contracts.LeavesGaps) and kind.gaps
    last = 0
    for start, end in [*spans, (len(text), len(text))]:
        if end > len(text):
            raise HarnessError(f"{where} end at character {end}, and its text at {len(text)}")
        if start < last:
            raise HarnessError(f"{where} overlap at character {start}")
        if start > last and not gaps:
            raise HarnessError(
                f"{where} leave out the characters {last} to {start}; white space belongs to the "
                "unit before it, and a unit that is to leave gaps says `gaps = True`"
            )
        last = end
    return tuple(spans)


def labels_of(
    name: str, kind: Any, array: NDArray[Any], sample: str, sizes: str
) -> NDArray[np.int64]:
    """The label map of an array's units: int64, the array's shape without channels.

    `sizes` is how a sentence calls the array's shape. Raises `HarnessError` for a map of another
    shape, with numbers that are not whole, or that are not numbered from 0 without a gap.
    """
    import numpy as np

    where = f"unit '{name}'"
    with blamed(f"{where} failed in split"):
        given = np.asarray(kind.split(array, sample))
    where = f"{where}: the units of sample '{sample}'"
    if given.dtype.kind not in "iu":
        raise HarnessError(f"{where} are a label map of {given.dtype}, not of whole numbers")
    if given.shape != array.shape[:-1]:
        raise HarnessError(
            f"{where} are a label map of {' x '.join(map(str, given.shape))} for an array of "
            f"{sizes}"
        )
    labels = given.astype(np.int64)
    numbers = np.unique(labels)
    if len(numbers) and numbers[0] < -1:
        raise HarnessError(f"{where} hold the number {numbers[0]}; -1 is the least there is")
    used = numbers[numbers >= 0]
    if len(used) and used[-1] != len(used) - 1:
        left_out = int(np.flatnonzero(used != np.arange(len(used)))[0])
        raise HarnessError(f"{where} are numbered without a unit {left_out}; leave no gap")
    return labels


# --- all parts ----------------------------------------------------------------------------


def misspelt(kind: str, name: str, beside: Path | None = None) -> list[str]:
    """Sentences about methods of a part whose names are nearly those of optional ones.

    A misspelt method is never called, and nothing else would say so. `kind` is a plural
    (`scorers`), `name` what a suite says.
    """
    part = plugins.load(kind, name, beside)
    if not inspect.isclass(part):
        return []
    optional = set().union(*map(contracts.attributes, contracts.OPTIONAL[kind]))
    known = optional | contracts.attributes(contracts.REQUIRED[kind])
    found = []
    for own in dir(part):
        if own.startswith("_") or own in known:
            continue
        near = difflib.get_close_matches(own, sorted(known), 1, _NEAR)
        if near and callable(getattr(part, own)) == _is_method(kind, near[0]):
            what = "method" if callable(getattr(part, own)) else "attribute"
            called = name.rpartition(":")[2]
            found.append(
                f"{kind.removesuffix('s')} '{called}' has {_an(what)} '{own}'; did you mean "
                f"'{near[0]}'?"
            )
    return found


def _is_method(kind: str, name: str) -> bool:
    protocols = (*contracts.OPTIONAL[kind], contracts.REQUIRED[kind])
    return any(inspect.isroutine(vars(one).get(name)) for one in protocols)


def _refuse_lacking(where: str, part: Any, name: str, about: str = "") -> None:
    """Raises where a part has no such attribute, and names one that was probably meant."""
    with blamed(f"{where}: its '{name}' cannot be read"):
        if hasattr(part, name):
            return
    own = [other for other in dir(part) if not other.startswith("_")]
    near = difflib.get_close_matches(name, own, 1, _NEAR)
    likely = f"; it has '{near[0]}', is that meant?" if near else ""
    raise HarnessError(f"{where} has no '{name}'{', ' if about else ''}{about}{likely}")


def _a(value: Any) -> str:
    """What a value is, as a sentence names it: its type, or `None`."""
    return "None" if value is None else type(value).__name__


def _an(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
