"""Recorded answers reach the cells that they were given to, and no others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backends.replay import Replay
from harness.identity import text_id
from harness.records import Cell, HarnessError, Request

CELL = Cell("m", "s1", "f", "base", "predicted", "causes", 1)


def table(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def answer(replay: Replay, cell: Cell = CELL) -> Any:
    return asyncio.run(replay.generate(Request("replay", "m", (), cell=cell.id)))


def test_a_model_is_given_its_own_answers_and_no_other_models(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        {"id": "s1", "by": "m", "text": "Mine."},
        {"id": "s1", "by": "n", "text": "Another's."},
        {"id": "s2", "by": "n", "text": "Another's."},
    )
    mine = Replay("m", path, sample="id", by="by")
    assert answer(mine).text == "Mine."
    assert answer(Replay("n", path, sample="id", by="by")).text == "Another's."
    assert not mine.answers(replace(CELL, sample="s2"))
    with pytest.raises(HarnessError, match="holds no answer by 'o'"):
        Replay("o", path, sample="id", by="by")


def test_two_answers_to_one_cell_are_refused_and_the_same_twice_is_not(tmp_path: Path) -> None:
    rows = [{"id": "s1", "text": "So."}, {"id": "s1", "text": "So."}]
    assert answer(Replay("m", table(tmp_path, *rows), sample="id")).text == "So."
    path = table(tmp_path, *rows, {"id": "s1", "text": "Otherwise."})
    with pytest.raises(HarnessError, match=r"line 3.*a second, different answer for s1"):
        Replay("m", path, sample="id")


@pytest.mark.parametrize("column", ["family", "variant", "arm", "aspect", "repeat"])
def test_cells_that_differ_in_what_the_table_tells_apart_have_answers_of_their_own(
    tmp_path: Path, column: str
) -> None:
    here = vars(CELL)[column]
    there = 2 if column == "repeat" else "other"
    rows = [
        {"id": "s1", column: here, "text": "Here."},
        {"id": "s1", column: there, "text": "There."},
    ]
    replay = Replay("m", table(tmp_path, *rows), sample="id", match=[column])
    other = replace(CELL, **{column: there})
    assert (answer(replay).text, answer(replay, other).text) == ("Here.", "There.")
    assert not replay.answers(replace(CELL, **{column: 3 if column == "repeat" else "third"}))
    rest = next(name for name in ("family", "variant", "arm") if name != column)
    assert answer(replay, replace(CELL, **{rest: "any"})).text == "Here."


def test_samples_without_an_id_are_found_by_their_text(tmp_path: Path) -> None:
    replay = Replay("m", table(tmp_path, {"note": "Pain.", "text": "So."}), input="note")
    assert answer(replay, replace(CELL, sample=text_id("Pain."))).text == "So."
    assert not replay.answers(CELL)


@pytest.mark.parametrize(("text", "outcome"), [("So.", "ok"), ("", "empty"), (" \n", "empty")])
def test_a_blank_answer_is_empty(tmp_path: Path, text: str, outcome: str) -> None:
    rows = [{"id": "s1", "text": text}, {"id": "s2", "text": "So."}]
    assert answer(Replay("m", table(tmp_path, *rows), sample="id")).outcome == outcome


def test_an_edited_table_is_read_as_another(tmp_path: Path) -> None:
    first = Replay("m", table(tmp_path, {"id": "s1", "text": "So."}), sample="id").reads(CELL)
    again = Replay("m", table(tmp_path, {"id": "s1", "text": "So."}), sample="id").reads(CELL)
    other = Replay("m", table(tmp_path, {"id": "s1", "text": "No."}), sample="id").reads(CELL)
    assert first == again != other


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "name one of the columns 'sample' and 'input'"),
        ({"sample": "id", "input": "note"}, "name one of the columns 'sample' and 'input'"),
        ({"sample": "id", "match": ["model"]}, "cells have no 'model'; match takes family"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        Replay("m", table(tmp_path, {"id": "s1", "note": "Pain.", "text": "So."}), **fields)
