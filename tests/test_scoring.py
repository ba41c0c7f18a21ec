"""A scorer that asks a model itself: what it may quote, what it is answered, what is kept."""

from __future__ import annotations

import ast
import asyncio
import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_suite import as_of_schema_3, changed, write

import harness
from harness import scoring
from harness.export import cells_table
from harness.generate import ask
from harness.identity import request_key
from harness.manifest import Manifest
from harness.pipeline import finish
from harness.plan import with_seed
from harness.records import HarnessError, Message, Request, Sampling
from harness.scoring import Run, make_scorers, score, version
from harness.store import Store
from harness.suite import PartSpec
from harness.watch import Watch

JUDGE = '''
import asyncio, json, pathlib
from harness.records import *

FOLDER = pathlib.Path(__file__).parent

class Model:
    """Says yes; "down" beside it names the word in a question that it fails on."""

    capabilities = Capabilities(seed=True, concurrency=4)
    under_way = 0

    def __init__(self, model="small", trouble=None):
        self.model = model
        self.trouble = trouble

    async def health(self):
        return self.trouble

    async def start(self):
        self.note("start", None)

    async def stop(self):
        self.note("stop", None)

    def note(self, what, seed):
        with open(FOLDER / "log", "a") as file:
            file.write(json.dumps([what, seed, self.under_way]) + "\\n")

    async def generate(self, request):
        question = request.messages[0].text
        self.under_way += 1
        self.note(question, request.sampling.seed)
        await asyncio.sleep(0)
        self.under_way -= 1
        down = FOLDER / "down"
        if down.exists() and down.read_text() in question:
            return Generation(outcome="server", error="HTTP 500")
        return Generation("yes")

class Judge:
    """Asks about each of its subject's answers; its score's detail is all it was given."""

    metrics = (METRIC,)

    def __init__(self, model="small", trouble=None):
        self.backend = Model(model, trouble)

    def requests(self, subject):
        return [
            Request("judge", "m", (Message.of("user", "Is this right? " + g.text),))
            for g in subject.generations
        ]

    def score(self, subject, generations):
        own = len(subject.generations)
        verdicts = [g.text for g in generations[own:]]
        detail = {
            "own": [g.text for g in generations[:own]], "quoted": [
                r.messages[0].text.removeprefix("Is this right? ") for r in self.requests(subject)
            ], "verdicts": verdicts, "cells": [c.id for c in subject.cells],
        }
        return [Score("right", verdicts.count("yes") / own, detail)]
'''


def judged(folder: Path, metric: str = "Metric('right')", **fields: Any) -> Path:
    """A suite of one model, scored by the judge alone."""
    suite = changed(
        scorers=[{"kind": "./judge.py:Judge", **fields}], controls="none", arms=["predicted"]
    )
    return write(folder, suite, **{"judge.py": JUDGE.replace("METRIC", metric)})


def log(folder: Path) -> list[list[Any]]:
    path = folder / "log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def questions(folder: Path) -> list[str]:
    return [what for what, *_ in log(folder) if what not in ("start", "stop")]


def scores(folder: Path) -> list[Any]:
    with Store.read(folder) as store:
        return list(store.scores())


