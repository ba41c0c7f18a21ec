"""Stability: content against wording, planted mixtures, and what is not applicable."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.records import Cell, Claim, Generation, GoldRecord, Subject
from harness.scorers.stability import Stability

A = (
    "Alcohol can inflame the lining of the stomach. A bacterial infection is the usual cause. "
    "Painkillers such as aspirin may trigger it."
)
A_REWORDED = (
    "The usual cause is an infection with bacteria. Aspirin and other painkillers may trigger it. "
    "The stomach lining can be inflamed by alcohol."
)
B = (
    "An inherited gene makes the lungs produce thick mucus. Breathing exercises loosen it. "
    "Antibiotics are inhaled every day."
)
DENIED = (
    "Alcohol cannot inflame the lining of the stomach. A bacterial infection is not the cause. "
    "Painkillers such as aspirin never trigger it."
)
GOLD = GoldRecord(
    "causes",
    (
        Claim("alcohol", "Alcohol can inflame the lining of the stomach."),
        Claim("infection", "A bacterial infection is the usual cause."),
        Claim("pain", "Painkillers such as aspirin may trigger it."),
    ),
    label="x",
)


@pytest.fixture(scope="module")
def scorer() -> Stability:
    return Stability()


def group(
    scorer: Stability, *texts: str, axis: str = "variant", gold: GoldRecord | None = GOLD
) -> dict[str, float | None]:
    base = Cell("m", "s", "f", "base", "gold", "causes", 1)
    arms = ("gold", "predicted", "wrong", "none")
    changes: dict[str, Callable[[int], Cell]] = {
        "variant": lambda i: replace(base, variant=f"v{i}"),
        "arm": lambda i: replace(base, arm=arms[i]),
        "repeat": lambda i: replace(base, repeat=i + 1),
    }
    cells = tuple(changes[axis](i) for i in range(len(texts)))
    parts = base.id.split("/")
    parts[{"variant": 3, "arm": 4, "repeat": 6}[axis]] = "*"
    subject = Subject("group", "/".join(parts), cells, gold_true=gold)
    return {s.metric: s.value for s in scorer.score(subject, [Generation(t) for t in texts])}


def stability(scorer: Stability, *texts: str) -> float:
    value = group(scorer, *texts)["prompt_stability"]
    assert value is not None
    return value


def test_the_same_is_one_and_order_of_sentences_is_no_content(scorer: Stability) -> None:
    shuffled = ". ".join(reversed(A.rstrip(".").split(". "))) + "."
    assert stability(scorer, A, A, shuffled) == pytest.approx(1)


def test_content_counts_more_than_wording(scorer: Stability) -> None:
    reworded, other = stability(scorer, A, A_REWORDED), stability(scorer, A, B)
    assert reworded > 0.7
    assert other < 0.4


def test_a_denial_in_the_same_words_is_no_agreement(scorer: Stability) -> None:
    assert stability(scorer, A, DENIED) < 0.2
    found = group(scorer, A, DENIED)
    assert found["prompt_claim_agreement"] == 0


def test_a_mixture_lies_between_in_proportion_to_its_pairs(scorer: Stability) -> None:
    low = stability(scorer, A, B)
    for k in range(5):
        texts = [A] * k + [B] * (4 - k)
        same = sum(a == b for a, b in itertools.combinations(texts, 2))
        expected = (same + (6 - same) * low) / 6
        assert stability(scorer, *texts) == pytest.approx(expected, abs=1e-6)


def test_an_empty_answer_or_refusal_differs_from_an_explanation(scorer: Stability) -> None:
    assert stability(scorer, A, "") == 0
    assert stability(scorer, A, "I'm sorry, but I can't help with that.") == 0
    assert stability(scorer, A, A, "", "") == pytest.approx(1 / 5)  # of six pairs one is of nothing


def test_answers_that_are_all_empty_have_no_stability(scorer: Stability) -> None:
    refusal = "I'm sorry, but I can't help with that."
    for texts in (("", ""), ("", refusal, " ")):
        assert group(scorer, *texts)["prompt_stability"] is None
    assert group(scorer, "", "", axis="arm")["label_arm_effect"] is None


def test_an_endless_answer_is_compared_in_bounded_time(scorer: Stability) -> None:
    endless = " ".join(f"Sentence number {n} names cause {n * 7}." for n in range(5000))
    assert 0.9 < stability(scorer, endless, endless + " One more.") <= 1


@pytest.mark.parametrize("axis", ["variant", "repeat", "arm"])
def test_a_group_of_one_is_not_applicable(scorer: Stability, axis: str) -> None:
    assert set(group(scorer, A, axis=axis).values()) == {None}


def test_claims_on_which_all_are_silent_are_no_agreement(scorer: Stability) -> None:
    assert group(scorer, B, B)["prompt_claim_agreement"] is None
    one = A.split(". ")[0] + "."
    assert group(scorer, one, A)["prompt_claim_agreement"] == pytest.approx(1 / 3)
    assert group(scorer, A, A, gold=None)["prompt_claim_agreement"] is None


def test_each_axis_has_its_metrics(scorer: Stability) -> None:
    declared = {
        axis: {m.name for m in scorer.metrics if m.axis == axis}
        for axis in ("variant", "repeat", "arm")
    }
    for axis, names in declared.items():
        assert set(group(scorer, A, B, axis=axis)) == names


def test_repeats_are_identical_only_letter_by_letter(scorer: Stability) -> None:
    found = group(scorer, A, A, A + " ", axis="repeat")
    assert found["repeat_identical"] == pytest.approx(1 / 3)
    assert found["sampling_stability"] == pytest.approx(1)


def test_the_arm_effect_grows_with_what_the_label_changes(scorer: Stability) -> None:
    same, other = group(scorer, A, A, axis="arm"), group(scorer, A, B, axis="arm")
    assert same["label_arm_effect"] == pytest.approx(0)
    assert other["label_arm_effect"] is not None
    assert other["label_arm_effect"] > 0.6


def test_format_is_no_content(scorer: Stability) -> None:
    listed = "\n".join(f"* **{s.rstrip('.')}.**" for s in A.split(". "))
    wrapped = f'{{"explanation": "{A}"}}'
    assert stability(scorer, A, listed, wrapped) == pytest.approx(1)
