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


def test_bytes_that_are_text_are_read_and_others_are_named_by_row_and_column(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"id": [b"s1", b"s2"], "note": [b"Caf\xc3\xa9.", b"T\xe4g"]})
    frame.head(1).to_parquet(path)
    (row,) = read_rows(path)
    assert (row.text("id"), row.written("note")) == ("s1", "Café.")
    frame.to_parquet(path)
    with pytest.raises(HarnessError, match=r"t\.parquet, row 2: column 'note' holds bytes that"):
        read_rows(path)
    invalid: list[str] = []
    assert [row.text("id") for row in read_rows(path, invalid)] == ["s1"]
    assert len(invalid) == 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (42, "holds the number 42, which is no text"),
        (0.5, "holds the number 0.5, which is no text"),
        (True, "holds the truth value true, which is no text"),
        (["a", "b"], 'holds the list ["a", "b"], which is no text'),
        ({"a": 1}, 'holds the object {"a": 1}, which is no text'),
        ("nan", "holds 'nan', which stands for a missing value"),
        (math.inf, "holds an infinite number, which JSON cannot hold"),
    ],
)
def test_what_is_no_text_is_refused_in_a_column_of_texts(
    tmp_path: Path, value: object, said: str
) -> None:
    rows = json.dumps({"text": "fine"}) + "\n" + json.dumps({"text": value}) + "\n"
    first, second = read_rows(write(tmp_path, "t.jsonl", rows))
    assert first.written("text") == "fine"
    with pytest.raises(HarnessError) as error:
        second.written("text")
    assert f"t.jsonl, line 2: column 'text' {said}" in str(error.value)


def test_dates_may_name_things_and_are_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"day": pd.to_datetime(["2026-01-02"])}).to_parquet(path)
    (row,) = read_rows(path)
    assert row.text("day") == "2026-01-02T00:00:00"
    with pytest.raises(HarnessError, match="column 'day' holds the date .* which is no text"):
        row.written("day")


def test_an_id_whose_last_digits_a_float_has_lost_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"id": [9007199254740993.0, None], "whole": [2**60, 1]}).to_parquet(path)
    row = read_rows(path)[0]
    assert row.text("whole") == str(2**60)
    pd.DataFrame({"id": [12345678901234567890.0]}).to_parquet(path)
    with pytest.raises(HarnessError, match="column 'id' holds the floating-point number 1.2345678"):
        read_rows(path)[0].text("id")


@pytest.mark.parametrize("value", [["a"], {"a": 1}, "NaN", "<NA>"])
def test_what_is_no_name_is_refused_as_id_and_label(tmp_path: Path, value: object) -> None:
    (row,) = read_rows(write(tmp_path, "t.jsonl", json.dumps({"x": value})))
    for read in (row.text, row.label):
        with pytest.raises(HarnessError, match="line 1: column 'x' holds"):
            read("x")


def test_white_space_around_a_label_is_no_part_of_it(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "t.csv", "x\n flu \n\u00a0flu\t\n   \n"))
    assert [row.label("x") for row in rows] == ["flu", "flu", None]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "id,text\n1,a\n".encode("utf-16-le"), "looks like UTF-16 without a byte-order"),
        ("t.jsonl", '{"a": 1}\n'.encode("utf-16-be"), "looks like UTF-16 without a byte-order"),
        ("t.csv", b"id,text\n1,caf\xe9\n", "line 2: byte 0xe9 is not UTF-8 .Latin-1"),
        ("t.csv", "id,text\n1,a\n".encode("utf-16")[:-1], "is not UTF-16; save the table as UTF-8"),
        ("t.csv", b"id,text\n1,a\x00b\n", "line 2: column 'text' holds a NUL character"),
        ("t.jsonl", '{"a": "x\\u0000"}\n', "line 1: column 'a' holds a NUL character"),
        ("t.csv", 'id,text\n1,"a "quoted" word"\n', "line 2: cannot be read: .* is written twice"),
        ("t.csv", "id,,\n1,2,3\n", "two columns without a name; name each column once"),
        ("t.jsonl", '{"a": 1, "a": 2}\n', "line 1: is no JSON: the key 'a' stands twice"),
    ],
)
def test_what_editors_and_spreadsheets_do_to_tables_is_one_sentence(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(HarnessError, match=message) as caught:
        read_rows(write(tmp_path, name, content))
    assert name in str(caught.value)


def test_a_parquet_file_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table([pa.array(["1"]), pa.array(["2"])], names=["id", "id"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(HarnessError, match="two columns named 'id'"):
        read_rows(tmp_path / "t.parquet")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_text_with_a_byte_order_mark_is_read_in_every_encoding(
    tmp_path: Path, encoding: str
) -> None:
    path = write(tmp_path, "t.csv", "id\ttext\n1\tMénétrier\n".encode(encoding))
    assert [dict(row.values) for row in read_rows(path)] == [{"id": "1", "text": "Ménétrier"}]


def test_rows_that_cannot_be_read_are_left_out_on_request_and_each_is_told(tmp_path: Path) -> None:
    faults: list[str] = []
    path = write(tmp_path, "t.csv", "id,text\n1,a\n2,b,c\n3\n4,d\n")
    assert [row.text("id") for row in read_rows(path, faults)] == ["1", "4"]
    path = write(tmp_path, "t.jsonl", '{"id": "1"}\n{"id": \n[1]\n{"id": "4"}\n')
    assert [row.text("id") for row in read_rows(path, faults)] == ["1", "4"]
    assert [fault.partition(", line ")[2].partition(":")[0] for fault in faults] == [
        "3",
        "4",
        "2",
        "3",
    ]
