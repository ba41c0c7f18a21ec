"""Joins: what finds no partner is counted and shown, and what would be joined wrongly is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_suite import GOLD, NOTES, changed, write

import harness
from harness.inputs import Inputs
from harness.pipeline import plan_only
from harness.plan import Plan
from harness.records import HarnessError
from harness.results import Results
from harness.suite import load

IDS = [f"{number:03}" for number in range(1, 9)]
ROWS = [f"{name},Note {name}.,{'flu' if i % 2 else 'gout'}" for i, name in enumerate(IDS)]
TABLE = {"kind": "table", "path": "./notes.csv", "text": "note", "label": "label", "id": "id"}
RECORDED = {"kind": "recorded", "path": "./said.csv", "sample": "id"}


def planned(path: Path, *settings: str) -> tuple[Plan, Inputs]:
    return plan_only(load(str(path), settings))


def notes(path: Path, *settings: str) -> str:
    plan, inputs = planned(path, *settings)
    return "\n".join([*inputs.notes, *plan.notes])


def suite(folder: Path, said: str = "", answers: str = "", **changes: Any) -> Path:
    """Eight samples, predictions in said.csv, answers of a recording in answers.csv."""
    named: dict[str, Any] = {
        "source": TABLE,
        "classifier": RECORDED if said else None,
        "arms": None if said else ["none"],
        "families": [{"family": "small", "variants": ["base"], "aspects": ["causes"]}],
        "models": [] if not answers else [
            {"name": "m", "backend": "replay", "path": "./answers.csv", "sample": "id"}
        ],
        "scorers": ["label"], "controls": ["echo"], "repeats": 1,
    }  # fmt: skip
    return write(
        folder,
        changed(**{**named, **changes}),
        **{
            "notes.csv": "id,note,label\n" + "\n".join(ROWS) + "\n",
            "said.csv": said or "id,label\n",
            "answers.csv": answers or "id,text\n",
            "prompts__small__family.yaml": FAMILY,
        },
    )


FAMILY = """family: small
question: Why?
aspects: [causes, treatment]
user: "Explain the {{ aspect }} of {{ input }}"
"""


def said(ids: list[str], label: str = "flu", head: str = "id,label") -> str:
    return "\n".join([head, *(f"{name},{label}" for name in ids)]) + "\n"


# --- recorded answers ---------------------------------------------------------------------


def verdict(results: Results, topic: str) -> str:
    return next(sentence.text for sentence in results.verdict if sentence.topic == topic)


@pytest.mark.parametrize(
    ("ids", "hint"),
    [
        (
            ["001", "002", "003", "4", "5", "6", "7", "8"],
            "'4', which differs only in leading zeros",
        ),
        (["001", "002", "003", "004.0", "005.0"], "'004.0', which differs only in a fraction"),
        (["001", "002", "003", "004 ", "005\u00a0"], "'004 ', which differs only in white space"),
        (["001", "002", "003", "004.txt"], "'004.txt', which differs only in the file's ending"),
    ],
)
def test_samples_without_a_recorded_answer_count_in_coverage_with_a_hint(
    tmp_path: Path, ids: list[str], hint: str
) -> None:
    path = suite(tmp_path, answers=said(ids, "An answer.", "id,text"))
    found = notes(path)
    assert "Model m: 5 cells have no answer in " in found
    assert "lacks 5 of 8 samples ('004', '005', '006', ...)" in found
    assert hint in found
    run = harness.run(path, out=tmp_path / "run")
    assert verdict(run.results, "coverage") == (
        "3 of 8 cells of models have an answer; 5 have none recorded."
    )
    assert any("5 cells have no answer" in warning for warning in run.results.warnings)
    tones = {sentence.topic: sentence.tone for sentence in run.results.verdict}
    assert tones["coverage"] != "good"


def test_cells_without_a_recorded_answer_are_cells_without_a_score(tmp_path: Path) -> None:
    answers = said(IDS[:3], "An answer.", "id,text")
    for allowed, code in ((0.7, 0), (0.6, 5)):
        folder = tmp_path / str(code)
        folder.mkdir()
        path = suite(folder, answers=answers, max_unscored=allowed)
        assert harness.run(path, out=folder / "run").exit_code == code


def test_answers_to_samples_that_there_are_not_are_counted(tmp_path: Path) -> None:
    found = notes(suite(tmp_path, answers=said([*IDS, "x9", "x10"], "An answer.", "id,text")))
    assert "Model m: 2 of 10 ('x9', 'x10') samples with an answer in " in found
    assert "no answer in" not in found


def test_no_sample_of_the_source_is_a_stranger_in_a_run_limited_to_others(tmp_path: Path) -> None:
    path = suite(tmp_path, answers=said(IDS, "An answer.", "id,text"))
    plan, _ = plan_only(load(str(path)), 2)
    assert plan.notes == []


def test_answers_known_by_their_texts_are_compared_by_them(tmp_path: Path) -> None:
    rows = ["text,answer", *(f"Note {name}.,An answer." for name in IDS[1:]), "Note  001.,More."]
    model = {"name": "m", "backend": "replay", "path": "./answers.csv", "input": "text"}
    source = {key: value for key, value in TABLE.items() if key != "id"}
    path = suite(
        tmp_path, answers="\n".join(rows), models=[{**model, "text": "answer"}], source=source
    )
    found = notes(path)
    assert "lacks 1 of 8 samples ('Note 001.')" in found
    assert "it has 'Note  001.', which differs only in white space" in found


def test_answers_of_other_variants_and_aspects_are_counted(tmp_path: Path) -> None:
    rows = ["id,text,aspect", *(f"{name},Yes.,causes" for name in IDS), "001,Yes.,cause"]
    model = {"name": "m", "backend": "replay", "path": "./answers.csv", "sample": "id"}
    path = suite(tmp_path, answers="\n".join(rows), models=[{**model, "match": ["aspect"]}])
    assert "Model m: 1 answers in " in notes(path)
    assert "are of no cell ('001 / cause' the first)" in notes(path)


def test_two_spellings_of_the_models_name_are_refused(tmp_path: Path) -> None:
    rows = ["id,text,by", "001,Yes.,m", "002,Yes.,M", "003,Yes.,other"]
    model = {"name": "m", "backend": "replay", "path": "./answers.csv", "sample": "id", "by": "by"}
    path = suite(tmp_path, answers="\n".join(rows), models=[model])
    with pytest.raises(HarnessError, match="column 'by': 'm' and 'M' differ only in capitals"):
        planned(path)


def test_without_any_answer_the_names_that_there_are_are_told(tmp_path: Path) -> None:
    model = {"name": "m", "backend": "replay", "path": "./answers.csv", "sample": "id", "by": "by"}
    path = suite(tmp_path, answers="id,text,by\n001,Yes.,gpt\n", models=[model])
    with pytest.raises(HarnessError, match="no answer by 'm'; column 'by' holds gpt"):
        planned(path)


# --- predictions and labels ---------------------------------------------------------------


def test_a_missing_prediction_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = suite(tmp_path, said=said(["1", "2", *IDS[2:]]))
    with pytest.raises(HarnessError) as error:
        planned(path)
    assert "no prediction for 2 of 8 samples ('001', '002'); the table has '1'" in str(error.value)
    assert "differs only in leading zeros (2 such)" in str(error.value)


def test_predictions_of_other_samples_are_counted(tmp_path: Path) -> None:
    path = suite(tmp_path, said=said([*IDS, "z1"]))
    assert "said.csv: 1 of 9 ('z1') predictions are of samples that the source" in notes(path)


def test_a_trailing_space_in_a_predicted_label_changes_no_figure(tmp_path: Path) -> None:
    rows = [f"{row.rpartition(',')[0]},{row.rpartition(',')[2]}" for row in ROWS]
    labels = ["gout" if i == 7 else row.rpartition(",")[2] for i, row in enumerate(rows)]
    spaced = [f"{label} " if i % 2 else label for i, label in enumerate(labels)]
    found = []
    for name, own in (("plain", labels), ("spaced", spaced)):
        pairs = zip(IDS, own, strict=True)
        text = "id,label\n" + "".join(f"{sample},{label}\n" for sample, label in pairs)
        (tmp_path / name).mkdir()
        run = harness.run(suite(tmp_path / name, said=text), out=tmp_path / name / "run")
        page = run.results.classifier
        assert page is not None
        found.append((page.classes, page.balanced_accuracy.value))
    assert found[0] == found[1] == (("flu", "gout"), 0.875)


@pytest.mark.parametrize("other", ["Flu", "FLU", "f\u200blu"])
def test_labels_that_differ_only_in_form_are_refused(tmp_path: Path, other: str) -> None:
    text = said(IDS[:4], "gout") + said(IDS[4:], other).partition("\n")[2]
    path = suite(tmp_path, said=text)
    with pytest.raises(HarnessError, match=r"the labels .* differ only in .* makes them one"):
        planned(path)
    assert planned(path, f"label_map={{{other}: flu}}")[1].classes == ("flu", "gout")
    assert set(planned(path, f"label_map={{{other}: {other}}}")[1].classes) == {
        "flu", "gout", other
    }  # fmt: skip


def test_labels_of_the_source_alone_that_differ_only_in_form_are_refused(tmp_path: Path) -> None:
    path = suite(tmp_path)
    rows = (tmp_path / "notes.csv").read_text().replace("001,Note 001.,gout", "001,N.,Gout")
    (tmp_path / "notes.csv").write_text(rows)
    with pytest.raises(HarnessError, match="labels 'Gout' and 'gout' differ only in capitals"):
        planned(path)


def test_a_true_label_that_a_known_class_differs_from_in_form_is_told(tmp_path: Path) -> None:
    path = suite(
        tmp_path, said=said(IDS, "Flu"), classifier=RECORDED | {"classes": ["Flu", "gout"]}
    )
    with pytest.raises(HarnessError, match=r"none of the classes .*label_map: {flu: Flu}"):
        planned(path)


def test_a_name_that_label_map_maps_and_nothing_has_is_told_with_a_hint(tmp_path: Path) -> None:
    found = notes(
        suite(tmp_path, said=said(IDS)), "label_map={Gout: arthritis, ' flu ': influenza}"
    )
    assert "label_map: nothing is called Gout; the data has 'gout', which differs only in" in found
    _, inputs = planned(tmp_path / "suite.yaml", "label_map={' flu ': influenza}")
    assert inputs.classes == ("influenza", "gout")
    # It is named although another name already has what it maps to.
    found = notes(tmp_path / "suite.yaml", "label_map={grippe: flu}")
    assert "label_map: nothing is called grippe." in found


# --- gold ---------------------------------------------------------------------------------


def test_a_gold_folder_that_a_family_names_and_that_is_missing_is_an_error(tmp_path: Path) -> None:
    path = suite(tmp_path)
    family = tmp_path / "prompts" / "small" / "family.yaml"
    family.write_text(FAMILY + "gold: smal\n")
    with pytest.raises(HarnessError, match="there is no 'smal' in "):
        load(str(path))
    for setting in ("gold=smal", "families=[{family: small, gold: smal}]", "gold=./smal"):
        with pytest.raises(HarnessError, match="smal"):
            load(str(path), [setting])
    assert load(str(path), ["gold=null"]).families[0].gold.records == ()


def test_labels_without_gold_are_listed_also_without_any_gold(tmp_path: Path) -> None:
    path = suite(tmp_path, gold=None)
    plan, _ = planned(path, "gold=null")
    assert plan.labels_without_gold == {"small": ["flu", "gout"]}
    run = harness.run(path, out=tmp_path / "run")
    assert any("small has no gold" in w and "flu, gout" in w for w in run.results.warnings)


def test_gold_of_samples_that_there_are_not_and_samples_without_gold_are_told(
    tmp_path: Path,
) -> None:
    table = {"kind": "table", "path": "./gold.csv", "sample": "id", "claim": "claim"}
    path = suite(tmp_path, gold=table)
    rows = ["id,claim", *(f"{name},It is so." for name in [*IDS[:5], "6", "7"])]
    (tmp_path / "gold.csv").write_text("\n".join(rows))
    found = notes(path, "gold.path=" + str(tmp_path / "gold.csv"))
    assert "speaks of 2 samples that there are not ('6', '7'); the source has '006'" in found
    assert "Family small has no gold for 3 of 8 samples ('006', '007', '008')." in found


def test_gold_that_a_label_differs_from_in_form_is_hinted_at(tmp_path: Path) -> None:
    gold = [record | {"label": record["label"].title()} for record in GOLD]
    path = write(tmp_path, **{"gold__small__gold.json": json.dumps(gold)})
    run = harness.run(path, out=tmp_path / "run")
    (said_so,) = [w for w in run.results.warnings if "has no gold for the labels" in w]
    assert "gold has 'Gastritis', which differs only in capitals (2 such)" in said_so


# --- metadata -----------------------------------------------------------------------------


def test_samples_without_the_metadata_of_a_group_and_two_spellings_are_told(
    tmp_path: Path,
) -> None:
    rows = NOTES.replace(",B\ns3", ",a\ns3").replace("0.4,0.6,B", "0.4,0.6,")
    path = write(tmp_path, **{"notes.csv": rows})
    found = notes(path, "report.group_by=[site]")
    assert "report.group_by: 1 of 4 samples have no 'site' ('s4')" in found
    assert "report.group_by: 'A' and 'a' differ only in capitals" in found


def test_rows_left_out_by_a_source_are_told(tmp_path: Path) -> None:
    path = suite(tmp_path, source=TABLE | {"skip_invalid": True})
    text = (tmp_path / "notes.csv").read_text().replace("Note 003.", "  ")
    (tmp_path / "notes.csv").write_text(text)
    found = notes(path)
    assert "1 of 8 rows are left out (skip_invalid)." in found
    assert "line 4: the text in column 'note' is empty" in found
