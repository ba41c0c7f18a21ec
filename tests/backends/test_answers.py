"""What answers hold: reasoning, refusals, JSON."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.answers import (
    blank,
    clean,
    parse_json,
    refused,
    validate,
)
from harness.records import HarnessError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab{}[]\"`", max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


# --- text ---------------------------------------------------------------------------------


@given(st.text(st.characters(), max_size=40))
def test_any_text_becomes_text_that_can_be_stored_and_stays_so(text: str) -> None:
    cleaned = clean(text)
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert "\0" not in cleaned
    assert clean(cleaned) == cleaned


def test_a_surrogate_pair_is_joined_and_a_lone_surrogate_replaced() -> None:
    assert clean("\ud83d\ude00 \ud800!") == "\U0001f600 \ufffd!"
    assert clean("\ufeffa\0b") == "a\ufffdb"


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "\ufeff", "\u200b\u200d\u2060", "\u2800\u2800", "\u3164", "\u00ad", "\x00\x07",
     "&nbsp;&nbsp;", "&#8203;", "\ufe0f", "\u3000", "\u2028"],
)  # fmt: skip
def test_a_text_of_letters_that_nobody_sees_is_blank(text: str) -> None:
    assert blank(text)


@pytest.mark.parametrize("text", ["a", ".", "é", "好", "\U0001f600", "&amp;", "­x", "ـ"])
def test_a_text_that_shows_anything_is_not_blank(text: str) -> None:
    assert not blank(text)


# --- refusals -----------------------------------------------------------------------------


REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I'm sorry, I can't assist with that.",
    "I am sorry, but I cannot provide medical advice.",
    "I cannot assist with that request.",
    "I can't help with this.",
    "I won't be able to help with that.",
    "Sorry, I can't do that.",
    "Sorry, but I can't provide that information.",
    "I'm unable to assist with this request.",
    "I am not able to provide medical advice.",
    "I'm not able to discuss this topic.",
    "Unfortunately, I cannot comply with your request.",
    "As an AI language model, I cannot provide a medical diagnosis.",
    "I apologize, but I cannot fulfill this request.",
    "I must decline to answer this question.",
    "I decline to answer.",
    "I cannot provide medical advice. Please consult a doctor.",
    "I'm sorry, but I can't help with that, but I can suggest a general source.",
    "I can't provide personalized medical advice because I am not a doctor.",
    "**I'm sorry, but I can't help with that.**",
    "I'm sorry, I can't.",
    "I cannot answer that question.",
)


ANSWERS = (
    "I cannot rule out infection.",
    "I cannot see any microaneurysms in this image.",
    "I can't help but notice the enlarged foveal zone.",
    "I'm sorry to hear that; gastritis is often caused by H. pylori.",
    "I cannot provide medical advice, but gastritis is commonly caused by H. pylori.",
    "I am unable to find any dropout region in the upper sectors.",
    "Unfortunately, gastroparesis cannot be cured.",
    "Sorry, the earlier answer was wrong: the stage is proliferative.",
    "I cannot be certain, but the pattern suggests ischaemia.",
    "We cannot exclude neovascularisation on this image.",
    "Patients who can't help themselves need assistance with that.",
    "You should refuse to take ibuprofen with gastritis.",
    "Antacids can help with that.",
    "I can help with that: indigestion is often caused by food.",
    "I'm not able to say whether the lesion is new, as no earlier image is given.",
    "I won't know the stage before a biopsy.",
    "I must stress that alcohol worsens gastritis.",
    "This cannot be answered from the image alone; dropout is likely.",
    "The stomach is unable to comply with the volume of a large meal.",
    "I would not recommend that without a doctor's advice.",
    "I cannot provide a count of microaneurysms from this image.",
    "I'm unable to determine the cause from the label alone.",
    "",
    "No.",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_in_words_is_told(text: str) -> None:
    assert refused(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_that_denies_or_doubts_is_no_refusal(text: str) -> None:
    assert not refused(text)


def test_a_long_explanation_after_a_disclaimer_is_no_refusal() -> None:
    assert not refused("I cannot provide medical advice. " + "Gastritis has many causes. " * 40)


# --- JSON ---------------------------------------------------------------------------------


@given(JSON)
def test_a_json_value_is_found_whole_and_in_a_fence(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, indent=indent, ensure_ascii=False)
        assert parse_json(text) == value
        assert parse_json(f"\ufeff  {text}\n") == value
        if "```" not in text:
            assert parse_json(f"Here it is:\n```json\n{text}\n```\nAnything else?") == value


@given(st.dictionaries(st.text("ab{}[]\"'`\\", min_size=1, max_size=4), JSON, min_size=1))
def test_an_object_amid_prose_is_found(value: object) -> None:
    assert parse_json(f"Sure! The answer is {json.dumps(value)} as you see.") == value


@given(st.dictionaries(st.text("ab", min_size=1), JSON, min_size=1), st.data())
def test_json_that_is_cut_off_is_no_json_and_nothing_in_it_is_taken(
    value: object, data: st.DataObject
) -> None:
    text = json.dumps({"outer": value, "inner": {"a": 1}})
    cut = data.draw(st.integers(10, len(text) - 1))
    assert parse_json(text[:cut]) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "no json", '{"a": NaN}', '{"a": 1e999}', "{a: 1}", '{"a": 1,}', "[" * 100_000,
        '{"a":' * 100_000, "__import__('os')", '"open', "{'a': 1}", "}" * 9 + "{",
    ],
)  # fmt: skip
def test_what_is_no_json_gives_nothing(text: str) -> None:
    assert parse_json(text) is None


def test_a_stray_bracket_does_not_hide_the_value() -> None:
    assert parse_json('See {name} and (a] first: {"a": [1, 2]}') == {"a": [1, 2]}


SCHEMA = {
    "type": "object",
    "properties": {"stage": {"enum": ["healthy", "proliferative"]}},
    "required": ["stage"],
    "additionalProperties": False,
}


def test_a_text_of_nothing_but_stray_brackets_is_given_up() -> None:
    found = {count: parse_json("{ well " * count + '{"a": 1}') for count in (1, 10, 1000)}
    assert found == {1: {"a": 1}, 10: {"a": 1}, 1000: None}


def test_the_first_value_that_fits_is_taken() -> None:
    text = 'As in [1], {"stage": "healthy"} is right.'
    assert validate(text, SCHEMA) == ({"stage": "healthy"}, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"stage": "blue"}', "$.stage"),
        ('{"stage": "healthy", "more": 1}', "more"),
        ("null", "object"),
        ('{"stage": "heal', "no complete JSON"),
        ("prose", "no complete JSON"),
    ],
)
def test_what_breaks_the_schema_is_said(text: str, says: str) -> None:
    assert says in str(validate(text, SCHEMA)[1])


def test_a_schema_is_never_fetched_from_the_network() -> None:
    asked: list[str] = []

    class Schema(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "object"}')

    with HTTPServer(("127.0.0.1", 0), Schema) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(HarnessError, match="refers to"):
                validate("{}", {"$ref": f"http://127.0.0.1:{server.server_port}/schema.json"})
        finally:
            server.shutdown()
    assert asked == []
