"""From a classifier, samples and methods to what each method's attributions are worth.

Methods, metrics and references of a call share one engine, so a set of units that several of them
look at is paid for once; metrics that have a method explain again share what it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import plugins
from harness.explainers.block import Block
from harness.explainers.explain import blocks, make_methods
from harness.explainers.explanation import Explanation
from harness.explainers.metrics.alterations import Alteration
from harness.explainers.metrics.evaluation import Evaluation, Measurement
from harness.explainers.metrics.evidence import counted, located, names_of
from harness.explainers.metrics.metric import (
    AskingMetric,
    LookingMetric,
    Measured,
    Repeated,
    RepeatingMetric,
    Trial,
)
from harness.explainers.metrics.references import REFERENCES, Reference
from harness.explainers.results import Subject
from harness.identity import draw
from harness.plugins import blamed
from harness.records import Attribution, HarnessError, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOCALISATION = ("pointing_game", "relevance_mass", "relevance_rank", "iou", "f1", "auprc")
FAITHFULNESS = (
    "deletion", "insertion", "comprehensiveness", "sufficiency", "infidelity", "sensitivity_n",
    "tau_loo", "monotonicity",
)  # fmt: skip
METRICS = (
    *FAITHFULNESS, "max_sensitivity", "local_lipschitz", "seed_stability", *LOCALISATION,
    "sparseness", "entropy", "effective_size", "parameter_randomisation", "random_logit",
    "completeness", "input_invariance",
)  # fmt: skip
"""Every metric that is built in, by family."""


def evaluate(
    classifier: Any,
    samples: Any,
    method: Any = (),
    unit: Any = None,
    *,
    metrics: Any = METRICS,
    attributions: Any = None,
    evidence: Any = None,
    references: Sequence[str] = tuple(REFERENCES),
    settings: Mapping[str, Any] | None = None,
    metric_settings: Mapping[str, Mapping[str, Any]] | None = None,
    beside: Path | None = None,
    **options: Any,
) -> Evaluation:
    """What attributions of a classifier are worth, beside attributions that know nothing.

    - `classifier`, `samples`, `method`, `unit`, `settings` and all other `options` (target, output,
      removal, budget, seed, ...) as of `harness.explain`
    - `metrics`: names (`harness list metrics`), metrics of one's own, or several of these in a list
      or a mapping by name; all that are built in unless given. `metric_settings` are theirs by name
    - `attributions`: values that are there already, beside the methods or instead of them: an
      `Explanation` of these samples, or a mapping from a name to one array a sample (a value for
      each unit that is seen, in order). Metrics for which a method explains again leave them out
    - `evidence`: for samples whose records hold none, one mask of the input's shape or list of
      character spans a sample. Where evidence has several names, each has metrics of its own,
      written `iou[name]`, besides those of all together
    - `references`: of `random`, `everything` and `darkness` (of images), those to be held against

    Raises `HarnessError` as `harness.explain` does, and for attributions that do not fit the
    samples' units.
    """
    methods = make_methods(method, settings or {}, beside) if method else {}
    given = _given(attributions)
    if not methods and not given:
        raise HarnessError("there is nothing to be measured: name methods, or give attributions")
    for name in references:
        if name not in REFERENCES:
            raise HarnessError(f"references are {', '.join(REFERENCES)}, not '{name}'")
    taken = [name for name in (*methods, *given) if name in references]
    if taken or set(methods) & set(given):
        double = taken[0] if taken else sorted(set(methods) & set(given))[0]
        raise HarnessError(f"the name '{double}' stands twice; call the attributions otherwise")
    chosen = make_metrics(metrics, metric_settings or {}, beside)
    known = {name: REFERENCES[name]() for name in references}
    found: list[Attribution] = []
    measurements: list[Measurement] = []
    seen: list[Sample] = []
    labels: dict[str, Any] = dict(chosen)
    for block in blocks(classifier, samples, unit, beside=beside, **options):
        here = _Round(block, methods, known, len(seen), evidence)
        here.explain(given)
        found += here.attributions()
        labels |= _by_evidence(chosen, names_of(here.trials.values()))
        measurements += here.measured(labels)
        seen += block.samples
    seed = int(options.get("seed", 0))
    clusters = {sample.id: sample.cluster or sample.id for sample in seen}
    explanation = Explanation(tuple(found), tuple(seen))
    return Evaluation(explanation, tuple(measurements), labels, clusters, seed)


def make_metrics(
    metrics: Any, settings: Mapping[str, Mapping[str, Any]], beside: Path | None = None
) -> dict[str, Any]:
    """Metrics by name. Raises `HarnessError` for an unknown one, and for settings of none."""
    named = plugins.by_name(metrics)
    if strange := sorted(set(settings) - set(named)):
        raise HarnessError(
            f"settings of '{strange[0]}', which is none of the metrics {', '.join(named)}"
        )
    made = {
        name: plugins.create("metrics", one, beside, **settings.get(name, {}))
        if isinstance(one, str)
        else one
        for name, one in named.items()
    }
    for name, one in made.items():
        if not isinstance(one, (AskingMetric, LookingMetric, RepeatingMetric)):
            raise HarnessError(f"metric '{name}' has none of ask, look and compare")
    return made


@dataclass(frozen=True)
class _Place:
    """One attribution of a round: by which method, of which sample and target by their places; of a
    reference, which of its draws."""

    method: str
    number: int
    target: int
    draw: int = 0


class _Round:
    """The samples of one block with everything that is said of them."""

    def __init__(
        self,
        block: Block,
        methods: Mapping[str, Any],
        references: Mapping[str, Reference],
        start: int,
        evidence: Any,
    ) -> None:
        self.block, self._methods, self._references, self._start = block, methods, references, start
        self._evidence = [
            located(
                sample,
                subject.reading,
                block.engine.model,
                None if evidence is None else evidence[start + number],
            )
            for number, (sample, subject) in enumerate(
                zip(block.samples, block.subjects, strict=True)
            )
        ]
        self._counted = [counted(subject.reading) for subject in block.subjects]
        self.trials: dict[_Place, Trial] = {}
        self._found: dict[tuple[str, int], list[Attribution]] = {}

    def explain(self, given: Mapping[str, Any]) -> None:
        """Has every method explain, and lays out a trial for each attribution and reference."""
        self._found = self.block.explained(self._methods)
        said = {
            _Place(name, number, target): values
            for (name, number), several in self._found.items()
            for target, values in enumerate(map(self.block.subjects[number].values_of, several))
        }
        for name, values in given.items():
            said |= self._of_given(name, values)
        said |= self._referred(self.block, "")
        self.trials = {place: self._trial(place, values) for place, values in said.items()}

    def _of_given(self, name: str, values: Any) -> dict[_Place, NDArray[np.float64]]:
        import numpy as np

        said: dict[_Place, NDArray[np.float64]] = {}
        for number, subject in enumerate(self.block.subjects):
            players = len(subject.division.players)
            if isinstance(values, Explanation):
                mine = [a for a in values if a.sample == subject.reading.sample]
                rows = list(_matched(mine, subject, name))
            else:
                one = values[self._start + number]
                one = one.detach().cpu().numpy() if hasattr(one, "detach") else np.asarray(one)
                rows = [one.astype(np.float64).reshape(-1)]
                if len(rows[0]) != players or len(subject.targets.names) != 1:
                    raise HarnessError(
                        f"the attributions '{name}' of sample '{subject.reading.sample}' are "
                        f"{len(rows[0])} values for {players} units and "
                        f"{len(subject.targets.names)} targets; give one a unit, for one target"
                    )
            said |= {_Place(name, number, t): row for t, row in enumerate(rows)}
        return said

    def _trial(self, place: _Place, values: NDArray[np.float64]) -> Trial:
        subject = self.block.subjects[place.number]
        seed = draw("trial", self.block.question.seed, subject.reading.sample)
        return Trial(
            values,
            float(subject.full[place.target]),
            float(subject.empty[place.target]),
            subject.range,
            int(seed * 2**48),
            subject.division,
            self._counted[place.number],
            self._evidence[place.number],
        )

    def attributions(self) -> Iterator[Attribution]:
        """Those of the methods, in the order of samples, then methods, then targets."""
        for number in range(len(self.block.subjects)):
            for name in self._methods:
                yield from self._found[name, number]

    # --- measuring ------------------------------------------------------------------------

    def measured(self, metrics: Mapping[str, Any]) -> Iterator[Measurement]:
        """Each metric of each attribution, in the order of metrics, then attributions."""
        results = {name: dict[_Place, Measured]() for name in metrics}
        self._ask({n: m for n, m in metrics.items() if isinstance(m, AskingMetric)}, results)
        for name, metric in metrics.items():
            if isinstance(metric, LookingMetric):
                with blamed(f"metric '{name}' failed"):
                    results[name] = {p: metric.look(trial) for p, trial in self.trials.items()}
        self._repeat({n: m for n, m in metrics.items() if isinstance(m, RepeatingMetric)}, results)
        for name, found in results.items():
            for place, measured in _over_draws(found).items():
                subject = self.block.subjects[place.number]
                yield Measurement(
                    subject.reading.sample,
                    place.method,
                    subject.targets.names[place.target],
                    name,
                    measured.value,
                    measured.detail,
                    measured.why,
                    place.method in self._references,
                )

    def _ask(
        self, metrics: Mapping[str, Any], results: Mapping[str, dict[_Place, Measured]]
    ) -> None:
        places, playings = [], []
        for name, metric in metrics.items():
            for place, trial in self.trials.items():
                subject = self.block.subjects[place.number]
                weights = subject.targets.weights[:, [place.target]]
                places.append((name, place))
                playings.append(self.block.playing(subject, weights, _single(metric.ask(trial))))
        for (name, place), outcome in zip(places, self.block.engine.run(playings), strict=True):
            results[name][place] = outcome.found

    def _repeat(
        self, metrics: Mapping[str, Any], results: Mapping[str, dict[_Place, Measured]]
    ) -> None:
        """Explains again under each alteration once, whatever metrics ask for it."""
        altered = {one: None for metric in metrics.values() for one in metric.alterations}
        said = {alteration: self._again(alteration) for alteration in altered}
        for name, metric in metrics.items():
            for place, trial in self.trials.items():
                repeated = [said[alteration].get(place) for alteration in metric.alterations]
                why = next((one for one in repeated if isinstance(one, str)), None)
                if why is None and any(one is None for one in repeated):
                    why = "the attributions were given, so nothing can explain again"
                if why is not None:
                    results[name][place] = Measured(None, {}, why)
                    continue
                with blamed(f"metric '{name}' failed"):
                    results[name][place] = metric.compare(trial, repeated)

    def _again(self, alteration: Alteration) -> dict[_Place, Repeated | str]:
        """What is said under an alteration, or why nothing can be."""
        if why := alteration.refused(self.block):
            return dict.fromkeys(self.trials, why)
        try:
            return self._altered(alteration)
        except HarnessError as error:
            return dict.fromkeys(self.trials, str(error))

    def _altered(self, alteration: Alteration) -> dict[_Place, Repeated | str]:
        said: dict[_Place, Repeated | str] = {}
        idle = {name for name, method in self._methods.items() if alteration.idle(method)}
        said |= {p: Repeated(t.values) for p, t in self.trials.items() if p.method in idle}
        methods = {name: m for name, m in self._methods.items() if name not in idle}
        with alteration.under(self.block) as block:
            moved = [alteration.moved(block, subject) for subject in block.subjects]
            for (name, number), several in _each(block, methods).items():
                if isinstance(several, str):
                    for target in range(len(block.subjects[number].targets.names)):
                        said[_Place(name, number, target)] = several
                    continue
                for target, values in enumerate(map(block.subjects[number].values_of, several)):
                    said[_Place(name, number, target)] = Repeated(values, moved[number])
            for place, found in self._referred(block, repr(alteration)).items():
                said[place] = Repeated(found, moved[place.number])
        return said

    def _referred(self, block: Block, again: str) -> dict[_Place, NDArray[np.float64]]:
        """What the references say of a block's samples, where they apply."""
        return {
            _Place(name, number, target, number_of): values
            for number, subject in enumerate(block.subjects)
            for name, reference in self._references.items()
            for number_of in range(reference.draws)
            if (values := reference.values(subject, block.question.seed, _again(again, number_of)))
            is not None
            for target in range(len(subject.targets.names))
        }


