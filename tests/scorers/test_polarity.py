"""Negation in scope, double negation and opposites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.scorers.polarity import opposed, polarity, weaker


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
        ("Salt has an effect on the kidneys.", "Salt has no harmful effect on the kidneys."),
        ("Diet plays a part in asthma.", "Diet has not been found to play a part in asthma."),
        ("Exercise helps with asthma.", "Exercise is pointless for asthma."),
        ("It is known what causes asthma.", "What causes asthma is unclear."),
        ("Bleeding is a danger.", "Bleeding is harmless."),
        ("Salt should be taken with care.", "Salt should be avoided."),
        ("Giving up salt can ease asthma.", "Salt eases asthma."),
        ("Steroids work better than antibiotics.", "Antibiotics work better than steroids."),
        ("Doses may be skipped.", "Doses must not be skipped."),
        ("The rash causes itching and fever.", "The rash never comes with itching."),
        ("Gold is heavier than silver.", "Silver is heavier than gold."),
        ("Boys fall ill less often than girls.", "Girls fall ill less often than boys."),
        ("The rash appears before the fever.", "The fever appears before the rash."),
        ("The scan follows the test.", "The scan precedes the test."),
        ("Not all patients recover.", "All patients recover."),
        ("Few patients recover.", "Most patients recover."),
        ("Not only children fall ill.", "Only children fall ill."),
        ("All organs except the liver are normal.", "The liver is normal."),
        ("The patient denies chest pain.", "The patient has chest pain."),
        ("It is not true that salt harms.", "Salt harms."),
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
        ("Why it occurs is unknown.", "It is not understood why it occurs."),
        ("The cause of asthma is a mystery.", "The cause of asthma is not known."),
        ("Wounds that do not heal can be treated.", "Wounds can be treated."),
        ("There is no fever and no rash.", "There is no rash."),
        ("Neither fever nor rash occurs.", "Rash does not occur."),
        ("Untreated wounds can bleed.", "Wounds can bleed unless they are treated."),
        ("A harmless effect is orange urine.", "An effect is orange urine."),
        ("Take it with or without food.", "Take it with food."),
        ("It lasts no longer than a week.", "It lasts a week at most."),
        ("Avoiding salt can ease asthma.", "Salt can worsen asthma."),
        ("It may help but should not be used.", "It should not be used."),
        ("Steroids work better than antibiotics.", "Steroids are better than antibiotics."),
        ("Gold is heavier than silver.", "Silver is lighter than gold."),
        (
            "Ulcers are less common in women than in men.",
            "Ulcers are more common in men than in women.",
        ),
        ("The rash appears before the fever.", "The fever appears after the rash."),
        ("It is less than 2 cm long.", "It is smaller than 3 cm."),
        ("Not all patients recover.", "Some patients recover."),
        ("Only children fall ill.", "Children fall ill."),
        ("Nothing helps except rest.", "Rest helps."),
        ("Avoid salt, as it may cause swelling.", "Salt may cause swelling."),
        ("The drug is not a part of the plan.", "Drug and plan are common words."),
        ("Do not use it if the eardrum has ruptured.", "Use it twice."),
        ("Use it for no more than two days.", "Use it for two days."),
        ("It decreases the thickness of the wall.", "It thins the wall."),
        ("They are not the same.", "They are different."),
    ],
)
def test_a_negation_elsewhere_or_on_both_sides_opposes_nothing(a: str, b: str) -> None:
    assert not opposes(a, b)
    assert not opposes(b, a)


@pytest.mark.parametrize(
    ("weak", "strong"),
    [
        ("Some patients recover.", "All patients recover."),
        ("Many people carry it.", "Everyone carries it."),
        ("Sometimes the wound itches.", "The wound always itches."),
        ("The disease is rarely fatal.", "The disease is fatal."),
        ("The drug may lower the pressure.", "The drug lowers the pressure."),
        ("The drug possibly lowers the pressure.", "The drug probably lowers the pressure."),
        ("The lesion is possibly malignant.", "The lesion is certainly malignant."),
        ("Children fall ill.", "Only children fall ill."),
        ("The dog bites the man.", "The man bites the dog."),
        ("The nurse is examined by the doctor.", "The nurse examines the doctor."),
        ("Fever is due to infection.", "Infection is due to fever."),
    ],
)
def test_a_weaker_sentence_is_seen_and_the_stronger_says_no_less(weak: str, strong: str) -> None:
    assert weaker([polarity(weak)], polarity(strong))
    assert not weaker([polarity(strong)], polarity(strong))


@pytest.mark.parametrize(
    ("strong", "weak"),
    [
        ("All patients recover.", "Some patients recover."),
        ("The wound always itches.", "Sometimes the wound itches."),
        ("The drug lowers the pressure.", "The drug may lower the pressure."),
        ("The rash can itch.", "The rash may itch."),
        ("Only children fall ill.", "Children fall ill."),
        ("The dog bites the man.", "The man is bitten by the dog."),
        ("Infection causes fever.", "Fever is due to infection."),
        ("Fever and cough are common.", "Cough and fever are common."),
        ("Drink water. It may rain.", "Drink water."),
    ],
)
def test_a_stronger_or_equal_sentence_is_not_weaker(strong: str, weak: str) -> None:
    assert not weaker([polarity(strong)], polarity(weak))


words = st.sampled_from(
    ["alcohol", "not", "harms", "liver", "no", "without", "pain", ",", "but", "avoid", "raises",
     "lowers", "unsafe", "safe", "never", "."]
)  # fmt: skip


@given(st.lists(words, max_size=12), st.lists(words, max_size=12))
def test_opposition_is_symmetric(a: list[str], b: list[str]) -> None:
    one, other = " ".join(a), " ".join(b)
    assert opposes(one, other) == opposes(other, one)
