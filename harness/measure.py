"""What a scorer promises and gives, checked before any of it is stored.

A score that is no number, lies outside its metric's range or names no metric would end every later
report; here it is refused with the scorer's name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from harness import serial
from harness.identity import digest
from harness.plugins import blamed
from harness.records import Generation, HarnessError, Metric, Score, Subject

_SUBJECTS = ("cell", "generation", "group")  # what runs have scores of
_READS = ("requests", "attributions", "others")  # what subjects carry for who asks for it
_PLACES = {"variant": 3, "arm": 4, "repeat": 6}  # of the axes in a cell's id
_SLACK = 1e-9  # of sums of floats: a share of 1.0000000002 is 1


def check_scorer(name: str, scorer: Any) -> None:
    """Raises `HarnessError` for a scorer that could not score, before anything is asked."""
    _check_metrics(name, scorer)
    for method in ("requests", "score"):
        if not callable(getattr(scorer, method, None)):
            raise HarnessError(f"scorer '{name}' has no method '{method}'")
    with blamed(f"scorer '{name}' has settings that are no JSON"):
        digest(dict(getattr(scorer, "settings", {})))
    unknown = sorted(set(getattr(scorer, "reads", ())) - set(_READS))
    if unknown:
        raise HarnessError(f"scorer '{name}' reads '{unknown[0]}'; there is {', '.join(_READS)}")
    if getattr(scorer, "asks_models", False) and any(m.subject == "group" for m in scorer.metrics):
        raise HarnessError(
            f"scorer '{name}' asks the models of the suite, and a group has no one model"
        )


def _check_metrics(name: str, scorer: Any) -> None:
    metrics = getattr(scorer, "metrics", None)
    if not isinstance(metrics, Sequence) or not metrics:
        raise HarnessError(f"scorer '{name}' declares no metrics")
    seen: set[str] = set()
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise HarnessError(f"scorer '{name}': {metric!r:.60} is no harness.records.Metric")
        if metric.name in seen:
            raise HarnessError(f"scorer '{name}' declares the metric '{metric.name}' twice")
        wrong = _wrong(metric)
        if wrong is not None:
            raise HarnessError(f"scorer '{name}': the metric '{metric.name}' {wrong}")
        seen.add(metric.name)


def _wrong(metric: Metric) -> str | None:
    if metric.subject not in _SUBJECTS:
        return f"is of a {metric.subject!r:.40}; scores are of a {', '.join(_SUBJECTS)}"
    if metric.subject == "group" and metric.axis not in _PLACES:
        return f"of a group names no axis; there are {', '.join(_PLACES)}"
    if metric.subject != "group" and metric.axis is not None:
        return f"of a {metric.subject} names an axis, which groups alone have"
    if not isinstance(metric.title, str) or len(metric.title.splitlines()) != 1:
        return f"has the title {metric.title!r:.40}, not one line of text"
    if not isinstance(metric.not_validated, str) or len(metric.not_validated.splitlines()) > 1:
        return f"has the note {metric.not_validated!r:.40} in not_validated, not one line of text"
    ends: Any = metric.range
    if not isinstance(ends, tuple) or len(ends) != 2:
        return f"has the range {ends!r:.40}, not (lowest, highest)"
    if None not in ends and ends[0] > ends[1]:
        return f"has the range {ends!r:.40}, whose lowest is above its highest"
    return None


def measure(
    name: str, scorer: Any, subject: Subject, generations: Sequence[Generation]
) -> list[Score]:
    """A scorer's scores of one subject, of the metrics that speak of its kind (and axis)."""
    known = {metric.name: metric for metric in scorer.metrics}
    with blamed_scorer(name, subject):
        given = scorer.score(subject, list(generations))
    if not isinstance(given, Sequence) or not all(isinstance(one, Score) for one in given):
        raise HarnessError(f"scorer '{name}' gave {given!r:.60} of {subject.id}, no list of scores")
    found: list[Score] = []
    for one in given:
        metric = known.get(one.metric)
        if metric is None:
            raise HarnessError(
                f"scorer '{name}' gave a score for '{one.metric}', which it does not declare"
            )
        if metric.subject != subject.kind or (metric.axis and not varies(subject, metric.axis)):
            continue
        where = f"scorer '{name}', metric '{metric.name}' of {subject.id}"
        if any(before.metric == one.metric for before in found):
            raise HarnessError(f"{where}: a second score")
        value = _number(one.value, metric, where)
        found.append(Score(one.metric, value, _plain(one.detail, where)))
    return found


def blamed_scorer(name: str, subject: Subject | None = None) -> AbstractContextManager[None]:
    """Names the scorer, and what it was looking at, where it fails."""
    where = f" on {subject.id}" if subject is not None else ""
    return blamed(f"scorer '{name}' failed{where}")


def group_id(cell: Any, axis: str) -> str:
    """A cell's id with `*` in place of the field along which a group varies."""
    parts = cell.id.split("/")
    parts[_PLACES[axis]] = "*"
    return "/".join(parts)


def varies(subject: Subject, axis: str) -> bool:
    """Whether a group is one along this axis."""
    return group_id(subject.cells[0], axis) == subject.id


def _number(value: Any, metric: Metric, where: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) if not isinstance(value, (str, bytes)) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise HarnessError(f"{where}: {value!r:.60} is no number")
    low, high = metric.range
    if low is not None and number < low:
        if number < low - _SLACK:
            raise HarnessError(f"{where}: {number:g} is less than {low:g}, the lowest there is")
        number = low
    if high is not None and number > high:
        if number > high + _SLACK:
            raise HarnessError(f"{where}: {number:g} is more than {high:g}, the highest there is")
        number = high
    return number


def _plain(detail: Any, where: str) -> Any:
    if detail is not None and not isinstance(detail, Mapping):
        raise HarnessError(f"{where}: its detail is {detail!r:.60}, no mapping")
    try:
        text = serial.dumps(detail)
        if "NaN" in text or "Infinity" in text:  # numbers, or words in a text
            json.loads(text, parse_constant=_no_json)
    except (TypeError, ValueError) as error:
        raise HarnessError(f"{where}: its detail is no JSON ({error})") from error
    return detail


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")
