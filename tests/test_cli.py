"""The commands a user types: what they print, and with which code they end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_suite import GOLD, NOTES, changed, write

from harness.cli import COMMANDS, main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


@pytest.fixture
def finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = write(tmp_path, changed(scorers=["./parrot.py:WordCount", "label"]))
    assert run(capsys, "run", str(path), "--out", str(tmp_path / "run"))[0] == 0
    return tmp_path / "run"


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from harness.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'scipy', 'sklearn', 'jinja2', "
        "'aiohttp', 'jsonschema', 'yaml', 'rich', 'sqlite3', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert COMMANDS[command][1:] in " ".join(out.split())


def test_a_run_prints_its_verdict_and_where_the_report_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, changed(scorers=["label"]))
    code, out, err = run(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert code == 0
    assert "Coverage: 224 of 224 cells of models have an answer." in out
    assert out.endswith(f"report: {tmp_path / 'run' / 'report.html'}\n")
    assert "generate" in err
    code, _, err = run(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert code == 0
    assert "is finished" in err


def test_show_prints_prompt_answer_gold_and_scores(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "show", str(finished), "parrot/s2/small/base/wrong/causes/1")
    assert code == 0
    for part in ("--- user", "--- answer", "--- gold (draft)", "--- scores", "WordCount.words"):
        assert part in out
    assert "told      indigestion" in out
    code, _, err = run(capsys, "show", str(finished), "parrot/s9/small/base/wrong/causes/1")
    assert code == 2
    assert "the run has no cell" in err


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_export_writes_tables_that_pandas_reads(
    finished: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "export", str(finished), "--to", kind)
    assert code == 0
    readers = {
        "parquet": pd.read_parquet,
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    cells = readers[kind](finished / "export" / f"cells.{kind}")
    assert len(cells) == 672
    assert {"cell", "model", "sample", "told", "true", "outcome", "text"} <= set(cells.columns)
    assert "seconds" not in cells.columns
    assert f"cells.{kind}  672 rows" in out


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_an_exported_number_is_read_back_to_the_last_bit(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    third = "class Third:\n    from harness.records import Metric, Score\n    metrics = (Metric('t'),)\n    def requests(self, subject): return ()\n    def score(self, subject, generations): return [self.Score('t', 0.1 + 0.2)]\n"
    path = write(tmp_path, changed(scorers=["./third.py:Third"]), **{"third.py": third})
    run(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert run(capsys, "export", str(tmp_path / "run"), "--to", kind)[0] == 0
    file = tmp_path / "run" / "export" / f"scores.{kind}"
    if kind == "jsonl":
        values = {json.loads(line)["value"] for line in file.read_text().splitlines()}
    else:
        frame = pd.read_parquet(file) if kind == "parquet" else pd.read_csv(file)
        values = set(frame["value"])
    assert values == {0.1 + 0.2}


def test_export_into_a_folder_that_cannot_be_written_is_one_sentence(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "file").write_text("")
    code, _, err = run(capsys, "export", str(finished), "--out", str(finished / "file" / "x"))
    assert code == 4
    assert "cannot be written" in err
    assert "--out names another folder" in err


def test_plan_counts_what_would_be_asked_and_sends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path)
    code, out, _ = run(capsys, "plan", str(path))
    assert code == 0
    assert "small: 4 samples, 672 cells" in out
    assert "not planned" in out
    assert not (tmp_path / "reports").exists()


def test_check_lists_labels_and_gold_both_ways(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = NOTES.replace("s4,Burps in the evening.,indigestion", "s4,Burps.,ulcer")
    gold = json.dumps([record | {"label": "colitis"} if i == 0 else record for i, record in enumerate(GOLD)])  # fmt: skip
    path = write(tmp_path, **{"notes.csv": notes.replace(",indigestion", ",Indigestion")})
    (tmp_path / "gold" / "small" / "gold.json").write_text(gold)
    code, out, _ = run(capsys, "check", str(path), "--set", "classifier.probabilities={}")
    assert code == 0
    likely = "label_map: {Indigestion: indigestion}?"
    assert f"labels without gold: Indigestion ({likely}), ulcer" in out
    assert "gold without label: colitis, indigestion" in out


def test_schema_and_list_print_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "schema", "gold")
    assert code == 0
    assert json.loads(out)["title"].startswith("A gold record")
    assert "openai" in run(capsys, "list", "backends")[1]
    assert "kqa" in run(capsys, "list", "suites")[1]
    assert run(capsys, "list", "nothing")[0] == 2


def test_score_adds_a_scorer_and_report_writes_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "score", str(finished), "--scorers", "schema")
    assert code == 0
    assert "report: " in out
    (finished / "report.html").unlink()
    assert run(capsys, "report", str(finished))[0] == 0
    assert (finished / "report.html").exists()


BAD = {
    "wrong YAML": ({"suite.yaml": "name: [x\n"}, 2, "suite.yaml:2: not valid YAML"),
    "duplicate keys": ({"suite.yaml": "name: x\nname: y\n"}, 2, "suite.yaml:2: name: the key stands twice"),
    "an unknown field": ({"suite.yaml": "name: x\nsuorce: {}\n"}, 2, "did you mean 'source'?"),
    "an unknown plug-in": ({"suite.yaml": changed(classifier={"kind": "recorder"})}, 2, "did you mean 'recorded'?"),
    "a missing weights file": ({"suite.yaml": changed(classifier={"kind": "sklearn", "path": "./no.skops"})}, 2, "there is no skops file"),
    "an empty text": ({"notes.csv": NOTES.replace("Burps in the evening.", "  ")}, 2, "line 5: the text in column 'note' is empty"),
    "duplicate sample ids": ({"notes.csv": NOTES.replace("s4,", "s1,")}, 2, "line 5: the id 's1' is already that of line 2"),
    "NaN probabilities": ({"notes.csv": NOTES.replace("0.4,0.6", "nan,0.6")}, 2, "line 5"),
    "unnormalised probabilities": ({"notes.csv": NOTES.replace("0.4,0.6", "0.4,0.9")}, 2, "line 5"),
    "a label outside the classes": ({"notes.csv": NOTES.replace("indigestion,indigestion,0.4", "indigestion,ulcer,0.4")}, 2, "'ulcer' is none of the classes"),
    "gold without a claim": ({"gold__small__gold.json": '[{"label": "x", "aspect": "causes", "claims": []}]'}, 2, "the list is empty"),
    "an undefined variable": ({"prompts__small__family.yaml": "family: small\nquestion: q\naspects: [causes]\nuser: '{{ lable }}'\n"}, 2, "undefined variable 'lable'"),
    "a server that is not there": ({"suite.yaml": changed(models=[{"name": "m", "backend": "openai", "base_url": "http://127.0.0.1:9/v1"}])}, 4, "127.0.0.1:9"),
    "no such suite": ({}, 2, "there is no suite"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_its_exit_code(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, expected, said = BAD[case]
    path = write(tmp_path, **files)
    name = "nowhere" if case == "no such suite" else str(path)
    code, _, err = run(capsys, "run", name, "--out", str(tmp_path / "run"))
    sentence = [line for line in err.splitlines() if line.startswith("harness: ")]
    assert (code, len(sentence)) == (expected, 1), err
    assert said in sentence[0]
    assert "Traceback" not in err
    assert not (tmp_path / "asked").exists()


def test_a_byte_order_mark_is_read_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, **{"notes.csv": "\ufeff" + NOTES})
    path.write_text("\ufeff" + path.read_text())
    assert run(capsys, "run", str(path), "--out", str(tmp_path / "run"))[0] == 0


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ('\'```json\\n{"explanation": "Bacteria cause it."}\\n```\'', "ok"),
        ("'   \\n\\t '", "empty"),
        ("'{\"explanation\": 3}'", "invalid_format"),
        ("'I am sorry, but I cannot help with that.'", "refusal"),
        ("'\\ufeff'", "empty"),
    ],
)
def test_odd_answers_have_outcomes_and_are_scored(
    answer: str, outcome: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "from harness.records import Capabilities, Generation\n"
        "class Odd:\n    capabilities = Capabilities()\n    def __init__(self, model): ...\n"
        f"    async def generate(self, request): return Generation({answer})\n"
    )
    text = changed(
        models=[{"name": "odd", "backend": "./odd.py:Odd"}],
        families=[{"family": "small", "variants": ["json"]}],
        scorers=["schema"],
    )
    path = write(tmp_path, text, **{"odd.py": code})
    assert run(capsys, "run", str(path), "--out", str(tmp_path / "run"))[0] == 0
    run(capsys, "export", str(tmp_path / "run"), "--to", "csv")
    cells = pd.read_csv(tmp_path / "run" / "export" / "cells.csv").query("model == 'odd'")
    assert set(cells["outcome"]) == {outcome}
    scores = pd.read_csv(tmp_path / "run" / "export" / "scores.csv")
    valid = scores[scores["subject"].str.startswith("odd/")]["value"]
    assert set(valid) == {1.0 if outcome == "ok" else 0.0}


DOWN = """
from harness.records import Capabilities, Generation
class Down:
    capabilities = Capabilities()
    def __init__(self, model): ...
    async def generate(self, request):
        if 'causes' in request.messages[-1].text:
            return Generation('Well.')
        return Generation(outcome='OUTCOME', error='no room', failure='HTTP 500')
