"""Reference similarity, label consistency and schema validity."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records import Cell, Claim, Generation, GoldRecord, Subject
from harness.scorers.label import LabelConsistency, mentions
from harness.scorers.schema import SchemaValidity
from harness.scorers.similarity import Similarity, overlap_f1, rouge_l

CELL = Cell("m", "s", "f", "base", "gold", "causes", 1)
GOLD = GoldRecord("causes", (Claim("a", "Alcohol harms the liver of a heavy drinker."),), label="x")


def longest_common(x: list[str], y: list[str]) -> int:
    """The textbook recursion, as a table."""
    table = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
            )
    return table[-1][-1]


tokens = st.lists(st.sampled_from("abcde"), max_size=30)


@given(tokens, tokens)
def test_rouge_l_is_that_of_the_textbook(x: list[str], y: list[str]) -> None:
    expected = 2 * longest_common(x, y) / (len(x) + len(y)) if x and y else 0
    assert rouge_l(" ".join(x), " ".join(y)) == pytest.approx(expected)


@settings(max_examples=30)
@given(st.text(max_size=80), st.text(max_size=80))
def test_baselines_are_symmetric_and_bounded(a: str, b: str) -> None:
    for measure in (overlap_f1, rouge_l):
        assert measure(a, b) == pytest.approx(measure(b, a))
        assert 0 <= measure(a, b) <= 1


def test_gold_is_most_similar_to_itself_and_all_are_baselines() -> None:
    scorer = Similarity()
    subject = Subject("cell", CELL.id, (CELL,), gold_true=GOLD)
    own = {s.metric: s.value for s in scorer.score(subject, [Generation(GOLD.claims[0].text)])}
    far = {s.metric: s.value for s in scorer.score(subject, [Generation("The bus is late.")])}
    for name in ("cosine_to_gold", "overlap_f1", "rouge_l"):
        assert own[name] == pytest.approx(1, abs=1e-5)
        assert (far[name] or 0.0) < 0.5
    assert own["words"] == 8
    assert all(metric.baseline and not metric.separates for metric in scorer.metrics)


def test_similarity_of_nothing_is_zero_and_without_gold_not_applicable() -> None:
    scorer = Similarity()
    subject = Subject("cell", CELL.id, (CELL,), gold_true=GOLD)
    assert [s.value for s in scorer.score(subject, [Generation("")])] == [0, 0, 0, 0]
    bare = Subject("cell", CELL.id, (CELL,))
    assert [s.value for s in scorer.score(bare, [Generation("two words")])] == [None] * 3 + [2]


LABELS = ("gastritis", "viral gastroenteritis", "gastroenteritis", "peptic ulcer", "allergy")


@pytest.mark.parametrize(
    ("text", "told", "expected"),
    [
        ("Gastritis is an inflammation.", "gastritis", 1),
        ("A PEPTIC ULCER hurts.", "peptic ulcer", 1),
        ("Peptic ulcers hurt.", "peptic ulcer", 1),
        ("A peptic-ulcer hurts.", "peptic ulcer", 1),
        ("Allergies itch.", "allergy", 1),
        ("Viral gastroenteritis spreads.", "gastroenteritis", 0),
        ("Viral gastroenteritis spreads.", "viral gastroenteritis", 1),
        ("The stomach is inflamed.", "gastritis", 0.5),
        ("Pangastritisoid is no word.", "gastritis", 0.5),
        ("An allergy, or else an allergy. Not gastritis.", "gastritis", 0),
        ("", "gastritis", 0),
    ],
)
def test_the_told_label_is_found_as_a_whole_word(text: str, told: str, expected: float) -> None:
    subject = Subject("cell", CELL.id, (CELL,), told=told, labels=LABELS)
    assert LabelConsistency().score(subject, [Generation(text)])[0].value == expected


def test_without_a_told_label_consistency_is_not_applicable() -> None:
    subject = Subject("cell", CELL.id, (CELL,), labels=LABELS)
    assert LabelConsistency().score(subject, [Generation("Gastritis.")])[0].value is None


def test_labels_with_special_characters_are_taken_literally() -> None:
    assert mentions("It is c++ (type 2).", ("c++", "(type 2)", "c")) == {
        "c++": 1,
        "(type 2)": 1,
        "c": 0,
    }


SCHEMA = {"type": "object", "required": ["why"], "properties": {"why": {"type": "string"}}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"why": "so"}', 1),
        ('```json\n{"why": "so"}\n```', 1),
        ('\ufeff{"why": "so"}', 1),
        ('{"why": 3}', 0),
        ('{"why": "so', 0),
        ("because", 0),
        ("", 0),
    ],
)
def test_an_answer_is_valid_where_it_fits_the_schema(text: str, expected: float) -> None:
    subject = Subject("cell", CELL.id, (CELL,), schema=SCHEMA)
    assert SchemaValidity().score(subject, [Generation(text)])[0].value == expected


def test_without_a_schema_validity_is_not_applicable() -> None:
    subject = Subject("cell", CELL.id, (CELL,))
    assert SchemaValidity().score(subject, [Generation("{}")])[0].value is None
