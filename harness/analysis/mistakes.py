"""What models write where the classifier is wrong: of its mistake, or of what is there."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from harness.analysis.score_table import ScoreTable
from harness.analysis.verdict import SHOWN_MODELS, figure
from harness.results import Estimate, Sentence
from harness.stats.arrays import plural

TOPIC = "classifier"


@dataclass(frozen=True)
class OnMistakes:
    """A model's accuracy on the samples whose label the classifier got wrong, and on the others."""

    model: str
    wrong: Estimate
    right: Estimate
    samples: int  # that the classifier got wrong


def accuracy_by_label(table: ScoreTable, invalid: Container[str] = ()) -> str | None:
    """The valid accuracy metric that mistakes are judged by; `None` where there is none.

    One against the gold of the true label (`vs_true`) comes first: an explanation of the wrong
    label costs it claims, while a measure of what is seen in the input may not notice.
    """
    named = [
        name
        for name, (_, metric) in table.metrics.items()
        if metric.headline == "accuracy" and name not in invalid
    ]
    scored = [name for name in named if any(table.rows(name, model) for model in table.models)]
    return next((name for name in scored if "vs_true" in name), next(iter(scored), None))


def on_mistakes(table: ScoreTable, metric: str) -> list[OnMistakes]:
    """Each model's estimates apart; none where the classifier was right, or wrong, throughout."""
    run = table.run
    wrong = {s for s, p in run.predictions.items() if p.label != run.samples[s].label}
    found = []
    for model in table.models:
        rows = table.rows(metric, model, table.ranked)
        there = [row for row in rows if row.cell.sample in wrong]
        elsewhere = [row for row in rows if row.cell.sample not in wrong]
        if there and elsewhere:
            estimates = table.estimate(metric, there), table.estimate(metric, elsewhere)
            found.append(OnMistakes(model, *estimates, samples=len(wrong)))
    return found


def with_mistakes(
    sentences: Sequence[Sentence], metric: str, found: Sequence[OnMistakes]
) -> tuple[Sentence, ...]:
    """The verdict with what models do on the samples that the classifier got wrong.

    That is said where the classifier is spoken of, or in a sentence of its own.
    """
    if not found:
        return tuple(sentences)
    shown = "; ".join(
        f"{one.model} {figure(one.wrong)} (elsewhere {figure(one.right)})"
        for one in found[:SHOWN_MODELS]
    )
    if len(found) > SHOWN_MODELS:
        shown += f"; and {len(found) - SHOWN_MODELS} more"
    samples = f"{found[0].samples:,} {plural('sample', found[0].samples)}"
    text = f"Where the classifier is wrong ({samples}), {metric}: {shown}."
    if all(sentence.topic != TOPIC for sentence in sentences):
        return (*sentences, Sentence(TOPIC, text))
    return tuple(
        replace(one, text=f"{one.text} {text}") if one.topic == TOPIC else one for one in sentences
    )
