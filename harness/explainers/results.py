"""What was asked, the samples it was asked of, and the records that what was found becomes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from harness.explainers.division import Division
from harness.explainers.engine import Outcome
from harness.explainers.games import Perturbation, Played
from harness.explainers.gradients import Descended
from harness.explainers.models.model import Model
from harness.explainers.models.reading import Reading, Removal
from harness.explainers.reduction import reduced
from harness.explainers.targets import Target, Targets, source_hash
from harness.records import Attribution, HarnessError, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Question:
    """What is to be explained, and how: all that is the same for every sample."""

    target: Target
    output: str
    removal: Removal
    unit: str
    reduce: str | None
    budget: int | None
    seed: int
    unit_settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """One sample, read and divided, with its targets and what they are worth."""

    reading: Reading
    division: Division
    targets: Targets
    outputs: NDArray[np.float64]  # with every unit kept, and with every unit removed: 2 x columns
    full: NDArray[np.float64]
    empty: NDArray[np.float64]

    def values_of(self, attribution: Attribution) -> NDArray[np.float64]:
        """The values of the players in an attribution of this sample."""
        import numpy as np

        return np.array([attribution.values[place] for place in self.division.players])

    @property
    def range(self) -> float:
        """The range of the outputs at both."""
        return float(self.outputs.max() - self.outputs.min())


def of_play(
    model: Model, subject: Subject, name: str, method: Any, outcome: Outcome, question: Question
) -> list[Attribution]:
    """One attribution a target, of what a perturbation method found."""
    import numpy as np

    played, players = outcome.found, len(subject.division.players)
    values = np.asarray(played.values, dtype=np.float64)
    if values.shape != (players, len(subject.targets.names)):
        raise HarnessError(
            f"explainer '{name}' gave values of the shape {values.shape} for {players} units and "
            f"{len(subject.targets.names)} targets"
        )
    counted = values if played.pairs is None else np.concatenate([values, played.pairs])
    return [
        replace(
            _record(model, subject, name, method, number, values[:, number], question),
            standard_errors=(
                None
                if played.standard_errors is None
                else _placed(subject.division, played.standard_errors[:, number])
            ),
            completeness_error=(
                _completeness(subject, number, counted[:, number]) if played.complete else None
            ),
            pairs=_pairs(subject.division, played, number),
            evaluations=outcome.evaluations * rows_of(subject.reading),
            notes=(*subject.reading.notes, *played.notes),
        )
        for number in range(values.shape[1])
    ]


def of_descent(
    model: Model,
    subject: Subject,
    name: str,
    method: Any,
    descended: Descended,
    rows: int,
    question: Question,
) -> list[Attribution]:
    """One attribution a target, of what a gradient method found at the features."""
    reduce = question.reduce or method.reduce
    values = reduced(descended.values.detach().cpu().double().numpy(), subject.division, reduce)
    complete = descended.complete and reduce == "sum"
    return [
        replace(
            _record(model, subject, name, method, number, values[number], question),
            reduce=reduce,
            completeness_error=(
                _completeness(subject, number, values[number]) if complete else None
            ),
            evaluations=rows,
            notes=(*subject.reading.notes, *descended.notes),
            held=_held(descended, number, values[number]) if reduce == "sum" else {},
        )
        for number in range(len(values))
    ]


def rows_of(reading: Reading) -> int:
    """How many evaluations a set of units takes: one for each row of a background set."""
    return int(getattr(reading, "rows", 1))


def _held(descended: Descended, number: int, values: NDArray[np.float64]) -> dict[str, float]:
    """What no unit has of a value that was handed out whole: also what features of none have."""
    if not descended.held:
        return {}
    outside = float(descended.values[number].double().sum()) - float(values.sum())
    return {"special tokens and gaps": outside, **descended.held[number]}


def _record(
    model: Model,
    subject: Subject,
    name: str,
    method: Any,
    number: int,
    values: NDArray[np.float64],
    question: Question,
) -> Attribution:
    removal = question.removal
    settings = dict(method.settings)
    if question.unit_settings:
        settings["units"] = dict(question.unit_settings)
    if removal.kind == "background":
        settings["background"] = dict(removal.baseline)
    elif removal.baseline is not None:
        settings["baseline"] = _shown(removal.baseline)
    if callable(question.target):
        settings["target"] = source_hash(question.target)
    if question.budget is not None and isinstance(method, Perturbation):
        settings["budget"] = question.budget
    return Attribution(
        sample=subject.reading.sample,
        method=name,
        unit=question.unit,
        target=subject.targets.names[number],
        output=question.output,
        removal=removal.kind,
        units=subject.division.units,
        values=_placed(subject.division, values),
        full=float(subject.full[number]),
        empty=float(subject.empty[number]),
        settings=settings,
        seed=question.seed,
        classifier=model.revision,
        input=subject.reading.input,
        segmentation=subject.division.segmentation,
    )


def _shown(baseline: Any) -> Any:
    """A baseline as it stands in a record: short ones as they are, arrays by their hash."""
    import numpy as np

    from harness.identity import sha256

    if isinstance(baseline, (str, int, float)):
        return baseline
    array = np.asarray(baseline.detach().cpu() if hasattr(baseline, "detach") else baseline)
    if array.dtype == object or array.size <= 16:
        return array.tolist() if array.dtype != object else repr(baseline)
    return f"array {' x '.join(map(str, array.shape))}, SHA-256 {sha256(array.tobytes())}"


def _placed(division: Division, values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Values of players as values of units; what was not seen has none."""
    found: list[float | None] = [None] * len(division.units)
    for place, value in zip(division.players, values.tolist(), strict=True):
        found[place] = value
    return tuple(found)


def _pairs(division: Division, played: Played, number: int) -> tuple[Pair, ...]:
    """Values of pairs of players as those of pairs of units."""
    if played.pairs is None:
        return ()
    places = itertools.combinations(division.players, 2)
    values = played.pairs[:, number].tolist()
    errors: list[float | None] = [None] * len(values)
    if played.pair_errors is not None:
        errors = played.pair_errors[:, number].tolist()
    return tuple(
        Pair(int(first), int(second), value, error)
        for (first, second), value, error in zip(places, values, errors, strict=True)
    )


def _completeness(subject: Subject, number: int, values: NDArray[np.float64]) -> float:
    gap = float(subject.full[number] - subject.empty[number])
    scale = max(abs(gap), 0.01 * subject.range)
    miss = abs(float(values.sum()) - gap)
    return miss / scale if scale > 0 else miss
