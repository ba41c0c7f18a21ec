"""Findings scores on texts whose worth is known by construction."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import f1_score

from harness.octa.findings import Findings, findings_of, gold_record, write
from harness.octa.geometry import SECTORS
from harness.octa.pathology import LABELS, LESIONS, Instance
from harness.records import Cell, Evidence, Generation, HarnessError, Sample, Subject
from harness.scorers.findings import FindingsScores, sector_f1
from harness.stats.balanced import balanced_mean

SCORER = FindingsScores()


def _instances(**sectors: str) -> tuple[Instance, ...]:
    return tuple(
        Instance(lesion, 1.0, 1.0, 0.1, sector)
        for lesion in LESIONS
        for sector in sectors.get(lesion, "").split()
    )


PROLIFERATIVE = _instances(
    dropout="north east", microaneurysm="north north northeast east west", neovascularisation="east"
)
NON_PROLIFERATIVE = _instances(microaneurysm="south south south")


def _sample(instances: tuple[Instance, ...], partners: tuple = ()) -> Sample:
    return Sample(
        "s1",
        (),
        findings_of(instances).stage,
        evidence=(
            Evidence("values", "instances", tuple(asdict(instance) for instance in instances)),
            Evidence("values", "same_class", partners),
        ),
    )


def _score(instances, text: str, partners: tuple = (), outcome: str = "ok") -> dict:
    subject = Subject(
        "cell", "c", (Cell("m", "s1", "octa", "base", "predicted", "findings", 1),),
        sample=_sample(instances, partners),
    )  # fmt: skip
    scores = SCORER.score(subject, [Generation(text=text, outcome=outcome)])
    assert [score.metric for score in scores] == [metric.name for metric in SCORER.metrics]
    return {score.metric: score for score in scores}


def _values(instances, text: str, partners: tuple = (), outcome: str = "ok") -> dict:
    scored = _score(instances, text, partners, outcome)
    return {name: score.value for name, score in scored.items()}


@pytest.mark.parametrize("drawn", [PROLIFERATIVE, NON_PROLIFERATIVE, ()])
def test_gold_and_its_paraphrases_are_perfect(drawn):
    record = gold_record("s1", drawn)
    paraphrase = " ".join(claim.paraphrases[0] for claim in record.claims)
    for text in (record.text, paraphrase):
        values = _values(drawn, text)
        assert values["dropout_presence"] == values["microaneurysm_presence"] == 1.0
        assert values["stage_contradiction"] == 0.0
        assert values["hallucinated_findings"] == (None if len(drawn) == 8 else 0.0)
        for lesion in LESIONS:
            there = any(instance.kind == lesion for instance in drawn)
            for measure in ("sector_f1", "sector_precision", "sector_recall", "count"):
                assert values[f"{lesion}_{measure}"] == (1.0 if there else None)


@pytest.mark.parametrize("drawn", [PROLIFERATIVE, NON_PROLIFERATIVE, ()])
def test_contradictions_of_gold_earn_nothing(drawn):
    record = gold_record("s1", drawn)
    text = " ".join(claim.contradiction for claim in record.claims if claim.contradiction)
    values = _values(drawn, text)
    assert values["dropout_presence"] == values["microaneurysm_presence"] == 0.0
    assert values["stage_contradiction"] == 1.0
    assert values["hallucinated_findings"] in (None, 1.0)
    for lesion in LESIONS:
        assert values[f"{lesion}_sector_f1"] in (None, 0.0)


def test_sectors_are_compared_exactly():
    near = _values(PROLIFERATIVE, "Dropout is seen in the northeast and southeast.")
    assert near["dropout_sector_f1"] == 0.0
    half = _values(PROLIFERATIVE, "Dropout is seen in the north, south and west.")
    assert half["dropout_sector_precision"] == pytest.approx(1 / 3)
    assert half["dropout_sector_recall"] == pytest.approx(1 / 2)
    assert half["dropout_sector_f1"] == pytest.approx(2 / 5)


def test_sector_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    for _ in range(200):
        said, true = rng.random((2, 8)) < 0.4
        if true.any():
            names = np.array(SECTORS)
            assert sector_f1(names[said], names[true]) == pytest.approx(
                f1_score(true, said, zero_division=0)
            )


def test_naming_all_eight_sectors_earns_its_floor_and_no_more():
    text = "Dropout is seen in all sectors."
    values = _values(PROLIFERATIVE, text)
    assert (
        values["dropout_sector_f1"] == values["dropout_sector_f1_all_eight"] == pytest.approx(0.4)
    )
    assert values["microaneurysm_sector_f1_all_eight"] == pytest.approx(2 * 4 / 12)


def test_other_images_of_the_class_make_the_floor_and_the_text_is_moved_to_them():
    partners = tuple(
        {"sample": "a", "sectors": dict(zip(LESIONS, sectors, strict=True))}
        for sectors in ((["north"], [], ["east"]), (["south", "east"], [], ["west"]))
    )
    values = _values(PROLIFERATIVE, write(findings_of(PROLIFERATIVE)), partners)
    assert values["dropout_sector_f1_other_image"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert values["dropout_sector_f1_moved"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert values["neovascularisation_sector_f1_other_image"] == pytest.approx(1 / 2)
    assert values["microaneurysm_sector_f1_other_image"] == 0.0
    assert values["microaneurysm_sector_f1_moved"] is None  # no other image has any
    mean = (7 / 12 + 1 / 2 + 0) / 3
    assert values["sector_f1_other_image"] == pytest.approx(mean)


def test_a_lesion_left_unmentioned_is_wrong_either_way():
    silent = "The stage is proliferative."
    assert _values(PROLIFERATIVE, silent)["dropout_presence"] == 0.0
    assert _values((), "The stage is healthy.")["dropout_presence"] == 0.0
    assert _values(PROLIFERATIVE, silent)["dropout_sector_f1"] == 0.0
    assert _values(PROLIFERATIVE, silent)["dropout_sector_precision"] is None


def test_hallucinations_are_shares_of_the_absent_lesion_types():
    text = "Dropout lies in the north. Microaneurysms lie in the south. No new vessels are seen."
    assert _values(NON_PROLIFERATIVE, text)["hallucinated_findings"] == 0.5
    assert _values((), text)["hallucinated_findings"] == pytest.approx(2 / 3)
    assert _values(PROLIFERATIVE, text)["hallucinated_findings"] is None


@pytest.mark.parametrize(
    ("text", "contradicts"),
    [
        ("The stage is healthy. Dropout lies in the north.", 1.0),
        ("The stage is non-proliferative. New vessels are seen in the east.", 1.0),
        ("The stage is non-proliferative. No dropout and no microaneurysms are seen.", 1.0),
        ("The stage is proliferative. No neovascularisation is seen.", 1.0),
        ("The stage is proliferative. Dropout is seen. New vessels are seen.", 0.0),
        ("The stage is non-proliferative. Dropout is seen. New vessels are absent.", 0.0),
        ("The stage is healthy.", 0.0),
        ("Dropout lies in the north.", None),
        ("No dropout is seen. Dropout lies in the north.", 1.0),
    ],
)
def test_a_stage_is_held_against_the_texts_own_findings(text, contradicts):
    assert _values(NON_PROLIFERATIVE, text)["stage_contradiction"] == contradicts


def test_a_count_must_fall_in_the_right_bucket():
    for text, right in (
        ("Five microaneurysms are seen.", 1.0),
        ("Several microaneurysms are seen.", 1.0),
        ("A few microaneurysms are seen.", 0.0),
        ("Microaneurysms are seen.", 0.0),
    ):
        assert _values(PROLIFERATIVE, text)["microaneurysm_count"] == right


def test_a_text_that_is_not_read_is_not_scored():
    text = "Dropout lies in the north. The bus came late. It rained."
    scored = _score(PROLIFERATIVE, text)
    assert scored["read_share"].value == pytest.approx(1 / 3)
    assert scored["read_share"].detail == {"unread": ["The bus came late.", "It rained."]}
    assert all(score.value is None for name, score in scored.items() if name != "read_share")
    four_of_five = "Dropout is seen. Dropout is seen. Dropout is seen. Dropout is seen. It rained."
    assert _values(PROLIFERATIVE, four_of_five)["dropout_presence"] == 1.0


@pytest.mark.parametrize(
    ("text", "outcome"), [("", "ok"), ("", "empty"), ("I can't help with that.", "refusal")]
)
def test_an_empty_answer_or_a_refusal_is_scored_as_saying_nothing(text, outcome):
    values = _values(PROLIFERATIVE, text, outcome=outcome)
    assert values["dropout_presence"] == values["sector_f1"] == values["dropout_count"] == 0.0
    assert values["stage_contradiction"] is None


def test_a_sample_without_instances_is_not_applicable():
    subject = Subject("cell", "c", (), sample=Sample("s1", ()))
    scores = SCORER.score(subject, [Generation(text="Dropout is seen.")])
    assert all(score.value is None for score in scores)
    broken = Sample("s1", (), evidence=(Evidence("values", "instances", ({"kind": "dropout"},)),))
    with pytest.raises(HarnessError, match="sample 's1': evidence 'instances' must list kind"):
        SCORER.score(Subject("cell", "c", (), sample=broken), [Generation(text="x")])


def test_knowing_the_stage_alone_is_worth_one_half_in_balanced_presence():
    details = []
    for stage, dropout in itertools.product(LABELS[1:], (True, False)):
        drawn = _instances(dropout="north" if dropout else "", microaneurysm="south south south")
        scored = _score(drawn, write(Findings(stage, dropout=findings_of(PROLIFERATIVE).dropout)))
        details.append({**scored["dropout_presence"].detail, "stage": stage})
    found = balanced_mean(
        [one["said"] == one["true"] for one in details],
        within=[one["stage"] for one in details],
        over=[one["true"] for one in details],
        clusters=range(len(details)),
    )
    assert found.value == 0.5
