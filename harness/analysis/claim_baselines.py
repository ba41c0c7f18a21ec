"""What the claim verdicts must beat to be worth their name, claim by claim.

Each is read like the verdict itself, over an answer's sentences and windows of three, with one
half of the built-in match alone; the length of the answer knows nothing of the claim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from harness.scorers.embeddings import Embedder
from harness.scorers.entailment import Pair, coverage
from harness.sentences import content, sentences


def claim_baselines(pairs: Sequence[tuple[str, str]]) -> dict[str, list[float]]:
    """By name of the baseline, a value for each pair of an answer and a claim."""
    alone = {"cosine alone": _Alone(_cosine(pairs)), "overlap alone": _Alone(_overlap)}
    found = {
        name: [coverage(model, answer, [claim])[0].support for answer, claim in pairs]
        for name, model in alone.items()
    }
    return {**found, "length of the answer": [float(len(answer.split())) for answer, _ in pairs]}


def _cosine(pairs: Sequence[tuple[str, str]]) -> Callable[[str, str], float]:
    """Cosine of the mean sentence embeddings; all sentences are embedded at once."""
    embedder = Embedder()
    embedder.add(part for pair in pairs for text in pair for part in sentences(text))
    means: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}

    def mean(text: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        if text not in means:
            total = embedder(sentences(text) or ["."]).sum(axis=0)
            means[text] = total / max(float(np.linalg.norm(total)), 1e-12)
        return means[text]

    return lambda premise, claim: float(mean(premise) @ mean(claim))


def _overlap(premise: str, claim: str) -> float:
    """Share of the claim's content stems that stand in the premise."""
    wanted = set(content(claim))
    return len(wanted & set(content(premise))) / max(1, len(wanted))


class _Alone:
    """An entailment model that is one measure of likeness and never sees a contradiction."""

    fingerprint: Mapping[str, str] = {}

    def __init__(self, likeness: Callable[[str, str], float]) -> None:
        self._likeness = likeness

    def entailment(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        return [Pair(self._likeness(premise, claim), 0.0) for premise, claim in pairs]
