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


def test_gold_text_leaves_out_what_must_not_be_said() -> None:
    record = GoldRecord(
        "treatment",
        (Claim("a", "Rest"), Claim("b", "Take aspirin.", importance="must_not")),
        label="x",
    )
    assert gold.gold_text(record) == "Rest."
