"""Tables for other tools: CSV runs nothing in a spreadsheet, the other two are what the run holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_suite import NOTES, changed, write

import harness
from harness.export import _as_text, _disarmed, export
from harness.store import Store

FORMULAS = {
    "a formula": '=HYPERLINK("http://127.0.0.1/x","click")',
    "a sum": "+1+cmd|' /C calc'!A0",
    "a difference": "-2+3+cmd|' /C calc'!A0",
    "an at sign": "@SUM(1+1)",
    "behind spaces": "  =1+1",
    "behind a tab": "\t=1+1",
    "behind a line break": "\n=1+1",
    "behind a carriage return": "\r=1+1",
    "a tab alone": "\tx",
    "behind a quotation mark": '"=1+1',
    "behind an apostrophe": "'=1+1",
    "a full-width sign": "＝1+1",
    "a full-width at sign": "＠SUM(1)",
    "a small form": "﹢1+cmd",
    "a typographic minus": "−1+cmd",
    "behind a zero-width space": "\u200b=1+1",
    "behind a byte order mark": "\ufeff=1+1",
    "behind a no-break space": "\u00a0=1+1",
    "a list's dash": "- acid reducers",
}
PLAIN = ["Gastritis = inflammation", "a-b", "3 + 4", "s@x", "", "-4", "+4.5", "-1e-3", ".5", "(=1)"]


@pytest.mark.parametrize("case", FORMULAS)
def test_a_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(case: str) -> None:
    assert _as_text(FORMULAS[case]) == "'" + FORMULAS[case]


@pytest.mark.parametrize("text", PLAIN)
def test_other_texts_and_plain_numbers_stay(text: str) -> None:
    assert _as_text(text) == text


@given(st.text(max_size=12))
def test_no_text_is_left_that_begins_like_a_formula(text: str) -> None:
    shown = _as_text(text)
    try:
        float(text)
    except ValueError:
        assert shown[:1] not in tuple("=+-@\t\r\n")


def test_numbers_stay_numbers_and_column_names_are_disarmed_too() -> None:
    frame = pd.DataFrame({"=x": ["=1", None], "n": [-1.5, float("nan")], "i": pd.array([-3, None], dtype="Int64")})  # fmt: skip
    shown = _disarmed(frame)
    assert list(shown.columns) == ["'=x", "n", "i"]
    assert shown["'=x"][0] == "'=1"
    pd.testing.assert_frame_equal(shown[["n", "i"]], frame[["n", "i"]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose answers, notes and metadata are formulas, with negative scores."""
    place = tmp_path_factory.mktemp("formulas")
    code = (
        "from harness.records import Capabilities, Generation, Metric, Score\n"
        "class Odd:\n    capabilities = Capabilities()\n    def __init__(self, model): ...\n"
        "    async def generate(self, request): return Generation('=1+1', reasoning='@x')\n"
        "class Debt:\n    metrics = (Metric('debt', range=(None, None)),\n"
        "        Metric('spread', range=(None, None), subject='group', axis='variant'),\n"
        "        Metric('length', range=(None, None), subject='generation'))\n"
        "    def requests(self, subject): return ()\n"
        "    def score(self, subject, generations):\n"
        "        name = {'cell': 'debt', 'group': 'spread'}.get(subject.kind, 'length')\n"
        "        return [Score(name, -1.5)]\n"
    )
    suite = changed(models=[{"name": "-odd", "backend": "./odd.py:Odd"}], scorers=["./odd.py:Debt"])
    path = write(place, suite, **{"odd.py": code, "notes.csv": NOTES.replace(",A", ",=A1")})
    return harness.run(path, out=place / "run").folder


def test_the_csv_of_a_run_holds_no_formula_and_its_numbers(folder: Path, tmp_path: Path) -> None:
    with Store.read(folder) as store:
        export(store, "csv", tmp_path)
    for name in ("cells", "scores", "predictions"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        numbers = {"value", "prompt_tokens", "completion_tokens"}
        for row in rows:
            for column, text in row.items():
                assert text[:1] not in tuple("=+-@") or column in numbers
    with (tmp_path / "scores.csv").open(newline="") as file:
        assert {row["value"] for row in csv.DictReader(file)} == {"-1.5"}
    cells = pd.read_csv(tmp_path / "cells.csv").query('model == "\'-odd"')
    assert set(cells["text"]) == {"'=1+1"}
    assert set(cells["reasoning"]) == {"'@x"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_other_tables_hold_what_was_answered(folder: Path, tmp_path: Path, kind: str) -> None:
    with Store.read(folder) as store:
        export(store, kind, tmp_path)
    if kind == "jsonl":
        rows = [json.loads(one) for one in (tmp_path / "cells.jsonl").read_text().splitlines()]
        cells = pd.DataFrame(rows)
    else:
        cells = pd.read_parquet(tmp_path / "cells.parquet")
    assert set(cells.query("model == '-odd'")["text"]) == {"=1+1"}


def test_a_score_says_of_which_model_sample_and_variant_it_is(folder: Path) -> None:
    from harness.export import PLACE, scores_table

    with Store.read(folder) as store:
        scores = scores_table(store)
    cell = scores.query("subject == '-odd/s2/small/base/wrong/causes/2'").iloc[0]
    assert list(cell[[*PLACE]]) == ["-odd", "s2", "small", "base", "wrong", "causes", 2]
    groups = scores.query("subject_kind == 'group'")
    assert groups["variant"].isna().all()
    assert groups[["model", "sample", "family", "arm", "aspect", "repeat"]].notna().all().all()
    answers = scores.query("subject_kind == 'generation'")
    alone = answers[answers["arm"].notna()]
    assert answers["model"].notna().all()
    assert 0 < len(alone) < len(answers)  # a prompt that two arms share is of neither
    means = scores.query("metric == 'debt'").groupby(["model", "variant"])["value"].mean()
    assert set(means) == {-1.5}
