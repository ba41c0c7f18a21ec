"""The signed scale and its legend."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.drawing.figure import style_sheet
from harness.drawing.svg import svg
from harness.explainers.pictures.scale import Scale, amount, mark

finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=2))
def test_steps_follow_the_values_and_keep_their_signs(values: list[float]) -> None:
    scale = Scale.of(values)
    for a, b in itertools.pairwise(sorted(values)):
        assert scale.level(a) <= scale.level(b)
    for value in values:
        assert scale.level(value) * value >= 0
        assert scale.level(-value) == -scale.level(value)


@given(finite.filter(lambda value: abs(value) > 1e-300))
def test_the_largest_value_has_the_last_step_and_a_small_share_has_none(value: float) -> None:
    scale = Scale.of([value])
    assert abs(scale.level(value)) == 4
    assert scale.level(value * 0.09) == 0


def test_what_is_no_number_and_what_was_not_seen_has_no_step() -> None:
    scale = Scale.of([None, float("nan"), 2.0])
    assert scale.limit == 2.0
    assert scale.level(None) == scale.level(float("nan")) == 0


def test_the_legend_has_numbers_at_its_ends_its_halves_and_zero() -> None:
    drawn = svg(400, 60, Scale.of([-0.4, 0.2]).legend())
    for said in (">−.40<", ">−.20<", ">0<", ">+.20<", ">+.40<", "speaks against", "speaks for"):
        assert said in drawn


def test_values_that_are_never_negative_are_not_said_to_speak_for_anything() -> None:
    drawn = svg(400, 60, Scale.of([0.4, 0.2]).legend())
    assert "speaks" not in drawn
    assert "−" not in drawn
    assert "weight" in drawn


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.123, "+.12"), (-0.5, "−.50"), (0.0, "0"), (12.34, "+12"), (1234.0, "+1234"),
     (0.00123, "+.0012"), (1e-7, "+1.0e−07"), (0.999, "+1.00"), (float("nan"), "no number")],
)  # fmt: skip
def test_numbers_have_two_digits_and_their_sign(value: float, said: str) -> None:
    assert amount(value) == said


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("level", [-4, -3, -2, -1, 1, 2, 3, 4])
def test_a_word_can_be_read_on_its_colour_and_steps_darken_in_grey(level: int) -> None:
    import re

    found = dict(re.findall(r"div\.drawn span\.([np]\d) \{ background: (#\w{6})", style_sheet()))
    ground = luminance(found[mark(level)])
    assert (ground + 0.05) / (luminance("#14171b") + 0.05) >= 4.5
    weaker = luminance(found[mark(level - level // abs(level))]) if abs(level) > 1 else 1.0
    assert ground < weaker


def simulated(colour: str, matrix: list[list[float]]) -> list[float]:
    """A colour as seen with a form of colour blindness, in linear red, green and blue."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return [sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix]


# Full severity, from Machado, Oliveira & Fernandes 2009 (A physiologically-based model for
# simulation of color vision deficiency), table 1.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]  # fmt: skip
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881]]  # fmt: skip


@pytest.mark.parametrize("matrix", [PROTANOPIA, DEUTERANOPIA])
@pytest.mark.parametrize("step", [2, 3, 4])
def test_for_and_against_stay_apart_under_colour_blindness(
    matrix: list[list[float]], step: int
) -> None:
    import re

    found = dict(re.findall(r"div\.drawn span\.([np]\d) \{ background: (#\w{6})", style_sheet()))
    against, for_it = (simulated(found[f"{sign}{step}"], matrix) for sign in "np")
    # Blue less red tells them apart: one is bluish, the other yellowish.
    assert against[2] - against[0] > 0.1
    assert for_it[2] - for_it[0] < -0.1
