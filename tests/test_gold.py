"""Gold is found by label or by sample, and a broken record is refused with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import gold
from harness.gold import Gold
from harness.identity import text_id
from harness.records import Claim, GoldRecord, HarnessError
from harness.tables import Row

CLAIM = {"id": "a", "text": "Bacteria cause it."}


def write(folder: Path, *records: dict[str, Any]) -> Path:
    (folder / "gold.json").write_text(json.dumps(list(records), indent=1))
    return folder


def test_the_samples_own_record_stands_before_the_labels() -> None:
    of_label = GoldRecord("causes", (Claim("a", "General."),), label="x")
    of_sample = GoldRecord("causes", (Claim("a", "Special."),), sample="s1")
    found = Gold.of([of_label, of_sample])
    assert found.find("causes", sample="s1", label="x") == of_sample
    assert found.find("causes", sample="s2", label="x") == of_label
    assert found.find("symptoms", sample="s1", label="x") is None
    assert found.find("causes", sample=None, label=None) is None


def test_other_gold_is_of_the_same_aspect_and_level_and_says_something_else() -> None:
    def record(text: str, **of: str) -> GoldRecord:
        return GoldRecord(of.pop("aspect", "causes"), (Claim("a", text),), **of)

    x, y, z = (record(name, label=name) for name in "xyz")
    again = record("x", label="x", aspect="symptoms")
    one, two = record("1", sample="s1"), record("2", sample="s2")
    found = Gold.of([x, y, z, again, one, two])
    assert found.others("causes", x) == [y, z]
    assert found.others("symptoms", again) == []
    assert found.others("causes", one) == [two]
    assert found.labels == ("x", "y", "z")


def test_the_hash_is_of_the_content_not_of_the_files(tmp_path: Path) -> None:
    one = {"label": "x", "aspect": "causes", "claims": [CLAIM]}
    two = {"label": "y", "aspect": "causes", "claims": [CLAIM]}
    first = gold.load(write(tmp_path, one, two)).hash
    (tmp_path / "gold.json").unlink()
    (tmp_path / "x.yaml").write_text(json.dumps(one))
    (tmp_path / "y.jsonl").write_text(json.dumps(two) + "\n")
    assert gold.load(tmp_path).hash == first
    (tmp_path / "y.jsonl").write_text(json.dumps(two | {"note": "thin"}) + "\n")
    assert gold.load(tmp_path).hash != first


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"label": "x", "aspect": "causes", "claims": []}, "claims: the list is empty"),
        ({"label": "x", "aspect": "causes"}, "the field 'claims' is missing"),
        ({"aspect": "causes", "claims": [CLAIM]}, "'label' or 'sample'"),
        ({"label": "x", "sample": "s", "aspect": "a", "claims": [CLAIM]}, "'label' or 'sample'"),
        ({"label": "x", "aspect": "a", "claims": [CLAIM, CLAIM]}, "claims[1].id: the claim id 'a' stands twice"),
        ({"label": "x", "aspect": "a", "claims": [{"id": "a", "text": " "}]}, "claims[0].text"),
        ({"label": "x", "aspect": "a", "claims": [CLAIM | {"importance": "very"}]}, "'very' is none of must, nice, must_not"),
    ],
)  # fmt: skip
def test_a_broken_record_is_refused_with_file_and_place(
    tmp_path: Path, record: dict[str, Any], said: str
) -> None:
    with pytest.raises(HarnessError, match=r"gold\.json:") as error:
        gold.load(write(tmp_path, record))
    assert said in str(error.value)


def test_the_line_of_a_broken_record_is_its_own(tmp_path: Path) -> None:
    good = json.dumps({"label": "x", "aspect": "causes", "claims": [CLAIM]})
    bad = json.dumps({"label": "y", "aspect": "causes", "claims": []})
    (tmp_path / "g.jsonl").write_text(f"{good}\n\n{bad}\n")
    with pytest.raises(HarnessError, match=r"g\.jsonl:3: claims"):
        gold.load(tmp_path)


def test_two_records_for_one_place_are_refused(tmp_path: Path) -> None:
    record = {"label": "x", "aspect": "causes", "claims": [CLAIM]}
    with pytest.raises(HarnessError, match="x / causes has two records"):
        gold.load(write(tmp_path, record, record))


def test_a_table_with_one_claim_a_row_is_gold_of_samples() -> None:
    rows = [
        {"question": "Why?", "claim": "One.", "importance": "Must_have"},
        {"question": "Why?", "claim": "Two.", "importance": "Nice_to_have"},
        {"question": "Why?", "claim": "One.", "importance": "Must_have"},
        {"question": "Why?", "claim": "Three.", "importance": "Must not have"},
    ]
    found = gold.from_rows(
        [Row(values, i, "t.csv") for i, values in enumerate(rows, 2)],
        claim="claim",
        input="question",
        importance="importance",
        aspects=["answer"],
    )
    record = found.find("answer", sample=text_id("Why?"), label=None)
    assert record is not None
    assert [(c.text, c.importance) for c in record.claims] == [
        ("One.", "must"), ("Two.", "nice"), ("Three.", "must_not"),
    ]  # fmt: skip


RUBRIC = [{"criterion": "Names the virus.", "points": 5}, {"criterion": "Is brief.", "points": -2}]
FOREIGN = {
    "a rubric": RUBRIC,
    "a list of statements": ["A virus causes it.", "It is caught from others."],
    "statements with weights": {"A virus causes it.": 0.7},
    "a list as text": json.dumps(RUBRIC),
    "a Python list as text": "['A virus causes it.', 'It is caught.']",
    "points": "- A virus causes it.\n- It is caught from others.",
    "numbered points": "1. A virus causes it.\n2. It is caught from others.",
    "lines": "A virus causes it.\nIt is caught from others.",
    "a whole explanation": "A virus causes it. It is caught. It is dry. It passes.",
    "a number": 5,
    "a number as text": "0.75",
}


@pytest.mark.parametrize("claim", FOREIGN.values(), ids=FOREIGN)
def test_a_row_that_is_no_single_statement_is_not_turned_into_one_claim(claim: Any) -> None:
    row = Row({"id": "s1", "claim": claim}, 7, "t.jsonl")
    with pytest.raises(HarnessError, match=r"t\.jsonl, line 7: column 'claim' holds"):
        gold.from_rows([row], claim="claim", sample="id", aspects=["causes"])


@pytest.mark.parametrize("claim", FOREIGN.values(), ids=FOREIGN)
def test_a_claim_in_a_file_that_is_no_single_statement_is_refused(
    tmp_path: Path, claim: Any
) -> None:
    record = {"label": "x", "aspect": "causes", "claims": [{"id": "a", "text": claim}]}
    with pytest.raises(HarnessError, match=r"gold\.json:\d+: claims\[0\]\.text: "):
        gold.load(write(tmp_path, record))


@pytest.mark.parametrize(
    "whole",
    [
        RUBRIC,
        {"prompt_id": "p1", "rubrics": RUBRIC},
        {"flu": {"causes": ["A virus causes it."]}},
        {"records": [{"label": "x", "aspect": "causes", "claims": [CLAIM]}]},
        {"label": "x", "aspect": "causes", "claims": ["A virus causes it."]},
        {"label": "x", "aspect": "causes", "claims": "A virus causes it."},
        {"question": "Why?", "Must_have": ["A virus."], "Nice_to_have": []},
        ["A virus causes it."],
        "A virus causes it.",
    ],
)
def test_a_gold_file_in_a_foreign_shape_is_refused_with_its_line(
    tmp_path: Path, whole: Any
) -> None:
    (tmp_path / "gold.json").write_text(json.dumps(whole))
    with pytest.raises(HarnessError, match=r"gold\.json:1"):
        gold.load(tmp_path)


@pytest.mark.parametrize("name", ["claims.csv", "more/claims.parquet", "notes.txt", "a.ndjson"])
def test_data_beside_gold_that_are_no_gold_are_not_left_out_in_silence(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path, {"label": "x", "aspect": "causes", "claims": [CLAIM]})
    (tmp_path / "README.md").write_text("Where this gold comes from.")
    assert len(gold.load(tmp_path).records) == 1
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("label,claim\n")
    with pytest.raises(HarnessError, match=f"{name} is no gold file"):
        gold.load(tmp_path)


@pytest.mark.parametrize("column", ["sample", "label", "input"])
def test_a_row_that_speaks_of_nothing_is_refused(column: str) -> None:
    row = Row({"of": None, "claim": "A virus causes it."}, 3, "t.csv")
    with pytest.raises(HarnessError, match="line 3: column 'of' is empty"):
        gold.from_rows([row], claim="claim", aspects=["causes"], **{column: "of"})


def test_white_space_around_labels_of_gold_is_no_part_of_them(tmp_path: Path) -> None:
    record = {"label": " x ", "aspect": "causes", "claims": [CLAIM]}
    assert gold.load(write(tmp_path, record)).labels == ("x",)
    row = Row({"dx": "x\u00a0", "claim": "A virus causes it."}, 2, "t.csv")
    assert gold.from_rows([row], claim="claim", label="dx", aspects=["a"]).labels == ("x",)


def test_gold_text_leaves_out_what_must_not_be_said() -> None:
    record = GoldRecord(
        "treatment",
        (Claim("a", "Rest"), Claim("b", "Take aspirin.", importance="must_not")),
        label="x",
    )
    assert gold.gold_text(record) == "Rest."
