"""A text held against a gold record: each of its sentences and windows against each claim.

The entailment model is called four times at most, and only with pairs that can change a verdict:
the claims, paraphrases where a claim's own words are not found, what must not be said, and gold's
own text where a sentence is not yet known to be grounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from harness.contracts import EntailmentModel, PairScore
from harness.gold import gold_text
from harness.records import Claim, GoldRecord
from harness.scorers.entailment import WINDOW, Coverage, best_of, premises
from harness.sentences import sentences, windows


@dataclass(frozen=True)
class Held:
    """One sentence held against gold, all values as an entailment model gives them.

    `best` is how well it states the claim it states best; `against` and `must_not` are by claim.
    `grounds` is `best` or how well gold states the sentence, which is asked only of a sentence that
    `best` does not ground.
    """

    text: str
    best: float
    grounds: float
    against: Mapping[str, float]
    must_not: Mapping[str, float]

    @property
    def denies(self) -> float:
        """How far it contradicts the claim that it contradicts most."""
        return max(self.against.values(), default=0.0)

    @property
    def forbidden(self) -> float:
        """How well it states what must not be said."""
        return max(self.must_not.values(), default=0.0)

    def grounded(self, threshold: float) -> bool:
        """Whether gold says so, and it is no nearer to the opposite or to what must not be said."""
        return self.grounds >= threshold and self.grounds >= max(self.denies, self.forbidden)


class HeldText:
    """The premises of a text with their scores; a claim's paraphrases count as the claim."""

    def __init__(
        self, model: EntailmentModel, text: str, record: GoldRecord, threshold: float
    ) -> None:
        self._model = model
        self._threshold = threshold
        self._premises, self._count = premises(text)
        self._parts = self._premises[: self._count]
        self._record = record
        self._good = [claim for claim in record.claims if claim.importance != "must_not"]
        self._bad = [claim for claim in record.claims if claim.importance == "must_not"]
        self._scores: dict[tuple[str, str], PairScore] = {}
        self._ask((one, claim.text) for claim in self._good for one in self._premises)
        self._open_parts = {part for part in self._parts if self._is_open([part], self._good)}
        self._open_claims = {c for c in self._good if self._is_open(self._premises, [c])}
        self._ask(
            (one, wording)
            for claim in self._good
            for one in self._premises
            if claim in self._open_claims or one in self._open_parts
            for wording in claim.paraphrases
        )
        self._ask(
            (p, wording) for claim in self._bad for p in self._parts for wording in _of(claim)
        )

    def said(self) -> dict[Claim, Coverage]:
        """What the text says of each claim that is not forbidden."""
        return {claim: self._said(claim) for claim in self._good}

    def sentences(self) -> list[Held]:
        """Each sentence of the text that states something."""
        found = [self._held(part) for part in self._parts]
        unknown = [one.text for one in found if not one.grounded(self._threshold)]
        text = gold_text(self._record)
        sources = [*(c.text for c in self._good), *windows(sentences(text), WINDOW)]
        scores = iter(self._model.entailment([(s, part) for part in unknown for s in sources]))
        stated = {
            part: max((next(scores).support for _ in sources), default=0.0) for part in unknown
        }
        return [replace(one, grounds=max(one.best, stated.get(one.text, 0.0))) for one in found]

    def _ask(self, pairs: Iterable[tuple[str, str]]) -> None:
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._scores]
        self._scores.update(zip(new, self._model.entailment(new), strict=True))

    def _is_open(self, own: Iterable[str], claims: Iterable[Claim]) -> bool:
        """Whether none of these premises states any of these claims in the claim's words."""
        scores = self._scores
        return all(
            scores[one, claim.text].support < self._threshold for claim in claims for one in own
        )

    def _said(self, claim: Claim) -> Coverage:
        found = self._covered(claim.text)
        for wording in claim.paraphrases if claim in self._open_claims else ():
            other = self._covered(wording)
            if other.support > found.support:
                found = other
        return found

    def _covered(self, wording: str) -> Coverage:
        return best_of(
            self._premises, self._count, [self._scores[one, wording] for one in self._premises]
        )

    def _held(self, part: str) -> Held:
        reworded = part in self._open_parts
        own = {
            claim.id: [self._scores[part, wording] for wording in _of(claim, reworded)]
            for claim in self._good
        }
        best = max((score.support for scores in own.values() for score in scores), default=0.0)
        return Held(
            part,
            best,
            best,
            {name: max(score.contradiction for score in scores) for name, scores in own.items()},
            {
                claim.id: max(self._scores[part, wording].support for wording in _of(claim))
                for claim in self._bad
            },
        )


def _of(claim: Claim, reworded: bool = True) -> tuple[str, ...]:
    """A claim's wordings, or its first alone."""
    return (claim.text, *claim.paraphrases) if reworded else (claim.text,)
