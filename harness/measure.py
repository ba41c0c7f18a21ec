"""What a scorer promises and gives, checked before any of it is stored.

A score that is no number, lies outside its metric's range or names no metric would end every later
report; here it is refused with the scorer's name.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness import serial
from harness.records import Generation, HarnessError, Metric, Score, Subject

_SLACK = 1e-9  # of sums of floats: a share of 1.0000000002 is 1


def check_metrics(name: str, scorer: Any) -> None:
    """Raises `HarnessError` for a scorer whose metrics are not declared as they must be."""
    metrics = getattr(scorer, "metrics", None)
    if not isinstance(metrics, Sequence) or not metrics:
        raise HarnessError(f"scorer '{name}' declares no metrics")
    seen: set[str] = set()
    for metric in metrics:
        if not isinstance(metric, Metric):
            raise HarnessError(f"scorer '{name}': {metric!r:.60} is no harness.records.Metric")
        if metric.name in seen:
            raise HarnessError(f"scorer '{name}' declares the metric '{metric.name}' twice")
        if metric.subject == "group" and metric.axis is None:
            raise HarnessError(
                f"scorer '{name}': the metric '{metric.name}' of a group names no axis"
            )
        seen.add(metric.name)


def measure(
    name: str, scorer: Any, subject: Subject, generations: Sequence[Generation]
) -> list[Score]:
    """A scorer's scores of one subject, of the metrics that speak of its kind (and axis)."""
    known = {metric.name: metric for metric in scorer.metrics}
    with blamed(name, subject):
        given = scorer.score(subject, list(generations))
    if not isinstance(given, Sequence) or not all(isinstance(one, Score) for one in given):
        raise HarnessError(f"scorer '{name}' gave {given!r:.60} of {subject.id}, no list of scores")
    found = []
    for one in given:
        metric = known.get(one.metric)
        if metric is None:
            raise HarnessError(
                f"scorer '{name}' gave a score for '{one.metric}', which it does not declare"
            )
        if metric.subject != subject.kind or (metric.axis and not varies(subject, metric.axis)):
            continue
        where = f"scorer '{name}', metric '{metric.name}' of {subject.id}"
        value = _number(one.value, metric, where)
        found.append(Score(one.metric, value, _plain(one.detail, where)))
    return found


@contextlib.contextmanager
def blamed(name: str, subject: Subject | None = None) -> Iterator[None]:
    """Names the scorer, and what it was looking at, where it fails."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        where = f" on {subject.id}" if subject is not None else ""
        raise HarnessError(
            f"scorer '{name}' failed{where}: {type(error).__name__}: {error} "
            "(HARNESS_DEBUG=1 shows where)"
        ) from error


def group_id(cell: Any, axis: str) -> str:
    """A cell's id with `*` in place of the field along which a group varies."""
    parts = cell.id.split("/")
    place = {"variant": 3, "arm": 4, "repeat": 6}[axis]
    parts[place] = "*"
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
    try:
        serial.dumps(detail)
    except (TypeError, ValueError) as error:
        raise HarnessError(f"{where}: its detail is no JSON ({error})") from error
    return detail
