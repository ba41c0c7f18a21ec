"""Half an answer is never whole, whichever backend it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.known import FINISH_REASONS, ending
from harness.backends.settle import settled
from harness.outcomes import cell_outcome
from harness.records import Generation

TEXT = "Gastritis is an inflammation of"


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(None, "ok"), ("stop", "ok"), ("MAX_TOKENS", "truncated"), ("abort", "server"), ("SAFETY", "refusal")],
)  # fmt: skip
def test_what_a_plug_in_calls_ok_is_so_only_where_its_finish_reason_says_so(
    reason: str | None, outcome: str
) -> None:
    found = settled(Generation(TEXT, finish_reason=reason))
    assert found.outcome == outcome
    assert not found.notes
    assert (found.error is None) == (outcome != "server")


def test_an_unknown_reason_of_a_plug_in_is_noted_once() -> None:
    found = settled(settled(Generation(TEXT, finish_reason="banana")))
    assert found.outcome == "ok"
    assert len(found.notes) == 1


@pytest.mark.parametrize(
    "outcome", ["refusal", "truncated", "transport", "server", "too_long"]
)  # fmt: skip
def test_what_a_backend_saw_itself_stands(outcome: Any) -> None:
    given = Generation("<think>a</think>b", outcome=outcome, finish_reason="stop")
    assert settled(given) == given


def test_reasoning_in_a_recorded_text_is_set_apart_beside_what_the_backend_gave() -> None:
    found = settled(Generation("<think>a</think>b", reasoning="c"))
    assert (found.text, found.reasoning) == ("b", "c\n\na")


def test_answers_without_text_keep_their_outcome() -> None:
    weighed = Generation(token_ids=(1,), logprobs=(-0.5,))  # how likely a given answer is
    assert settled(weighed) == weighed


@pytest.mark.parametrize(
    ("reason", "outcome"), [("MAX_TOKENS", "truncated"), ("abort", "truncated"), ("SAFETY", "refusal")]
)  # fmt: skip
def test_an_answer_stored_as_ok_before_its_reason_was_known_is_read_anew(
    reason: str, outcome: str
) -> None:
    assert cell_outcome(Generation(TEXT, finish_reason=reason), None) == outcome


def test_every_row_of_the_table_is_its_own_and_names_who_says_it() -> None:
    words = [said.word for said in FINISH_REASONS]
    assert len(set(words)) == len(words)
    for said in FINISH_REASONS:
        assert len(said.by) > 4
        assert ending(said.word) == ending(said.word.upper().replace("_", "-")) == said.ending
