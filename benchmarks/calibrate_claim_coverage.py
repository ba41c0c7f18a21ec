"""Where the constants of claim coverage come from, computed again.

Two sources without part in the validity figures: SNLI's pairs that are not held out (a
hypothesis in other words than its premise), and K-QA's statements against their own physician's
answer or against the other statements of the same question, judged questions left out. Both give
the weight and the threshold for each least cosine of words of one meaning. ScoNe and CondaQA
show what the veto of negations does; half of CondaQA's passages (even places in their order) was
read while the cues were chosen, so the other half is given apart.

    python benchmarks/calibrate_claim_coverage.py ../shared/data
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from claim_coverage import auc

from harness.gold import join
from harness.scorers import entailment
from harness.scorers.entailment import OverlapCosine
from harness.sentences import content, sentences, windows

EVERY = 12  # of the 17,666 SNLI pairs, to end within minutes
Array = np.ndarray[Any, Any]


def read(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def match_parts(model: OverlapCosine, text: str, claim: str) -> tuple[Array, Array]:
    """Cosine and recall of each sentence and window of three."""
    parts = sentences(text)
    premises = [premise for premise in (*parts, *windows(parts, 3)) if content(premise)]
    if not premises or not content(claim):
        return np.zeros(1), np.zeros(1)
    cosines, recalls = model.measures(premises, [claim])
    return cosines[:, 0], recalls[:, 0]


def curve(model: OverlapCosine, name: str, rows: list[tuple[str, str, bool]]) -> None:
    """AUC, best threshold and its balanced accuracy for each meaning and cosine weight."""
    model.prepare([text for row in rows for text in row[:2]])
    for meaning in (0.3, 0.4, 0.5, 0.6, 2.0):  # no cosine reaches the last: words of one stem alone
        with mock.patch.object(entailment, "SAME_MEANING", meaning):
            found = [match_parts(model, text, claim) for text, claim, _ in rows]
        _weights(f"{name}, words from {meaning}", found, rows)


def _weights(
    name: str, found: list[tuple[Array, Array]], rows: list[tuple[str, str, bool]]
) -> None:
    labels = np.array([label for *_, label in rows])
    print(f"{name}: {len(rows)} pairs, {labels.sum()} entailed")
    for weight in (0.0, 0.3, 0.5, 0.7, 1.0):
        scores = np.array([(weight * c + (1 - weight) * r).max(initial=0.0) for c, r in found])
        grid = np.arange(0.2, 0.95, 0.01)
        balanced = [((scores[labels] >= t).mean() + (scores[~labels] < t).mean()) / 2 for t in grid]
        best = int(np.argmax(balanced))
        print(
            f"  weight {weight:.1f}  AUC {auc(labels, scores):.3f}  "
            f"threshold {grid[best]:.2f}  balanced accuracy {balanced[best]:.3f}"
        )


def kqa(folder: Path) -> list[tuple[str, str, bool]]:
    """Statements in their physician's answer, and missing among the other statements."""
    judged = {row["question"] for row in read(folder / "judged_claims.jsonl")}
    rows = []
    for row in read(folder / "answers.jsonl"):
        claims = [*row["Must_have"], *row["Nice_to_have"]]
        if row["Question"] in judged or len(claims) < 3:
            continue
        for claim in filter(content, claims):
            rows.append((row["Free_form_answer"], claim, True))
            rows.append((join(other for other in claims if other != claim), claim, False))
    return rows


def scone(model: OverlapCosine, folder: Path) -> None:
    """AUC of entailment by where the negations stand; by construction .5 for symmetric scorers."""
    for path in sorted(folder.glob("train_*.csv")):
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        end = "_edited" if "sentence1_edited" in rows[0] else ""
        gold = f"gold_label{end}"
        pairs = [(row[f"sentence1{end}"], row[f"sentence2{end}"]) for row in rows]
        scores = model.entailment(pairs)
        labels = np.array([row[gold] == "entailment" for row in rows])
        support = np.array([score.support for score in scores])
        vetoed = np.mean([score.contradiction > 0 for score in scores])
        print(f"  {path.stem:38} AUC {auc(labels, support):.3f}  vetoed {vetoed:.3f}")


def condaqa_pairs(path: Path, edit: int) -> dict[str, list[tuple[str, str]]]:
    """Original and edited sentence, by half; passages in which a single sentence changed."""
    passages: dict[int, dict[int, str]] = {}
    for row in read(path):
        passages.setdefault(row["PassageID"], {})[row["PassageEditID"]] = row["sentence1"]
    ordered = [passages[number] for number in sorted(passages)]
    found: dict[str, list[tuple[str, str]]] = {"read": [], "unread": []}
    for place, edits in enumerate(ordered):
        if 0 not in edits or edit not in edits:
            continue
        before, after = sentences(edits[0]), sentences(edits[edit])
        gone = [sentence for sentence in before if sentence not in after]
        new = [sentence for sentence in after if sentence not in before]
        if len(gone) == len(new) == 1:
            found["unread" if place % 2 else "read"].append((gone[0], new[0]))
    return found


def condaqa(model: OverlapCosine, path: Path) -> None:
    """Share taken for a contradiction: paraphrases (should be few), affirmed edits (many)."""
    for edit, name in ((1, "paraphrase"), (3, "affirmed")):
        for half, pairs in condaqa_pairs(path, edit).items():
            flagged = np.mean([score.contradiction > 0 for score in model.entailment(pairs)])
            print(f"  {half:7} {name:12} {flagged:.3f} of {len(pairs)}")


def main(folder: Path) -> None:
    """Prints the curves and the effect of the veto."""
    model = OverlapCosine()
    snli = [row for row in read(folder / "snli/snli_dev_test.jsonl") if not row["held_out"]]
    curve(
        model,
        "SNLI",
        [(r["premise"], r["hypothesis"], r["label"] == "entailment") for r in snli[::EVERY]],
    )
    curve(model, "K-QA, physicians' own answers", kqa(folder / "kqa"))
    print("ScoNe")
    scone(model, folder / "scone")
    print("CondaQA, sentences taken for contradictions of the original")
    condaqa(model, folder / "condaqa/condaqa_dev.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
