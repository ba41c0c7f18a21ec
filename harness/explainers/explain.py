"""From a classifier and samples to attributions, by any methods at once.

All methods of a call share one engine, so a set of units that several of them look at is paid for
once. Samples go through in blocks, which bounds what is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import fields, plugins
from harness.explainers.division import Division, divide
from harness.explainers.engine import Engine, Playing, Progress
from harness.explainers.explanation import Explanation
from harness.explainers.games import Game, Perturbation
from harness.explainers.gradients import (
    Descended,
    Descending,
    Gradient,
    GradientEngine,
    Slope,
)
from harness.explainers.inside import Inside, Inspection
from harness.explainers.models.choose import chosen_inputs, model_of
from harness.explainers.models.model import Differentiable, Model, choose_output, transformed
from harness.explainers.models.reading import Reading, Removal
from harness.explainers.reduction import REDUCTIONS
from harness.explainers.results import Question, Subject, of_descent, of_play
from harness.explainers.targets import Target, Targets, resolve
from harness.plugins import blamed
from harness.records import Attribution, HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK = 64  # samples that go through together
UNITS = {"text": "word", "array": "patch", "table": "feature"}
"""The unit of each kind of input where nobody names one."""


def explain(
    classifier: Any,
    samples: Any,
    method: Any = "kernel_shap",
    unit: Any = None,
    *,
    target: Target = None,
    output: str | None = None,
    removal: str = "mask",
    baseline: Any = None,
    reduce: str | None = None,
    budget: int | None = None,
    seed: int = 0,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
    beside: Path | None = None,
    **inputs: Any,
) -> Explanation:
    """Why a classifier decided as it did: an attribution for each sample, method and target.

    - `classifier`: any of the harness's, any `torch.nn.Module`, any function from a list of inputs
      to probabilities (then without gradient methods)
    - `samples`: `Sample` records, texts, images (PIL or uint8 arrays), or for a module tensors with
      one example a row (one tensor, a tuple or a mapping of several), or a pandas frame of numbers:
      a module is given its rows, a function frames like it
    - `method`: a name (`harness list explainers`), an explainer of one's own, or several of these
      in a list or a mapping by name, which share evaluations; `settings` are the method's own, or a
      mapping of them by method name
    - `unit`: a name (`harness list units`), a unit of one's own, or several of these in a list or a
      mapping by name: one for the texts and one for the arrays of an input. Word, patch or feature
      unless given
    - `target`: a class by name or place, `predicted` (the default), `runner_up`, a pair of these (a
      contrast), or `all`
    - `output`: `logit` (where there is one), `probability` or `log_probability`
    - `removal`: `mask` (mask or unknown token, blurred patch, zero), `delete` (a shorter text), or
      give a `baseline`
    - `reduce`: how values of tokens and pixels become a unit's: `sum`, `l2`, `mean`, `max_abs`; the
      method's own unless given. Perturbation methods have values of units from the start
    - `budget`: evaluations a sample; each method's own unless given
    - `inputs`: for modules, `classes`, `scale`, `arguments`, `channels`, `embedding`, `names` of
      `harness.explainers.models.tensors.TensorModel`

    Raises `HarnessError` for whatever a person can mend: a method that the classifier does not
    support, a budget that is too small (with the number needed), a sample without such units.
    """
    fields.whole("explain", 0, seed=seed)
    if batch_tokens is not None:
        fields.whole("explain", 1, batch_tokens=batch_tokens)
    if reduce is not None:
        fields.one_of("explain", REDUCTIONS, reduce=reduce)
    methods = make_methods(method, settings or {}, beside)
    asked, items = chosen_inputs(classifier, samples, inputs)
    removing = Removal.of(removal, baseline)
    found: list[Attribution] = []
    for start in range(0, len(items), _BLOCK):
        block = items[start : start + _BLOCK]
        model = asked if isinstance(asked, Model) else model_of(asked, block, **inputs)
        question = Question(
            target, choose_output(output, model.scale, model.name), removing, "", reduce, budget,
            seed,
        )  # fmt: skip
        found += _explained(model, block, methods, unit, question, batch_tokens, progress, beside)
    return Explanation(tuple(found), tuple(items))


def make_methods(
    method: Any, settings: Mapping[str, Any], beside: Path | None = None
) -> dict[str, Any]:
    """Explainers by name. Raises `HarnessError` for an unknown one and for settings that none
    takes."""
    named = _by_name(method)
    of_several = len(named) > 1 or (len(settings) > 0 and set(settings) <= set(named))
    if of_several and (strange := sorted(set(settings) - set(named))):
        raise HarnessError(
            f"settings of '{strange[0]}', which is none of the methods {', '.join(named)}; with "
            "several methods, settings are by method name"
        )
    made = {}
    for name, one in named.items():
        mine = settings.get(name, {}) if of_several else settings
        made[name] = (
            plugins.create("explainers", one, beside, **mine) if isinstance(one, str) else one
        )
        if not isinstance(made[name], (Perturbation, Gradient, Inspection)):
            raise HarnessError(
                f"explainer '{name}' has none of play, descend and attribute, so it is no method"
            )
    return made


def make_units(unit: Any, beside: Path | None = None) -> dict[str, Any]:
    """Kinds of units by name."""
    return {
        name: plugins.create("units", one, beside) if isinstance(one, str) else one
        for name, one in _by_name(unit).items()
    }


def _by_name(parts: Any) -> dict[str, Any]:
    """One part or several, each a name or an object, by what they are called."""
    if isinstance(parts, Mapping):
        return dict(parts)
    several = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    return {one if isinstance(one, str) else _own_name(one): one for one in several}


def _own_name(part: Any) -> str:
    """`KernelShap` is called kernel_shap."""
    import re

    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(part).__name__).lower()


def _explained(
    model: Model,
    samples: Sequence[Sample],
    methods: Mapping[str, Any],
    unit: Any,
    question: Question,
    batch_tokens: int | None,
    progress: Progress | None,
    beside: Path | None,
) -> list[Attribution]:
    engine = Engine(model, batch_tokens, progress)
    readings = [model.read(sample, question.removal) for sample in samples]
    kinds = make_units(_default_unit(model, readings) if unit is None else unit, beside)
    question = replace(question, unit="+".join(kinds), unit_settings=_settings(kinds))
    divisions = [divide(r, list(kinds.values()), question.unit) for r in readings]
    subjects = _subjects(engine, readings, divisions, question)
    found: dict[tuple[str, int], list[Attribution]] = {}
    for place, attributions in _perturbed(engine, subjects, methods, question):
        found[place] = attributions
    for place, attributions in _differentiated(model, subjects, methods, question, batch_tokens):
        found[place] = attributions
    return [
        attribution
        for number in range(len(subjects))
        for method in methods
        for attribution in found[method, number]
    ]


def _settings(kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of units that have any, by the unit's name."""
    found = {name: dict(getattr(kind, "settings", {})) for name, kind in kinds.items()}
    return {name: mine for name, mine in found.items() if mine}


