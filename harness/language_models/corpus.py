"""What the language models are trained on: every prompt of the OCTA family, and reports.

Prompts are rendered from the family's own files, for every variant and for a right, a wrong and no
told label. The answer to learn is always a report of the image's own findings, so whether a model
follows image or label is found out, not taught. A text-only model sees the label alone and learns
reports of other images with that label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.octa.findings import Findings, write
from harness.octa.pathology import LABELS
from harness.prompts import Family, Variant
from harness.records import Media, Message, Part
from harness.templates import render

ARM_SHARES = (0.4, 0.35, 0.25)
"""Shares of prompts that tell the right label, a wrong one, and none."""

WITHOUT_PROBABILITIES = 0.1
"""Share of told labels without probabilities, as of a classifier that gives none."""

PICTURE = Part(media=Media("0" * 64, "image/png", data=b""))


@dataclass(frozen=True)
class Example:
    """A conversation and the report that is to follow it."""

    messages: tuple[Message, ...]
    report: str


class Corpus:
    """Draws examples of a prompt family.

    `reports` are the findings of all training images, from which a text-only model's answers and
    the answers before an "are you sure?" are drawn.
    """

    def __init__(self, family: Family, reports: Sequence[Findings]) -> None:
        self._family = family
        self._reports = reports
        self._by_label: dict[str, list[Findings]] = {
            label: [one for one in reports if one.stage == label] for label in LABELS
        }

    def seeing(self, findings: Findings, rng: np.random.Generator) -> Example:
        """A prompt that may show the picture, and the report of what is in it."""
        messages = self._conversation(findings, rng)
        return Example(messages, write(findings, rng))

    def blind(self, rng: np.random.Generator) -> Example:
        """A prompt without the picture, and the report of some image with the told label."""
        told = None if rng.random() < ARM_SHARES[2] else str(rng.choice(LABELS))
        pool = self._reports if told is None else self._by_label[told]
        findings = pool[int(rng.integers(len(pool)))]
        messages = self._asked(told, findings, rng)
        return Example(tuple(without_pictures(messages)), write(findings, rng))

    def texts(self, count: int, rng: np.random.Generator) -> Iterator[str]:
        """Prompts and reports as plain text, for a vocabulary to be learned from."""
        for _ in range(count):
            findings = self._reports[int(rng.integers(len(self._reports)))]
            example = self.seeing(findings, rng)
            yield from (message.text for message in example.messages)
            yield example.report

    def _conversation(self, findings: Findings, rng: np.random.Generator) -> tuple[Message, ...]:
        arm = int(rng.choice(3, p=ARM_SHARES))
        others = [label for label in LABELS if label != findings.stage]
        told = (findings.stage, str(rng.choice(others)), None)[arm]
        return self._asked(told, findings, rng)

    def _asked(
        self, told: str | None, findings: Findings, rng: np.random.Generator
    ) -> tuple[Message, ...]:
        while True:
            variant = self._family.variants[int(rng.integers(len(self._family.variants)))]
            template = variant.for_arm("none" if told is None else "predicted")
            context = self._context(variant, told, findings, rng)
            if template is not None and _renders(variant, context):
                break
        turns = render(template, context, f"{self._family.name}/{variant.name}")
        messages = turns[0].messages
        if len(turns) > 1 and rng.random() < 0.5:
            earlier = self._reports[int(rng.integers(len(self._reports)))]
            said = findings if rng.random() < 0.5 else earlier
            answer = Message.of("assistant", write(said, rng))
            messages = (*messages, answer, *turns[1].messages)
        return messages

    def _context(
        self, variant: Variant, told: str | None, findings: Findings, rng: np.random.Generator
    ) -> dict[str, Any]:
        context: dict[str, Any] = {
            "id": f"{int(rng.integers(16**10)):010x}",
            "input": (PICTURE,),
            "aspect": str(rng.choice(self._family.aspects)),
            "question": self._family.question,
            "language": self._family.language,
        }
        if variant.oracle:
            context["gold_evidence"] = write(findings)
        if told is not None:
            context["label"] = told
            if rng.random() >= WITHOUT_PROBABILITIES:
                probabilities = _probabilities(told, rng)
                context["probability"] = probabilities[told]
                context["probabilities"] = probabilities
        return context


def without_pictures(messages: Sequence[Message]) -> Iterator[Message]:
    """The messages as a model that takes no images is asked."""
    for message in messages:
        yield Message(message.role, tuple(part for part in message.parts if part.media is None))


def _renders(variant: Variant, context: dict[str, Any]) -> bool:
    """Whether the context has what the variant needs; `probability` is always asked for."""
    needs_probabilities = "probabilities" in variant.template.variables
    return not needs_probabilities or "probabilities" in context or "label" not in context


def _probabilities(told: str, rng: np.random.Generator) -> dict[str, float]:
    """A classifier's probabilities with `told` on top, highest first."""
    top = float(1.0 - 0.6 * rng.beta(0.6, 2.0))
    share = float(rng.random()) * (1.0 - top)
    rest = [min(share, top), max(0.0, 1.0 - top - share)]
    others = list(rng.permutation([label for label in LABELS if label != told]))
    values = {told: top, **{str(label): rest[i] for i, label in enumerate(others)}}
    return dict(sorted(values.items(), key=lambda item: (-item[1], item[0])))
