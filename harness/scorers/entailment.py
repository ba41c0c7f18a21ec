"""How far a text supports or contradicts a claim: its words found again, with sentence embeddings.

Neither measure is enough. Cosine rewards whatever is on the same topic, words are blind to how
they are put together, and both are blind to "not"; so they are averaged, and negations, words of
opposite meaning and numbers decide between support and contradiction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contracts import EntailmentModel, PairScore
from harness.records import HarnessError
from harness.scorers import word_lists
from harness.scorers.embeddings import Embedder
from harness.scorers.polarity import Polarity, opposed, polarity, weaker
from harness.scorers.quantities import quantities
from harness.scorers.quantity import Quantity, disagree, unstated
from harness.scorers.vocabulary import Rows, Vocabularies
from harness.sentences import asks_whether, content_words, is_question, sentences, windows

# `benchmarks/calibrate_claim_coverage.py` prints the curves behind these constants; but for `SAID`
# neither K-QA's judged answers nor the gold of this repository had a part in them.
#
# Share of the embedding cosine, the rest is recall. Equal parts: on SNLI (entailment against the
# rest) the AUC is flat from .3 to .7 (.82 to .83; cosine alone .79, recall alone .81). K-QA's
# statements against their authors' answers ask for less cosine, but they are copied from them.
COSINE_WEIGHT = 0.5
# A match from here on counts as support: balanced accuracy on 7,222 SNLI pairs is best at .60 to
# .64. On K-QA's copied statements it would be .80, a bar for copies that no rewording passes.
SUPPORTED = 0.62
# Below this match two sentences do not speak of the same thing, so their polarity is not compared.
# Chosen between chance pairs of K-QA statements and `SUPPORTED`; verdicts need `SUPPORTED` anyway.
SAME_TOPIC = 0.40
# Beside the best matching sentence, all that match so well are asked whether they oppose a claim.
# The lowest of .40, .45, .50 and .55 at which the AUC on K-QA's judged answers did not fall (by
# .005): the one constant in which they had a part.
SAID = 0.50
# Words with this cosine or more are taken for words of one meaning. Between what SNLI asks for (AUC
# .824, .830, .828, .824 from .3 to .6, .804 without) and K-QA's copies, which lose by it (.803,
# .811, .828, .839, .847).
SAME_MEANING = 0.5
# What is left of a match where the premise says less than the claim: less than `SUPPORTED` of the
# best match there is, and still more than a premise about something else has.
WEAKER = 0.6
WINDOW = 3


@dataclass(slots=True)  # hundreds of thousands are made, and freezing doubles the cost
class Pair:
    """How far a premise supports, and how far it contradicts, a hypothesis; both in [0, 1]."""

    support: float
    contradiction: float


@dataclass(frozen=True)
class Coverage:
    """What a text says of one claim, with the sentence or window that says it best."""

    support: float
    contradiction: float
    sentence: str


@dataclass(frozen=True)
class _Part:
    """One sentence as read: its words of content by their stems, and what it affirms and denies."""

    text: str
    words: Mapping[str, str]
    polarity: Polarity
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True)
class _Reading:
    """A text of one or more sentences as read; `words` are those of all its parts."""

    parts: tuple[_Part, ...]
    words: Mapping[str, str]


class OverlapCosine:
    """The built-in entailment model.

    match = w cosine + (1 - w) recall. Recall is the mean over the hypothesis' content words of how
    well the premise has each: 1 where it has a word of the same stem, else the cosine of the
    nearest word where that is at least `SAME_MEANING`, else 0 (BERTScore's recall by words; Zhang
    et al., ICLR 2020). The vector of several sentences is the mean of their vectors. Where a
    sentence of the premise that speaks of the hypothesis is opposed to it (`polarity`) or disagrees
    about a number (`quantities`), the match is contradiction, otherwise support; the other is 0.

    `embedder` is a model name as `Embedder` takes it, or an `Embedder`.
    """

    def __init__(self, embedder: str | Embedder = "builtin") -> None:
        self.embedder = Embedder(embedder) if isinstance(embedder, str) else embedder
        # The code is hashed by whoever uses the model.
        self.fingerprint: Mapping[str, str] = {
            **self.embedder.fingerprint,
            "cosine_weight": str(COSINE_WEIGHT),
            "same_topic": str(SAME_TOPIC),
            "same_meaning": str(SAME_MEANING),
            "weaker": str(WEAKER),
            "word_lists": word_lists.fingerprint(),
        }
        self._readings: dict[str, _Reading] = {}
        self._parts: dict[str, _Part] = {}
        self._opposed: dict[tuple[str, str], bool] = {}
        self._less: dict[tuple[str, str], bool] = {}
        self._means = Rows(self._mean_vectors)
        self._vocabularies = Vocabularies(self.embedder)

    def prepare(self, texts: Iterable[str]) -> None:
        """Embeds all sentences and words of texts at once, many times faster than one by one."""
        new = {
            part.text: part.words.values()
            for text in texts
            if text not in self._readings
            for part in self._read(text).parts
        }
        if new:
            self.embedder.add((*new, *(word for own in new.values() for word in own)))

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """One `Pair` for each (premise, hypothesis); a text without words supports nothing."""
        self.prepare(dict.fromkeys(text for pair in pairs for text in pair))
        premises = {premise for premise, _ in pairs}
        hypotheses = {hypothesis for _, hypothesis in pairs}
        # Few texts in many pairs: matching all with all at once is cheaper than pair by pair.
        dense = len(premises) * len(hypotheses) <= 4 * len(pairs)
        size = len(pairs) if dense else 64
        return [
            pair
            for start in range(0, len(pairs), max(1, size))
            for pair in self._entailment(pairs[start : start + size])
        ]

    def _entailment(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        hypotheses = {h: i for i, h in enumerate(dict.fromkeys(h for _, h in pairs))}
        read = {premise: self._readings[premise] for premise, _ in pairs}
        texts = [*read, *(part.text for one in read.values() for part in one.parts)]
        premises = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        matches = self.matches(list(premises), list(hypotheses)).tolist()
        found = []
        for premise, hypothesis in pairs:
            column = hypotheses[hypothesis]
            match = matches[premises[premise]][column]
            if match < SAME_TOPIC:
                found.append(Pair(match, 0.0))
                continue
            parts = read[premise].parts
            against = self._contradicts(
                [(matches[premises[part.text]][column], part) for part in parts],
                self._readings[hypothesis],
            )
            if against:
                found.append(Pair(0.0, min(1.0, match + self._disputed(premise, hypothesis))))
            else:
                less = WEAKER if self._weaker(premise, hypothesis) else 1.0
                found.append(Pair(match * less, 0.0))
        return found

    def matches(self, premises: Sequence[str], hypotheses: Sequence[str]) -> Any:
        """Matches of all with all, shape (premises, hypotheses); 0 where a text has no words."""
        import numpy as np

        self.prepare((*premises, *hypotheses))
        rows = [i for i, text in enumerate(premises) if self._readings[text].words]
        columns = [i for i, text in enumerate(hypotheses) if self._readings[text].words]
        found = np.zeros((len(premises), len(hypotheses)))
        if rows and columns:
            cosines, recalls = self.measures(
                [premises[i] for i in rows], [hypotheses[i] for i in columns]
            )
            mixed = COSINE_WEIGHT * cosines + (1 - COSINE_WEIGHT) * recalls
            found[np.ix_(rows, columns)] = np.clip(mixed, 0.0, 1.0)
        return found

    def measures(self, premises: Sequence[str], hypotheses: Sequence[str]) -> tuple[Any, Any]:
        """Cosines and recalls of all with all, each of shape (premises, hypotheses).

        Every text must have words of content.
        """
        import numpy as np

        self.prepare((*premises, *hypotheses))
        left, right = (
            self._means.take(self._means.places(texts)) for texts in (premises, hypotheses)
        )
        said, wanted = (
            self._vocabularies.of((text, self._readings[text].words) for text in texts)
            for texts in (premises, hypotheses)
        )
        near = said.vectors @ wanted.vectors.T
        near = np.where(near >= SAME_MEANING, np.minimum(near, 1.0), 0.0)
        near[np.equal.outer(said.roots, wanted.roots)] = 1.0
        best = np.maximum.reduceat(near[said.places], said.starts, axis=0)
        total = np.add.reduceat(best.T[wanted.places], wanted.starts, axis=0)
        return left @ right.T, (total / wanted.sizes[:, None]).T

    def _contradicts(self, parts: Sequence[tuple[float, _Part]], claim: _Reading) -> bool:
        """Whether the best matching sentence, or another that matches well, opposes a claim."""
        best = max(match for match, _ in parts)
        return any(
            self._parts_opposed(part, own)
            for match, part in parts
            if match == best or match >= SAID
            for own in claim.parts
        )

    def _disputed(self, premise: str, claim: str) -> float:
        """What the numbers that a premise lacks took from its match: the matter is the same."""
        said, wanted = self._readings[premise].words, self._readings[claim].words
        numbers = [root for root, word in wanted.items() if word[0].isdigit() and root not in said]
        return (1 - COSINE_WEIGHT) * len(numbers) / max(1, len(wanted))

    def _weaker(self, premise: str, claim: str) -> bool:
        """Whether a premise says less than a claim: fewer, more vaguely, or of someone else."""
        key = (premise, claim)
        if key not in self._less:
            parts, own = self._readings[premise].parts, self._readings[claim].parts
            said = [quantity for part in parts for quantity in part.quantities]
            self._less[key] = premise != claim and any(
                unstated(said, one.quantities)
                or weaker([part.polarity for part in parts], one.polarity)
                for one in own
            )
        return self._less[key]

    def _parts_opposed(self, a: _Part, b: _Part) -> bool:
        key = (a.text, b.text)
        if key not in self._opposed:
            self._opposed[key] = a.text != b.text and (
                opposed(a.polarity, b.polarity) or disagree(a.quantities, b.quantities)
            )
        return self._opposed[key]

    def _read(self, text: str) -> _Reading:
        if text not in self._readings:
            parts = tuple(self._read_part(sentence) for sentence in sentences(text))
            merged = {root: word for part in reversed(parts) for root, word in part.words.items()}
            self._readings[text] = _Reading(parts, merged)
        return self._readings[text]

    def _read_part(self, sentence: str) -> _Part:
        if sentence not in self._parts:
            self._parts[sentence] = _Part(
                sentence, content_words(sentence), polarity(sentence), quantities(sentence)
            )
        return self._parts[sentence]

    def _mean_vectors(self, texts: Sequence[str]) -> Any:
        """The mean direction of each text's sentences."""
        import numpy as np

        means = np.stack(
            [self.embedder([part.text for part in self._read(text).parts]).mean(axis=0)
             for text in texts]
        )  # fmt: skip
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def coverage(model: EntailmentModel, text: str, claims: Sequence[str]) -> tuple[Coverage, ...]:
    """What a text says of each claim: the best over its sentences and windows of three.

    A whole answer is never a premise: of all premises it separates worst. Contradiction is sought
    in single sentences alone, because a window's polarity is that of one of them. A question is
    no premise; in a window it may stand where it only names the matter.
    """
    own, parts = premises(text)
    scores = model.entailment([(premise, claim) for claim in claims for premise in own])
    return tuple(
        best_of(own, parts, scores[i * len(own) : (i + 1) * len(own)]) for i in range(len(claims))
    )


