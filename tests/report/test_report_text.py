"""How the report writes text and numbers."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from harness.drawing import words
from harness.report import text
from harness.results import Estimate, interval, number

any_text = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("\x00\x07\r\n\t\u202e\u2066\u2069\u2028\ud800<>&\"'\U000e0041"),
    )
)


@given(any_text)
def test_neutral_text_holds_no_control_no_bidi_override_and_no_surrogate(value: str) -> None:
    shown = words.neutral(value)
    shown.encode("utf-8")
    assert not [
        char
        for char in shown
        if (unicodedata.category(char) == "Cc" and char not in "\n\t")
        or unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI"}
        or unicodedata.bidirectional(char) in {"FSI", "PDI"}
        or 0xE0000 <= ord(char) <= 0xE007F
    ]


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_text_without_controls_stays_as_it_is(value: str) -> None:
    assert words.neutral(value) == value


def test_what_was_hidden_can_be_read() -> None:
    assert words.neutral("a\x00b\u202ec") == "a⟨U+0000⟩b⟨U+202E⟩c"


@given(any_text)
def test_names_keep_their_characters_and_let_no_tag_through(value: str) -> None:
    for write in (text.bdi, text.breakable):
        inner = write(value).removeprefix("<bdi>").removesuffix("</bdi>").replace("<wbr>", "")
        assert "<" not in inner
        assert ">" not in inner
        assert Markup(inner).unescape() == words.neutral(value)


def test_a_long_word_can_be_broken_but_a_usual_name_is_not() -> None:
    assert "<wbr>" not in text.bdi("delta-instruct-with-evidence")
    assert text.bdi("x" * 100).count("<wbr>") == 8


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.614, ".61"),
        (-0.061, "−.06"),
        (-0.001, ".00"),
        (1.0, "1.00"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
    ],
)
def test_numbers_are_written_with_a_true_minus_and_no_negative_zero(
    value: float | None, written: str
) -> None:
    assert number(value) == written


def test_an_estimate_without_interval_says_so() -> None:
    assert interval(Estimate(None)) == "not measured"
    assert interval(Estimate(0.5)) == "no interval"
    assert interval(Estimate(0.5, method="no interval: one forest")) == "no interval: one forest"
    assert interval(Estimate(0.5, 0.4, 0.6)) == "[.40, .60]"


def test_why_there_is_no_interval_is_said_once() -> None:
    alone = Estimate(0.5, n=3, clusters=1, method="no interval: one label")
    assert text.basis(alone) == "n = 3; 1 cluster"
    assert text.basis(Estimate(0.5, 0.4, 0.6, 3, 2, "t")) == "n = 3; 2 clusters; t"


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_a_share_below_one_is_never_written_as_all_and_above_zero_never_as_none(
    share: float,
) -> None:
    assert text.percent(share) not in ("100 %", "0 %")


def test_a_small_p_is_given_as_a_bound() -> None:
    assert text.p_value(0.0004) == "< 0.001"
    assert text.p_value(0.0412) == "0.041"
