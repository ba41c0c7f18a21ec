"""Reference similarity and length: baselines that a measure of truth has to beat.

They reward being on the topic and sounding alike, so none of them promises a separation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from harness.gold import gold_text
from harness.records import Generation, Metric, Request, Score, Subject
from harness.scorers.embeddings import Embedder
from harness.scorers.explanations import explanation_text
from harness.sentences import content, sentences, words

_TOKENS = 2000  # ROUGE-L is quadratic; longer texts are cut here


class Similarity:
    """Four baselines against the gold text of the true label.

    `embedder` is a model name as `Embedder` takes it.
    """

    metrics = (
        Metric("cosine_to_gold", range=(-1.0, 1.0), baseline=True,
               title="likeness to the gold text",
               about="Cosine of the mean sentence embeddings of explanation and gold text."),
        Metric("overlap_f1", baseline=True, title="words shared with the gold text",
               about="F1 of the content-word stems shared with the gold text, with multiplicity."),
        Metric("rouge_l", baseline=True, title="wording shared with the gold text",
               about="F1 of the longest common subsequence of words with the gold text "
               "(ROUGE-L, Lin 2004), within the first 2,000 words."),
        Metric("words", range=(0.0, None), direction=None, baseline=True, title="length in words",
               about="Number of words of the explanation."),
    )  # fmt: skip

    def __init__(self, embedder: str = "builtin") -> None:
        self._embed = Embedder(embedder)
        self.settings: Mapping[str, str] = {"embedder": embedder}
        self.fingerprint = self._embed.fingerprint
        self._known: dict[tuple[str, str], tuple[float, float, float]] = {}

    def ready(self) -> None:
        """Loads the embedder, so that a missing one is told before anything is asked."""
        self._embed(["A sentence."])

    def requests(self, subject: Subject) -> Sequence[Request]:  # noqa: ARG002
        """None."""
        return ()

    def prepare(
        self, subjects: Sequence[Subject], generations: Sequence[Sequence[Generation]]
    ) -> None:
        """Embeds all distinct sentences at once."""
        texts = set()
        for subject, own in zip(subjects, generations, strict=True):
            if subject.gold_true is not None:
                texts |= {explanation_text(own[0], subject.schema), gold_text(subject.gold_true)}
        self._embed.add(sentence for text in texts for sentence in sentences(text))

    def score(self, subject: Subject, generations: Sequence[Generation]) -> list[Score]:
        """The four baselines; all but `words` are not applicable without gold."""
        text = explanation_text(generations[0], subject.schema)
        cosine: float | None = None
        overlap: float | None = None
        rouge: float | None = None
        if subject.gold_true is not None:
            gold = gold_text(subject.gold_true)
            if (text, gold) not in self._known:
                self._known[text, gold] = (
                    self._cosine(text, gold), overlap_f1(text, gold), rouge_l(text, gold)
                )  # fmt: skip
            cosine, overlap, rouge = self._known[text, gold]
        return [
            Score("cosine_to_gold", cosine),
            Score("overlap_f1", overlap),
            Score("rouge_l", rouge),
            Score("words", float(len(text.split()))),
        ]

    def _cosine(self, a: str, b: str) -> float:
        import numpy as np

        if not sentences(a) or not sentences(b):
            return 0.0
        x, y = (self._embed(sentences(text)).mean(axis=0) for text in (a, b))
        return float(np.clip(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)), -1.0, 1.0))


def overlap_f1(a: str, b: str) -> float:
    """F1 of shared content-word stems, counted with multiplicity; 0 where either has none."""
    x, y = Counter(content(a)), Counter(content(b))
    shared = (x & y).total()
    return 2 * shared / (x.total() + y.total()) if shared else 0.0


def rouge_l(a: str, b: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, equations 2 to 4, beta = 1)."""
    x, y = words(a)[:_TOKENS], words(b)[:_TOKENS]
    if not x or not y:
        return 0.0
    common = _longest_common(x, y)
    return 2 * common / (len(x) + len(y))


def _longest_common(x: Sequence[str], y: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for i, word in enumerate(x):
        places[word] = places.get(word, 0) | (1 << i)
    full = (1 << len(x)) - 1
    row = full
    for word in y:
        matched = row & places.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(x) - row.bit_count()
