"""What stands beside the verdict's figure of stability: reversals, the floor, and how far both
can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.verdict import SHOWN_MODELS, figure
from harness.results import MetricSummary, ModelSummary, Ordering, Sentence


def with_reversals(
    sentences: Sequence[Sentence],
    metrics: Sequence[MetricSummary],
    models: Sequence[ModelSummary],
    orderings: Sequence[Ordering],
) -> tuple[Sentence, ...]:
    """The sentences, that on stability with what each model reverses and with the floor: what
    repeats of one prompt keep and reverse."""
    headline = next((m for m in metrics if m.metric.headline == "stability"), None)
    if headline is None or not any(m.id == f"{headline.scorer}.prompt_reversed" for m in metrics):
        return tuple(sentences)
    own = [m for m in models if not m.control and m.planned][:SHOWN_MODELS]
    scorer = headline.scorer
    said = []
    turned = _figures(own, f"{scorer}.prompt_reversed")
    if turned:
        said.append(f"Statements reversed over wordings: {turned}.")
    kept, floor = (_figures(own, f"{scorer}.sampling_{name}") for name in ("kept", "reversed"))
    if kept:
        said.append(f"The floor, repeats of one prompt: kept {kept}; reversed {floor}.")
    ordering = next((one for one in orderings if one.scorer == scorer), None)
    if ordering is not None:
        said.append(f"This scorer {ordering.said}.")
    return tuple(
        replace(s, text=" ".join([s.text, *said])) if s.topic == "stability" and turned else s
        for s in sentences
    )


def _figures(models: Sequence[ModelSummary], metric: str) -> str:
    shown = [
        f"{model.name} {figure(model.estimates[metric])}"
        for model in models
        if metric in model.estimates and model.estimates[metric].value is not None
    ]
    return "; ".join(shown)
