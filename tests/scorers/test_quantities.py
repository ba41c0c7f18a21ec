"""Numbers with units: the same quantity in other words, and disagreement."""

from __future__ import annotations

import math

import pytest

from harness.scorers.quantities import disagree, quantities


@pytest.mark.parametrize(
    ("text", "low", "high", "unit"),
    [
        ("lasts 2 to 3 days", 48, 72, "hour"),
        ("lasts 2-3 days", 48, 72, "hour"),
        ("lasts two or three days", 48, 72, "hour"),
        ("between 2 and 3 days", 48, 72, "hour"),
        ("48 hours", 48, 48, "hour"),
        ("0.5 mg", 0.5, 0.5, "mg"),
        ("500 mcg", 0.5, 0.5, "mg"),
        ("1,000 ml", 1000, 1000, "ml"),
        ("20 %", 20, 20, "%"),
        ("20 per cent", 20, 20, "%"),
        ("twenty-five percent", 25, 25, "%"),
        ("1 in 5", 20, 20, "%"),
        ("at least 3 weeks", 504, math.inf, "hour"),
        ("up to 2 weeks", 0, 336, "hour"),
        ("twice a day", 2, 2, "time"),
        ("one week", 168, 168, "hour"),
    ],
)
def test_a_quantity_is_read_in_its_base_unit(text: str, low: float, high: float, unit: str) -> None:
    found = quantities(text)[0]
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.unit == unit


@pytest.mark.parametrize("text", ["one of the causes", "no number here", "", "the first week"])
def test_what_is_no_quantity_is_not_read(text: str) -> None:
    assert quantities(text) == ()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("It lasts 2 days.", "It lasts 48 hours.", False),
        ("It lasts 2 days.", "It lasts 5 days.", True),
        ("It lasts 1 to 3 days.", "It lasts two days.", False),
        ("Twelve months pass.", "A span of 1 year.", False),
        ("Eat three meals.", "Eat six meals.", True),
        ("Eat three meals.", "Wait 20 minutes.", False),
        ("Take 5 mg.", "Take it.", False),
        ("20 % of adults", "1 in 5 adults", False),
        ("more than 100 cases", "120 cases", False),
        ("less than 100 cases", "120 cases", True),
    ],
)
def test_only_the_same_unit_with_values_apart_disagrees(
    one: str, other: str, expected: bool
) -> None:
    assert disagree(quantities(one), quantities(other)) is expected
    assert disagree(quantities(other), quantities(one)) is expected
