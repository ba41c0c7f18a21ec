"""What a suite calls good enough: a bar for a metric, of all models, of one, or of one group.

Here bars are read and checked before anything is sent; `harness.analysis.requirements` holds
scores against them. `require:` of a suite and `harness gate` both go through this.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.records import HarnessError, Metric, Sample

if TYPE_CHECKING:
    from harness.suite import Suite


ABOVE_FLOOR = "_above_floor"
"""Added to the id of a metric that has a floor: the metric less its floor, which may have a bar."""


@dataclass(frozen=True)
class Bar:
    """A bar for the metric of this id; `model` and `group` narrow it, `None` takes all.

    `group` is a key of `report.group_by` with one of its levels.
    """

    metric: str
    value: float
    model: str | None = None
    group: tuple[str, str] | None = None

    @property
    def group_name(self) -> str:
        """The group as a suite writes it, `site=A`; empty without one."""
        return "=".join(self.group) if self.group else ""


def split(name: str) -> tuple[str, str]:
    """The metric's id and what it is narrowed to: `ID`, `ID@MODEL`, `ID@KEY=LEVEL`, `ID@LEVEL`."""
    metric, _, chosen = name.partition("@")
    return metric, chosen


def levels_of(
    keys: Iterable[str], metadata: Iterable[Mapping[str, object]]
) -> dict[str, tuple[str, ...]]:
    """The levels of each key of `report.group_by` among samples with this metadata."""
    listed = list(metadata)
    return {
        key: tuple(sorted({str(one[key]) for one in listed if one.get(key) is not None}))
        for key in keys
    }


def bars(
    require: Mapping[str, float],
    metrics: Mapping[str, Metric],
    models: Sequence[str],
    levels: Mapping[str, Sequence[str]],
    arms: Sequence[str],
    where: str = "require",
) -> list[Bar]:
    """The bars that `require` sets. `metrics` are by id, `models` without controls; `where` is
    where the bars were written.

    Raises `HarnessError` for a bar that names no metric, model or group there is, that lies
    outside the metric's range, or whose metric has no better direction; and where the suite does
    not ask the arm that bars are about.
    """
    if require and not {"predicted", "none"} & set(arms):
        raise HarnessError(
            f"{where} is about the arm 'predicted' ('none' without a classifier), and the suite "
            f"asks {', '.join(arms)} alone; add it to 'arms'"
        )
    try:
        return [_bar(name, value, metrics, models, levels) for name, value in require.items()]
    except HarnessError as error:
        raise HarnessError(f"{where}: {error}") from error


def check(suite: Suite, samples: Iterable[Sample], scorers: Mapping[str, Any]) -> list[str]:
    """Holds a suite's bars against what it asks and measures, before anything is sent.

    Raises `HarnessError` as `bars` does; returns sentences on bars that no run of this suite can
    keep, because no control tests their metric.
    """
    metrics = {
        f"{name}.{metric.name}": metric
        for name, scorer in scorers.items()
        for metric in scorer.metrics
    }
    levels = levels_of(suite.group_by, (sample.metadata for sample in samples))
    asked = {spec.model for spec in suite.models if spec.control}
    found = []
    for bar in bars(suite.require, metrics, suite.model_names, levels, suite.arms):
        metric = metrics[bar.metric.removesuffix(ABOVE_FLOOR)]
        if bar.metric.endswith(ABOVE_FLOOR) and suite.repeats < 2:
            found.append(
                f"The bar for {metric.title} above the floor ({bar.metric}) cannot be kept: the "
                "floor is what repeats of one prompt differ by, and the suite has 'repeats: 1'."
            )
        elif not any({s.better, s.worse} <= asked for s in metric.separates):
            found.append(
                f"The bar for {metric.title} ({bar.metric}) cannot be kept: no control of the "
                "suite tests this metric, so nothing shows it to be valid."
            )
    return found


def _bar(
    name: str,
    value: float,
    metrics: Mapping[str, Metric],
    models: Sequence[str],
    levels: Mapping[str, Sequence[str]],
) -> Bar:
    metric_id, chosen = split(name)
    metric = _named(metric_id, metrics)
    if metric is None:
        raise HarnessError(f"there is no metric '{metric_id}'{_nearest(metric_id, metrics)}")
    if metric.floor is not None:
        raise HarnessError(
            f"{metric.title} ({metric_id}) can have a bar only relative to its floor, because "
            f"faithful rewordings have some too; name {metric_id}{ABOVE_FLOOR}"
        )
    if metric.direction is None:
        raise HarnessError(
            f"{metric.title} ({metric_id}) has no better direction, so it can have no bar"
        )
    low, high = metric.range
    if (
        not math.isfinite(value)
        or (low is not None and value < low)
        or (high is not None and value > high)
    ):
        ends = " to ".join("open" if end is None else f"{end:g}" for end in (low, high))
        raise HarnessError(
            f"{metric.title} ({metric_id}) has the range {ends}, and its bar is {value:g}"
        )
    model, group = _chosen(name, chosen, models, levels)
    return Bar(metric_id, float(value), model, group)


def _named(metric_id: str, metrics: Mapping[str, Metric]) -> Metric | None:
    """The metric of this id, or what one with a floor is above it."""
    whole = metrics.get(metric_id.removesuffix(ABOVE_FLOOR))
    if metric_id in metrics or whole is None or whole.floor is None:
        return metrics.get(metric_id)
    return above_floor(whole)


def above_floor(metric: Metric) -> Metric:
    """A metric less its floor: the same direction, from minus to plus its range's width."""
    low, high = metric.range
    width = None if low is None or high is None else high - low
    ends = (None if width is None else -width, width)
    return replace(metric, title=f"{metric.title}, above the floor", floor=None, range=ends)


def _chosen(
    name: str, chosen: str, models: Sequence[str], levels: Mapping[str, Sequence[str]]
) -> tuple[str | None, tuple[str, str] | None]:
    if "@" not in name:
        return None, None
    groups = {f"{key}={level}": (key, level) for key, own in levels.items() for level in own}
    alone = [pair for pair in groups.values() if pair[1] == chosen]
    meant: list[tuple[str | None, tuple[str, str] | None]]
    meant = [(chosen, None)] if chosen in models else []
    meant += [(None, groups[chosen])] if chosen in groups else [(None, pair) for pair in alone]
    if len(meant) > 1:
        which = ", ".join(f"the model {m}" if g is None else "=".join(g) for m, g in meant)
        raise HarnessError(f"'{name}' may mean {which}; write a group as KEY=LEVEL")
    if meant:
        return meant[0]
    known = [*models, *groups]
    raise HarnessError(
        f"'{chosen}' in '{name}' is no model and no level of report.group_by"
        f"{_nearest(chosen, known)}"
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    listed = list(known)
    near = difflib.get_close_matches(name, listed, 1, 0.5)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there is {', '.join(listed)}" if listed else "; there is none"
