"""Reasoning is set apart from the answer, in whatever marks a model writes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.known import THINK_NAMES
from harness.backends.reasoning import split_reasoning

HARMONY = (
    "<|channel|>analysis<|message|>why<|end|><|start|>assistant<|channel|>final<|message|>that"
)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("plain <b>text</b>", "plain <b>text</b>", None),
        ("<think>\nwhy\n</think>\n\nthat", "that", "why"),
        ("why\n</think>\nthat", "that", "why"),
        ("<think>why, and then the limit", "", "why, and then the limit"),
        ("<think></think>that", "that", None),
        ("<think>a</think>b<think>c</think>d", "bd", "a\n\nc"),
        ("<think>a<think>b</think>c</think>d", "d", "a\n\nb\n\nc"),
        ("[THINK]a[/THINK]b", "b", "a"),
        ("<THINKING>a</THINKING>b", "b", "a"),
        ("<thought>a</thought>b", "b", "a"),
        ("a</thought>b", "b", "a"),
        ("<thought>a, and then the limit", "", "a, and then the limit"),
        ("<seed:think>a</seed:think>b", "b", "a"),
        ("<seed:think>a<seed:cot_budget_reflect>c</seed:cot_budget_reflect>d</seed:think>b", "b",
         "a\n\nc\n\nd"),
        ("◁think▷a◁/think▷b", "b", "a"),
        ("{think}a{/think}b", "b", "a"),
        ("【thinking】a【/thinking】b", "b", "a"),
        ("[reasoning]a[/reasoning]b", "b", "a"),
        ("<|think|>a<|/think|>b", "b", "a"),
        ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b<|end_of_solution|>", "b", "a"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b", "a"),
        ("<think>a</think>\n<answer>b</answer>", "b", "a"),
        ("<think>a</think>\n<answer>b", "b", "a"),
        ("<think>a</think>b <answer>c</answer>", "b <answer>c</answer>", "a"),
        ("<unused94>thought\na<unused95>b", "b", "a"),
        ("<|channel>thought\na<channel|>b", "b", "a"),
        ("Here is my thought process:\na\nHere is my response:\nb", "b", "a"),
        (HARMONY, "that", "why"),
        (f"{HARMONY}<|return|>", "that", "why"),
        (f"<|start|>assistant{HARMONY}", "that", "why"),
        (HARMONY.removeprefix("<|channel|>"), "that", "why"),
        ("<|channel|>final<|message|>that<|return|>", "that", None),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>c"
         "<|end|><|start|>assistant<|channel|>final<|constrain|>json<|message|>{}", "{}", "a\n\nc"),
        ("<|channel|>analysis<|message|>why, and then the limit", "", "why, and then the limit"),
        ("analysisWe need to say that.assistantfinalthat", "that", "We need to say that."),
        ("analysisWe need to say and then the limit", "", "We need to say and then the limit"),
    ],
)  # fmt: skip
def test_reasoning_is_set_apart(text: str, answer: str, reasoning: str | None) -> None:
    assert split_reasoning(text) == (answer, reasoning)


@pytest.mark.parametrize(
    "text",
    [
        "[Reasoning] The label follows from the lining.",  # a heading
        "Reasoning: the label follows from the lining.",
        "(thinking aloud) The lining is red.",
        "The reflection <reflection of light> of the vessel is bright.",
        "analysis of the image shows dropout.",
        "Analysis shows dropout.",
        "The array a[think] is indexed by {thought}.",
        "<answer>The lining is red.</answer>",
        "Here is my response: the lining is red.",
        "x < think and y > thought",
    ],
)
def test_prose_that_looks_like_a_mark_stays_in_the_answer(text: str) -> None:
    assert split_reasoning(text) == (text, None)


@given(st.text("ab \n"), st.text("cd \n"))
def test_no_word_of_the_reasoning_reaches_the_answer(thought: str, answer: str) -> None:
    for text in (f"<think>{thought}</think>{answer}", f"{thought}</think>{answer}"):
        assert split_reasoning(text) == (answer.strip(), thought.strip() or None)


@given(
    st.sampled_from([name for name in THINK_NAMES if not name.startswith(("begin", "start"))]),
    st.sampled_from(["<>", "[]", "{}", "⟨⟩", "【】", "◁▷", "«»", "()"]),
    st.text("ab \n", min_size=1),
    st.text("cd \n"),
)
def test_every_known_name_counts_in_all_brackets(
    name: str, brackets: str, thought: str, answer: str
) -> None:
    left, right = brackets
    text = f"{left}{name}{right}{thought}{left}/{name}{right}{answer}"
    assert split_reasoning(text) == (answer.strip(), thought.strip() or None)


@given(st.text(st.sampled_from("<>|/think[]◁▷ analysisfinal\n")))
def test_no_text_at_all_raises_and_what_is_split_stays_split(text: str) -> None:
    answer, _ = split_reasoning(text)
    assert isinstance(answer, str)
