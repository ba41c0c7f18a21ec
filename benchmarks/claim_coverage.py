"""Validity of claim coverage on K-QA: does it agree with physicians?

222 statements by physicians, each held against a real answer of one of four language models and
judged by three physicians; AUC of entailment against the rest, with a bootstrap interval over
questions.

    python benchmarks/claim_coverage.py ../shared/data/kqa/judged_claims.jsonl
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.scorers.entailment import OverlapCosine, coverage
from harness.sentences import content, sentences, windows

DRAWS = 2000


def auc(labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> float:
    """Share of (positive, negative) pairs in order, ties half (Mann-Whitney)."""
    difference = scores[labels][:, None] - scores[~labels][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def interval(
    labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], clusters: list[str]
) -> tuple[float, float]:
    """95 % percentile bootstrap over clusters, seeded."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(np.array(clusters) == name) for name in sorted(set(clusters))]
    drawn = []
    for _ in range(DRAWS):
        chosen = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        if 0 < labels[chosen].sum() < len(chosen):
            drawn.append(auc(labels[chosen], scores[chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def measures(model: OverlapCosine) -> dict[str, Callable[[str, str], float]]:
    """Claim coverage and what it must beat, each a function of (answer, claim)."""
    embed = model.embedder

    def best(score: Callable[[str, str], float]) -> Callable[[str, str], float]:
        def measure(answer: str, claim: str) -> float:
            parts = sentences(answer)
            return max((score(p, claim) for p in (*parts, *windows(parts, 3))), default=0.0)

        return measure

    def cosine(premise: str, claim: str) -> float:
        return float(embed([premise])[0] @ embed([claim])[0])

    def overlap(premise: str, claim: str) -> float:
        wanted = {*content(claim)}
        return len({*content(premise)} & wanted) / len(wanted)

    return {
        "claim coverage": lambda a, c: coverage(model, a, [c])[0].support,
        "cosine alone": best(cosine),
        "overlap alone": best(overlap),
        "whole answer as premise": lambda a, c: model.entailment([(a, c)])[0].support,
        "whole answer, cosine": cosine,
        "length of the answer": lambda a, _: float(len(a.split())),
    }


def main(path: Path) -> None:
    """Prints one line a measure: pooled and by model."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    labels = np.array([row["majority"] == "Entailment" for row in rows])
    started = time.perf_counter()
    model = OverlapCosine()
    model.prepare([*(row["answer"] for row in rows), *(row["claim"] for row in rows)])
    print(f"{len(rows)} claims, {labels.sum()} entailed, intervals by question")
    for name, measure in measures(model).items():
        scores = np.array([measure(row["answer"], row["claim"]) for row in rows])
        if name == "claim coverage":
            print(f"model, embedding and coverage: {time.perf_counter() - started:.1f} s")
        for group in ("all", *sorted({row["model"] for row in rows})):
            inside = np.array([group in ("all", row["model"]) for row in rows])
            own = [row["question"] for row in rows if group in ("all", row["model"])]
            low, high = interval(labels[inside], scores[inside], own)
            value = auc(labels[inside], scores[inside])
            print(f"{name:24} {group:8} AUC {value:.3f} [{low:.3f}, {high:.3f}]  n {inside.sum()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
