"""Sentence splitting and words of content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sentences import content, informative, sentences, stem, windows, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Ask Dr. Smith, i.e. the doctor. Go.", ["Ask Dr. Smith, i.e. the doctor.", "Go."]),
        ("Take 0.5 mg daily. Stop at 2.5 mg.", ["Take 0.5 mg daily.", "Stop at 2.5 mg."]),
        ("H. Pylori causes it. So do drugs.", ["H. Pylori causes it.", "So do drugs."]),
        ("See No. 5 first. No. It is not so.", ["See No. 5 first.", "No.", "It is not so."]),
        ("Take vitamin A. Then rest.", ["Take vitamin A.", "Then rest."]),
        ("Fever, pain, etc. Rest helps.", ["Fever, pain, etc.", "Rest helps."]),
        ("it hurts (a lot). Then it stops.", ["it hurts (a lot).", "Then it stops."]),
        ("- Rest\n- Drink water\n* Sleep", ["Rest", "Drink water", "Sleep"]),
        ("1. Rest well.\n2) Drink water.\n(3) Sleep.", ["Rest well.", "Drink water.", "Sleep."]),
        ("## Causes\n\n**Alcohol** harms.", ["Causes", "Alcohol harms."]),
        ("A line that\nwraps here. Next one.", ["A line that wraps here.", "Next one."]),
        ("See [the page](http://x.org/a).", ["See the page."]),
        ("痛みがある。熱もある。", ["痛みがある。", "熱もある。"]),
        ("\ufeffHello there.\r\n\r\nBye now.", ["Hello there.", "Bye now."]),
        ("", []),
        (" \n\t", []),
        ("...!?", []),
    ],
)
def test_text_is_cut_where_a_reader_would_cut_it(text: str, expected: list[str]) -> None:
    assert list(sentences(text)) == expected


def test_list_items_are_read_with_their_lead_in() -> None:
    assert sentences("Causes include:\n- alcohol\n- aspirin\n\nRest helps.") == (
        "Causes include: alcohol",
        "Causes include: aspirin",
        "Rest helps.",
    )


def test_a_lead_in_without_items_is_kept() -> None:
    assert sentences("These are the causes:") == ("These are the causes:",)


@given(st.text(max_size=400))
def test_no_letter_or_digit_is_lost_or_invented_on_any_text(text: str) -> None:
    joined = "".join(sentences(text))
    assert {c for c in joined if c.isalnum()} <= {c for c in text if c.isalnum()}


@given(st.lists(st.sampled_from(["Alcohol harms the stomach.", "Rest well!", "Why?"]), max_size=8))
def test_joined_sentences_come_apart_again(parts: list[str]) -> None:
    assert list(sentences(" ".join(parts))) == parts


@pytest.mark.parametrize("unit", ["a", "*", "1.", "[", "_ ", "- ", "(", "A. ", "`", "don't", "🙂"])
def test_monstrous_texts_end(unit: str) -> None:
    text = unit * 10_000  # quadratic backtracking would hang the whole test run here
    assert len("".join(sentences(text))) <= len(text)
    assert len(content(text)) <= len(text)


def test_windows_are_runs_of_neighbours() -> None:
    assert windows(["a", "b", "c", "d"], 3) == ("a b c", "b c d")
    assert windows(["a", "b"], 3) == ()


@pytest.mark.parametrize(
    "forms",
    [
        ("ulcer", "ulcers"),
        ("infection", "infections"),
        ("cause", "causes", "caused", "causing"),
        ("therapy", "therapies"),
        ("vomit", "vomiting", "vomited"),
        ("diarrhoea", "diarrhea"),
        ("tumour", "tumor", "tumours"),
        ("physician", "doctors"),
    ],
)
def test_forms_of_a_word_share_a_stem(forms: tuple[str, ...]) -> None:
    assert len({stem(form) for form in forms}) == 1


def test_different_words_keep_different_stems() -> None:
    distinct = ["gastritis", "gastric", "ulcer", "nausea", "stress", "diabetes", "virus", "mucus"]
    assert len({stem(word) for word in distinct}) == len(distinct)


def test_contracted_negations_are_spelled_out_and_ligatures_unified() -> None:
    assert words("Don’t reﬂux") == ["do", "not", "reflux"]


def test_only_statements_inform() -> None:
    assert informative("Alcohol irritates the stomach.")
    assert not informative("What causes stomach pain after meals?")
    assert not informative("It is.")
