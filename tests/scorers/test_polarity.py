"""Negation in scope, double negation and opposites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scorers.polarity import opposed, polarity


def opposes(a: str, b: str) -> bool:
    return opposed(polarity(a), polarity(b))


@pytest.mark.parametrize(
    ("claim", "denial"),
    [
        ("Alcohol can inflame the stomach.", "Alcohol never inflames the stomach."),
        ("Alcohol can inflame the stomach.", "Alcohol doesn't inflame the stomach."),
        ("Alcohol can inflame the stomach.", "Alcohol cannot inflame the stomach."),
        ("Coffee plays a part in heartburn.", "Coffee plays no part in heartburn."),
        ("Stress is linked to migraine.", "Stress has nothing to do with migraine."),
        ("Patients have fever.", "Patients are free of fever."),
        ("Drink alcohol with the tablets.", "Avoid alcohol with the tablets."),
        ("The rash is contagious.", "The rash is not contagious."),
        ("Tests can rule out cancer.", "Tests show cancer."),
        ("Smoking raises blood pressure.", "Smoking lowers blood pressure."),
        ("The drug is safe in pregnancy.", "The drug is unsafe in pregnancy."),
        ("Take the tablet before meals.", "Take the tablet after meals."),
        ("Bleeding is common in adults.", "Bleeding is rare in adults."),
        ("The tumour is benign.", "The tumour is malignant."),
        ("An irregular pulse is felt.", "A regular pulse is felt."),
    ],
)
def test_denials_oppose_and_do_so_both_ways(claim: str, denial: str) -> None:
    assert opposes(claim, denial)
    assert opposes(denial, claim)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Gastritis can occur without symptoms.", "Gastritis is caused by a bacterium."),
        ("Some people have no symptoms.", "There may be no symptoms at all."),
        ("It is not only alcohol that harms the liver.", "Alcohol harms the liver."),
        ("Smoking does not lower blood pressure.", "Smoking raises blood pressure."),
        ("Avoid alcohol, coffee and tea.", "Do not drink coffee."),
        ("Do not take aspirin.", "Aspirin should be avoided."),
        ("It is not unsafe.", "It is safe."),
        ("If not treated, ulcers can bleed.", "Ulcers can bleed."),
        ("Alcohol harms the liver, but not in everyone.", "Alcohol harms the liver."),
        ("Pain ranges from mild to severe.", "Severe pain is felt."),
        ("Alcohol harms the liver.", "Alcohol harms the liver."),
    ],
)
def test_a_negation_elsewhere_or_on_both_sides_opposes_nothing(a: str, b: str) -> None:
    assert not opposes(a, b)
    assert not opposes(b, a)


words = st.sampled_from(
    ["alcohol", "not", "harms", "liver", "no", "without", "pain", ",", "but", "avoid", "raises",
     "lowers", "unsafe", "safe", "never", "."]
)  # fmt: skip


@given(st.lists(words, max_size=12), st.lists(words, max_size=12))
def test_opposition_is_symmetric(a: list[str], b: list[str]) -> None:
    one, other = " ".join(a), " ".join(b)
    assert opposes(one, other) == opposes(other, one)
