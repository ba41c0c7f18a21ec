"""Reading tables: what is written comes back, and what is broken is named by its line."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.records import HarnessError
from harness.tables import as_text, read_rows, select

# Half surrogates are no text; a lone carriage return is what CSV writers disagree about.
TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0"), max_size=20)
ROWS = st.lists(st.fixed_dictionaries({"id": TEXT, "a note": TEXT}), min_size=1, max_size=6)
AGAIN = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def expected(rows: list[dict[str, str]]) -> list[dict[str, str | None]]:
    return [{name: value or None for name, value in row.items()} for row in rows]


@AGAIN
@given(rows=ROWS, bom=st.booleans(), delimiter=st.sampled_from(",;\t"))
def test_a_csv_comes_back_as_it_was_written(
    tmp_path: Path, rows: list[dict[str, str]], bom: bool, delimiter: str
) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, ["id", "a note"], delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode("utf-8-sig" if bom else "utf-8")
    path = write(tmp_path, "t.tsv" if delimiter == "\t" else "t.csv", data)
    assert [dict(row.values) for row in read_rows(path)] == expected(rows)


@AGAIN
@given(rows=ROWS, bom=st.booleans(), ascii=st.booleans())
def test_json_lines_come_back_as_they_were_written(
    tmp_path: Path, rows: list[dict[str, str]], bom: bool, ascii: bool
) -> None:
    text = "\n".join(json.dumps(row, ensure_ascii=ascii) for row in rows)
    path = write(tmp_path, "t.jsonl", text.encode("utf-8-sig" if bom else "utf-8"))
    assert [dict(row.values) for row in read_rows(path)] == expected(rows)


@AGAIN
@given(rows=ROWS)
def test_parquet_comes_back_as_it_was_written(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame(rows).to_parquet(path)
    assert [dict(row.values) for row in read_rows(path)] == expected(rows)


def test_rows_know_the_line_they_begin_on_after_quoted_newlines_and_blank_lines(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "t.csv", 'id,text\n1,"two\nlines"\n\n2,one\n')
    assert [(row.values["id"], row.line) for row in read_rows(path)] == [("1", 2), ("2", 5)]
    path = write(tmp_path, "t.jsonl", '{"id": 1}\n\n{"id": 2}\r\n')
    assert [(row.values["id"], row.line) for row in read_rows(path)] == [(1, 1), (2, 3)]


def test_csv_values_stay_text_so_that_ids_keep_their_zeros(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "id,label\n007,NA\n1e3,None\n")
    assert [tuple(row.values.values()) for row in read_rows(path)] == [
        ("007", "NA"),
        ("1e3", "None"),
    ]


def test_nan_and_empty_are_none_in_every_kind_of_table(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a", "b"], "x": [0.5, math.nan]}).to_parquet(tmp_path / "t.parquet")
    tables = [
        write(tmp_path, "t.csv", "id,x\na,0.5\nb,\n"),
        write(tmp_path, "t.jsonl", '{"id": "a", "x": 0.5}\n{"id": "b", "x": NaN}\n'),
        write(tmp_path, "u.jsonl", '{"id": "a", "x": 0.5}\n{"id": "b"}\n'),
        str(tmp_path / "t.parquet"),
    ]
    for path in tables:
        first, second = read_rows(path)
        assert float(first.column("x")) == 0.5
        assert second.column("x") is None


def test_whole_numbers_name_the_same_thing_whatever_their_type(tmp_path: Path) -> None:
    pd.DataFrame({"id": [3.0, None]}).to_parquet(tmp_path / "t.parquet")
    assert read_rows(tmp_path / "t.parquet")[0].text("id") == "3"
    assert (as_text(3), as_text(3.0), as_text("3"), as_text(3.5)) == ("3", "3", "3", "3.5")


def test_utf_16_as_spreadsheets_save_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, "t.tsv", "id\ttext\n1\tMénétrier\n".encode("utf-16"))
    assert read_rows(path)[0].column("text") == "Ménétrier"


def test_a_field_longer_than_the_csv_limit_is_read_and_the_limit_is_left_alone(
    tmp_path: Path,
) -> None:
    limit = csv.field_size_limit()
    path = write(tmp_path, "t.csv", "text\n" + "x" * (limit + 1) + "\n")
    assert len(read_rows(path)[0].column("text")) == limit + 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", 'id,text\n1,"open\n', "line 2: cannot be read"),
        ("t.csv", "id,text\n1,a,b\n", "line 2: 3 fields where the header has 2"),
        ("t.csv", "id,text\n1,a\n2\n", "line 3: 1 fields"),
        ("t.csv", "id,id\n1,2\n", "two columns named 'id'"),
        ("t.csv", "", "is empty"),
        ("t.csv", b"id,text\n1,a\n2,caf\xe9\n", "line 3: byte 0xe9 is not UTF-8"),
        ("t.jsonl", '{"a": 1}\n{"a": \n', "line 2: is no JSON"),
        ("t.jsonl", '{"a": 1}\n\n[1]\n', "line 3: is no JSON object"),
        ("t.jsonl", '{"a": "\\ud800"}\n', "line 1: holds half of a surrogate pair"),
        ("t.parquet", b"PAR1 not really", "no readable Parquet"),
        ("t.xlsx", b"PK", "no table"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        read_rows(write(tmp_path, name, content))
    assert name in str(caught.value)


def test_a_missing_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no table"):
        read_rows(tmp_path / "none.csv")


def test_a_misspelt_column_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    row = read_rows(write(tmp_path, "t.csv", "id,diagnosis\n1,a\n"))[0]
    with pytest.raises(HarnessError, match="no column 'diagnoses'; did you mean 'diagnosis'"):
        row.column("diagnoses")
    with pytest.raises(HarnessError, match="it has 'id', 'diagnosis'"):
        row.column("zzz")


def test_select_keeps_rows_by_value_by_list_by_truth_and_by_absence(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "id,split,ok\n1,train,True\n2,test,true\n3,dev,False\n4,,\n")
    rows = read_rows(path)

    def ids(where: dict[str, object]) -> list[str]:
        return [row.column("id") for row in select(rows, where)]

    assert ids({}) == ["1", "2", "3", "4"]
    assert ids({"split": "test"}) == ["2"]
    assert ids({"split": ["test", "dev"]}) == ["2", "3"]
    assert ids({"ok": True}) == ["1", "2"]
    assert ids({"split": None}) == ["4"]
    assert ids({"id": 3, "split": ["dev"]}) == ["3"]


def test_select_says_what_a_column_holds_where_nothing_is_left(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "t.csv", "split\ntrain\ntest\n"))
    with pytest.raises(HarnessError, match=r"split = 'tset'; the column holds test, train"):
        select(rows, {"split": "tset"})
