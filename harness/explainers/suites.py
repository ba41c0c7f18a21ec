"""The attributions of a suite, what they are worth, and what a prompt shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness import checks, plugins
from harness.explainers.engine import Progress
from harness.explainers.explain import explain
from harness.explainers.explanation import Explanation
from harness.explainers.metrics.candidates import candidates
from harness.explainers.metrics.evaluate import evaluate
from harness.explainers.metrics.evaluation import Evaluation
from harness.explainers.summary import summary
from harness.identity import draw
from harness.inputs import Inputs, gold_name
from harness.records import Attribution, HarnessError, Sample
from harness.suite import ExplainSpec, PartSpec, Suite


def explained(
    suite: Suite,
    spec: ExplainSpec,
    samples: Sequence[Sample],
    progress: Progress | None = None,
    classifier: Any = None,
) -> Explanation:
    """The attributions that `spec` asks for, classes called as gold calls them.

    `classifier` is the suite's own, where it is built already. Raises `HarnessError` where the
    suite has none, and as `harness.explain` does.
    """
    classifier, units, options = _asked(suite, spec, classifier)
    options |= _background(options, samples)
    found = explain(
        classifier, samples, _methods(suite, spec.methods), units, progress=progress, **options
    )
    return _renamed_all(found, suite.label_map)


def evaluated(
    suite: Suite,
    spec: ExplainSpec,
    samples: Sequence[Sample],
    metrics: Sequence[str],
    progress: Progress | None = None,
) -> Evaluation:
    """What the methods of `spec` are worth on a suite's classifier; without methods, those of
    `harness.explainers.metrics.candidates` that it supports.

    Raises `HarnessError` where the suite has no classifier, and as `harness.evaluate` does.
    """
    classifier, units, options = _asked(suite, spec)
    options |= _background(options, samples)
    methods = _methods(suite, spec.methods) or candidates(classifier, samples)
    found = evaluate(
        classifier, samples, methods, units,
        metrics=list(metrics), progress=progress, beside=suite.folder, **options,
    )  # fmt: skip
    return replace(
        found,
        explanation=_renamed_all(found.explanation, suite.label_map),
        measurements=tuple(_renamed(one, suite.label_map) for one in found.measurements),
    )


def with_evidence(inputs: Inputs, explanation: Explanation, spec: ExplainSpec) -> Inputs:
    """The inputs with their attributions, and a summary of each sample's by the first method: of
    what speaks for the predicted label, where that is one of several targets."""
    first = spec.methods[0].name
    chosen: dict[str, Attribution] = {}
    for attribution in explanation:
        if attribution.method != first:
            continue
        predicted = inputs.predictions.get(attribution.sample)
        if predicted is not None and attribution.target == predicted.label:
            chosen[attribution.sample] = attribution
        chosen.setdefault(attribution.sample, attribution)
    evidence = {sample: summary(one, spec.top) for sample, one in chosen.items()}
    return replace(inputs, attributions=explanation.attributions, evidence=evidence)


def _asked(
    suite: Suite, spec: ExplainSpec, classifier: Any = None
) -> tuple[Any, dict[str, Any] | None, dict[str, Any]]:
    """The classifier, the units by name, and what else is asked for."""
    if suite.classifier is None:
        raise HarnessError("the suite has no classifier, so there is nothing to be explained")
    if classifier is None:
        classifier = suite.classifier.create("classifiers", suite.folder)
        checks.check_classifier(suite.classifier.name, classifier)
    options: dict[str, Any] = {"seed": suite.seed, **spec.options}
    options["target"] = _own_names(options.get("target"), classifier.classes, suite.label_map)
    units = {part.name: part.create("units", suite.folder) for part in spec.unit}
    return classifier, units or None, options


def _background(options: Mapping[str, Any], samples: Sequence[Sample]) -> dict[str, Any]:
    """The background set where a number of samples is named: these, drawn by the seed."""
    count = options.get("background")
    if not isinstance(count, int):
        return {}
    if count > len(samples):
        raise HarnessError(
            f"explain: a background of {count} samples, where there are {len(samples)}"
        )
    drawn = sorted(samples, key=lambda one: draw("background", options["seed"], one.id))
    return {"background": drawn[:count]}


def _methods(suite: Suite, parts: Sequence[PartSpec]) -> dict[str, Any]:
    return {
        part.name: plugins.create("explainers", part.kind, suite.folder, **part.options)
        for part in parts
    }


def _renamed_all(found: Explanation, label_map: Mapping[str, str]) -> Explanation:
    return Explanation(tuple(_renamed(a, label_map) for a in found), found.samples)


def _renamed(one: Any, label_map: Mapping[str, str]) -> Any:
    """An attribution or a measurement whose target is called as gold calls it."""
    target = " - ".join(gold_name(label_map, name) for name in one.target.split(" - "))
    return replace(one, target=target)


def _own_names(target: Any, classes: Sequence[str], label_map: Mapping[str, str]) -> Any:
    """A target by the classifier's own name where gold's name is given.

    Raises `HarnessError` for a class that there is not, with the names that a suite's user sees.
    """
    back = {gold_name(label_map, name): name for name in classes}
    if isinstance(target, (tuple, list)):
        return tuple(_own_name(one, classes, back) for one in target)
    return target if target == "all" else _own_name(target, classes, back)


def _own_name(target: Any, classes: Sequence[str], back: Mapping[str, str]) -> Any:
    if not isinstance(target, str) or target in classes or target in ("predicted", "runner_up"):
        return target
    if target not in back:
        names = ", ".join(list(back)[:20])
        raise HarnessError(
            f"there is no class '{target}'; targets are {names}, predicted, runner_up, all, or a "
            "pair of these"
        )
    return back[target]
