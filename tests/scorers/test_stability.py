"""Stability: content against wording, reversals apart, planted mixtures, what is not applicable."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.records import Cell, Claim, Generation, GoldRecord, HarnessError, Score, Subject
from harness.scorers.stability import Stability

ALCOHOL = "Alcohol can inflame the lining of the stomach."
INFECTION = "A bacterial infection is the usual cause."
PAINKILLERS = "Painkillers such as aspirin may trigger it."
A = f"{ALCOHOL} {INFECTION} {PAINKILLERS}"
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
REFUSAL = "I'm sorry, but I can't help with that."
GOLD = GoldRecord(
    "causes",
    (Claim("alcohol", ALCOHOL), Claim("infection", INFECTION), Claim("pain", PAINKILLERS)),
    label="x",
)
NAMES = {"variant": "prompt", "repeat": "sampling", "arm": "arm"}


@pytest.fixture(scope="module")
def scorer() -> Stability:
    return Stability()


def scores(
    scorer: Stability, *texts: str, axis: str = "variant", gold: GoldRecord | None = GOLD
) -> dict[str, Score]:
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
    return {s.metric: s for s in scorer.score(subject, [Generation(t) for t in texts])}


def group(scorer: Stability, *texts: str, **more: Any) -> dict[str, float | None]:
    return {name: score.value for name, score in scores(scorer, *texts, **more).items()}


def of(scorer: Stability, metric: str, *texts: str) -> float:
    value = group(scorer, *texts)[f"prompt_{metric}"]
    assert value is not None
    return value


# --- kept ---------------------------------------------------------------------------------


def test_the_same_is_kept_whole_and_order_of_sentences_is_no_content(scorer: Stability) -> None:
    shuffled = ". ".join(reversed(A.rstrip(".").split(". "))) + "."
    assert of(scorer, "kept", A, A, shuffled) == 1
    assert of(scorer, "reversed", A, A, shuffled) == 0


def test_content_counts_and_wording_does_not(scorer: Stability) -> None:
    assert of(scorer, "kept", A, A_REWORDED) == 1
    assert of(scorer, "kept", A, B) == 0


def test_each_statement_of_both_answers_counts_once(scorer: Stability) -> None:
    short = f"{ALCOHOL} {INFECTION}"
    found = group(scorer, A, short)
    assert found["prompt_kept"] == pytest.approx(4 / 5)
    assert found["prompt_kept_of_shorter"] == 1
    assert found["prompt_kept_of_longer"] == pytest.approx(2 / 3)
    assert found == group(scorer, short, A)


def test_a_question_states_nothing(scorer: Stability) -> None:
    asked = f"What brings it on? {A} Would you like to know more?"
    assert of(scorer, "kept", A, asked) == 1


def test_a_mixture_lies_between_in_proportion_to_its_pairs(scorer: Stability) -> None:
    for metric in ("kept", "wording"):
        low = of(scorer, metric, A, B)
        for k in range(5):
            texts = [A] * k + [B] * (4 - k)
            same = sum(a == b for a, b in itertools.combinations(texts, 2))
            expected = (same + (6 - same) * low) / 6
            assert of(scorer, metric, *texts) == pytest.approx(expected, abs=1e-6)


def test_format_is_no_content(scorer: Stability) -> None:
    listed = "\n".join(f"* **{s.rstrip('.')}.**" for s in A.split(". "))
    wrapped = f'{{"explanation": "{A}"}}'
    assert of(scorer, "kept", A, listed, wrapped) == 1


# --- reversed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "turned"),
    [
        (PAINKILLERS, "Painkillers such as aspirin never trigger it."),
        ("The fever lasts two days.", "The fever lasts nine days."),
        ("Take 20 mg of it every day.", "Take 80 mg of it every day."),
        ("Alcohol should be avoided.", "Alcohol should not be avoided."),
        ("Surgery increases the risk of bleeding.", "Surgery decreases the risk of bleeding."),
        ("Antibiotics are needed.", "Antibiotics are not needed."),
    ],
)
def test_one_statement_turned_round_is_one_of_each_answer(
    scorer: Stability, said: str, turned: str
) -> None:
    first, second = f"{ALCOHOL} {INFECTION} {said}", f"{ALCOHOL} {INFECTION} {turned}"
    found = group(scorer, first, second)
    assert found["prompt_reversed"] == pytest.approx(2 / 6)
    assert found["prompt_reversed_pairs"] == 1


def test_a_reversal_is_told_from_a_paraphrase_though_its_wording_is_nearer(
    scorer: Stability,
) -> None:
    turned = A.replace("may trigger", "never trigger")
    assert of(scorer, "reversed", A, turned) > of(scorer, "reversed", A, A_REWORDED) == 0
    assert of(scorer, "kept", A, A_REWORDED) >= of(scorer, "kept", A, turned)


def test_a_denial_in_the_same_words_reverses_everything(scorer: Stability) -> None:
    assert of(scorer, "reversed", A, DENIED) == 1
    found = group(scorer, A, DENIED)
    assert found["prompt_claim_agreement"] == 0
    assert found["prompt_wording"] is not None
    assert found["prompt_wording"] < 0.2


def test_what_both_answers_say_word_for_word_reverses_nothing(scorer: Stability) -> None:
    torn = f"{A} Painkillers such as aspirin never trigger it."
    assert of(scorer, "reversed", torn, torn) == 0
    assert of(scorer, "reversed", torn, A) == 0  # the other states it too


def test_the_share_of_pairs_counts_pairs(scorer: Stability) -> None:
    turned = A.replace("may trigger", "never trigger")
    assert of(scorer, "reversed_pairs", A, A_REWORDED, turned) == pytest.approx(2 / 3)


# --- empty answers and groups -------------------------------------------------------------


@pytest.mark.parametrize("nothing", ["", " ", REFUSAL, "Really?"])
def test_nothing_keeps_nothing_of_an_explanation_and_reverses_nothing(
    scorer: Stability, nothing: str
) -> None:
    found = group(scorer, A, nothing)
    names = ("kept", "kept_of_shorter", "kept_of_longer", "reversed", "reversed_pairs", "wording")
    assert {found[f"prompt_{name}"] for name in names} == {0}
    # Of six pairs one is of nothing on either side.
    assert of(scorer, "kept", A, A, nothing, nothing) == pytest.approx(1 / 5)


def test_answers_that_are_all_empty_have_no_stability(scorer: Stability) -> None:
    for texts in (("", ""), ("", REFUSAL, " ")):
        assert set(group(scorer, *texts).values()) == {None}
    assert group(scorer, "", "", axis="arm")["arm_kept"] is None


@pytest.mark.parametrize("axis", ["variant", "repeat", "arm"])
def test_a_group_of_one_is_not_applicable(scorer: Stability, axis: str) -> None:
    assert set(group(scorer, A, axis=axis).values()) == {None}


def test_an_endless_answer_is_compared_in_bounded_time(scorer: Stability) -> None:
    endless = " ".join(f"Sentence number {n} names cause {n * 7}." for n in range(3000))
    found = group(scorer, endless, "One more. " + endless, gold=None)
    assert found["prompt_kept"] == pytest.approx(399 / 400, abs=0.003)


@pytest.mark.parametrize("axis", ["variant", "repeat", "arm"])
def test_each_axis_has_its_metrics(scorer: Stability, axis: str) -> None:
    found = group(scorer, A, B, axis=axis)
    assert set(found) == {m.name for m in scorer.metrics if m.axis == axis}
    shared = {"kept", "kept_of_shorter", "kept_of_longer", "reversed", "reversed_pairs", "wording"}
    assert {f"{NAMES[axis]}_{name}" for name in shared} <= set(found)
    assert found[f"{NAMES[axis]}_kept"] == of(scorer, "kept", A, B)


def test_the_headline_is_what_prompts_keep_and_wording_is_a_baseline(scorer: Stability) -> None:
    assert [m.name for m in scorer.metrics if m.headline == "stability"] == ["prompt_kept"]
    baselines = {m.name for m in scorer.metrics if m.baseline}
    assert baselines == {"prompt_wording", "sampling_wording", "arm_wording"}


# --- what stands beside -------------------------------------------------------------------


def test_the_pairs_are_listed_with_what_became_of_each_statement(scorer: Stability) -> None:
    other = f"{INFECTION} Painkillers such as aspirin never trigger it. Smoking matters as well."
    detail = scores(scorer, A, other, "")["prompt_kept"].detail
    assert detail is not None
    assert [cell.split("/")[3] for cell in detail["cells"]] == ["v0", "v1", "v2"]
    # Of `A`: alcohol is dropped, the infection kept, the painkillers turned round.
    assert detail["pairs"] == [
        [0, 1, ["o", "k0", "r1"], ["k1", "r2", "o"]],
        [0, 2, ["o", "o", "o"], []],
        [1, 2, ["o", "o", "o"], []],
    ]


def test_claims_on_which_all_are_silent_are_no_agreement(scorer: Stability) -> None:
    assert group(scorer, B, B)["prompt_claim_agreement"] is None
    assert group(scorer, ALCOHOL, A)["prompt_claim_agreement"] == pytest.approx(1 / 3)
    assert group(scorer, A, A, gold=None)["prompt_claim_agreement"] is None


def test_repeats_are_identical_only_letter_by_letter(scorer: Stability) -> None:
    found = group(scorer, A, A, A + " ", axis="repeat")
    assert found["repeat_identical"] == pytest.approx(1 / 3)
    assert found["sampling_kept"] == 1


@pytest.mark.parametrize("kept_at", [0, -0.1, 1.01])
def test_a_threshold_that_no_cosine_can_mean_is_refused(kept_at: float) -> None:
    with pytest.raises(HarnessError, match="kept_at"):
        Stability(kept_at=kept_at)


def test_another_threshold_is_another_setting(scorer: Stability) -> None:
    strict = Stability(kept_at=0.99)
    assert of(strict, "kept", A, A_REWORDED) < of(scorer, "kept", A, A_REWORDED)
    assert strict.settings != scorer.settings
