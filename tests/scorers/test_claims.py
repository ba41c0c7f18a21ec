"""Claim metrics on planted truth: what each must separate, and what is not applicable."""

from __future__ import annotations

import pytest

from harness.records import Cell, Claim, Generation, GoldRecord, HarnessError, Score, Subject
from harness.scorers.claims import Claims

CELL = Cell("m", "s", "f", "base", "gold", "causes", 1)
GOLD = GoldRecord(
    "causes",
    (
        Claim("bacterium", "Infection with a bacterium is the most frequent cause of the ulcer."),
        Claim("painkillers", "Painkillers such as aspirin can damage the lining of the stomach."),
        Claim("smoking", "Smoking slows the healing of the ulcer.", importance="nice"),
        Claim("milk", "Drinking milk cures the ulcer for good.", importance="must_not"),
    ),
    label="ulcer",
)
OTHER = GoldRecord(
    "causes", (Claim("gene", "An inherited gene makes the lungs produce thick mucus."),), label="x"
)


@pytest.fixture(scope="module")
def claims() -> Claims:
    return Claims()


def values(
    scorer: Claims, text: str, *, true: GoldRecord | None = GOLD, told: GoldRecord | None = None,
    generation: Generation | None = None,
) -> dict[str, float | None]:  # fmt: skip
    return {s.metric: s.value for s in scores(scorer, text, true, told, generation)}


def scores(
    scorer: Claims, text: str, true: GoldRecord | None, told: GoldRecord | None = None,
    generation: Generation | None = None,
) -> list[Score]:  # fmt: skip
    subject = Subject("cell", CELL.id, (CELL,), gold_true=true, gold_told=told)
    return list(scorer.score(subject, [generation or Generation(text)]))


GOOD = "\n".join(f"- {c.text}" for c in GOLD.claims[:3])


def test_gold_as_a_list_is_all_recall_and_no_error(claims: Claims) -> None:
    found = values(claims, GOOD)
    assert found["recall_vs_true"] == 1
    assert found["precision_vs_true"] == 1
    assert found["contradiction_vs_true"] == 0
    assert found["unsupported_vs_true"] == 0
    assert found["must_not_vs_true"] == 0


def test_recall_counts_must_claims_alone(claims: Claims) -> None:
    assert values(claims, GOLD.claims[0].text)["recall_vs_true"] == 0.5
    assert values(claims, GOLD.claims[2].text)["recall_vs_true"] == 0


def test_denials_are_contradictions_and_earn_no_recall(claims: Claims) -> None:
    found = values(
        claims,
        "Infection with a bacterium is never the cause of the ulcer. Painkillers such as aspirin "
        "do not damage the lining of the stomach. Smoking speeds the healing of the ulcer.",
    )
    assert found["recall_vs_true"] == 0
    assert found["contradiction_vs_true"] is not None
    assert found["contradiction_vs_true"] >= 2 / 3
    assert found["precision_vs_true"] == 0


def test_what_gold_is_silent_on_lowers_precision_and_contradicts_nothing(claims: Claims) -> None:
    found = values(claims, f"{GOOD}\n\nThe orchestra played a symphony in the evening.")
    assert found["precision_vs_true"] == pytest.approx(0.75)
    assert found["unsupported_vs_true"] == pytest.approx(0.25)
    assert found["contradiction_vs_true"] == 0


def test_a_must_not_claim_is_seen_when_it_is_said_and_only_then(claims: Claims) -> None:
    assert values(claims, f"{GOOD}\n\nMilk cures the ulcer for good.")["must_not_vs_true"] == 1
    assert values(claims, f"{GOOD}\n\nMilk never cures the ulcer.")["must_not_vs_true"] == 0


def test_another_label_s_text_earns_nothing(claims: Claims) -> None:
    found = values(claims, OTHER.claims[0].text)
    assert found["recall_vs_true"] == 0
    assert found["precision_vs_true"] == 0
    assert found["unsupported_vs_true"] == 1


@pytest.mark.parametrize(
    "generation",
    [
        Generation("", outcome="empty"),
        Generation(" \n"),
        Generation("I'm sorry, but I can't help with that."),
        Generation("Smoking slows the healing of the ulcer.", outcome="refusal"),
    ],
)
def test_an_empty_answer_or_refusal_is_scored_at_its_worth(
    claims: Claims, generation: Generation
) -> None:
    found = values(claims, "", generation=generation)
    assert found["recall_vs_true"] == found["precision_vs_true"] == 0
    assert found["contradiction_vs_true"] == found["must_not_vs_true"] == 0
    assert found["unsupported_vs_true"] is None


