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
from harness.records import (
    Cell,
    Generation,
    GoldRecord,
    HarnessError,
    Metric,
    Request,
    Score,
    Separation,
    Subject,
)
from harness.scorers.claims import Claims
from harness.scorers.embeddings import Embedder
from harness.scorers.entailment import SUPPORTED
from harness.scorers.explanations import explanation_text
from harness.scorers.statements import KEPT, AnswerPair, Comparer, Statement, statements

Axis = Literal["variant", "repeat", "arm"]
_PLACES: dict[int, Axis] = {3: "variant", 4: "arm", 6: "repeat"}
_NAMES: dict[Axis, str] = {"variant": "prompt", "repeat": "sampling", "arm": "arm"}
_OVER = {"variant": "wordings", "repeat": "repeats", "arm": "told labels"}

# mix(0.5) changes its content in half of all pairs, so it lies at about half of the way between
# sameness and another label's text; a margin of .1 leaves room for words that labels share.
_KEPT = (
    Separation("gold", "mix(0.5)", 0.1),
    Separation("paraphrase", "mix(0.5)", 0.05),
    Separation("reworded", "one-dropped"),
)
_REVERSED = (Separation("reworded", "one-reversed"),)
# Of the built-in models, by `benchmarks/stability_of_gold.py`: how often one statement reversed
# ranks below a whole text reworded, where fewer reversals come first and then what is kept.
_ORDER = (0.50, 0.40, 0.60, 39, "39 records of the gastrointestinal gold")
_CLAIM_ABOUT = (
    "Of the gold claims that either of two answers states or denies, the share on which both say "
    "the same, averaged over pairs. Claims on which both are silent are left out, because they "
    "would agree by chance; not applicable without gold, or where no answer touches a claim."
)
_COMPARED = {
    "variant": "answers to different wordings of one question",
    "repeat": "answers to one and the same prompt: the floor of what chance alone changes",
    "arm": "answers that were told different labels: what is not kept follows the label",
}


def _metrics(axis: Axis) -> tuple[Metric, ...]:
    """What is measured along one field of a cell; across arms nothing is better or worse."""
    name, over, judged = _NAMES[axis], _OVER[axis], axis != "arm"

    def metric(what: str, title: str, about: str, **more: Any) -> Metric:
        return Metric(
            f"{name}_{what}", subject="group", axis=axis, title=f"{title} over {over}",
            about=f"{about} Mean over pairs of {_COMPARED[axis]}.", **more,
        )  # fmt: skip

    promised = axis == "variant"
    # Repeats are the floor, so they have no bar of their own, and wordings one relative to them.
    turned: dict[str, Any] = {
        "direction": "lower" if promised else None, "separates": _REVERSED if promised else ()
    }  # fmt: skip
    return (
        metric("kept", "statements kept",
               "Share of the statements of two answers that the other has a sentence for, by "
               "sentence embeddings; each statement of both counts once.",
               direction="higher" if judged else None,
               separates=_KEPT if promised else _KEPT[:1] if judged else (),
               headline="stability" if promised else None),
        metric("kept_of_shorter", "statements of the shorter answer kept",
               "Share kept of the answer with fewer statements; a short answer keeps all of itself "
               "in a long one.", direction=None),
        metric("kept_of_longer", "statements of the longer answer kept",
               "Share kept of the answer with more statements.", direction=None),
        metric("reversed", "statements reversed",
               "Share of the statements of two answers that the other contradicts: a number "
               "changed, a polarity flipped, advice turned round; each statement of both counts "
               "once.", floor="sampling_reversed" if promised else None, **turned),
        metric("reversed_pairs", "pairs with a reversal",
               "Share of pairs of answers with any statement reversed. Faithful rewordings of a "
               "whole answer often hold one false reversal, so it is read against the same share "
               "among repeats.", floor="sampling_reversed_pairs" if promised else None,
               **turned),
        metric("wording", "agreement in wording",
               "How far the sentences of each answer are stated by the other, less contradiction, "
               "by the entailment model. It follows the wording: a faithful paraphrase has less "
               "than the same text with one statement turned round.", baseline=True),
    )  # fmt: skip


