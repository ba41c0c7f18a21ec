"""A run ends in a report, continues where it stopped, and asks for nothing twice."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from small_suite import changed, write
from virtual_time import hurried

import harness
from harness.export import cells_table
from harness.pipeline import finish, report
from harness.records import HarnessError
from harness.store import Store

COUNTING = '''
import os, pathlib
from harness.records import Capabilities, Generation

class Counting:
    """Writes down what it is asked; fails while a file 'down' lies beside it."""

    capabilities = Capabilities(seed=True, concurrency=4)
    folder = pathlib.Path(__file__).parent

    def __init__(self, model, price=None):
        pass

    async def generate(self, request):
        with open(self.folder / "asked", "a") as file:
            file.write(f"{request.sampling.seed}\\n")
        if (self.folder / "down").exists():
            return Generation(outcome="transport", error="nobody is there")
        return Generation("It is gastritis. " + request.messages[-1].text, completion_tokens=10,
                          prompt_tokens=20)
'''
MODELS = [{"name": "m", "backend": "./counting.py:Counting"}]


def suite(folder: Path, **changes: object) -> Path:
    text = changed(**{"models": MODELS, "scorers": ["label"], **changes})
    return write(folder, text, **{"counting.py": COUNTING})


def asked(folder: Path) -> list[str]:
    path = folder / "asked"
    return path.read_text().split() if path.exists() else []


def cells(folder: Path) -> pd.DataFrame:
    with Store.read(folder) as store:
        return cells_table(store)


def test_a_run_has_a_report_scores_and_a_verdict(tmp_path: Path) -> None:
    result = harness.run(suite(tmp_path), out=tmp_path / "run")
    assert result.report.read_text().startswith("<!DOCTYPE html>")
    assert {"subject", "metric", "value", "version"} <= set(result.scores.columns)
    assert any(sentence.startswith("Coverage: ") for sentence in result.verdict)
    table = cells(tmp_path / "run")
    assert set(table["outcome"]) == {"ok", "empty", "invalid_format"}


def test_equal_requests_are_asked_once_for_all_cells_that_share_them(tmp_path: Path) -> None:
    harness.run(suite(tmp_path), out=tmp_path / "run")
    mine = cells(tmp_path / "run").query("model == 'm'")
    # The first turn of 'pressure' is that of 'base', so only its second turns are new.
    first_turns = mine.query("variant != 'pressure'")["request"].nunique()
    second_turns = mine.query("variant == 'pressure'")["request"].nunique()
    assert first_turns < len(mine)
    assert len(asked(tmp_path)) == first_turns + second_turns


def test_a_second_turn_follows_the_first_answer(tmp_path: Path) -> None:
    harness.run(suite(tmp_path), out=tmp_path / "run")
    row = cells(tmp_path / "run").query("model == 'm' and variant == 'pressure'").iloc[0]
    with Store.read(tmp_path / "run") as store:
        request, _ = store.request(row["request"])
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user"]
    assert request.messages[2].text.startswith("It is gastritis.")
    assert row["text"] == f"It is gastritis. Are you sure about {row['told']}?"


def test_a_finished_run_asks_nothing_again(tmp_path: Path) -> None:
    path = suite(tmp_path)
    first = harness.run(path, out=tmp_path / "run")
    count = len(asked(tmp_path))
    again = harness.run(path, out=tmp_path / "run")
    assert len(asked(tmp_path)) == count
    assert again.verdict == first.verdict


def test_a_finished_run_that_cannot_be_written_still_answers(tmp_path: Path) -> None:
    path = suite(tmp_path)
    first = harness.run(path, out=tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")}
    (tmp_path / "run").chmod(0o555)
    try:
        assert harness.run(path, out=tmp_path / "run").verdict == first.verdict
    finally:
        (tmp_path / "run").chmod(0o755)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*")} == before


def test_a_limit_is_lifted_by_the_same_run(tmp_path: Path) -> None:
    path = suite(tmp_path)
    harness.run(path, out=tmp_path / "run", samples=2)
    some = set(asked(tmp_path))
    harness.run(path, out=tmp_path / "run")
    assert some < set(asked(tmp_path))
    assert len(asked(tmp_path)) == len(set(asked(tmp_path)))


def test_what_failed_is_asked_again_by_the_same_command_and_counted_meanwhile(
    tmp_path: Path,
) -> None:
    path = suite(tmp_path, families=[{"family": "small", "variants": ["base"]}])
    (tmp_path / "down").touch()
    result = harness.run(path, out=tmp_path / "run", samples=1, patience=hurried())
    failed = cells(tmp_path / "run").query("model == 'm'")
    assert set(failed["outcome"]) <= {"transport", "not_run"}
    assert result.ending.infrastructure == len(failed)
    assert result.exit_code == 4
    assert not result.results.finished
    (tmp_path / "down").unlink()
    harness.run(path, out=tmp_path / "run", samples=1)
    assert set(cells(tmp_path / "run").query("model == 'm'")["outcome"]) == {"ok"}


def test_a_server_that_is_gone_is_asked_a_few_times_for_hundreds_of_cells(tmp_path: Path) -> None:
    path = suite(tmp_path, repeats=10)
    (tmp_path / "down").touch()
    result = harness.run(path, out=tmp_path / "run", patience=hurried())
    assert len(asked(tmp_path)) <= 2 * 4 + 1  # what opens the circuit, what is under way, a probe
    assert "not_run" in set(cells(tmp_path / "run")["outcome"])
    whys = [failure.why for failure in result.failures if failure.outcome == "not_run"]
    assert len(whys) == 1
    assert "never answered" in whys[0]
    assert "…" not in whys[0]


def test_fresh_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    path = suite(tmp_path)
    harness.run(path, out=tmp_path / "run")
    count = len(asked(tmp_path))
    harness.run(path, out=tmp_path / "run", fresh=True)
    assert len(asked(tmp_path)) == 2 * count
    assert len(list((tmp_path / "run").glob("run-*.sqlite"))) == 1


def test_a_changed_suite_takes_over_the_answers_that_still_fit(tmp_path: Path) -> None:
    path = suite(tmp_path)
    harness.run(path, out=tmp_path / "runs" / "a")
    before = asked(tmp_path)
    family = tmp_path / "prompts" / "small" / "reworded.yaml"
    family.write_text(family.read_text().replace("What of", "Tell me of"))
    harness.run(path, out=tmp_path / "runs" / "b")
    new = asked(tmp_path)[len(before) :]
    table = cells(tmp_path / "runs" / "b").query("model == 'm' and variant == 'reworded'")
    assert len(new) == table["request"].nunique()


def test_two_runs_of_one_suite_export_the_same(tmp_path: Path) -> None:
    path = suite(tmp_path)
    for name in ("a", "b"):
        harness.run(path, out=tmp_path / name / "run")
    pd.testing.assert_frame_equal(cells(tmp_path / "a" / "run"), cells(tmp_path / "b" / "run"))


def test_a_run_moved_elsewhere_is_reported_and_scored_there(tmp_path: Path) -> None:
    from harness.pipeline import finish, report

    result = harness.run(suite(tmp_path), out=tmp_path / "run")
    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert report(tmp_path / "moved").verdict == result.verdict
    count = len(asked(tmp_path))
    with Store.write(tmp_path / "moved") as store:
        finish(store, scorers=["schema"])
    assert len(asked(tmp_path)) == count
    with sqlite3.connect(tmp_path / "moved" / "run.sqlite") as db:
        scorers = {name for (name,) in db.execute("SELECT DISTINCT scorer FROM scores")}
    assert scorers == {"label", "schema"}


def test_changed_gold_is_scored_again_without_asking(tmp_path: Path) -> None:
    path = suite(tmp_path)
    before = set(harness.run(path, out=tmp_path / "run").scores["version"])
    count = len(asked(tmp_path))
    gold = tmp_path / "gold" / "small" / "gold.json"
    gold.write_text(gold.read_text().replace("bacteria", "microbes"))
    result = harness.run(path, out=tmp_path / "run")
    assert before.isdisjoint(result.scores["version"])  # the old ones do not count any more
    assert len(asked(tmp_path)) == count


def test_a_true_label_that_is_never_predicted_is_a_class_of_recorded_labels(tmp_path: Path) -> None:
    path = suite(tmp_path, controls=["gold"], models=None)
    notes = tmp_path / "notes.csv"
    notes.write_text(notes.read_text().replace("indigestion,indigestion", "indigestion,gastritis")
                     .replace("gastritis,indigestion", "gastritis,gastritis"))  # fmt: skip
    text = path.read_text()
    start = text.index("  probabilities:")
    path.write_text(text[:start] + text[text.index("families:") :])
    result = harness.run(path, out=str(tmp_path / "run"))
    page = result.results.classifier
    assert page is not None
    assert list(page.classes) == ["gastritis", "indigestion"]


def test_scoring_with_one_scorer_more_keeps_the_others_and_the_run_finished(tmp_path: Path) -> None:
    path = suite(tmp_path)
    harness.run(path, out=tmp_path / "run")
    with Store.write(tmp_path / "run") as store:
        result = finish(store, scorers=["./parrot.py:WordCount"])
    shown = {metric.scorer for metric in result.results.metrics}
    assert shown == {"label", "WordCount"}
    assert {metric.scorer for metric in report(tmp_path / "run").results.metrics} == shown
    count = len(asked(tmp_path))
    before = (tmp_path / "run" / "run.sqlite").read_bytes()
    harness.run(path, out=tmp_path / "run")
    assert len(asked(tmp_path)) == count
    assert (tmp_path / "run" / "run.sqlite").read_bytes() == before


def test_a_finished_run_goes_on_where_more_is_wanted(tmp_path: Path) -> None:
    path = suite(tmp_path, models=[*MODELS, MODELS[0] | {"name": "n", "model": "n"}])
    harness.run(path, out=tmp_path / "run", models=["m"], samples=2)
    assert set(cells(tmp_path / "run")["model"]) == {"m", "control:gold", "control:empty"}
    harness.run(path, out=tmp_path / "run")
    whole = cells(tmp_path / "run")
    assert {"m", "n"} <= set(whole["model"])
    assert whole["sample"].nunique() == 4
    before = (tmp_path / "run" / "run.sqlite").read_bytes()
    harness.run(path, out=tmp_path / "run", models=["m"], samples=2)  # all of it is there
    assert (tmp_path / "run" / "run.sqlite").read_bytes() == before


def test_changed_data_are_seen_by_a_finished_run(tmp_path: Path) -> None:
    path = suite(tmp_path, arms=["predicted"], controls="none")
    harness.run(path, out=tmp_path / "run")
    notes = tmp_path / "notes.csv"
    notes.write_text(notes.read_text().replace("s1,Burning", "s1,No burning"))
    harness.run(path, out=tmp_path / "run")
    with Store.read(tmp_path / "run") as store:
        assert store.samples()[0].text.startswith("No burning")
    notes.write_text(notes.read_text().replace("indigestion,0.3,0.7", "gastritis,0.7,0.3"))
    harness.run(path, out=tmp_path / "run")
    assert set(cells(tmp_path / "run").query("sample == 's2'")["told"]) == {"gastritis"}


def test_a_group_is_scored_again_when_the_rest_of_it_is_answered(tmp_path: Path) -> None:
    path = suite(tmp_path, scorers=["stability"], controls="none", arms=["predicted"])
    code = (tmp_path / "counting.py").read_text()
    half = code.replace('(self.folder / "down").exists()', "'What of' in request.messages[-1].text")
    (tmp_path / "counting.py").write_text(half)
    stability = "metric == 'prompt_kept'"
    first = harness.run(path, out=tmp_path / "run", patience=hurried()).scores.query(stability)
    (tmp_path / "counting.py").write_text(code)
    second = harness.run(path, out=tmp_path / "run").scores.query(stability)
    whole = harness.run(path, out=tmp_path / "b" / "run", fresh=True).scores.query(stability)
    assert list(second["value"]) == list(whole["value"])
    assert list(first["value"]) != list(second["value"])


def test_a_folder_holds_runs_of_one_suite(tmp_path: Path) -> None:
    path = suite(tmp_path, controls="none")
    harness.run(path, out=tmp_path / "run", samples=1)
    count = len(cells(tmp_path / "run"))
    with pytest.raises(HarnessError, match="holds a run of suite 'small'; name another folder"):
        harness.run(path, out=tmp_path / "run", settings=["name=other"])
    assert len(cells(tmp_path / "run")) == count


def test_what_looks_wrong_in_gold_and_label_map_is_said(tmp_path: Path) -> None:
    path = suite(tmp_path, controls=["gold"], models=None, label_map={"gastritis": "gastritis",
                                                                      "Gastritus": "gastroenteritis"})  # fmt: skip
    gold = tmp_path / "gold" / "small" / "gold.json"
    gold.write_text(gold.read_text().replace('"aspect": "treatment"', '"aspect": "treatmnet"', 1))
    warnings = " ".join(harness.run(path, out=tmp_path / "run").results.warnings)
    assert "aspects that the family does not have: treatmnet" in warnings
    assert "label_map: nothing is called Gastritus" in warnings


def test_a_cost_limit_stops_asking_and_the_rest_is_not_run(tmp_path: Path) -> None:
    # 3 a request, of which at most 8 are reserved: about 70 tokens for prompt and answer.
    model = MODELS[0] | {"price": {"input": 1e5, "output": 1e5}, "sampling": {"max_tokens": 12}}
    path = suite(tmp_path, models=[model], limits={"max_cost": 20}, controls="none")
    result = harness.run(path, out=tmp_path / "run")
    assert 4 <= len(asked(tmp_path)) <= 6
    assert "not_run" in set(cells(tmp_path / "run")["outcome"])
    assert result.exit_code == 6
    again = harness.run(path, out=tmp_path / "run", settings=["limits.max_cost=1000"])
    assert again.exit_code == 0
    assert len(asked(tmp_path)) == len(set(asked(tmp_path)))


def test_a_time_limit_stops_asking_and_what_was_answered_before_stays(tmp_path: Path) -> None:
    path = suite(tmp_path, models=MODELS[:1], controls="none", limits={"max_time": "1h"})
    harness.run(path, out=tmp_path / "run", samples=2)
    count, before = len(asked(tmp_path)), cells(tmp_path / "run").set_index("cell")["outcome"]
    path.write_text(path.read_text().replace("1h", "1e-9"))
    result = harness.run(path, out=tmp_path / "run")
    assert len(asked(tmp_path)) == count > 0
    after = cells(tmp_path / "run").set_index("cell")["outcome"]
    assert "not_run" not in set(before)
    assert list(after[before.index]) == list(before)
    assert (after == "not_run").sum() == result.not_run > 0


def test_a_backend_that_raises_costs_its_cells_and_not_the_run(tmp_path: Path) -> None:
    path = suite(tmp_path)
    code = (tmp_path / "counting.py").read_text()
    (tmp_path / "counting.py").write_text(code.replace("return Generation(\"It", "raise KeyError('x')\n        return Generation(\"It"))  # fmt: skip
    harness.run(path, out=tmp_path / "run", samples=1)
    table = cells(tmp_path / "run").query("model == 'm'")
    assert set(table["outcome"]) == {"server", "not_run"}
    failed = table[table["outcome"] == "server"]
    assert set(failed["error"]) == {"backend 'Counting' failed: KeyError: 'x'"}
    assert len(asked(tmp_path)) <= 5 + 4  # five that fail alike, and what was under way


MEETING = '''
import asyncio
from harness.records import Capabilities, Generation

busy, met = set(), set()

class Meeting:
    """Answers when a model of another place is being asked too, or 10 seconds are over."""

    capabilities = Capabilities(concurrency=1)

    def __init__(self, model, place=None):
        self.model = model
        if place:
            self.place = place

    async def generate(self, request):
        busy.add(self.model)
        for _ in range(1000):
            if self.model in met or len(busy) > 1:
                break
            await asyncio.sleep(0.01)
        met.update(busy)
        alone = "alone" if busy == {self.model} else "together"
        await asyncio.sleep(0.02)
        busy.discard(self.model)
        return Generation(alone)
'''


@pytest.mark.parametrize(
    ("places", "seen"), [(("a", "b"), "together"), (("a", "a"), "alone"), ((None, None), "alone")]
)
def test_models_of_different_places_are_asked_at_the_same_time(
    tmp_path: Path, places: tuple[str | None, str | None], seen: str
) -> None:
    models = [
        {"name": name, "backend": "./meeting.py:Meeting"} | ({"place": place} if place else {})
        for name, place in zip("mn", places, strict=True)
    ]
    code = MEETING if seen == "together" else MEETING.replace("range(1000)", "range(5)")
    path = write(
        tmp_path,
        changed(models=models, scorers=["label"], controls="none", arms=["predicted"]),
        **{"meeting.py": code},
    )
    harness.run(path, out=tmp_path / "run", samples=1)
    first = cells(tmp_path / "run").groupby("model")["text"].first()
    assert set(first) == {seen}


def test_a_server_that_is_not_there_costs_its_own_cells(tmp_path: Path) -> None:
    model = {"name": "m", "backend": "openai", "model": "x", "base_url": "http://127.0.0.1:9/v1"}
    result = harness.run(suite(tmp_path, models=[model]), out=tmp_path / "run")
    assert result.exit_code == 4
    assert "http://127.0.0.1:9/v1 never answered (connection refused)" in result.ending.reasons[0]
    assert set(cells(tmp_path / "run").query("model != 'm'")["outcome"]) <= {"ok", "empty", "invalid_format"}  # fmt: skip
    assert result.report.exists()


def test_the_true_label_changes_no_request_in_the_arm_predicted(tmp_path: Path) -> None:
    path = suite(tmp_path, arms=["predicted"])
    harness.run(path, out=tmp_path / "a" / "run")
    notes = tmp_path / "notes.csv"
    notes.write_text(
        "\n".join(
            line.replace(",gastritis,", ",indigestion,", 1) if line.startswith("s1") else line
            for line in notes.read_text().splitlines()
        )
    )
    harness.run(path, out=tmp_path / "b" / "run")
    first, second = (cells(tmp_path / n / "run").query("model == 'm'") for n in "ab")
    assert list(first["request"]) == list(second["request"])
    assert list(first["true"]) != list(second["true"])


JUDGE = '''
import pathlib
from harness.records import Capabilities, Generation, Message, Metric, Request, Sampling, Score

FOLDER = pathlib.Path(__file__).parent

class Model:
    """Says no to a text with "indigestion"; fails at it while "judge-down" lies there."""

    capabilities = Capabilities(seed=True, concurrency=4)

    async def start(self):
        self.note("start")

    async def stop(self):
        self.note("stop")

    def note(self, what):
        with open(FOLDER / "judge-log", "a") as file:
            file.write(what + "\\n")

    async def generate(self, request):
        self.note(f"asked {request.sampling.seed}")
        if (FOLDER / "judge-down").exists() and "indigestion" in request.messages[0].text:
            return Generation(outcome="server", error="HTTP 500")
        return Generation("no" if "indigestion" in request.messages[0].text else "yes")

class Judge:
    metrics = (Metric("says_so"),)

    def __init__(self):
        self.backend = Model()

    def requests(self, subject):
        quoted = subject.generations[0].text
        return [Request("judge", "model", (Message.of("user", f"Is this right? {quoted}"),))]

    def score(self, subject, generations):
        own, verdict = generations
        return [Score("says_so", float(verdict.text == "yes"))]
'''


def test_a_judge_quotes_the_answers_and_is_asked_once(tmp_path: Path) -> None:
    path = suite(tmp_path, scorers=["./judge.py:Judge"], controls="none", arms=["predicted"])
    (tmp_path / "judge.py").write_text(JUDGE)
    (tmp_path / "judge-down").write_text("")
    first = harness.run(path, out=tmp_path / "run", patience=hurried()).scores
    assert set(first["value"]) == {1.0}  # what was not answered is not scored
    before = len((tmp_path / "judge-log").read_text().splitlines())
    (tmp_path / "judge-down").unlink()
    with Store.write(tmp_path / "run") as store:
        second = finish(store).scores
    assert set(second["value"]) == {0.0, 1.0}
    assert len(second) == len(cells(tmp_path / "run")) > len(first)
    log = (tmp_path / "judge-log").read_text().splitlines()
    assert [line for line in log if not line.startswith("asked")] == ["start", "stop"] * 2
    texts = set(cells(tmp_path / "run")["text"])
    failed = {text for text in texts if "indigestion" in text}
    assert len(log[before:]) - 2 == len(failed)
    assert "asked None" not in log


def test_a_judge_without_a_model_to_ask_is_one_sentence(tmp_path: Path) -> None:
    path = suite(tmp_path, scorers=["./judge.py:Judge"], controls="none", arms=["predicted"])
    (tmp_path / "judge.py").write_text(JUDGE.replace("self.backend = Model()", "pass"))
    with pytest.raises(HarnessError, match="scorer 'Judge' asks a model, but has no attribute"):
        harness.run(path, out=tmp_path / "run", samples=1)
