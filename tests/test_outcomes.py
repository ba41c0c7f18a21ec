"""An outcome is what the backend saw, then what the text is, then what was asked for."""

from __future__ import annotations

import pytest

from harness.outcomes import cell_outcome
from harness.records import Generation

SCHEMA = {"type": "object", "required": ["why"], "properties": {"why": {"type": "string"}}}
FITS = '{"why": "It hurts."}'
REFUSAL = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize("outcome", ["transport", "server", "too_long", "refusal", "truncated"])
@pytest.mark.parametrize("text", ["", REFUSAL, "half an ans", FITS])
def test_what_the_backend_saw_stands_whatever_the_text_is(outcome: str, text: str) -> None:
    generation = Generation(text, outcome=outcome)
    assert cell_outcome(generation, None) == cell_outcome(generation, SCHEMA) == outcome


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\ufeff", "\ufeff \n"])
def test_a_blank_text_is_empty_and_no_wrong_format(text: str) -> None:
    assert cell_outcome(Generation(text), SCHEMA) == "empty"


def test_a_refusal_in_words_is_no_wrong_format_either() -> None:
    assert cell_outcome(Generation(REFUSAL), SCHEMA) == "refusal"
    assert cell_outcome(Generation(REFUSAL), None) == "refusal"


def test_only_where_a_schema_is_asked_for_can_it_be_broken() -> None:
    assert cell_outcome(Generation("It hurts."), SCHEMA) == "invalid_format"
    assert cell_outcome(Generation("It hurts."), None) == "ok"
    assert cell_outcome(Generation(FITS), SCHEMA) == "ok"


def test_what_was_never_answered_was_not_run() -> None:
    assert cell_outcome(None, None) == cell_outcome(None, SCHEMA) == "not_run"