class Stability:
    """Agreement within groups of cells that differ in variant, repeat or arm alone.

    Two numbers, never one: what is *kept*, the headline, and what is *reversed*, which is looked
    at first. Neither needs gold. A statement is kept where the other answer's nearest sentence has
    a cosine of `kept_at` or more, and may be reversed as well; `harness.scorers.statements` has the
    rules. Beside them stands the agreement of claim verdicts, blind to all that is not in gold.

    `entailment` and `embedder` are as in the scorer `claims`; `threshold` is that of reversals and
    claim verdicts, `kept_at` belongs to the embedder. Variants that do not preserve meaning are in
    no group of any axis.

    An empty answer or a refusal keeps nothing of an explanation and reverses nothing; two of them
    make no pair. A group without a pair is not applicable. Of several turns the last counts, of an
    answer the first 200 sentences that are no questions.
    """

    metrics = (
        *_metrics("variant"),
        Metric("prompt_claim_agreement", subject="group", axis="variant",
               title="claims agreed on over wordings", about=_CLAIM_ABOUT),
        *_metrics("repeat"),
        Metric("sampling_claim_agreement", subject="group", axis="repeat",
               title="claims agreed on over repeats", about=_CLAIM_ABOUT),
        Metric("repeat_identical", subject="group", axis="repeat", direction=None,
               title="repeats with the very same text",
               about="Share of pairs of repetitions with the very same text."),
        *_metrics("arm"),
    )  # fmt: skip

    ordered_by = ("prompt_reversed", "prompt_kept")
    """What orders pairs of answers: fewer reversals first, then more that is kept."""

    def __init__(
        self,
        entailment: str | None = None,
        threshold: float = SUPPORTED,
        embedder: str = "builtin",
        kept_at: float = KEPT,
    ) -> None:
        if not 0 < kept_at <= 1:
            raise HarnessError(f"stability: kept_at {kept_at} is not above 0 and at most 1")
        self._claims = Claims(entailment, threshold, embedder)
        self._embedder = embedder
        self._kept_at = kept_at
        self._builtin = embedder == "builtin"
        self.settings = {**self._claims.settings, "kept_at": str(kept_at)}

    @property
    def measured_order(self) -> tuple[float, float, float, int, str] | None:
        """Mean share of a gold record's reversals that rank below its rewording, measured once:
        value, interval, records, source. `None` for models and thresholds that were not."""
        return _ORDER if self.settings == type(self)().settings and self._builtin else None

    @cached_property
    def model(self) -> EntailmentModel:
        """The entailment model that says what contradicts."""
        return self._claims.model

    @cached_property
    def comparer(self) -> Comparer:
        """What holds two answers against each other."""
        own = getattr(self.model, "embedder", None)
        embedder = own if isinstance(own, Embedder) else Embedder(self._embedder)
        return Comparer(self.model, embedder, self._claims.threshold, self._kept_at)

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """The weights and settings of entailment model and embedder."""
        return {**self.comparer.embedder.fingerprint, **self._claims.fingerprint}

    def ready(self) -> None:
        """Loads the models, so that a missing one is told before anything is asked."""
        self._claims.ready()
        self.comparer.embedder(["A sentence."])

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: no language model is asked."""
        return ()

    def prepare(
        self, subjects: Sequence[Subject], generations: Sequence[Sequence[Generation]]
    ) -> None:
        """Embeds every distinct sentence at once."""
        self._claims.prepare(subjects, generations)
        texts = {
            explanation_text(generation, subject.schema)
            for subject, own in zip(subjects, generations, strict=True)
            for generation in own[: len(subject.cells)]
        }
        self.comparer.embedder.add(sorted({part for text in texts for part in statements(text)}))

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """The metrics of the axis along which the group varies."""
        axis = _axis(subject)
        answers = generations[: len(subject.cells)]
        texts = [explanation_text(generation, subject.schema) for generation in answers]
        pairs = self.pairs(texts)
        found = _scores(_NAMES[axis], subject.cells, pairs)
        if axis == "arm":
            return found
        claims = _mean(self._claim_agreements(texts, subject.gold_true))
        found.append(Score(f"{_NAMES[axis]}_claim_agreement", claims))
        if axis == "repeat":
            raw = [generation.text for generation in answers]
            identical = _mean([float(a == b) for a, b in combinations(raw, 2)])
            found.append(Score("repeat_identical", identical))
        return found

    def pairs(self, texts: Sequence[str]) -> dict[tuple[int, int], AnswerPair]:
        """Every two of the texts compared, by their places; two that state nothing are no pair."""
        return {
            (i, j): pair
            for i, j in combinations(range(len(texts)), 2)
            if (pair := self.comparer.pair(texts[i], texts[j])).first or pair.second
        }

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


def _scores(
    name: str, cells: Sequence[Cell], pairs: Mapping[tuple[int, int], AnswerPair]
) -> list[Score]:
    """Means over pairs; the detail of what is kept lists the pairs themselves."""
    own = list(pairs.values())
    detail = {
        "cells": [cell.id for cell in cells],
        "pairs": [[i, j, *map(_codes, (p.first, p.second))] for (i, j), p in pairs.items()],
    }
    return [
        Score(f"{name}_kept", _mean([pair.kept for pair in own]), detail if own else None),
        Score(f"{name}_kept_of_shorter", _mean([pair.kept_of_shorter for pair in own])),
        Score(f"{name}_kept_of_longer", _mean([pair.kept_of_longer for pair in own])),
        Score(f"{name}_reversed", _mean([pair.reversed for pair in own])),
        Score(f"{name}_reversed_pairs", _mean([float(pair.reversed > 0) for pair in own])),
        Score(f"{name}_wording", _mean([pair.wording for pair in own])),
    ]


def _codes(side: Sequence[Statement]) -> list[str]:
    """A letter for each statement, with the place of the other's sentence: `k3` kept, `r0`
    reversed, `o` only here. The texts are in the answers themselves."""
    return [
        f"r{s.reversed_by}" if s.reversed_by is not None else f"k{s.nearest}" if s.kept else "o"
        for s in side
    ]


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
