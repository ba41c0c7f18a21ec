"""What stands for an answer and is none is told apart by its kind; good answers are left alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.anomalies import ANOMALIES, Answer
from harness.outcomes import cell_outcome
from harness.records import Generation

SENTENCE = "Gastritis is an inflammation of the stomach's lining, often caused by bacteria."
LONG = f"{SENTENCE} It is treated with acid reducers. See a doctor when it lasts."


def kinds(text: str, *, schema: bool = False, **fields: object) -> set[str]:
    generation = Generation(text, **fields)  # type: ignore[arg-type]
    answer = Answer(generation, cell_outcome(generation, None), schema)
    return {anomaly.kind for anomaly in ANOMALIES if anomaly.find(answer) is not None}


ODD = [
    (f"<deliberation>{SENTENCE}</deliberation>{SENTENCE}", "unknown marks of thought"),
    (f"⟨musing⟩{SENTENCE}⟨/musing⟩{SENTENCE}", "unknown marks of thought"),
    (f"<|my_reasoning|>{SENTENCE}", "unknown marks of thought"),
    (f"{SENTENCE}</thinking_block>", "unknown marks of thought"),
    (
        "Okay, so the user wants to know about gastritis. It is an inflammation.",
        "unknown marks of thought",
    ),
    ("**Thinking Process:**\n1. Gastritis.\nIt is an inflammation.", "unknown marks of thought"),
    (f"{SENTENCE}<|im_end|>", "marks of a chat template"),
    (f"{SENTENCE}<|eot_id|><|start_header_id|>user", "marks of a chat template"),
    (f"[INST] {SENTENCE} [/INST]", "marks of a chat template"),
    (f"{SENTENCE}</s>", "marks of a chat template"),
    (f"{SENTENCE}<end_of_turn>", "marks of a chat template"),
    (f"{SENTENCE}<｜end▁of▁sentence｜>", "marks of a chat template"),
    ('<tool_call>{"name": "look", "arguments": {}}</tool_call>', "call of a tool"),
    ('[TOOL_CALLS] [{"name": "look"}]', "call of a tool"),
    ('{"name": "look", "arguments": {"label": "gastritis"}}', "call of a tool"),
    (f"{SENTENCE}\nUser: And what helps?\nAssistant: Acid reducers.", "dialogue that goes on"),
    (f"{SENTENCE}\n### Human: And what helps?", "dialogue that goes on"),
    ("<!DOCTYPE html><html><body>502</body></html>", "page instead of an answer"),
    ("  <html><h1>Login</h1></html>", "page instead of an answer"),
    ("Error: model overloaded", "error instead of an answer"),
    ('{"error": {"message": "busy", "code": 503}}', "error instead of an answer"),
    ("Internal Server Error", "error instead of an answer"),
    ("502 Bad Gateway", "error instead of an answer"),
    ("HTTP 429: too many requests", "error instead of an answer"),
    ("Traceback (most recent call last):\n  File", "error instead of an answer"),
    ("requests.exceptions.ConnectionError: refused", "error instead of an answer"),
    ("CUDA out of memory. Tried to allocate", "error instead of an answer"),
    ("null", "a word for nothing"),
    ("None", "a word for nothing"),
    ("[object Object]", "a word for nothing"),
    ("!!!!!!!!!!!!", "no word"),
    ("…", "no word"),
    (json.dumps(LONG.replace(". ", ".\n")), "escaped text"),
    (r"Gastritis is common.\n\nIt hurts.\nSee a doctor.", "escaped text"),
    (r"Gastritis is common.\u00a0It hurts, d\u00e9j\u00e0 vu.", "escaped text"),
    (json.dumps({"choices": [{"message": {"content": SENTENCE}}]}), "envelope"),
    (json.dumps([{"generated_text": SENTENCE}]), "envelope"),
    (json.dumps({"role": "assistant", "content": SENTENCE}), "envelope"),
    (base64.b64encode(LONG.encode()).decode(), "encoded text"),
    (base64.b64encode(LONG.encode() * 3).decode(), "encoded text"),
    ("The stomachâ€™s lining and the patientâ€™s pain.", "garbled letters"),
    ("Le cÅ“ur bat trop, dÃ©jÃ , le mÃ©decin dit.", "garbled letters"),
    ("It ��� is.", "garbled letters"),
    ("The lining is red and swollen. " * 20, "loop"),
    ("the the the the " * 20, "loop"),
    ("胃炎" * 200, "loop"),
    ("Gastritis is an inflammation of the", "end within a sentence"),
    ("The causes of gastritis are bacteria,", "end within a sentence"),
    ("The causes of gastritis are the following:", "end within a sentence"),
    ("The answer as asked for:\n```json\n{", "end within a sentence"),
]


@pytest.mark.parametrize(("text", "kind"), ODD)
def test_what_is_no_answer_is_told_apart_by_its_kind(text: str, kind: str) -> None:
    assert kind in kinds(text)


GOOD = [
    SENTENCE,
    LONG,
    "Gastritis.",
    "Gastritis",
    "- bacteria\n- painkillers\n- stress",
    "**Causes:** bacteria; painkillers (ibuprofen, aspirin).\n\n1. Bacteria\n2. Alcohol",
    "| cause | share |\n| --- | --- |\n| bacteria | 60 % |",
    "500 mg of amoxicillin twice a day; 404 patients took part.",
    "Errors in refraction are common. Error bars show 95 %.",
    "The user of the device should rest. We think the label is right (thinking of the lining).",
    "I think that reflection of light shows the lesion.",
    "She asked: \"What hurts?\" It's the stomach's lining that's inflamed.",
    "Helicobacter pylori. Null results are not shown. None of these is certain.",
    '{"explanation": "Bacteria are a common cause.\\nSee a doctor."}',
    "```json\n{\"explanation\": \"Bacteria.\"}\n```",
    "Vitamin A and hepatitis B",
    "Größe, Übelkeit, déjà vu, naïve, Señor, 30 °C · 5 µm ± 2",
    "胃炎是胃黏膜的炎症，常由幽门螺杆菌引起。治疗包括抑酸剂和抗生素。请及时就医。",
    "x < 5 and y > 3; see <https://example.org>",
    "The rate \\nu and \\nabla of the field",
    "<p>Gastritis is an inflammation.</p>",
    "<b>Gastritis</b> is an inflammation.",
    "\U0001f600 Rest, drink water.",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_a_good_answer_shows_nothing(text: str) -> None:
    assert kinds(text) == set()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"text": "", "reasoning": LONG, "finish_reason": "stop"}, "reasoning only"),
        ({"text": "\u200b", "reasoning": LONG}, "reasoning only"),
        ({"text": "", "reasoning": LONG, "outcome": "truncated"}, "limit spent before the answer"),
        ({"text": "", "outcome": "truncated"}, "limit spent before the answer"),
        ({"text": "Gastritis is", "outcome": "truncated"}, "cut off"),
        ({"text": "Gastritis is", "finish_reason": "MAX_TOKENS"}, "cut off"),
        ({"text": ""}, "empty"),
        ({"text": " \n"}, "empty"),
    ],
)
def test_an_answer_that_is_not_there_is_told_apart_by_what_took_its_place(
    fields: dict[str, str], kind: str
) -> None:
    assert kinds(**fields) == {kind}  # type: ignore[arg-type]


def test_an_answer_in_json_that_was_asked_for_is_no_envelope_and_no_escape() -> None:
    text = json.dumps({"role": "patient", "content": "a\nb\nc", "choices": [1]})
    assert kinds(text, schema=True) == set()


@given(st.text())
def test_no_text_at_all_makes_a_search_raise(text: str) -> None:
    kinds(text)


def test_the_gold_that_comes_with_the_package_shows_nothing() -> None:
    # Forty-odd records of real prose: each would be a false alarm.
    folder = Path(__file__).parents[2] / "gold"
    texts = []
    for path in sorted(folder.rglob("*.json")):
        value = json.loads(path.read_text())
        for record in value if isinstance(value, list) else value.get("records", []):
            claims = [claim["text"] for claim in record.get("claims", ())]
            texts += [" ".join(claims), *claims]
    assert len(texts) > 100
    assert [text for text in texts if kinds(text)] == []