@pytest.mark.parametrize(
    "metric",
    [
        "Metric('right')",
        "Metric('right', subject='generation')",
        "Metric('right', subject='group', axis='variant')",
    ],
)
def test_a_judge_quotes_its_subjects_own_answers_in_the_order_of_its_cells(
    tmp_path: Path, metric: str
) -> None:
    harness.run(judged(tmp_path, metric), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        texts = cells_table(store).set_index("cell")["text"]
    found = scores(tmp_path / "run")
    assert found
    for one in found:
        assert one.detail["own"] == one.detail["quoted"]
        assert one.detail["own"] == [texts[cell] for cell in one.detail["cells"]]
        assert one.detail["verdicts"] == ["yes"] * len(one.detail["own"])
    assert (max(len(one.detail["own"]) for one in found) > 1) == ("group" in metric)


def test_a_judge_is_started_once_and_asked_of_all_subjects_together(tmp_path: Path) -> None:
    harness.run(judged(tmp_path), out=tmp_path / "run")
    entries = log(tmp_path)
    assert [entries[0][0], entries[-1][0]] == ["start", "stop"]
    asked = questions(tmp_path)
    assert len(asked) == len(entries) - 2
    assert len(asked) == len(set(asked)) < len(scores(tmp_path / "run"))
    assert max(under_way for _, _, under_way in entries) == 4  # as many as the backend allows


def test_a_judges_requests_are_seeded_unless_they_have_a_seed(tmp_path: Path) -> None:
    harness.run(judged(tmp_path), out=tmp_path / "run", samples=1)
    seeds = [seed for what, seed, _ in log(tmp_path) if what not in ("start", "stop")]
    assert len(set(seeds)) == len(seeds) > 1
    assert None not in seeds
    own = tmp_path / "own"
    path = judged(own)
    code = (own / "judge.py").read_text()
    (own / "judge.py").write_text(code.replace("g.text),)", "g.text),), sampling=Sampling(seed=5)"))
    harness.run(path, out=own / "run", samples=1)
    assert {seed for what, seed, _ in log(own) if what not in ("start", "stop")} == {5}


def test_what_a_judge_did_not_answer_is_counted_and_asked_again_alone(tmp_path: Path) -> None:
    path = judged(tmp_path)
    (tmp_path / "down").write_text("indigestion")
    harness.run(path, out=tmp_path / "run")
    first = questions(tmp_path)
    failed = {question for question in first if "indigestion" in question}
    assert failed < set(first)
    with Store.read(tmp_path / "run") as store:
        table = cells_table(store)
        left = store.meta()["unjudged"]
    assert left == {"Judge": int(table["text"].str.contains("indigestion").sum())}
    assert len(scores(tmp_path / "run")) == len(table) - left["Judge"]
    (tmp_path / "down").unlink()
    with Store.write(tmp_path / "run") as store:
        finish(store)
        assert store.meta()["unjudged"] == {"Judge": 0}
    assert set(questions(tmp_path)[len(first) :]) == failed
    assert len(scores(tmp_path / "run")) == len(table)
    with Store.write(tmp_path / "run") as store:
        finish(store)
    assert len(questions(tmp_path)) == len(first) + len(failed)


def test_a_judges_answers_are_taken_over_where_its_code_proves_it_unless_fresh(
    tmp_path: Path,
) -> None:
    path = judged(tmp_path)
    harness.run(path, out=tmp_path / "runs" / "a", samples=1)
    count = len(questions(tmp_path))
    harness.run(path, out=tmp_path / "runs" / "b", samples=1)
    assert len(questions(tmp_path)) == count
    assert len(scores(tmp_path / "runs" / "b")) == len(scores(tmp_path / "runs" / "a"))
    backend = make_scorers([PartSpec("./judge.py:Judge")], tmp_path)["Judge"].backend
    request = Request("judge", "m", (Message.of("user", "Is it so?"),), code="of the judge")
    for name, fresh in (("c", False), ("d", False), ("e", True)):
        with Store.write(tmp_path / "runs" / name) as store:
            watch = Watch(store, fresh=fresh)
            (answer,) = asyncio.run(ask(store, "scorer:j", backend, [request], "scorer 'j'", watch))
            assert answer.text == "yes"
            assert store.answered("scorer:j") == {request_key(request)}
    assert questions(tmp_path)[count:] == ["Is it so?"] * 2


def test_scoring_afresh_asks_a_judge_although_another_run_was_answered(tmp_path: Path) -> None:
    path = judged(tmp_path)
    harness.run(path, out=tmp_path / "runs" / "a", samples=1)
    count = len(questions(tmp_path))
    with Store.write(tmp_path / "runs" / "a") as old, Store.write(tmp_path / "runs" / "b") as new:
        run = Run(old)
        run.store = new
        scorers = make_scorers(run.manifest.scorers, tmp_path)
        asyncio.run(score(run, scorers, watch=Watch(new, fresh=True)))
    assert len(questions(tmp_path)) == 2 * count


def test_another_judge_is_another_version(tmp_path: Path) -> None:
    harness.run(judged(tmp_path), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        manifest = Manifest.load(store)
    made = [
        make_scorers([PartSpec("./judge.py:Judge", {"model": model})], tmp_path)["Judge"]
        for model in ("small", "small", "large")
    ]
    first, same, other = (version(scorer, manifest) for scorer in made)
    assert first == same != other


def test_a_judge_that_cannot_be_reached_is_said_before_it_is_asked(tmp_path: Path) -> None:
    path = judged(tmp_path, trouble="nobody is at home")
    result = harness.run(path, out=tmp_path / "run", samples=1)
    assert result.exit_code == 4
    assert "scorer 'Judge': nobody is at home" in result.ending.reasons
    assert log(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("self.backend =", "backend ="), "asks a model, but has no attribute 'backend'"),
        (("Capabilities(seed=True, concurrency=4)", "None"), "backend has no attribute 'capabil"),
        (("concurrency=4", "concurrency=0"), "its backend allows 0 requests at once"),
        (('"Is this right? " + g', "1 + g"), "failed on .*TypeError: unsupported operand"),
        (("return [\n            R", "return [\n            g or R"), "asks Generation"),
    ],
)
def test_a_judge_that_cannot_ask_is_one_sentence(
    tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    path = judged(tmp_path)
    code = (tmp_path / "judge.py").read_text()
    assert change[0] in code
    (tmp_path / "judge.py").write_text(code.replace(*change))
    with pytest.raises(HarnessError, match=f"scorer 'Judge'.* {said}"):
        harness.run(path, out=tmp_path / "run", samples=1)


@pytest.mark.parametrize("seed", [True, False])
def test_a_request_of_which_no_key_can_be_made_is_one_sentence(tmp_path: Path, seed: bool) -> None:
    path = judged(tmp_path)
    code = (tmp_path / "judge.py").read_text().replace("seed=True", f"seed={seed}")
    message = '(Message.of("user", "Is this right? " + g.text),)'
    assert message in code
    (tmp_path / "judge.py").write_text(code.replace(message, "[g]"))
    with pytest.raises(HarnessError, match="scorer 'Judge' failed on .*unhashable"):
        harness.run(path, out=tmp_path / "run", samples=1)


def test_a_scorer_that_cannot_score_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    path = judged(tmp_path, "Metric('right'), Metric('right')")
    with pytest.raises(HarnessError, match="scorer 'Judge' declares the metric 'right' twice"):
        harness.run(path, out=tmp_path / "run", samples=1)
    assert not (tmp_path / "run").exists()


def test_the_same_run_asks_a_judge_again_that_failed(tmp_path: Path) -> None:
    path = judged(tmp_path)
    (tmp_path / "down").write_text("indigestion")
    harness.run(path, out=tmp_path / "run")
    first = questions(tmp_path)
    (tmp_path / "down").unlink()
    harness.run(path, out=tmp_path / "run")
    again = questions(tmp_path)[len(first) :]
    assert set(again) == {question for question in first if "indigestion" in question}
    harness.run(path, out=tmp_path / "run")
    assert questions(tmp_path) == [*first, *again]


def test_a_fresh_run_asks_its_judge_again(tmp_path: Path) -> None:
    path = judged(tmp_path)
    harness.run(path, out=tmp_path / "runs" / "a", samples=1)
    count = len(questions(tmp_path))
    harness.run(path, out=tmp_path / "runs" / "b", samples=1, fresh=True)
    assert len(questions(tmp_path)) == 2 * count


PEERS = '''
from harness.records import *

class Peers:
    """Its score's detail is what it reads of other samples."""

    metrics = (Metric("peers", range=(0, None)),)
    reads = READS
    asks_models = ASKS

    def requests(self, subject):
        return REQUESTS

    def score(self, subject, generations):
        detail = {"others": [g.text for g in subject.others], "told": subject.told,
                  "asked": [r.messages[-1].text for r in subject.requests],
                  "attributions": list(subject.attributions)}
        return [Score("peers", len(subject.others), detail)]
'''


def reading(
    folder: Path,
    reads: str = "('others',)",
    asks: str = "False",
    requests: str = "()",
    **fields: Any,
) -> Path:
    """A suite of a parrot, scored by what reads the store."""
    fields = {"scorers": ["./peers.py:Peers"], "controls": "none", "arms": ["predicted"], **fields}
    code = PEERS.replace("READS", reads).replace("ASKS", asks).replace("REQUESTS", requests)
    return write(folder, changed(**fields), **{"peers.py": code})


def test_others_are_answers_to_other_samples_that_were_told_the_same(tmp_path: Path) -> None:
    many = "id,note,label,predicted,p_gastritis,p_indigestion,site\n" + "".join(
        f"n{i},Note {i}.,{label},{label},0.5,0.5,A\n"
        for i, label in enumerate(["gastritis"] * 7 + ["indigestion"] * 2)
    )
    path = reading(tmp_path, arms=["none"])
    (tmp_path / "notes.csv").write_text(many)
    told = tmp_path / "told"
    harness.run(path, out=tmp_path / "run")
    found = scores(tmp_path / "run")
    by_sample = {}
    for one in found:
        if "/base/" in one.subject and one.subject.endswith("/causes/1"):
            by_sample[one.subject.split("/")[1]] = one.detail["others"]
    assert len(by_sample) == 9
    for sample, others in by_sample.items():
        assert len(set(others)) == len(others) == 4
        assert not any(f"Note {sample[1:]}." in other for other in others)
    assert len({tuple(others) for others in by_sample.values()}) == 9
    reading(told)
    (told / "notes.csv").write_text(many)
    harness.run(told / "suite.yaml", out=told / "run")
    for one in scores(told / "run"):
        assert one.value == (4 if one.detail["told"] == "gastritis" else 1)
        assert all(one.detail["told"] in other for other in one.detail["others"])


def test_a_scorer_is_given_what_it_reads_and_no_more(tmp_path: Path) -> None:
    harness.run(reading(tmp_path, "('requests',)"), out=tmp_path / "run", samples=1)
    for one in scores(tmp_path / "run"):
        assert one.detail["others"] == one.detail["attributions"] == []
        (asked,) = one.detail["asked"]
        assert "gastritis" in asked
        assert ("Are you sure" in asked) == ("/pressure/" in one.subject)


def test_a_score_is_made_again_where_another_samples_answer_came_since(tmp_path: Path) -> None:
    path = reading(tmp_path)
    harness.run(path, out=tmp_path / "run", samples=2)
    assert {one.value for one in scores(tmp_path / "run")} == {0}
    harness.run(path, out=tmp_path / "run")
    counts = {one.subject.split("/")[1]: one.value for one in scores(tmp_path / "run")}
    assert counts == {"s1": 0, "s2": 2, "s3": 2, "s4": 2}  # as they are predicted


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reads": "('cells',)"}, "reads 'cells'; there is requests, attributions, others"),
        ({"asks": "True", "requests": "[subject.requests[0]]", "reads": "('requests',)"}, "asks the models of the suite for new answers"),
        ({"requests": "[Request('b', 'm', (), continuation=(1,))]"}, "has no attribute 'backend' to ask"),
    ],
)  # fmt: skip
def test_a_scorer_that_reads_or_asks_what_it_may_not_is_refused(
    tmp_path: Path, fields: dict[str, str], said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        harness.run(reading(tmp_path, **fields), out=tmp_path / "run", samples=1)


def test_a_group_has_no_one_model_to_ask(tmp_path: Path) -> None:
    path = reading(tmp_path, asks="True")
    code = (tmp_path / "peers.py").read_text()
    (tmp_path / "peers.py").write_text(
        code.replace("range=(0, None)", "subject='group', axis='repeat', range=(0, None)")
    )
    with pytest.raises(HarnessError, match="a group has no one model"):
        harness.run(path, out=tmp_path / "run", samples=1)


def test_the_modules_that_a_source_imports_are_those_that_a_parser_finds() -> None:
    def parsed(text: str) -> set[str]:
        names: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return {name for name in names if name.startswith("harness.") and scoring._is_module(name)}

    package = Path(scoring.__file__).parent
    sources = [path.read_text() for path in package.rglob("*.py")]
    assert len(sources) > 100
    for text in (*sources, "import harness.records as r, harness.gold\n"):
        assert set(scoring._imports(text)) == parsed(text)


def test_what_a_judge_was_asked_before_is_not_asked_again_after_a_change_of_schema(
    tmp_path: Path,
) -> None:
    path = judged(tmp_path)
    harness.run(path, out=tmp_path / "run", samples=1)
    count = len(questions(tmp_path))
    with Store.read(tmp_path / "run") as store:
        keys = [key for entry, key in store.generations() if entry == "scorer:Judge"]
        before = [(store.request(key)[0], key) for key in keys]
    assert before
    with sqlite3.connect(tmp_path / "run" / "run.sqlite") as db:
        for request, key in before:
            # Until then neither a plug-in's code nor the judge's own model was part of the key.
            plain = replace(request, code=None, model="m", sampling=Sampling())
            old = request_key(with_seed(plain, 0))
            for table, column in (("requests", "key"), ("generations", "request")):
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (old, key))
        db.execute("DELETE FROM scores")
    db.close()
    as_of_schema_3(tmp_path / "run")
    harness.run(path, out=tmp_path / "run", samples=1)
    assert len(questions(tmp_path)) == count
