"""Samples that go through together: read, divided into units, with their targets, and explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from harness import plugins
from harness.explainers.division import divide
from harness.explainers.engine import Engine, Playing
from harness.explainers.games import Game, Perturbation
from harness.explainers.gradients import Descended, Descending, Gradient, GradientEngine, Slope
from harness.explainers.inside import Inside, Inspection
from harness.explainers.models.model import Differentiable, Model, transformed
from harness.explainers.models.networks import refuse_quantised
from harness.explainers.models.reading import Reading
from harness.explainers.results import Question, Subject, of_descent, of_play, rows_of
from harness.explainers.targets import Target, Targets, resolve
from harness.plugins import blamed
from harness.records import Attribution, HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from harness.explainers.models.tensors import TensorModel

UNITS = {"text": "word", "array": "patch", "table": "feature"}
"""The unit of each kind of input where nobody names one."""


@dataclass(frozen=True, eq=False)
class Block:
    """Samples as one model reads them, divided by these kinds of units; the engine keeps what was
    paid for them."""

    engine: Engine
    question: Question
    samples: tuple[Sample, ...]
    kinds: Mapping[str, Any]
    subjects: tuple[Subject, ...]

    @classmethod
    def read(
        cls,
        engine: Engine,
        samples: Sequence[Sample],
        kinds: Mapping[str, Any],
        question: Question,
        targets: Sequence[Targets] | None = None,
    ) -> Block:
        """Reads and divides samples; without `kinds` of units the input's own are taken.

        `targets` are each sample's; without them those that the question names.
        """
        readings = [engine.model.read(sample, question.removal) for sample in samples]
        kinds = kinds or default_units(engine.model, readings)
        question = replace(question, unit="+".join(kinds), unit_settings=_settings(kinds))
        divisions = [divide(r, kinds, question.unit) for r in readings]
        both = list(zip(readings, divisions, strict=True))
        subjects = _subjects(engine, both, question, targets)
        return cls(engine, question, tuple(samples), kinds, subjects)

    def explained(self, methods: Mapping[str, Any]) -> dict[tuple[str, int], list[Attribution]]:
        """The attributions, one a target, by method and place of the sample.

        Raises `HarnessError` for a method that the model does not support, and for a budget that
        is too small.
        """
        return dict([*self._perturbed(methods), *self._differentiated(methods)])

    def _perturbed(
        self, methods: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[str, int], list[Attribution]]]:
        model, question = self.engine.model, self.question
        places, playings = [], []
        for name, method in methods.items():
            if not isinstance(method, Perturbation):
                continue
            for number, subject in enumerate(self.subjects):
                game = _game(name, method, subject, question)
                places.append((name, number))
                playings.append(self.playing(subject, subject.targets.weights, method.play(game)))
        for (name, number), outcome in zip(places, self.engine.run(playings), strict=True):
            subject = self.subjects[number]
            yield (name, number), of_play(model, subject, name, methods[name], outcome, question)

    def playing(self, subject: Subject, weights: NDArray[np.float64], play: Any) -> Playing:
        """A play on one sample, for targets of these weights (columns x targets)."""
        valued = partial(_valued, self.engine.model.scale, self.question.output, weights)
        return Playing(subject.reading, subject.division, valued, play)

    def _differentiated(
        self, methods: Mapping[str, Any]
    ) -> Iterator[tuple[tuple[str, int], list[Attribution]]]:
        """What gradient methods, and methods inside the network, find, by method and sample."""
        mine = {name: m for name, m in methods.items() if not isinstance(m, Perturbation)}
        if not mine:
            return
        model, question = self.engine.model, self.question
        if not isinstance(model, Differentiable):
            raise HarnessError(
                f"{next(iter(mine))} needs gradients, and {model.name} has none that can be had; "
                "use a perturbation method, such as kernel_shap"
            )
        refuse_quantised(model.module, model.name)
        slopes = [_slope(model, subject, question.seed) for subject in self.subjects]
        engine = GradientEngine(model, question.output, self.engine.tokens)
        for name, method in mine.items():
            both = list(zip(self.subjects, slopes, strict=True))
            if isinstance(method, Gradient):
                found = engine.run(
                    [
                        Descending(subject.reading, subject.targets.weights, method.descend(slope))
                        for subject, slope in both
                    ]
                )
            else:
                found = [
                    (_inspected(model, name, method, subject, slope, question), 0)
                    for subject, slope in both
                ]
            for number, (descended, rows) in enumerate(found):
                subject = self.subjects[number]
                yield (
                    (name, number),
                    of_descent(model, subject, name, method, descended, rows, question),
                )


def _settings(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of units that have any, by the unit's name."""
    found = {name: dict(getattr(kind, "settings", {})) for name, kind in kinds.items()}
    return {name: mine for name, mine in found.items() if mine}


