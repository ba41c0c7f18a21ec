"""Whether a model says the same thing again: explanations of one sample held against each other.

It is content that is compared, not wording, and never truth: a model that always gives the same
wrong answer is perfectly stable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

from harness.contracts import EntailmentModel
from harness.records import Generation, GoldRecord, Metric, Request, Score, Separation, Subject
from harness.scorers.claims import Claims
from harness.scorers.entailment import SUPPORTED, WINDOW
from harness.scorers.explanations import explanation_text
from harness.sentences import sentences, windows

Axis = Literal["variant", "repeat", "arm"]
_LONGEST = 200  # sentences; an answer that goes on for longer repeats itself or lists everything
_PLACES: dict[int, Axis] = {3: "variant", 4: "arm", 6: "repeat"}

# mix(0.5) changes its content in half of all pairs, so it lies at about half of the way between
# sameness and another label's text; a margin of .1 leaves room for words that labels share.
_PROMISES = (Separation("gold", "mix(0.5)", 0.1), Separation("paraphrase", "mix(0.5)", 0.05))
_CLAIM_ABOUT = (
    "Of the gold claims that either of two answers states or denies, the share on which both say "
    "the same, averaged over pairs. Claims on which both are silent are left out, because they "
    "would agree by chance; not applicable without gold, or where no answer touches a claim."
)


class Stability:
    """Agreement within groups of cells that differ in variant, repeat or arm alone.

    Headline is the mutual coverage of sentences by the entailment model: it needs no gold, also
    hears what gold is silent on, and lets a contradiction count against agreement. The agreement of
    claim verdicts stands beside it: blind to wording, but also to all that is not in gold.

    A refusal or an empty answer does not agree with an explanation at all; two of them have nothing
    on which to agree and make no pair. A group without a pair is not applicable. Of an answer the
    first 200 sentences are compared.
    """

    metrics = (
        Metric("prompt_stability", subject="group", axis="variant", separates=_PROMISES,
               headline="stability", title="agreement over wordings",
               about="Mean pairwise agreement of what is said under different wordings of one "
               "question: how far the sentences of each answer are stated by the other."),
        Metric("prompt_claim_agreement", subject="group", axis="variant",
               title="claims agreed on over wordings", about=_CLAIM_ABOUT),
        Metric("sampling_stability", subject="group", axis="repeat",
               separates=(Separation("gold", "mix(0.5)", 0.1),), title="agreement over repeats",
               about="The same agreement among repetitions of one and the same prompt: the ceiling "
               "for prompt stability, and one minus it the floor of what chance alone changes."),
        Metric("sampling_claim_agreement", subject="group", axis="repeat",
               title="claims agreed on over repeats", about=_CLAIM_ABOUT),
        Metric("repeat_identical", subject="group", axis="repeat", direction=None,
               title="repeats with the very same text",
               about="Share of pairs of repetitions with the very same text."),
        Metric("label_arm_effect", subject="group", axis="arm", direction=None,
               title="change with the told label",
               about="One minus the mean pairwise agreement across label arms: how much of the "
               "explanation follows the label that is told."),
    )  # fmt: skip

    def __init__(
        self, entailment: str | None = None, threshold: float = SUPPORTED, embedder: str = "builtin"
    ) -> None:
        self._claims = Claims(entailment, threshold, embedder)
        self.settings = self._claims.settings
        self._agreement: dict[tuple[str, str], float] = {}

    @cached_property
    def model(self) -> EntailmentModel:
        """The entailment model that compares sentences."""
        return self._claims.model

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """The entailment model's weights and settings."""
        return self._claims.fingerprint

    def ready(self) -> None:
        """Loads the entailment model, so that a missing one is told before anything is asked."""
        self._claims.ready()

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: no language model is asked."""
        return ()

    def prepare(
        self, subjects: Sequence[Subject], generations: Sequence[Sequence[Generation]]
    ) -> None:
        """Embeds every distinct sentence at once, where the model can."""
        self._claims.prepare(subjects, generations)

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """The metrics of the axis along which the group varies."""
        axis = _axis(subject)
        texts = [
            explanation_text(generation, subject.schema)
            for generation in generations[: len(subject.cells)]
        ]
        pairs = [(a, b) for a, b in combinations(texts, 2) if a.strip() or b.strip()]
        same = _mean([self.agreement(a, b) for a, b in pairs])
        if axis == "arm":
            return [Score("label_arm_effect", None if same is None else 1.0 - same)]
        claims = _mean(self._claim_agreements(texts, subject.gold_true))
        if axis == "variant":
            return [Score("prompt_stability", same), Score("prompt_claim_agreement", claims)]
        raw = [g.text for g in generations[: len(subject.cells)]]
        identical = _mean([float(a == b) for a, b in combinations(raw, 2)])
        return [
            Score("sampling_stability", same),
            Score("sampling_claim_agreement", claims),
            Score("repeat_identical", identical),
        ]

    def agreement(self, a: str, b: str) -> float:
        """How far two texts say the same, in [0, 1]; symmetric, 1 for the same sentences.

        The mean over the sentences of both of how well the other text states them (over its
        sentences and windows of three), less how far it contradicts them, not below 0.
        """
        a, b = min(a, b), max(a, b)
        if (a, b) not in self._agreement:
            self._agreement[a, b] = self._agree(sentences(a)[:_LONGEST], sentences(b)[:_LONGEST])
        return self._agreement[a, b]

    def _agree(self, a: Sequence[str], b: Sequence[str]) -> float:
        if not a or not b:
            return float(not a and not b)
        if sorted(a) == sorted(b):
            return 1.0
        return (self._stated(a, b) + self._stated(b, a)) / 2

    def _stated(self, said: Sequence[str], by: Sequence[str]) -> float:
        known = set(by)
        premises = (*by, *windows(by, WINDOW))
        open_ones = [sentence for sentence in said if sentence not in known]
        scores = self.model.entailment([(p, sentence) for sentence in open_ones for p in premises])
        total = float(len(said) - len(open_ones))
        for i in range(len(open_ones)):
            own = scores[i * len(premises) : (i + 1) * len(premises)]
            support = max(score.support for score in own)
            against = max(score.contradiction for score in own[: len(by)])
            total += support if support >= against else max(0.0, support - against)
        return total / len(said)

    def _claim_agreements(self, texts: Sequence[str], record: GoldRecord | None) -> list[float]:
        if record is None:
            return []
        found = []
        readings = [self._claims.reading(text, record).verdicts for text in texts]
        for a, b in combinations(readings, 2):
            touched = [
                x.verdict == y.verdict
                for x, y in zip(a, b, strict=True)
                if not x.verdict == y.verdict == "unsupported"
            ]
            if touched:
                found.append(sum(touched) / len(touched))
        return found


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _axis(subject: Subject) -> Axis:
    """The field that a group's id leaves open (`*`), else the one in which its cells differ."""
    parts = subject.id.split("/")
    for place, axis in _PLACES.items():
        if len(parts) == 7 and parts[place] == "*":
            return axis
    fields: tuple[Axis, ...] = ("variant", "arm", "repeat")
    for field in fields:
        values: set[Any] = {getattr(cell, field) for cell in subject.cells}
        if len(values) > 1:
            return field
    return "repeat"
