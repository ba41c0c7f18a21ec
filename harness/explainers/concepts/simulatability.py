"""Do labelled concepts help to foresee what the classifier says? With a language model in place of
the person who is to foresee it.

The same samples are asked about twice: after samples with their predictions alone, and with the
concepts of each class beside them. What the concepts add is the difference of both accuracies.

Source: Poche et al. 2025, "ConSim: measuring concept-based explanations' effectiveness with
automated simulatability". Nothing is asked here; requests go through any backend.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import Generation, HarnessError, Message, Part, Request, Sample, Sampling

_TASK = "A classifier puts inputs into one of these classes: {classes}."
_LEARN = "These are inputs with what the classifier said of them:"
_CONCEPTS = "Concepts that the classifier uses, the most important first:"
_NOW = (
    "What does the classifier say of this input? It may be wrong; say what it says. Answer with "
    "the name of one class and nothing else."
)


@dataclass(frozen=True)
class Simulatability:
    """Shares of samples whose prediction was foreseen, in [0, 1], without concepts and with them;
    `gain` is the difference. Answers that name no class count as wrong; `unread` is their share."""

    without: float
    with_concepts: float
    gain: float
    unread: float
    samples: int


def foresee_request(
    backend: str,
    model: str,
    sample: Sample,
    classes: Sequence[str],
    learned: Sequence[tuple[Sample, str]],
    concepts: Mapping[str, Sequence[tuple[str, float]]] | None = None,
    revision: str | None = None,
    sampling: Sampling | None = None,
) -> Request:
    """Asks what the classifier says of a sample, after `learned` samples with its predictions.

    `concepts` are labels with their importance by class: positive ones speak for it. Raises
    `HarnessError` for a class that there is not, and for a sample among those that are learned.
    """
    for _, predicted in learned:
        if predicted not in classes:
            raise HarnessError(f"'{predicted}' is none of the classes {', '.join(classes)}")
    if any(one.id == sample.id for one, _ in learned):
        raise HarnessError(f"sample '{sample.id}' is asked about and told at once; leave it out")
    parts = [Part(_TASK.format(classes=", ".join(classes)))]
    if concepts:
        parts.append(Part("\n".join([_CONCEPTS, *_lines(concepts, classes)])))
    if learned:
        parts.append(Part(_LEARN))
        for one, predicted in learned:
            parts += [*one.input, Part(f"The classifier said: {predicted}")]
    parts += [Part(_NOW), *sample.input]
    drawn = sampling or Sampling(temperature=0.0, max_tokens=32)
    return Request(backend, model, (Message("user", tuple(parts)),), revision, drawn)


def read_class(generation: Generation, classes: Sequence[str]) -> str | None:
    """The class that an answer names first, whatever its case; of names that begin at the same
    place the longest. `None` where it names none."""
    if generation.error:
        return None
    found = []
    for name in classes:
        hit = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", generation.text, re.IGNORECASE)
        if hit:
            found.append((hit.start(), -len(name), name))
    return min(found)[2] if found else None


def simulatability(
    without: Sequence[str | None], with_concepts: Sequence[str | None], predicted: Sequence[str]
) -> Simulatability:
    """From what was read of the answers, in the order of the predictions. Raises `HarnessError`
    where there are none."""
    if not predicted:
        raise HarnessError("there is no sample whose prediction could be foreseen")
    count = len(predicted)
    plain, helped = (
        sum(said == wanted for said, wanted in zip(answers, predicted, strict=True)) / count
        for answers in (without, with_concepts)
    )
    unread = sum(answer is None for answer in (*without, *with_concepts)) / (2 * count)
    return Simulatability(plain, helped, helped - plain, unread, count)


def _lines(
    concepts: Mapping[str, Sequence[tuple[str, float]]], classes: Sequence[str]
) -> list[str]:
    lines = []
    for name, own in concepts.items():
        if name not in classes:
            raise HarnessError(f"'{name}' is none of the classes {', '.join(classes)}")
        ranked = sorted(own, key=lambda one: -abs(one[1]))
        told = [f"{label} ({'for' if value > 0 else 'against'} it)" for label, value in ranked]
        lines.append(f"- {name}: {'; '.join(told) if told else 'none'}")
    return lines
