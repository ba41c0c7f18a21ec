"""The attributions of a suite, and the sentence that a prompt shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness import plugins
from harness.explainers.engine import Progress
from harness.explainers.explain import explain
from harness.explainers.explanation import Explanation
from harness.explainers.summary import summary
from harness.inputs import Inputs
from harness.records import HarnessError, Sample
from harness.suite import ExplainSpec, Suite


def explained(
    suite: Suite,
    spec: ExplainSpec,
    samples: Sequence[Sample],
    progress: Progress | None = None,
) -> Explanation:
    """The attributions that `spec` asks for, classes called as gold calls them.

    Raises `HarnessError` where the suite has no classifier, and as `harness.explain` does.
    """
    if suite.classifier is None:
        raise HarnessError("the suite has no classifier, so there is nothing to be explained")
    classifier = suite.classifier.create("classifiers", suite.folder)
    options: dict[str, Any] = {"seed": suite.seed, **spec.options}
    options["target"] = _own_names(options.get("target"), classifier.classes, suite.label_map)
    methods = {
        part.name: plugins.create("explainers", part.kind, suite.folder, **part.options)
        for part in spec.methods
    }
    units = [part.create("units", suite.folder) for part in spec.unit]
    names = [part.name for part in spec.unit]
    found = explain(
        classifier,
        samples,
        methods,
        dict(zip(names, units, strict=True)) or None,
        progress=progress,
        **options,
    )
    renamed = suite.label_map
    return Explanation(
        tuple(
            replace(a, target=" - ".join(renamed.get(t, t) for t in a.target.split(" - ")))
            for a in found
        ),
        found.samples,
    )


def with_evidence(inputs: Inputs, explanation: Explanation, spec: ExplainSpec) -> Inputs:
    """The inputs with their attributions, and a summary of each sample's by the first method."""
    first = spec.methods[0].name
    chosen: dict[str, str] = {}
    for attribution in explanation:
        if attribution.method == first and attribution.sample not in chosen:
            chosen[attribution.sample] = summary(attribution, spec.top)
    return replace(inputs, attributions=explanation.attributions, evidence=chosen)


def _own_names(target: Any, classes: Sequence[str], label_map: Mapping[str, str]) -> Any:
    """A target by the classifier's own name where gold's name is given."""
    back = {new: old for old, new in label_map.items() if old in classes}
    if isinstance(target, tuple):
        return tuple(back.get(one, one) for one in target)
    return back.get(target, target) if isinstance(target, str) else target
