"""The table source: one sample a row, and every way a table can mislead is refused by line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness import plugins
from harness.records import Evidence, HarnessError, Part, Sample
from harness.sources.table import Table


def table(folder: Path, rows: list[dict[str, Any]], suffix: str = ".jsonl") -> str:
    path = folder / f"table{suffix}"
    frame = pd.DataFrame(rows)
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_same_samples(tmp_path: Path, suffix: str) -> None:
    rows = [
        {"key": "x", "note": "A red lesion", "dx": "sick", "site": "north", "who": "p1"},
        {"key": "y", "note": " Nothing, 'seen'\nat all ", "dx": None, "site": None, "who": "p1"},
    ]
    source = Table(
        table(tmp_path, rows, suffix),
        text="note", label="dx", id="key", metadata=["site"], cluster="who",
    )  # fmt: skip
    assert source.samples() == [
        Sample("x", (Part("A red lesion"),), "sick", (), {"site": "north"}, "p1"),
        Sample("y", (Part(" Nothing, 'seen'\nat all "),), None, (), {}, "p1"),
    ]


def test_it_is_registered_under_its_name() -> None:
    assert plugins.load("sources", "table") is Table


def test_without_an_id_a_sample_is_known_by_its_text(tmp_path: Path) -> None:
    path = table(tmp_path, [{"text": "Ménétrier"}, {"text": "other"}])
    expected = hashlib.sha256("Ménétrier".encode()).hexdigest()[:12]
    assert Table(path).samples()[0].id == expected


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_evidence_spans_are_read_from_lists_and_from_json(tmp_path: Path, suffix: str) -> None:
    spans: Any = [[6, 9], [0, 5]]
    rows = [{"text": "hello you", "spans": json.dumps(spans) if suffix == ".csv" else spans}]
    sample = Table(table(tmp_path, rows, suffix), evidence="spans").samples()[0]
    assert sample.evidence == (Evidence("spans", "spans", ((0, 5), (6, 9))),)
    assert [sample.text[start:end] for start, end in sample.evidence[0].value] == ["hello", "you"]


@pytest.mark.parametrize("spans", [None, []])
def test_a_sample_may_have_no_evidence(tmp_path: Path, spans: Any) -> None:
    rows = [{"text": "a", "spans": spans}, {"text": "b", "spans": [[0, 1]]}]
    assert Table(table(tmp_path, rows), evidence="spans").samples()[0].evidence == ()


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[0, 6]], "does not lie in the text, which has 5 characters"),
        ([[3, 3]], "does not lie"),
        ([[-1, 3]], "does not lie"),
        ([[0, 1.5]], r"must read \[\[start, end\]"),
        ([[True, 2]], "must read"),
        ([0, 2], "must read"),
        ({"a": 1}, "must read"),
        ("[[0,", "is no JSON"),
    ],
)
def test_evidence_that_is_none_is_refused(tmp_path: Path, spans: Any, message: str) -> None:
    path = table(tmp_path, [{"text": "fine", "spans": None}, {"text": "abcde", "spans": spans}])
    with pytest.raises(HarnessError, match=message) as caught:
        Table(path, evidence="spans").samples()
    assert "line 2" in str(caught.value)


@pytest.mark.parametrize("text", ["", "  \n", None])
def test_an_empty_text_is_named_by_its_line(tmp_path: Path, text: str | None) -> None:
    path = table(tmp_path, [{"text": "a"}, {"text": text}])
    with pytest.raises(HarnessError, match="line 2: the text in column 'text' is empty"):
        Table(path).samples()


def test_a_second_row_of_one_id_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = table(tmp_path, [{"text": "a"}, {"text": "b"}, {"text": "a"}])
    with pytest.raises(HarnessError, match=r"line 3: the id '\w{12}' is already that of line 1"):
        Table(path).samples()


def test_distinct_takes_equal_rows_as_one_sample_in_first_order(tmp_path: Path) -> None:
    path = table(tmp_path, [{"text": "b", "n": 1}, {"text": "a", "n": 2}, {"text": "b", "n": 3}])
    samples = Table(path, distinct=True, metadata="n").samples()
    assert [(sample.text, sample.metadata["n"]) for sample in samples] == [("b", 1), ("a", 2)]


@pytest.mark.parametrize(
    "second", [{"id": "1", "text": "b", "y": "p"}, {"id": "1", "text": "a", "y": "q"}]
)
def test_distinct_refuses_rows_of_one_id_that_say_different_things(
    tmp_path: Path, second: dict[str, str]
) -> None:
    path = table(tmp_path, [{"id": "1", "text": "a", "y": "p"}, second])
    with pytest.raises(HarnessError, match="line 2: has the id '1' of line 1, but another"):
        Table(path, id="id", label="y", distinct=True).samples()


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path, [{"id": "1", "text": "a"}, {"id": None, "text": "b"}])
    with pytest.raises(HarnessError, match="line 2: the id in column 'id' is empty"):
        Table(path, id="id").samples()


def test_where_filters_before_anything_is_checked(tmp_path: Path) -> None:
    path = table(tmp_path, [{"text": None, "split": "train"}, {"text": "b", "split": "test"}])
    assert [sample.text for sample in Table(path, where={"split": "test"}).samples()] == ["b"]


def test_a_table_with_a_header_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n")
    with pytest.raises(HarnessError, match="has no rows"):
        Table(str(tmp_path / "t.csv")).samples()


def test_a_wrong_column_is_answered_with_the_nearest(tmp_path: Path) -> None:
    path = table(tmp_path, [{"text": "a", "label": "x"}])
    with pytest.raises(HarnessError, match="did you mean 'label'"):
        Table(path, label="lable").samples()


def test_a_text_stored_as_bytes_is_the_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["Cramps after meals."], "label": ["sick "]})
    frame["text"] = frame["text"].str.encode("utf-8")
    frame.to_parquet(tmp_path / "t.parquet")
    (sample,) = Table(str(tmp_path / "t.parquet"), label="label").samples()
    assert (sample.text, sample.label) == ("Cramps after meals.", "sick")


@pytest.mark.parametrize("text", [42, ["a", "b"], {"role": "user"}, "nan"])
def test_a_text_that_is_none_is_refused_with_line_and_column(tmp_path: Path, text: Any) -> None:
    path = table(tmp_path, [{"text": "a"}, {"text": text}])
    with pytest.raises(HarnessError, match=r"table\.jsonl, line 2: column 'text' holds"):
        Table(path).samples()


def test_bad_rows_are_left_out_on_request_counted_and_listed(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1", "text": "fine"}, {"id": "2", "text": None}, {"id": "1", "text": "again"},
        {"id": None, "text": "b"}, {"id": "5", "text": 7}, {"id": "6", "text": "fine too"},
    ]  # fmt: skip
    path = table(tmp_path, rows)
    with pytest.raises(HarnessError, match="line 2"):
        Table(path, id="id").samples()
    source = Table(path, id="id", skip_invalid=True)
    for _ in range(2):  # reading again counts anew
        assert [sample.id for sample in source.samples()] == ["1", "6"]
        head, *listed = source.notes
        assert head == f"{path}: 4 of 6 rows are left out (skip_invalid)."
        lines = [note.partition("line ")[2].partition(":")[0] for note in listed]
        assert lines == ["2", "3", "4", "5"]


def test_a_misspelt_column_is_no_bad_row(tmp_path: Path) -> None:
    path = table(tmp_path, [{"id": "1", "text": "fine", "label": "x"}])
    with pytest.raises(HarnessError, match="did you mean 'label'"):
        Table(path, label="lable", skip_invalid=True).samples()
    with pytest.raises(HarnessError, match="skip_invalid is true or false"):
        Table(path, skip_invalid="yes")  # type: ignore[arg-type]


def test_samples_without_evidence_are_counted_where_others_have_some(tmp_path: Path) -> None:
    rows = [{"id": n, "text": "ab", "spans": [[0, 1]] if n == "1" else None} for n in "123"]
    source = Table(table(tmp_path, rows), id="id", evidence="spans")
    source.samples()
    (note,) = source.notes
    assert "2 of 3 samples have no evidence in column 'spans' ('2', '3')" in note


def test_whole_numbers_too_large_for_json_stay_exact_in_metadata(tmp_path: Path) -> None:
    path = table(tmp_path, [{"text": "a", "patient": 2**60 + 1, "age": 71}])
    (sample,) = Table(path, metadata=["patient", "age"]).samples()
    assert sample.metadata == {"patient": str(2**60 + 1), "age": 71}


def test_real_questions_that_stand_on_many_lines_become_one_sample_each(shared_data: Path) -> None:
    path = shared_data / "kqa" / "judged_claims.jsonl"
    questions = {json.loads(line)["question"] for line in path.read_text("utf-8").splitlines()}
    samples = Table(str(path), text="question", distinct=True).samples()
    assert {sample.text for sample in samples} == questions
    assert len(samples) == len(questions)
