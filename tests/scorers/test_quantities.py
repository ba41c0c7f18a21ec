"""Numbers with units: the same quantity in other words, and disagreement."""

from __future__ import annotations

import math

import pytest

from harness.scorers.quantities import quantities
from harness.scorers.quantity import disagree, unstated


@pytest.mark.parametrize(
    ("text", "low", "high", "unit"),
    [
        ("lasts 2 to 3 days", 48, 72, "time"),
        ("lasts 2-3 days", 48, 72, "time"),
        ("lasts two or three days", 48, 72, "time"),
        ("between 2 and 3 days", 48, 72, "time"),
        ("48 hours", 48, 48, "time"),
        ("0.5 mg", 0.5, 0.5, "mass"),
        ("500 mcg", 0.5, 0.5, "mass"),
        ("1,000 ml", 1000, 1000, "volume"),
        ("20 %", 20, 20, "share"),
        ("20 per cent", 20, 20, "share"),
        ("twenty-five percent", 25, 25, "share"),
        ("1 in 5", 20, 20, "share"),
        ("at least 3 weeks", 504, math.inf, "time"),
        ("up to 2 weeks", 0, 336, "time"),
        ("twice a day", 1 / 12, 1 / 12, "rate"),
        ("one week", 168, 168, "time"),
        ("every 8 hours", 1 / 8, 1 / 8, "rate"),
        ("three times a day", 1 / 8, 1 / 8, "rate"),
        ("every other day", 1 / 48, 1 / 48, "rate"),
        ("weekly", 1 / 168, 1 / 168, "rate"),
        ("five small meals a day", 5 / 24, 5 / 24, "rate"),
        ("4 g a day", 4000 / 24, 4000 / 24, "mass/time"),
        ("an 8-year-old boy", 8 * 8766, 8 * 8766, "age"),
        ("children aged 8", 8 * 8766, 8 * 8766, "age"),
        ("98.6 degrees Fahrenheit", 37, 37, "temperature"),
        ("at -20 °C", -20, -20, "temperature"),
        ("two thirds of the nodes", 200 / 3, 200 / 3, "share"),
        ("9 out of 10", 90, 90, "share"),
        ("half a year", 4383, 4383, "time"),
        ("two hundred and fifty mice", 250, 250, "count"),
        ("licensed in 1993", 1993, 1993, "year"),
        ("12 or more layers", 12, math.inf, "count"),
    ],
)
def test_a_quantity_is_read_in_its_base_unit(text: str, low: float, high: float, unit: str) -> None:
    found = quantities(text)[0]
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.unit == unit


@pytest.mark.parametrize(
    "text",
    [
        "one of the causes",
        "no number here",
        "",
        "the first week",
        "vitamin B12",
        "Covid-19",
        "daily life",
    ],
)
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
        ("The fever reaches 37 °C.", "The fever reaches 38 °C.", True),
        ("The fever reaches 37 °C.", "The fever reaches 98.6 °F.", False),
        ("The pH was 7.2.", "The pH was 7.35.", True),
        ("The sodium was 144.", "The sodium was 140.", True),
        ("The drug was licensed in 1993.", "The drug was licensed in 1963.", True),
        ("The graph has 14 vertices.", "The graph has 17 edges.", False),
        ("The pressure is 120 mmHg.", "The pressure is 16 kPa.", False),
        ("The pressure is 120 mmHg.", "The pressure is 18 kPa.", True),
        ("The glucose is 126 mg/dl.", "The glucose is 7 mmol/l.", False),
        ("The weight is 70 kg.", "The weight is 154 pounds.", False),
        ("Take it every 8 hours.", "Take it three times a day.", False),
        ("Take it every 6 hours.", "Take it three times a day.", True),
        ("at least 5 patients", "4 patients", True),
        ("at least 5 patients", "6 patients", False),
        ("more than 5 patients", "5 patients", True),
        ("one in four patients", "25 % of patients", False),
        ("one in four patients", "40 % of patients", True),
        ("About 40 mice died.", "42 mice died.", False),
        ("40 mice died.", "42 mice died.", True),
        ("It rose from 37 °C to 39 °C.", "It rose from 39 °C to 41 °C.", True),
        ("The drug has a half-life of 5 h.", "If it lasts 9 h, call the doctor.", False),
        ("Type 2 diabetes is frequent.", "Type 1 diabetes is frequent.", False),
        ("six carbon atoms", "four oxygen atoms", False),
        ("Take 20 mg of it every day.", "Take 80 mg of it every day.", True),
        ("Take 20 mg of ibuprofen twice a day.", "Take 80 mg of ibuprofen twice a day.", True),
        ("Walk 2 km three times a week.", "Walk 5 km three times a week.", True),
    ],
)
def test_only_the_same_unit_with_values_apart_disagrees(
    one: str, other: str, expected: bool
) -> None:
    assert disagree(quantities(one), quantities(other)) is expected
    assert disagree(quantities(other), quantities(one)) is expected


@pytest.mark.parametrize(
    ("premise", "claim"),
    [
        ("at least 4 patients", "at least 5 patients"),
        ("The graph has 14 vertices.", "The graph has 14 edges."),
        ("It lasts 1 to 10 days.", "It lasts 3 to 4 days."),
        ("It lasts for some days.", "It lasts 4 days."),
        ("Sodium was 144 and potassium was 4.", "Potassium was 144."),
    ],
)
def test_a_vaguer_number_or_that_of_another_thing_does_not_state_one(
    premise: str, claim: str
) -> None:
    assert unstated(quantities(premise), quantities(claim))
    assert not unstated(quantities(claim), quantities(claim))


@pytest.mark.parametrize(
    ("premise", "claim"),
    [
        ("at least 5 patients", "at least 4 patients"),
        ("three small meals a day", "three meals a day"),
        ("Sodium was 144 and potassium was 4.", "Potassium was 4."),
        ("An 8-year-old boy has a cough.", "A boy aged 8 has a cough."),
        ("The accuracy is 92 %.", "The accuracy is 0.92."),
    ],
)
def test_an_equal_or_narrower_number_states_one(premise: str, claim: str) -> None:
    assert not unstated(quantities(premise), quantities(claim))
