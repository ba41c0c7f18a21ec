"""A prompt's parts put together are the prompt; without some of them nothing else is missing."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Media, Message, Part, Span
from harness.scorers.prompt_parts import PARTS, PromptParts
from harness.templates import Template, render

CONTEXT: dict[str, Any] = {
    "id": "ab12",
    "input": (Part("a note"),),
    "label": "gastritis",
    "probability": 0.8,
    "probabilities": {"gastritis": 0.8, "indigestion": 0.2},
    "aspect": "causes",
    "question": "Why?",
    "language": "en",
    "evidence_summary": "“pain”",
}
PICTURE = Part(media=Media("ab", "image/png", data=b""))


def cut(source: str, system: str | None = None, **values: Any) -> PromptParts:
    turn = render(Template(source, system), {**CONTEXT, **values})[0]
    return PromptParts.of(turn.messages, turn.spans)


def texts(messages: tuple[Message, ...]) -> list[str]:
    return [message.text for message in messages]


def test_each_kind_of_variable_is_a_part_and_the_words_between_are_instructions() -> None:
    prompt = cut(
        "It is {{ label }} ({{ probability }}) for {{ evidence_summary }}: {{ input }} {{ aspect }}",
        "Be brief.",
    )
    assert prompt.names == (
        "label",
        "probabilities",
        "evidence",
        "input",
        "question",
        "instructions",
    )
    assert texts(prompt.without({"label"})) == [
        "Be brief.",
        "It is  (0.8) for “pain”: a note causes",
    ]
    assert texts(prompt.without({"evidence", "input"})) == [
        "Be brief.",
        "It is gastritis (0.8) for :  causes",
    ]
    assert texts(prompt.without({"instructions"})) == ["", " gastritis 0.8 “pain” a note causes"]
    assert texts(prompt.without(set(PARTS)))[0] == ""
    assert texts(prompt.without(set(PARTS)))[1].strip() == ""


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ probabilities[label] }}", ("probabilities",)),
        ("{% for n, p in probabilities.items() %}{{ n }} {% endfor %}", ("probabilities",)),
        ("{{ label ~ evidence_summary }}", ("evidence",)),
        ("Why?", ("instructions",)),
        ("{{ label }}\n{{ aspect }}", ("label", "question")),  # what is blank is no part
    ],
)
def test_what_several_variables_print_belongs_to_one_part(
    source: str, names: tuple[str, ...]
) -> None:
    assert cut(source).names == names


def test_pictures_go_with_the_input_and_messages_stay_where_they_were() -> None:
    prompt = cut("See {{ input }} Why {{ label }}?", "Be brief.", input=(Part("old: "), PICTURE))
    assert prompt.names == ("label", "input", "instructions")
    left = prompt.without({"input"})
    assert [[part.text for part in m.parts] for m in left] == [
        ["Be brief."],
        ["See  \n", " Why gastritis?"],
    ]
    assert [m.role for m in prompt.without(set(PARTS))] == ["system", "user"]
    assert [part.media for part in prompt.without({"label"})[1].parts] == [
        None,
        PICTURE.media,
        None,
    ]


def test_earlier_answers_are_a_part_of_later_turns() -> None:
    turns = render(Template("Why {{ label }}?", None, ("Sure of {{ label }}?",)), CONTEXT)
    messages = (*turns[0].messages, Message.of("assistant", "Because."), *turns[1].messages)
    prompt = PromptParts.of(messages, (*turns[0].spans, *turns[1].spans))
    assert prompt.names == ("label", "instructions", "earlier_answers")
    assert texts(prompt.without({"label"})) == ["Why ?", "Because.", "Sure of ?"]
    assert texts(prompt.without({"earlier_answers"})) == [
        "Why gastritis?",
        "",
        "Sure of gastritis?",
    ]


def test_of_spans_in_one_another_the_inner_one_counts() -> None:
    spans = (Span("input", 0, 0, 0, 9), Span("label", 0, 0, 3, 6))
    prompt = PromptParts.of((Message.of("user", "abcdefghi"),), spans)
    assert texts(prompt.without({"label"})) == ["abcghi"]
    assert texts(prompt.without({"input"})) == ["def"]


@given(st.text(max_size=12), st.text(max_size=12), st.text(alphabet="ab{} \n", max_size=12))
def test_nothing_is_lost_but_what_is_removed(note: str, label: str, evidence: str) -> None:
    prompt = cut("A {{ label }}B{{ input }}{{ evidence_summary }}C", None, input=(Part(note),), label=label,
                 evidence_summary=evidence)  # fmt: skip
    assert prompt.without(()) == prompt.messages
    pieces = [
        ("instructions", "A "), ("label", label), ("instructions", "B"), ("input", note),
        ("evidence", evidence), ("instructions", "C"),
    ]  # fmt: skip
    for count in range(1, len(prompt.names) + 1):
        for removed in combinations(prompt.names, count):
            left = [edges(text) if part in removed else text for part, text in pieces]
            assert texts(prompt.without(removed)) == ["".join(left)]


def edges(text: str) -> str:
    """The white space before and after a text's words."""
    before = text[: len(text) - len(text.lstrip())]
    return before + text[len(text.rstrip()) :] if text.strip() else text
