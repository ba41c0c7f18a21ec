"""Agreement with people follows from the labels that were planted, and never ends a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score
from small_suite import changed, write

import harness
from harness.analysis.agreement import Judged, agreements
from harness.analysis.claim_baselines import claim_baselines
from harness.pipeline import report
from harness.results import Results

ANSWER = "Aspirin thins the blood. It is taken once a day. Children must not have it."


def judged(model: str, support: float, positive: bool, raters: str = "") -> Judged:
    return Judged(
        model, f"{model}{support}", "Aspirin thins blood.", ANSWER, positive, support > 0.5, support,
        tuple(vote == "y" for vote in raters),
    )  # fmt: skip


def by_measure(found, group):
    return {a.measure: a for a in found if a.group == group}


def test_support_is_compared_with_its_halves_alone_and_with_length() -> None:
    pairs = [(ANSWER, "Aspirin thins the blood."), (ANSWER, "Wash your hands."), ("", "Anything.")]
    found = claim_baselines(pairs)
    assert found["overlap alone"] == [1.0, 0.0, 0.0]
    assert found["cosine alone"][0] == pytest.approx(1.0, abs=1e-5)
    assert found["cosine alone"][0] > found["cosine alone"][1] > found["cosine alone"][2] == 0
    assert found["length of the answer"] == [15.0, 15.0, 0.0]


def test_within_models_a_support_that_only_tells_models_apart_is_worth_nothing() -> None:
    items = [judged("good", 0.9 + i / 1000, i % 10 > 0) for i in range(40)]
    items += [judged("bad", 0.1 + i / 1000, i % 10 == 0) for i in range(40)]
    found = agreements(items, seed=0, cluster_name="sample")
    pooled = by_measure(found, "all")["claim support"].auc
    within = by_measure(found, "within models")["claim support"].auc
    assert pooled.value == pytest.approx(
        roc_auc_score([i.positive for i in items], [i.support for i in items])
    )
    assert pooled.low > 0.7
    assert within.low < 0.5 < within.high
    assert {a.group for a in found} == {"all", "within models", "good", "bad"}


def test_one_model_has_no_groups_and_people_need_two_votes() -> None:
    items = [judged("only", i / 10, i > 4, "y") for i in range(10)]
    found = agreements(items, seed=0, cluster_name="question")
    assert {a.group for a in found} == {"all"}
    assert not any(a.people for a in found)
    assert "question" in by_measure(found, "all")["claim support"].auc.method


def test_people_who_always_agree_reach_one_and_their_alpha_too() -> None:
    votes = ["yyy" if i % 2 else "nnn" for i in range(30)]
    items = [judged("m", i / 30, i % 2 == 1, votes[i]) for i in range(30)]
    people = by_measure(agreements(items, seed=0, cluster_name="sample"), "all")[
        "one person against the others"
    ]
    assert people.people
    assert people.auc.value == people.kappa.value == 1.0
    assert people.alpha is not None
    assert people.alpha.value == 1.0


LABELS = "human.jsonl"
RECORDED = [
    {"id": f"s{i}", "text": f"{claim} See a doctor.", "by": "m"}
    for i, claim in enumerate(["Rest helps.", "Coffee cures it.", "Water helps."] * 2)
]


def run(folder: Path, labels: list[dict[str, object]], **human: str) -> Path:
    notes = "id,note,label,site\n" + "".join(f"s{i},Note {i}.,gastritis,A\n" for i in range(6))
    text = changed(
        classifier=None,
        families=[{"family": "small", "variants": ["base"], "aspects": ["causes"],
                   "gold": {"kind": "table", "path": "./gold.jsonl", "sample": "id",
                            "claim": "claim"}}],
        arms=["none"],
        repeats=1,
        models=[
            {"name": "m", "backend": "replay", "path": "./said.jsonl", "sample": "id",
             "text": "text"},
        ],
        scorers=["claims"],
        controls=[],
        human_labels={"path": f"./{LABELS}", "sample": "id", "claim": "claim", "label": "label",
                      "positive": "yes", **human},
    )  # fmt: skip
    gold = [{"id": f"s{i}", "claim": "Rest helps."} for i in range(6)]
    files = {"said.jsonl": RECORDED, "gold.jsonl": gold, LABELS: labels}
    written = {
        name: "".join(json.dumps(row) + "\n" for row in rows) for name, rows in files.items()
    }
    path = write(folder, text, **{"notes.csv": notes, **written})
    harness.run(path, out=folder / "run")
    return folder / "run"


def labels(claim: str = "Rest helps.") -> list[dict[str, object]]:
    return [
        {"id": f"s{i}", "claim": claim, "label": "yes" if i % 3 == 0 else "no"} for i in range(6)
    ]


def results(folder: Path) -> Results:
    return report(folder).results


def test_labels_without_a_model_column_belong_to_the_only_model(tmp_path: Path) -> None:
    found = results(run(tmp_path, labels()))
    own = by_measure(found.agreements, "all")["claim support"]
    assert (own.n, own.positives) == (6, 2)
    assert own.auc.value == 1.0


def test_labels_that_match_no_scored_claim_are_counted_in_a_warning(tmp_path: Path) -> None:
    found = results(run(tmp_path, [*labels(), *labels("Sleep helps.")]))
    assert by_measure(found.agreements, "all")["claim support"].n == 6
    assert any("6 of 12 labels by people" in warning for warning in found.warnings)


def test_a_report_without_the_table_of_labels_goes_without_agreement(tmp_path: Path) -> None:
    folder = run(tmp_path, labels())
    (tmp_path / LABELS).unlink()
    found = results(folder)
    assert found.agreements == ()
    assert any("Agreement with people is not shown" in warning for warning in found.warnings)


def test_labels_of_other_samples_are_counted_with_a_hint(tmp_path: Path) -> None:
    strange = [{"id": f"S{i}", "claim": "Rest helps.", "label": "yes"} for i in range(2)]
    found = results(run(tmp_path, [*labels()[2:], *strange]))
    (said,) = [warning for warning in found.warnings if "does not have" in warning]
    assert "2 of 6 labels by people are of samples ('S0', 'S1'; the run has 's0'" in said


def test_white_space_around_peoples_labels_is_no_part_of_them(tmp_path: Path) -> None:
    spaced = [row | {"label": f"{row['label']} "} for row in labels()]
    own = by_measure(results(run(tmp_path, spaced)).agreements, "all")["claim support"]
    assert (own.n, own.positives) == (6, 2)


def test_a_positive_label_that_no_row_holds_is_told(tmp_path: Path) -> None:
    found = results(run(tmp_path, labels(), positive="Yes"))
    assert found.agreements == ()
    (said,) = [warning for warning in found.warnings if "Agreement with people" in warning]
    assert "no row of column 'label' holds 'Yes'; it holds 'no', 'yes'" in said
    assert "differs only in capitals" in said
