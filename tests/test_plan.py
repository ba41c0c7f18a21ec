"""A plan tells what each arm says, shares what can be shared, and leaks nothing."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from small_suite import NOTES, changed, write

from harness.pipeline import plan_only
from harness.plan import Plan, told
from harness.records import HarnessError
from harness.suite import load


def planned(path: Path, *settings: str) -> Plan:
    return plan_only(load(str(path), settings))[0]


def test_every_combination_is_a_cell_once(tmp_path: Path) -> None:
    plan = planned(write(tmp_path))
    mine = [p.cell for p in plan.cells if p.cell.model == "parrot"]
    # 4 samples, 2 aspects, 2 repeats; 'reworded' and 'pressure' name the label, so they have no
    # template for the arm none, which has 2 variants where the others have 4.
    assert len(mine) == 4 * 2 * 2 * (3 * 4 + 2)
    assert len(set(mine)) == len(mine)
    assert plan.not_planned["parrot", "variant 'reworded' has no template for the arm 'none'"] == 16


def test_arms_that_tell_the_same_share_one_request(tmp_path: Path) -> None:
    plan = planned(write(tmp_path))
    by_arm = {
        (p.cell.arm, p.cell.sample): p.key
        for p in plan.cells
        if p.cell.model == "parrot"
        and (p.cell.variant, p.cell.aspect, p.cell.repeat) == ("base", "causes", 1)
    }
    assert by_arm["predicted", "s1"] == by_arm["gold", "s1"]  # classified rightly
    assert by_arm["predicted", "s2"] == by_arm["wrong", "s2"]  # misclassified
    assert by_arm["predicted", "s2"] != by_arm["gold", "s2"]


def test_repeats_differ_and_controls_never_share(tmp_path: Path) -> None:
    plan = planned(write(tmp_path))
    keys = Counter(p.key for p in plan.cells if p.cell.model == "control:gold")
    assert set(keys.values()) == {1}
    repeats = {
        p.key for p in plan.cells if p.cell.id.startswith("parrot/s1/small/base/predicted/causes/")
    }
    assert len(repeats) == 2


def test_told_and_top_probability_are_exchanged(tmp_path: Path) -> None:
    suite = load(str(write(tmp_path)))
    inputs = plan_only(suite)[1]
    samples = {sample.id: sample for sample in inputs.samples}
    wrong = told(suite, "wrong", samples["s1"], inputs)
    assert wrong.label == "indigestion"  # type: ignore[union-attr]
    assert wrong.probabilities == {"gastritis": 0.2, "indigestion": 0.8}  # type: ignore[union-attr]
    gold = told(suite, "gold", samples["s2"], inputs)
    assert gold.probabilities == {"gastritis": 0.7, "indigestion": 0.3}  # type: ignore[union-attr]
    assert inputs.predictions["s2"].probabilities == {"gastritis": 0.3, "indigestion": 0.7}


def test_without_probabilities_the_wrong_label_is_a_seeded_draw(tmp_path: Path) -> None:
    rows = [f"s{i},note {i},{label},{label}" for i, label in enumerate("abcd" * 25)]
    text = changed(
        source={
            "kind": "table",
            "path": "./notes.csv",
            "text": "note",
            "label": "label",
            "id": "id",
        },
        classifier={
            "kind": "recorded",
            "path": "./notes.csv",
            "sample": "id",
            "label": "predicted",
        },
        families=[{"family": "small", "variants": ["reworded"]}],
        arms=["wrong"],
    )
    path = write(tmp_path, text, **{"notes.csv": "\n".join(["id,note,label,predicted", *rows])})
    drawn: list[dict[str, str | None]] = []
    for seed in ("0", "0", "1"):
        suite = load(str(path), [f"seed={seed}"])
        inputs = plan_only(suite)[1]
        labels = {s.id: told(suite, "wrong", s, inputs) for s in inputs.samples}
        drawn.append({key: value.label for key, value in labels.items()})  # type: ignore[union-attr]
        assert all(drawn[-1][s.id] != s.label for s in inputs.samples)
        assert set(drawn[-1].values()) == set("abcd")
    assert drawn[0] == drawn[1] != drawn[2]


def test_no_prompt_holds_the_true_label_the_id_or_the_evidence(tmp_path: Path) -> None:
    secret = NOTES.replace("s1,", "gastritis/s1,").replace("s3,", "secret-name,")
    path = write(tmp_path, **{"notes.csv": secret})
    for p in planned(path, "arms=[wrong, none]").cells:
        if p.cell.model != "parrot":
            continue
        text = " ".join(message.text for message in p.request.messages)
        assert "secret-name" not in text
        assert "s1" not in text
        true = "gastritis" if "s1" in p.cell.sample or p.cell.sample == "s2" else "indigestion"
        if p.cell.arm == "none":
            assert "gastritis" not in text
            assert "indigestion" not in text
        elif p.cell.variant == "reworded":
            assert true not in text


def test_labels_without_gold_and_gold_without_label_are_listed_both_ways(tmp_path: Path) -> None:
    notes = NOTES.replace("s4,Burps in the evening.,indigestion", "s4,Burps.,ulcer")
    path = write(tmp_path, **{"notes.csv": notes})
    # Without columns of probabilities nobody says which classes the classifier knows.
    plan = planned(path, "label_map={indigestion: dyspepsia}", "classifier.probabilities={}")
    assert plan.labels_without_gold == {"small": ["dyspepsia", "ulcer"]}
    assert plan.gold_without_label == {"small": ["indigestion"]}


def test_a_true_label_that_the_classifier_does_not_know_is_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    notes = NOTES.replace("s4,Burps in the evening.,indigestion", "s4,Burps.,ulcer")
    with pytest.raises(HarnessError, match="sample 's4' has the label 'ulcer', which is none of"):
        planned(write(tmp_path, **{"notes.csv": notes}))


def test_a_label_map_turns_classifier_and_source_names_into_gold_labels(tmp_path: Path) -> None:
    notes = NOTES
    for name, code in (("gastritis", "LABEL_0"), ("indigestion", "LABEL_1")):
        notes = notes.replace(f",{name},{name},", f",{code},{code},")
        notes = notes.replace(f",{name},", f",{code},")
    text = changed(
        label_map={"LABEL_0": "gastritis", "LABEL_1": "indigestion"},
        classifier={
            "kind": "recorded", "path": "./notes.csv", "sample": "id", "label": "predicted",
            "probabilities": {"LABEL_0": "p_gastritis", "LABEL_1": "p_indigestion"},
        },
    )  # fmt: skip
    there = planned(write(tmp_path, text, **{"notes.csv": notes}))
    plain = tmp_path / "plain"
    plain.mkdir()
    here = planned(write(plain))
    assert [p.key for p in there.cells] == [p.key for p in here.cells]


def test_two_classes_mapped_to_one_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="two classes of the classifier become 'x'"):
        planned(write(tmp_path), "label_map={gastritis: x, indigestion: x}")


def test_a_variant_that_needs_attributions_is_left_out_or_refused(tmp_path: Path) -> None:
    variant = (
        "variant: evidence\nof: base\naxis: detail\npreserves_meaning: false\n"
        "user: 'Finding: {{ label }}, because of {{ evidence_summary }}.'\n"
    )
    path = write(tmp_path)
    (tmp_path / "prompts" / "small" / "evidence.yaml").write_text(variant)
    assert "evidence" not in {p.cell.variant for p in planned(path).cells}
    with pytest.raises(HarnessError, match="the suite needs an 'explain' entry"):
        planned(path, "families=[{family: small, variants: [evidence]}]")


def test_an_oracle_variant_shows_gold_and_stays_out_of_the_headline(tmp_path: Path) -> None:
    variant = (
        "variant: oracle\nof: base\naxis: detail\npreserves_meaning: false\noracle: true\n"
        "user: 'An expert says: {{ gold_evidence }} Explain the {{ aspect }} of {{ label }}.'\n"
    )
    path = write(tmp_path)
    (tmp_path / "prompts" / "small" / "oracle.yaml").write_text(variant)
    plan = planned(path, "arms=[predicted]")
    texts = {
        p.cell.sample: p.request.messages[-1].text
        for p in plan.cells
        if (p.cell.model, p.cell.variant, p.cell.aspect) == ("parrot", "oracle", "causes")
    }
    assert "Gastritis and its causes involve bacteria." in texts["s2"]  # the true label's gold
    assert all(
        "expert" not in p.request.messages[-1].text
        for p in plan.cells
        if p.cell.variant != "oracle"
    )


def test_limit_takes_samples_from_every_label(tmp_path: Path) -> None:
    suite = load(str(write(tmp_path)))
    assert [s.id for s in plan_only(suite, 2)[1].samples] == ["s1", "s3"]


def test_a_plan_is_the_same_twice(tmp_path: Path) -> None:
    path = write(tmp_path)
    first, second = planned(path), planned(path)
    assert [dataclasses.astuple(p.cell) for p in first.cells] == [
        dataclasses.astuple(p.cell) for p in second.cells
    ]
    assert json.dumps([p.key for p in first.cells]) == json.dumps([p.key for p in second.cells])
