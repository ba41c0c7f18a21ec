"""Verdicts on pairs of text and claim by kind: numbers, order, hedges, negation, and neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.scorers import word_lists
from harness.scorers.entailment import SUPPORTED, OverlapCosine, coverage

PAIRS = Path(__file__).parents[2] / "benchmarks/claim_pairs"
# Of a kind or by the model's own limit: opposite words under a negation, and paraphrases of gold.
MISSED = {"The lesion is not benign."}
LEFT_OUT = {"stages and states"}


@pytest.fixture(scope="module")
def model() -> OverlapCosine:
    return OverlapCosine()


def kinds() -> dict[str, list[list[str]]]:
    read = yaml.safe_load((PAIRS / "read.yaml").read_text("utf-8"))
    return {kind: rows for kind, rows in read.items() if kind not in LEFT_OUT}


@pytest.mark.parametrize("kind", kinds())
def test_each_pair_has_its_verdict(model: OverlapCosine, kind: str) -> None:
    wrong = []
    for text, claim, wanted in kinds()[kind]:
        found = coverage(model, text, [claim])[0]
        verdict = (
            "contradicted" if found.contradiction >= SUPPORTED
            else "supported" if found.support >= SUPPORTED
            else "unsupported"
        )  # fmt: skip
        right = verdict != wanted[4:] if wanted.startswith("not ") else verdict == wanted
        if not right and text not in MISSED:
            wrong.append((text, claim, wanted, verdict))
    assert wrong == []


def test_every_word_list_says_what_it_is_for() -> None:
    for path in sorted(word_lists.FOLDER.glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        assert lines[0].startswith("# "), path.name
        assert word_lists.load(path.stem)


def test_another_word_list_is_another_version_of_the_model(model: OverlapCosine) -> None:
    assert model.fingerprint["word_lists"] == word_lists.fingerprint()
