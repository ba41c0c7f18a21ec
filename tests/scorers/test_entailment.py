"""Claim coverage: what it must separate, and how far it agrees with physicians."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.records import HarnessError
from harness.scorers.entailment import (
    COSINE_WEIGHT,
    SAME_MEANING,
    SUPPORTED,
    OverlapCosine,
    Pair,
    coverage,
    entailment_model,
)
from harness.sentences import content_words, sentences


@pytest.fixture(scope="module")
def model() -> OverlapCosine:
    return OverlapCosine()


def pair(model: OverlapCosine, premise: str, hypothesis: str) -> Pair:
    return model.entailment([(premise, hypothesis)])[0]


CLAIM = "Drinking alcohol can inflame the lining of the stomach."


def test_a_claim_supports_itself_fully(model: OverlapCosine) -> None:
    found = pair(model, CLAIM, CLAIM)
    assert found.support == pytest.approx(1, abs=1e-5)
    assert found.contradiction == 0


@pytest.mark.parametrize(
    "premise",
    [
        "Alcohol may inflame the stomach lining.",
        "The lining of the stomach is often inflamed by drinking too much alcohol.",
    ],
)
def test_other_words_for_a_claim_support_it(model: OverlapCosine, premise: str) -> None:
    assert pair(model, premise, CLAIM).support >= SUPPORTED


@pytest.mark.parametrize(
    "premise",
    [
        "Drinking alcohol never inflames the lining of the stomach.",
        "Alcohol does not inflame the stomach lining.",
    ],
)
def test_a_denied_claim_is_contradicted_and_not_supported(
    model: OverlapCosine, premise: str
) -> None:
    found = pair(model, premise, CLAIM)
    assert found.contradiction >= SUPPORTED
    assert found.support == 0


def test_another_number_contradicts_and_the_same_in_other_units_supports(
    model: OverlapCosine,
) -> None:
    claim = "The illness usually lasts two days."
    assert pair(model, "The illness usually lasts 10 days.", claim).contradiction >= SUPPORTED
    assert pair(model, "The illness usually lasts 48 hours.", claim).support >= SUPPORTED


def test_another_word_of_one_meaning_counts_for_more_than_an_unrelated_one(
    model: OverlapCosine,
) -> None:
    claim = "The doctor prescribes a tablet."
    _, (pill, chair) = model.measures(
        ["The doctor prescribes a pill.", "The doctor prescribes a chair."], [claim]
    )
    assert 2 / 3 < pill[0] < 1
    assert chair[0] == pytest.approx(2 / 3)


def test_matches_are_those_computed_word_by_word(model: OverlapCosine) -> None:
    premises = ["Alcohol irritates the gut. Rest helps.", "A pill is swallowed.", "", "Why not?"]
    hypotheses = [CLAIM, "Tablets are swallowed with water.", "It is."]
    found = model.matches(premises, hypotheses)

    def plain(premise: str, hypothesis: str) -> float:
        said, wanted = content_words(premise), content_words(hypothesis)
        if not said or not wanted:
            return 0.0
        recall = 0.0
        for stem, word in wanted.items():
            near = max(float(model.embedder([word])[0] @ model.embedder([w])[0])
                       for w in said.values())  # fmt: skip
            recall += 1.0 if stem in said else near if near >= SAME_MEANING else 0.0
        ends = [model.embedder(sentences(text)).mean(axis=0) for text in (premise, hypothesis)]
        cosine = ends[0] @ ends[1] / np.prod([np.linalg.norm(end) for end in ends])
        return float(COSINE_WEIGHT * cosine + (1 - COSINE_WEIGHT) * recall / len(wanted))

    expected = [[plain(premise, hypothesis) for hypothesis in hypotheses] for premise in premises]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_window_that_holds_the_opposite_of_a_claim_does_not_support_it(
    model: OverlapCosine,
) -> None:
    claim = "Alcohol inflames the stomach and the gut."
    window = "The gut has a lining. Alcohol does not inflame the stomach and the gut."
    assert pair(model, window, claim).support == 0


@pytest.mark.parametrize("premise", ["", "  \n", "...", "The bus to the station is late today."])
def test_what_says_nothing_of_a_claim_does_neither(model: OverlapCosine, premise: str) -> None:
    found = pair(model, premise, CLAIM)
    assert found.support < SUPPORTED
    assert found.contradiction == 0


def test_scores_do_not_depend_on_the_other_pairs(model: OverlapCosine) -> None:
    texts = ["Alcohol harms.", CLAIM, "Rest helps with fever.", "A virus is the cause. Rest."]
    square = [(a, b) for a in texts for b in texts]
    together = OverlapCosine().entailment(square)
    for one, (a, b) in zip(together, square, strict=True):
        alone = pair(model, a, b)
        assert alone.support == pytest.approx(one.support, abs=1e-5)
        assert alone.contradiction == pytest.approx(one.contradiction, abs=1e-5)
        assert 0 <= one.support <= 1


def test_a_claim_spread_over_neighbouring_sentences_is_found(model: OverlapCosine) -> None:
    text = (
        "The weather was fine. Symptoms of the infection include fever. Vomiting is seen as well. "
        "Cramps may follow."
    )
    claim = "Symptoms of the infection include fever, vomiting and cramps."
    found = coverage(model, text, [claim])[0]
    single = max(pair(model, s + ".", claim).support for s in text.rstrip(".").split(". "))
    assert found.support > single
    assert "Cramps" in found.sentence


def test_coverage_asks_any_model_for_sentences_and_windows_only() -> None:
    asked: list[tuple[str, str]] = []

    class Recorder:
        def __init__(self) -> None:
            self.fingerprint: Mapping[str, str] = {}

        def entailment(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
            asked.extend(pairs)
            return [Pair(0.5, 0.25) for _ in pairs]

    parts = ["Rest first.", "Drink then.", "Eat later.", "Sleep last."]
    coverage(Recorder(), " ".join(parts), ["claim"])
    windows = [" ".join(parts[:3]), " ".join(parts[1:])]
    assert asked == [(premise, "claim") for premise in [*parts, *windows]]


def test_an_empty_text_covers_nothing(model: OverlapCosine) -> None:
    found = coverage(model, "", [CLAIM])[0]
    assert (found.support, found.contradiction, found.sentence) == (0.0, 0.0, "")


def test_ten_thousand_characters_without_a_space_are_scored(model: OverlapCosine) -> None:
    assert coverage(model, "x" * 10_000, [CLAIM])[0].support < SUPPORTED


def test_an_unknown_model_is_refused_in_one_sentence() -> None:
    with pytest.raises(HarnessError, match="entailment model 'nli'"):
        entailment_model("nli")


def test_coverage_agrees_with_physicians_on_answers_of_four_models(
    model: OverlapCosine, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """AUC of entailment against the rest on K-QA; all constants but `SAID` were chosen without them."""
    by_answer: dict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
    for line in (shared_data / "kqa/judged_claims.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        key = (row["question"], row["answer"])
        by_answer[key].append((row["claim"], row["majority"] == "Entailment"))
    groups, labels, scores = [], [], []
    for (question, answer), claims in by_answer.items():
        found = coverage(model, answer, [claim for claim, _ in claims])
        groups += [question] * len(claims)
        labels += [label for _, label in claims]
        scores += [one.support for one in found]
    value = roc_auc_score(labels, scores)
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(np.array(groups) == name) for name in sorted(set(groups))]
    draws = [np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
             for _ in range(500)]  # fmt: skip
    drawn = [roc_auc_score(np.array(labels)[d], np.array(scores)[d]) for d in draws]
    low, high = np.quantile(drawn, [0.025, 0.975])
    with capsys.disabled():
        print(f"\nK-QA: AUC {value:.3f} [{low:.3f}, {high:.3f}] by question, {len(labels)} claims")
    assert len(labels) == 222
    assert value >= 0.80