"""


def half(folder: Path, outcome: str) -> Path:
    """A suite whose model answers half of its cells, and has this outcome for the others."""
    text = changed(models=[{"name": "half", "backend": "./down.py:Down"}], scorers=["schema"])
    return write(folder, text, **{"down.py": DOWN.replace("OUTCOME", outcome)})


def test_what_infrastructure_left_ends_with_four_unless_so_much_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = half(tmp_path, "server"), str(tmp_path / "run")
    code, said, errors = run(capsys, "run", str(path), "--out", out)
    assert code == 4
    assert "half: " in said
    assert 'cells HTTP 500, such as "no room"' in said
    assert f"continue with: harness run {path} --out {out}" in errors
    assert "Coverage: " in said
    for allowed, expected in (("0.1", 4), ("0.9", 0)):
        assert run(capsys, "run", str(path), "--out", out, "--max-unscored", allowed)[0] == expected


def test_cells_that_are_too_long_end_with_five_where_fewer_are_allowed_also_when_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = half(tmp_path, "too_long"), str(tmp_path / "run")
    assert run(capsys, "run", str(path), "--out", out)[0] == 0
    for _ in range(2):
        code, said, _ = run(capsys, "run", str(path), "--out", out, "--max-unscored", "0.1")
        assert code == 5
        assert "of the cells have no score; 10.0% are allowed" in said


def test_a_run_without_a_single_score_ends_with_five(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = half(tmp_path, "too_long")
    (tmp_path / "down.py").write_text((tmp_path / "down.py").read_text().replace("causes", "---"))
    code, said, _ = run(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert code == 5
    assert "no cell of any model has an answer" in said


def test_only_failed_asks_again_for_what_was_too_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = half(tmp_path, "too_long"), str(tmp_path / "run")
    run(capsys, "run", str(path), "--out", out)
    # The same plug-in behind a server with more room; its code is part of the key.
    larger = "Generation('So.') if __import__('os').path.exists(ROOM) else "
    code = DOWN.replace("OUTCOME", "too_long").replace("return Generation(outcome", f"return {larger}Generation(outcome")  # fmt: skip
    (tmp_path / "down.py").write_text(code.replace("ROOM", repr(str(tmp_path / "room"))))
    run(capsys, "run", str(path), "--out", out)
    (tmp_path / "room").touch()
    again = run(capsys, "run", str(path), "--out", out, "--max-unscored", "0")
    assert again[0] == 5
    code_, _, _ = run(
        capsys, "run", str(path), "--out", out, "--only-failed", "--max-unscored", "0"
    )
    assert code_ == 0


def test_a_limit_that_stops_a_run_ends_with_six_and_the_command_that_continues(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = half(tmp_path, "server"), str(tmp_path / "run")
    code, said, errors = run(capsys, "run", str(path), "--out", out, "--set", "limits={max_time: 0.000001}")  # fmt: skip
    assert code == 6
    assert "Coverage: " in said
    assert "the limit of time or cost is reached" in errors
    assert "continue with: harness run" in errors


def test_a_control_that_does_not_answer_ends_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(*_: object) -> object:
        raise RuntimeError("boom")

    monkeypatch.setattr("harness.backends.control.Control.generate", lost)
    path = write(tmp_path, changed(models=None))
    code, _, errors = run(capsys, "run", str(path), "--out", str(tmp_path / "run"))
    assert code == 1
    assert "a control did not answer, so no score can be trusted: control:gold" in errors


def test_a_model_without_a_cell_to_ask_is_said_beforehand_and_ends_with_five(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers.csv").write_text("sample,text\nother,Well.\n")
    model = {"name": "pasted", "backend": "replay", "path": "./answers.csv", "sample": "sample", "text": "text"}  # fmt: skip
    for controls, out in ((["gold"], "some"), ("none", "none")):
        path = write(tmp_path, changed(models=[model], controls=controls))
        for command in ("plan", "check"):
            code, said, _ = run(capsys, command, str(path))
            assert code == 0
            assert "model pasted is asked nothing: it has no answer to give" in said
        code, said, errors = run(capsys, "run", str(path), "--out", str(tmp_path / out))
        assert code == 5
        assert "it has no answer to give, as none is recorded" in said + errors


def test_plan_says_what_the_models_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"name": "half", "backend": "./down.py:Down", "price": {"input": 100, "output": 1000}}
    text = changed(models=[model], sampling={"max_tokens": 10}, limits={"max_cost": 2.5})
    path = write(tmp_path, text, **{"down.py": DOWN})
    _, said, _ = run(capsys, "plan", str(path))
    cost = next(line for line in said.splitlines() if line.startswith("cost: "))
    requests = int(re.search(r"half .* ([0-9]+) requests", said)[1])  # type: ignore[index]
    low, high = map(float, re.findall(r"[0-9]+\.[0-9]+", cost)[:2])
    assert high - low == pytest.approx(requests * 10 * 1000 / 1e6, abs=0.011)
    assert "limits.max_cost is 2.50" in cost


def test_a_python_mistake_in_the_harness_ends_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("harness.suite.load", broken)
    code, _, err = run(capsys, "plan", str(write(tmp_path)))
    assert code == 1
    assert "internal error: RuntimeError: boom" in err