def test_without_gold_nothing_is_applicable_on_that_side(claims: Claims) -> None:
    found = values(claims, GOOD, told=None)
    assert found["recall_vs_told"] is None
    assert found["contradiction_vs_told"] is None
    assert all(value is None for value in values(claims, GOOD, true=None).values())


def test_without_must_or_must_not_claims_their_metrics_are_not_applicable(claims: Claims) -> None:
    only_nice = GoldRecord("causes", (GOLD.claims[2],), label="ulcer")
    found = values(claims, GOOD, true=only_nice)
    assert found["recall_vs_true"] is None
    assert found["must_not_vs_true"] is None
    assert found["precision_vs_true"] is not None


def test_true_and_told_are_held_apart(claims: Claims) -> None:
    found = values(claims, OTHER.claims[0].text, told=OTHER)
    assert (found["recall_vs_true"], found["recall_vs_told"]) == (0, 1)


def test_the_detail_shows_each_claim_with_its_sentence(claims: Claims) -> None:
    recall = scores(claims, f"Rest well today. {GOLD.claims[1].text}", GOLD)[0]
    assert recall.detail is not None
    rows = {row["id"]: row for row in recall.detail["claims"]}
    assert rows["painkillers"]["verdict"] == "supported"
    assert rows["painkillers"]["sentence"] == GOLD.claims[1].text
    assert rows["bacterium"]["verdict"] == "unsupported"
    assert set(rows["milk"]) == {"id", "text", "importance", "verdict", "support", "sentence"}


def test_json_is_read_by_its_values(claims: Claims) -> None:
    first, second = (c.text for c in GOLD.claims[:2])
    text = f'```json\n{{"causes": ["{first}", "{second}"]}}\n```'
    found = values(claims, text)
    assert found["recall_vs_true"] == found["precision_vs_true"] == 1


def test_preparing_changes_no_score(claims: Claims) -> None:
    fresh = Claims()
    subject = Subject("cell", CELL.id, (CELL,), gold_true=GOLD)
    fresh.prepare([subject], [[Generation(GOOD)]])
    assert fresh.score(subject, [Generation(GOOD)]) == claims.score(subject, [Generation(GOOD)])


def test_every_score_is_declared_and_within_its_range(claims: Claims) -> None:
    names = {metric.name for metric in claims.metrics}
    for text in ("", GOOD, "ÜÑÍ 🙂 " * 500, "x" * 10_000, "<script>alert(1)</script>"):
        for score in scores(claims, text, GOLD, OTHER):
            assert score.metric in names
            assert score.value is None or 0 <= score.value <= 1


def test_a_threshold_outside_its_range_is_refused() -> None:
    with pytest.raises(HarnessError, match="threshold"):
        Claims(threshold=1.5)


def test_a_question_asserts_nothing_and_a_heading_that_asks_is_no_obstacle(claims: Claims) -> None:
    asked = "Is infection with a bacterium the most frequent cause of the ulcer? Do ask. And rest."
    found = values(claims, asked)
    assert (found["recall_vs_true"], found["precision_vs_true"]) == (0, 0)
    answered = "What causes the ulcer? Infection with a bacterium is its most frequent cause."
    assert values(claims, answered)["recall_vs_true"] == 0.5


def test_a_few_words_again_and_again_state_nothing(claims: Claims) -> None:
    found = values(claims, "ulcer causes " * 30)
    assert (found["recall_vs_true"], found["precision_vs_true"]) == (0, 0)


def test_a_claim_in_the_words_of_its_paraphrase_counts(claims: Claims) -> None:
    stage = Claim("stage", "The stage is healthy.", paraphrases=("No retinopathy is seen.",))
    gold = GoldRecord("findings", (stage,), label="healthy")
    found = values(claims, "No retinopathy is seen. No capillary dropout is seen.", true=gold)
    assert (found["recall_vs_true"], found["contradiction_vs_true"]) == (1, 0)
    assert values(claims, "Retinopathy is seen.", true=gold)["contradiction_vs_true"] == 1
    plain = GoldRecord("findings", (Claim("stage", stage.text),), label="healthy")
    assert values(claims, "No retinopathy is seen.", true=plain)["recall_vs_true"] == 0


def test_what_rests_on_contradictions_is_marked_as_not_validated(claims: Claims) -> None:
    marked = {metric.name for metric in claims.metrics if metric.not_validated}
    assert marked == {"contradiction_vs_true", "contradiction_vs_told", "precision_vs_true"}
    assert all(m.title.endswith("not validated") == (m.name in marked) for m in claims.metrics)