def _again(alteration: str, number: int) -> str:
    """What tells a draw from the others; the first is what it was before there were several."""
    return f"{alteration}/{number}" if number else alteration


def _over_draws(found: Mapping[_Place, Measured]) -> dict[_Place, Measured]:
    """What was measured, with the draws of a reference as one: the mean of those that apply, and of
    numbers in their details that all of them have."""
    several: dict[_Place, list[Measured]] = {}
    for place, measured in found.items():
        several.setdefault(replace(place, draw=0), []).append(measured)
    return {place: _mean(mine) for place, mine in several.items()}


def _mean(several: Sequence[Measured]) -> Measured:
    known = [(one, one.value) for one in several if one.value is not None]
    if len(several) == 1 or not known:
        return several[0]
    details = [one.detail for one, _ in known]
    detail = {
        name: _mean_of([mine[name] for mine in details])
        for name in details[0]
        if all(name in mine for mine in details)
    }
    value = sum(number for _, number in known) / len(known)
    return Measured(value, {**detail, "draws": len(known)})


def _mean_of(values: Sequence[Any]) -> Any:
    """The mean of numbers, or of lists of numbers of one length; of anything else the first."""
    import numpy as np

    try:
        return np.asarray(values, dtype=np.float64).mean(axis=0).tolist()
    except (TypeError, ValueError):
        return values[0]


