"""The one check that every classifier's probabilities pass, wherever they come from.

A prompt shows these numbers and the arms exchange them, so what is no distribution is refused by
sample and class instead of being repaired.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.records import HarnessError, Prediction

# Room for float32 and for numbers printed with four digits; beyond it something is wrong.
TOLERANCE = 1e-3


def check_distribution(
    values: Mapping[str, Any] | Sequence[Any], classes: Sequence[str], where: str
) -> dict[str, float]:
    """Probabilities by class name, in the order of `classes`, made to sum to 1 exactly.

    `values` is a mapping from class names (in any order), or numbers in the order of `classes`. A
    sum within 0.001 of 1 is divided out. Raises `HarnessError`, beginning with `where`, for a wrong
    number or set of classes, and for what is no number, NaN, infinite, negative, or sums to
    something else.
    """
    if isinstance(values, Mapping):
        values = {str(name).strip(): value for name, value in values.items()}
        unknown = [str(name) for name in values if name not in classes]
        if unknown:
            raise HarnessError(
                f"{where}: a probability for '{unknown[0]}', which is none of the classes "
                f"{', '.join(classes)}"
            )
        missing = [name for name in classes if name not in values]
        if missing:
            raise HarnessError(f"{where}: there is no probability for the class '{missing[0]}'")
        numbers = [values[name] for name in classes]
    else:
        numbers = list(values)
        if len(numbers) != len(classes):
            raise HarnessError(
                f"{where}: {len(numbers)} probabilities for the {len(classes)} classes "
                f"{', '.join(classes)}"
            )
    found = [_number(v, f"{where}, class '{c}'") for v, c in zip(numbers, classes, strict=True)]
    total = math.fsum(found)
    if abs(total - 1.0) > TOLERANCE:
        raise HarnessError(
            f"{where}: the probabilities sum to {total:.6g}, not 1; normalise them (logits need a "
            "softmax), or give more digits"
        )
    return {name: value / total for name, value in zip(classes, found, strict=True)}


def top_label(probabilities: Mapping[str, float]) -> str:
    """The most probable class; of equals the first."""
    return max(probabilities, key=probabilities.__getitem__)


def prediction(
    sample: str, values: Mapping[str, Any] | Sequence[Any], classes: Sequence[str], where: str
) -> Prediction:
    """The prediction that a checked distribution makes: its most probable class."""
    probabilities = check_distribution(values, classes, f"{where}, sample '{sample}'")
    return Prediction(sample, top_label(probabilities), probabilities)


def check_classes(classes: Sequence[str], where: str) -> tuple[str, ...]:
    """The class names as text, without the white space around them.

    Raises `HarnessError` where there are none, and where one stands twice.
    """
    if isinstance(classes, str | Mapping) or not isinstance(classes, Iterable) or not classes:
        raise HarnessError(f"{where}: 'classes' must list the names of the classes")
    names = tuple(str(name).strip() for name in classes)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise HarnessError(f"{where}: the class '{doubled[0]}' is listed twice")
    return names


def same_classes(own: Sequence[str], given: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The model's own classes, after checking that those given are the same, in any order.

    Names tell what an output means, never positions: a list in another order changes nothing.
    """
    names = check_classes(own, where)
    if given is not None and set(check_classes(given, where)) != set(names):
        raise HarnessError(
            f"{where}: the classes given are {', '.join(map(str, given))}, but the model's own are "
            f"{', '.join(names)}"
        )
    return names


def _number(value: Any, where: str) -> float:
    if value is None:
        raise HarnessError(f"{where}: the probability is empty or NaN")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise HarnessError(f"{where}: the probability {value!r} is no number") from error
    if isinstance(value, bool) or math.isnan(number):
        raise HarnessError(f"{where}: the probability is {value!r}")
    if math.isinf(number) or number < 0:
        raise HarnessError(f"{where}: the probability {number:g} does not lie between 0 and 1")
    return number
