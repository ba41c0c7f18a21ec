"""Whether an explanation says what experts say: its claims against the claims of gold.

Everything is computed twice: against the gold of the true label (the whole system) and of the label
that the prompt told (the language model's knowledge alone).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.contracts import EntailmentModel
from harness.gold import gold_text
from harness.records import (
    Claim,
    Generation,
    GoldRecord,
    HarnessError,
    Metric,
    Request,
    Score,
    Separation,
    Subject,
)
from harness.scorers.entailment import SUPPORTED, entailment_model
from harness.scorers.explanations import explanation_text
from harness.scorers.held import Held, HeldText
from harness.sentences import informative

_SIDES = ("true", "told")
# People's judgement of the verdict "contradicted"; `benchmarks/claim_verdicts.py` prints the second
# figure. The first is of the rules before these, on a larger set.
_CONTRADICTION = (
    "of 399 claims that physicians judged, 12 were called contradicted, 2 of them rightly, and 2 "
    "of the 12 that are contradicted were found; to subtract contradiction from support lowers "
    "the AUC"
)


@dataclass(frozen=True)
class Verdict:
    """One gold claim held against one text."""

    claim: Claim
    verdict: str  # supported, contradicted, unsupported
    support: float
    sentence: str


@dataclass(frozen=True)
class Reading:
    """A text held against a gold record.

    `grounded` says of every informative sentence whether gold says so: it states a claim (and
    may say more), or a claim, or three neighbouring ones together, state all of it (it may sum
    up), and it is no nearer to the opposite of a claim or to what must not be said. `matched`
    says whether it touches any claim at all.
    """

    verdicts: tuple[Verdict, ...]
    grounded: tuple[bool, ...]
    matched: tuple[bool, ...]

    def _of(self, *importances: str) -> list[Verdict]:
        return [v for v in self.verdicts if v.claim.importance in importances]

    @property
    def recall(self) -> float | None:
        """Share of the `must` claims that are supported; `None` without such a claim."""
        return _share(v.verdict == "supported" for v in self._of("must"))

    @property
    def precision(self) -> float:
        """Share of the informative sentences that gold says; 0 where nothing is said."""
        return _share(self.grounded) or 0.0

    @property
    def contradiction(self) -> float | None:
        """Share of the `must` and `nice` claims that are contradicted."""
        return _share(v.verdict == "contradicted" for v in self._of("must", "nice"))

    @property
    def unsupported(self) -> float | None:
        """Share of the informative sentences on which gold is silent; `None` without a sentence."""
        return _share(not known for known in self.matched)

    @property
    def must_not(self) -> float | None:
        """Share of the `must_not` claims asserted; `None` without such a claim."""
        return _share(v.verdict == "supported" for v in self._of("must_not"))


def _share(values: Any) -> float | None:
    listed = list(values)
    return sum(listed) / len(listed) if listed else None


def _metrics(side: str) -> list[Metric]:
    whose = "the true label or the sample" if side == "true" else "the told label"
    of = "" if side == "true" else " of the told label"
    # A margin lies well below what a text of the right content reaches by construction (gold states
    # each of its claims) and is large enough that shared words alone do not bridge it.
    recall: tuple[Separation, ...]
    if side == "true":
        recall = (
            Separation("gold", "other-label", 0.2),
            Separation("paraphrase", "other-label", 0.1),
            Separation("gold", "negated", 0.2),
            Separation("gold", "empty", 0.2),
            Separation("gold", "echo", 0.3),
        )
    else:
        recall = (Separation("told", "empty", 0.2), Separation("told", "echo", 0.3))
    found = [
        Metric(f"recall_vs_{side}", separates=recall,
               headline="accuracy" if side == "true" else None,
               title=f"required claims{of} stated",
               about=f"Share of the must claims of {whose} that the explanation states."),
        Metric(f"contradiction_vs_{side}", direction="lower",
               separates=(Separation("gold", "negated", 0.2),) if side == "true" else (),
               not_validated=_CONTRADICTION,
               title=f"claims{of} contradicted",
               about=f"Share of the must and nice claims of {whose} whose opposite "
               "the explanation states."),
    ]  # fmt: skip
    if side == "true":
        found += [
            Metric("precision_vs_true", title="sentences that gold backs",
                   not_validated=f"it counts out what contradicts gold, and {_CONTRADICTION}",
                   separates=(Separation("gold", "other-label", 0.2),
                              Separation("paraphrase", "other-label", 0.1),
                              Separation("gold", "negated", 0.2)),
                   about="Share of the explanation's informative sentences (three content words "
                   "or more, no question) that gold states, whole or in part; 0 without any."),
            Metric("unsupported_vs_true", direction=None,
                   title="sentences on which gold is silent",
                   about="Share of the informative sentences on which gold is silent. They need "
                   "not be wrong: gold does not hold all that is true."),
            Metric("must_not_vs_true", direction="lower", title="forbidden statements made",
                   about="Share of the statements an explanation must not make that it makes."),
        ]  # fmt: skip
    return found


class Claims:
    """Recall, precision and contradiction of gold claims.

    A claim is supported where a sentence or a window of three reaches `threshold`, contradicted
    where a sentence that states no claim better contradicts it by as much, and by more than it is
    supported. A claim's paraphrases count as the claim, so the control `paraphrase` shows that they
    are read, and no longer that other words are understood; gold's contradictions are not looked
    at, so that the control `negated` tests this scorer.

    `entailment` is `builtin` or `package.module:Class`, `embedder` a model name for the built-in
    one. The default threshold is that of the built-in model; another model needs its own.

    An empty answer or a refusal states nothing: recall and precision 0, contradiction 0.
    """

    metrics = (*_metrics("true"), *_metrics("told"))

    def __init__(
        self, entailment: str | None = None, threshold: float = SUPPORTED, embedder: str = "builtin"
    ) -> None:
        if not 0 < threshold < 1:
            raise HarnessError(f"claims: threshold {threshold} is not between 0 and 1")
        self.threshold = threshold
        self._named = entailment
        self._embedder = embedder
        self.settings: Mapping[str, Any] = {
            "threshold": str(threshold), "entailment": entailment or "builtin"
        }  # fmt: skip
        self._read: dict[tuple[str, int], tuple[GoldRecord, Reading]] = {}

    @cached_property
    def model(self) -> EntailmentModel:
        """The entailment model behind all verdicts."""
        return entailment_model(self._named, self._embedder)

    @property
    def fingerprint(self) -> Mapping[str, str]:
        """The entailment model's weights and settings."""
        return self.model.fingerprint

    def ready(self) -> None:
        """Loads the entailment model, so that a missing one is told before anything is asked."""
        self.model.entailment([("A sentence.", "A sentence.")])

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None: no language model is asked."""
        return ()

    def prepare(
        self, subjects: Sequence[Subject], generations: Sequence[Sequence[Generation]]
    ) -> None:
        """Embeds every distinct sentence at once, where the model can."""
        if not hasattr(self.model, "prepare"):
            return
        texts: dict[str, None] = {}
        for subject, own in zip(subjects, generations, strict=True):
            for generation in own[: len(subject.cells)]:
                texts[explanation_text(generation, subject.schema)] = None
            for record in (subject.gold_true, subject.gold_told):
                if record is not None:
                    texts |= dict.fromkeys(_statements(record))
        self.model.prepare(texts)

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """All metrics of one cell; not applicable where there is no gold for the side."""
        text = explanation_text(generations[0], subject.schema)
        scores: list[Score] = []
        for side in _SIDES:
            record = subject.gold_true if side == "true" else subject.gold_told
            reading = self.reading(text, record) if record is not None else None
            recall = reading.recall if reading else None
            detail = {"claims": [_row(v) for v in reading.verdicts]} if reading else None
            scores += [
                Score(f"recall_vs_{side}", recall, detail),
                Score(f"contradiction_vs_{side}", reading.contradiction if reading else None),
            ]
            if side == "true":
                scores += [
                    Score("precision_vs_true", reading.precision if reading else None),
                    Score("unsupported_vs_true", reading.unsupported if reading else None),
                    Score("must_not_vs_true", reading.must_not if reading else None),
                ]
        return scores

    def reading(self, text: str, record: GoldRecord) -> Reading:
        """Holds a text against a gold record; the same pair is read once."""
        key = (text, id(record))
        known = self._read.get(key)
        if known is None or known[0] is not record:
            known = (record, self._reading(text, record))
            self._read[key] = known
        return known[1]

    def _reading(self, text: str, record: GoldRecord) -> Reading:
        premises = HeldText(self.model, text, record, self.threshold)
        held, said = premises.sentences(), premises.said()
        verdicts = []
        for claim in record.claims:
            if claim.importance == "must_not":
                verdicts.append(self._asserted(claim, held))
                continue
            best = said[claim]
            # A sentence that states one claim outright is not taken for the opposite of another.
            against, shown = max(
                ((h.against[claim.id], h.text) for h in held if h.against[claim.id] > h.best),
                default=(0.0, ""),
            )
            if against >= self.threshold and against > best.support:
                verdicts.append(Verdict(claim, "contradicted", best.support, shown))
            else:
                verdict = "supported" if best.support >= self.threshold else "unsupported"
                verdicts.append(Verdict(claim, verdict, best.support, best.sentence))
        known = [h for h in held if informative(h.text)]
        return Reading(
            tuple(verdicts),
            tuple(h.grounded(self.threshold) for h in known),
            tuple(max(h.grounds, h.denies, h.forbidden) >= self.threshold for h in known),
        )

    def _asserted(self, claim: Claim, held: Sequence[Held]) -> Verdict:
        """A `must_not` claim is asserted by a sentence nearer to it than to any good claim."""
        near = [(h.must_not[claim.id], h.text) for h in held]
        support, shown = max(near, default=(0.0, ""))
        asserted = any(
            h.must_not[claim.id] >= self.threshold and h.must_not[claim.id] > h.best for h in held
        )
        return Verdict(claim, "supported" if asserted else "unsupported", support, shown)


def _statements(record: GoldRecord) -> list[str]:
    claims = record.claims
    return [gold_text(record), *(text for c in claims for text in (c.text, *c.paraphrases))]


def _row(verdict: Verdict) -> dict[str, Any]:
    return {
        "id": verdict.claim.id,
        "text": verdict.claim.text,
        "importance": verdict.claim.importance,
        "verdict": verdict.verdict,
        "support": round(verdict.support, 4),
        "sentence": verdict.sentence,
    }