def _each(
    block: Block, methods: Mapping[str, Any]
) -> dict[tuple[str, int], list[Attribution] | str]:
    """What every method says; where one of them fails, each on its own, and why it fails."""
    try:
        return dict(block.explained(methods))
    except HarnessError:
        found: dict[tuple[str, int], list[Attribution] | str] = {}
        for name, method in methods.items():
            try:
                found |= block.explained({name: method})
            except HarnessError as error:
                found |= {(name, number): str(error) for number in range(len(block.subjects))}
        return found


def _single(asking: Any) -> Any:
    """A metric's play: it is sent the values of its one target."""
    answer = None
    while True:
        try:
            sets = next(asking) if answer is None else asking.send(answer[:, 0])
        except StopIteration as end:
            return end.value
        answer = yield sets


def _matched(
    several: Sequence[Attribution], subject: Subject, name: str
) -> Iterator[NDArray[np.float64]]:
    """Values of given attributions, target by target. Raises `HarnessError` for other units."""
    by_target = {a.target: a for a in several}
    for target in subject.targets.names:
        mine = by_target.get(target)
        if mine is None or mine.units != subject.division.units:
            what = "none for" if mine is None else "other units for"
            raise HarnessError(
                f"the attributions '{name}' hold {what} target '{target}' of sample "
                f"'{subject.reading.sample}'; measure them as they were made"
            )
        yield subject.values_of(mine)


def _given(attributions: Any) -> dict[str, Any]:
    """Given attributions by name; an explanation by its methods."""
    if attributions is None:
        return {}
    if isinstance(attributions, Explanation):
        methods = dict.fromkeys(a.method for a in attributions)
        return {
            name: Explanation(tuple(a for a in attributions if a.method == name))
            for name in methods
        }
    return dict(attributions)


def _by_evidence(metrics: Mapping[str, Any], names: Iterator[str]) -> dict[str, Any]:
    """Metrics of localisation for each name of evidence, where there are several."""
    several = list(names)
    if len(several) < 2:
        return {}
    return {
        f"{label}[{name}]": type(metric)(evidence=name)
        for label, metric in metrics.items()
        if metric.family == "localisation" and metric.settings.get("evidence") == ""
        for name in several
    }