def premises(text: str) -> tuple[tuple[str, ...], int]:
    """What of a text may support a claim: its sentences, then its windows; and how many are the
    former. Nothing where no sentence states anything."""
    told = [part for part in sentences(text) if not asks_whether(part)]
    parts = [part for part in told if not is_question(part)]
    return ((*parts, *windows(told, WINDOW)) if parts else (), len(parts))


def best_of(own: Sequence[str], parts: int, scores: Sequence[PairScore]) -> Coverage:
    """What premises say of one claim; the first `parts` are the single sentences."""
    if not own:
        return Coverage(0.0, 0.0, "")
    best = max(range(len(own)), key=lambda k: scores[k].support)
    worst = max(range(parts), key=lambda k: scores[k].contradiction)
    support, contradiction = scores[best].support, scores[worst].contradiction
    return Coverage(support, contradiction, own[best if support >= contradiction else worst])


def entailment_model(name: str | None, embedder: str = "builtin") -> EntailmentModel:
    """The built-in model, or `package.module:Class` (also `./file.py:Class`)."""
    if name is None or name == "builtin":
        return OverlapCosine(embedder)
    if ":" not in name:
        raise HarnessError(
            f"there is no entailment model '{name}'; name 'builtin' or 'package.module:Class'"
        )
    from harness import plugins

    model: EntailmentModel = plugins.create("scorers", name)
    return model
