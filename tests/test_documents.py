"""Files that people write are read strictly, and every complaint says where."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import documents
from harness.records import HarnessError


def test_words_stay_words_and_dates_stay_text() -> None:
    value = documents.parse("a: no\nb: on\nc: 2026-01-02\nd: 12:30\ne: 010\nf: true\ng:", "x").value
    assert value == {
        "a": "no", "b": "on", "c": "2026-01-02", "d": "12:30", "e": "010", "f": True, "g": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "x.yaml:3: a: the key stands twice, first on line 1"),
        ("a:\n  b: 1\n  b: 2", "x.yaml:3: a.b: the key stands twice, first on line 2"),
        ("a: [1, 2\n", "x.yaml:2: not valid YAML"),
        ("a: 1\n b: 2", "x.yaml:2: not valid YAML"),
        ("", "the file is empty"),
        ("a: !!python/object:os.system x", "x.yaml:1: a: cannot read"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(HarnessError, match="x.yaml") as error:
        documents.parse(text, "x.yaml")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nsource: {kind: x}\nfamilies: [f]\nrepets: 2", "x:4: repets: unknown field; did you mean 'repeats'?"),
        ("source: {kind: x}\nfamilies: [f]", "the field 'name' is missing"),
        ("name: a\nsource: {path: x}\nfamilies: [f]", "x:2: source: the field 'kind' is missing"),
        ("name: a\nsource: {kind: x}\nfamilies: [f]\nrepeats: two", "x:4: repeats: expected integer, found \"two\""),
        ("name: a\nsource: {kind: x}\nfamilies: [f]\narms: [predicted, rong]", "x:4: arms[1]: 'rong' is none of"),
        ("name: a\nsource: {kind: x}\nfamilies: []", "x:3: families: the list is empty"),
    ],
)  # fmt: skip
def test_a_suite_that_breaks_the_schema_is_told_line_place_and_expectation(
    text: str, said: str
) -> None:
    with pytest.raises(HarnessError) as error:
        documents.parse(text, "x", "suite")
    assert said in str(error.value)


def test_a_merge_key_fills_in_what_is_not_said() -> None:
    value = documents.parse("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", "x").value
    assert value["b"] == {"p": 1, "q": 3}


def test_a_byte_order_mark_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert documents.read(path).value == {"a": 1}


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="there is no file"):
        documents.read(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(HarnessError, match="not UTF-8 at byte 3"):
        documents.read(tmp_path / "b.yaml")


@pytest.mark.parametrize("name", documents.SCHEMAS)
def test_every_schema_is_a_valid_schema(name: str) -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(documents.schema(name))