def _default_unit(model: Model, readings: Sequence[Reading]) -> str | list[str]:
    from harness.explainers.models.reading import TextPart
    from harness.explainers.models.tensors import TensorModel

    if isinstance(model, TensorModel):
        return UNITS["table"]
    kinds = {isinstance(part, TextPart) for reading in readings for part in reading.parts}
    names = [UNITS["text" if text else "array"] for text in sorted(kinds, reverse=True)]
    return names[0] if len(names) == 1 else names


def _subjects(
    engine: Engine, readings: Sequence[Reading], divisions: Sequence[Division], question: Question
) -> list[Subject]:
    """Every sample with its targets, which follow from what is said of the whole of it."""
    import numpy as np

    model = engine.model
    ends = [np.array([[1], [0]], dtype=bool).repeat(len(d.players), axis=1) for d in divisions]
    outputs = engine.outputs_of(list(zip(readings, divisions, ends, strict=True)))
    subjects = []
    for reading, division, rows in zip(readings, divisions, outputs, strict=True):
        targets = _targets(model, reading, rows[0], question.target)
        scaled = transformed(rows, model.scale, question.output, np)
        full, empty = scaled @ targets.weights
        subjects.append(Subject(reading, division, targets, scaled, full, empty))
    return subjects


def _targets(model: Model, reading: Reading, row: NDArray[np.float64], target: Target) -> Targets:
    """The targets of a sample; a model of generated text has names of its own for them."""
    if hasattr(model, "targets"):
        found: Targets = model.targets(reading, target)
        return found
    return resolve(target, model.columns(reading), row, f"sample '{reading.sample}'")


def _perturbed(
    engine: Engine, subjects: Sequence[Subject], methods: Mapping[str, Any], question: Question
) -> Iterator[tuple[tuple[str, int], list[Attribution]]]:
    """What the perturbation methods find, by method and sample."""
    places, playings = [], []
    for name, method in methods.items():
        if not isinstance(method, Perturbation):
            continue
        for number, subject in enumerate(subjects):
            game = _game(name, method, subject, question)
            valued = partial(_valued, engine.model.scale, question.output, subject.targets.weights)
            places.append((name, number))
            playings.append(Playing(subject.reading, subject.division, valued, method.play(game)))
    for (name, number), outcome in zip(places, engine.run(playings), strict=True):
        subject = subjects[number]
        yield (
            (name, number),
            of_play(engine.model, subject, name, methods[name], outcome, question),
        )


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
        budget = method.budget(players) if question.budget is None else question.budget
    if budget < least:
        raise HarnessError(
            f"{name}: a budget of {budget} evaluations is too small for the {players} units of "
            f"sample '{subject.reading.sample}'; it needs {least}, or larger units"
        )
    return Game(players, budget, question.seed, subject.division.groups)


def _differentiated(
    model: Model,
    subjects: Sequence[Subject],
    methods: Mapping[str, Any],
    question: Question,
    batch_tokens: int | None,
) -> Iterator[tuple[tuple[str, int], list[Attribution]]]:
    """What gradient methods, and methods inside the network, find, by method and sample."""
    mine = {name: m for name, m in methods.items() if not isinstance(m, Perturbation)}
    if not mine:
        return
    if not isinstance(model, Differentiable):
        raise HarnessError(
            f"{next(iter(mine))} needs gradients, and {model.name} has none that can be had; use a "
            "perturbation method, such as kernel_shap"
        )
    slopes = [_slope(model, subject, question.seed) for subject in subjects]
    engine = GradientEngine(model, question.output, batch_tokens)
    for name, method in mine.items():
        if isinstance(method, Gradient):
            descending = [
                Descending(subject.reading, subject.targets.weights, method.descend(slope))
                for subject, slope in zip(subjects, slopes, strict=True)
            ]
            found = engine.run(descending)
        else:
            found = [
                (_inspected(model, name, method, subject, slope, question), 0)
                for subject, slope in zip(subjects, slopes, strict=True)
            ]
        for number, (subject, (descended, rows)) in enumerate(zip(subjects, found, strict=True)):
            yield (
                (name, number),
                of_descent(model, subject, name, method, descended, rows, question),
            )


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