def default_units(model: Model, readings: Sequence[Reading]) -> dict[str, Any]:
    """The units of these readings where nobody names any, by name.

    Tensors are divided into patches where all of them are images of more than one patch: with
    channels, and two dimensions besides; else into features.
    """
    from harness.explainers.models.reading import TextPart
    from harness.explainers.models.tensors import TensorModel

    if isinstance(model, TensorModel):
        names = [UNITS["array" if _images(model, readings) else "table"]]
    else:
        kinds = {isinstance(part, TextPart) for reading in readings for part in reading.parts}
        names = [UNITS["text" if text else "array"] for text in sorted(kinds, reverse=True)]
    return {name: plugins.create("units", name) for name in names}


def _images(model: TensorModel, readings: Sequence[Reading]) -> bool:
    from harness.explainers.models.reading import ArrayPart
    from harness.explainers.units.images import Patch

    (height, width), shapes = Patch().sides, set()
    for reading in readings:
        shapes |= {part.array.shape for part in reading.parts if isinstance(part, ArrayPart)}
    return model.channels is not None and all(
        len(shape) == 3 and (shape[0] > height or shape[1] > width) for shape in shapes
    )


def _subjects(
    engine: Engine,
    both: Sequence[tuple[Reading, Any]],
    question: Question,
    targets: Sequence[Targets] | None,
) -> tuple[Subject, ...]:
    """Every sample with its targets, which follow from what is said of the whole of it."""
    import numpy as np

    model = engine.model
    ends = [
        np.array([[1], [0]], dtype=bool).repeat(len(division.players), axis=1)
        for _, division in both
    ]
    outputs = engine.outputs_of([(*one, end) for one, end in zip(both, ends, strict=True)])
    subjects = []
    for number, ((reading, division), rows) in enumerate(zip(both, outputs, strict=True)):
        mine = targets[number] if targets else _targets(model, reading, rows[0], question.target)
        scaled = transformed(rows, model.scale, question.output, np)
        full, empty = scaled @ mine.weights
        subjects.append(Subject(reading, division, mine, scaled, full, empty))
    return tuple(subjects)


def _targets(model: Model, reading: Reading, row: NDArray[np.float64], target: Target) -> Targets:
    """The targets of a sample; a model of generated text has names of its own for them."""
    if hasattr(model, "targets"):
        found: Targets = model.targets(reading, target)
        return found
    return resolve(target, model.columns(reading), row, f"sample '{reading.sample}'")


def _valued(
    scale: Any, output: str, weights: NDArray[np.float64], outputs: NDArray[np.float64]
) -> NDArray[np.float64]:
    import numpy as np

    found: NDArray[np.float64] = transformed(outputs, scale, output, np) @ weights
    return found


def _game(name: str, method: Any, subject: Subject, question: Question) -> Game:
    players = len(subject.division.players)
    with blamed(f"explainer '{name}' failed"):
        least = min(method.least(players), 2 ** min(players, 62))
        rows = rows_of(subject.reading)
        whole = method.budget(players) * rows if question.budget is None else question.budget
    budget = whole // rows
    if budget < least:
        over = f" over {rows} background rows" if rows > 1 else ""
        raise HarnessError(
            f"{name}: a budget of {whole} evaluations is too small for the {players} units of "
            f"sample '{subject.reading.sample}'{over}; it needs {least * rows}, or larger units"
        )
    return Game(players, budget, question.seed, subject.division.groups)


def _inspected(
    model: Differentiable,
    name: str,
    method: Inspection,
    subject: Subject,
    slope: Slope,
    question: Question,
) -> Descended:
    inside = Inside(model, subject.reading, slope, subject.targets.weights, question.output)
    with model.evaluating(), blamed(f"{name} of sample '{subject.reading.sample}' failed"):
        return method.attribute(inside)


def _slope(model: Differentiable, subject: Subject, seed: int) -> Slope:
    import numpy as np

    reading = subject.reading
    x = model.point(reading)
    removed = subject.division.kept(np.zeros((1, len(subject.division.players)), dtype=bool))[0]
    empty = model.point(reading, removed)
    if empty.shape != x.shape:
        raise HarnessError(
            "removal delete shortens the text, so there is no way between both for gradients; use "
            "removal mask or a baseline"
        )
    return Slope(x, empty, subject.full, subject.empty, subject.range, seed)
