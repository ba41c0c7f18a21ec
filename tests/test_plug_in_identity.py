"""Whose answer a plug-in's is, where its class comes from elsewhere or its model is at a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fake_server import completion, serving
from small_suite import changed, write
from test_whose_answer import CELLS, TINY, answers, asked, servers

import harness
from harness.cli import main
from harness.manifest import _read, _texts
from harness.store import Store

MINE = """
from harness.records import Capabilities, Generation

class Mine:
    capabilities = Capabilities(seed=True)

    def __init__(self, model, word="WORD"):
        self.word = word

    async def generate(self, request):
        return Generation(self.word)
"""

SCORER = """
from harness.records import Metric, Score

class Mine:
    metrics = (Metric("v"),)

    def __init__(self, value=VALUE):
        self.value = value

    def requests(self, subject):
        return []

    def score(self, subject, generations):
        return [Score("v", self.value)]
"""

ELSEWHERE = {
    "import": "from helper import Mine",
    "bound": "import functools, helper\nMine = functools.partial(helper.Mine)",
    "bound value": "import functools, helper\nMine = functools.partial(helper.Mine, OPTION)",
    "made": "import helper\ndef Mine(*given): return helper.Mine(*given, OPTION)",
}


@pytest.mark.parametrize("how", ["import", "bound"])
@pytest.mark.parametrize("where", ["run", "beside"])
def test_a_plug_in_that_is_imported_from_a_helper_is_asked_again_when_the_helper_is_edited(
    tmp_path: Path, how: str, where: str
) -> None:
    for word, folder in (("old", "run"), ("new", where)):
        path = write(
            tmp_path,
            changed(**TINY, models=[{"name": "mine", "backend": "./mine.py:Mine"}]),
            **{"mine.py": ELSEWHERE[how], "helper.py": MINE.replace("WORD", word)},
        )
        harness.run(path, out=tmp_path / "runs" / folder)
    assert answers(tmp_path / "runs" / where) == {"mine": {"new": CELLS}}


@pytest.mark.parametrize("how", ELSEWHERE)
def test_a_scorer_that_is_imported_or_made_elsewhere_scores_anew_when_it_is_edited(
    tmp_path: Path, how: str
) -> None:
    for value in ("0.25", "0.75"):
        edited = value if how in ("import", "bound") else "0.5"
        path = write(
            tmp_path,
            changed(**{**TINY, "scorers": ["./mine.py:Mine"]}),
            **{
                "mine.py": ELSEWHERE[how].replace("OPTION", value),
                "helper.py": SCORER.replace("VALUE", edited),
            },
        )
        result = harness.run(path, out=tmp_path / "run")
    assert set(result.scores["value"]) == {0.75}


def test_a_module_edited_after_its_import_answers_as_what_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    models = [{"name": "mine", "backend": "edited_module:Mine"}]
    suite = changed(**TINY, models=models)
    for word in ("old", "newer"):
        path = write(tmp_path, suite, **{"edited_module.py": MINE.replace("WORD", word)})
        harness.run(path, out=tmp_path / "run")
    assert answers(tmp_path / "run") == {"mine": {"old": CELLS}}
    sys.modules.pop("edited_module")  # as another process
    harness.run(path, out=tmp_path / "run")
    assert answers(tmp_path / "run") == {"mine": {"newer": CELLS}}


@pytest.mark.parametrize("where", ["run", "beside"])
def test_a_subclass_of_a_built_in_backend_is_no_proof_of_the_model_at_its_address(
    tmp_path: Path, where: str
) -> None:
    shown = [{"id": "m", "root": "/x"}, {"id": "m", "root": "/y"}]
    mine = "from harness.backends.openai import OpenAI\nclass Mine(OpenAI): pass\n"
    with servers("one", "two", shown=shown) as (a, b):
        codes = []
        for server, folder in ((a, "run"), (b, where)):
            entry = {
                "name": "mine", "backend": "./mine.py:Mine", "model": "m", "base_url": server.url,
            }  # fmt: skip
            path = write(tmp_path, changed(**TINY, models=[entry]), **{"mine.py": mine})
            limit = ["--limit", "2"] if server is a else []
            codes.append(main(["run", str(path), "--out", str(tmp_path / "runs" / folder), *limit]))
        assert codes == ([0, 2] if where == "run" else [0, 0])
        assert asked(b) == (0 if where == "run" else CELLS)


JUDGE = """
from harness.records import Message, Metric, Request, Sampling, Score

class Judge:
    metrics = (Metric("v"),)

    def __init__(self, judge: "Backend"):
        self.backend = judge

    def requests(self, subject):
        asked = Message.of("user", f"Good? {subject.generations[0].text}")
        return [Request("openai", "judge", (asked,), sampling=Sampling(max_tokens=5))]

    def score(self, subject, generations):
        return [Score("v", float(generations[-1].text == "yes"))]
"""


@pytest.mark.parametrize("edit", [{"model": "k"}, {"extra_body": {"top_k": 1}}])
def test_another_judge_is_asked_although_its_scorer_asks_the_same(
    tmp_path: Path, edit: dict[str, Any]
) -> None:
    with serving(lambda _, n: completion("no" if n else "yes")) as server:
        for change in ({}, edit):
            judge = {"kind": "openai", "model": "j", "base_url": server.url, **change}
            spec = {"kind": "./judge.py:Judge", "judge": judge}
            models = [{"name": "p", "backend": "./mine.py:Mine"}]
            path = write(
                tmp_path,
                changed(**{**TINY, "scorers": [spec]}, models=models),
                **{"judge.py": JUDGE, "mine.py": MINE},
            )
            result = harness.run(path, out=tmp_path / "run")
        assert set(result.scores["value"]) == {0.0}
        assert asked(server) == 2


RULE = """
from rule_words import WORDS

def rule(texts):
    return [[0.9, 0.1] if any(w in t for w in WORDS) else [0.1, 0.9] for t in texts]
"""


@pytest.mark.parametrize("edit", ["the file", "what it imports", "a nested part"])
def test_an_edited_function_of_a_classifier_is_asked_again_although_the_run_was_finished(
    tmp_path: Path, edit: str
) -> None:
    function: dict[str, Any] = {
        "kind": "callable", "function": "./rule.py:rule", "classes": ["gastritis", "indigestion"],
    }  # fmt: skip
    text = changed(classifier=function, models=None, controls=["gold"], scorers=["label"])

    def predicted(words: str, rule: str = RULE) -> list[str | None]:
        files = {"rule.py": rule, "rule_words.py": f"WORDS = {words}\n"}
        harness.run(write(tmp_path, text, **files), out=tmp_path / "run")
        with Store.read(tmp_path / "run") as store:
            return [p.label for p in store.predictions().values()]

    first = predicted('("Burning",)')
    assert first.count("gastritis") == 1
    if edit == "the file":
        now = predicted('("Burning",)', RULE.replace("[0.9, 0.1] if any", "[0.1, 0.9] if any"))
        assert now.count("gastritis") == 0
    elif edit == "what it imports":
        assert predicted('("Burning", "Red")').count("gastritis") == 2
    else:
        (tmp_path / "judge.txt").write_text("old")
        nested = {"deep": [{"path": str(tmp_path / "judge.txt")}, "./rule.py:rule", "no:name"]}
        found = dict(_texts(nested))
        read = {name: _read(value, tmp_path) for name, value in found.items()}
        assert read["deep.2"] is None
        assert None not in (read["deep.0.path"], read["deep.1"])
        (tmp_path / "judge.txt").write_text("new")
        (tmp_path / "rule_words.py").write_text("WORDS = ()\n")
        assert _read(found["deep.0.path"], tmp_path) != read["deep.0.path"]
        assert _read(found["deep.1"], tmp_path) != read["deep.1"]


def test_a_text_that_looks_like_code_and_names_none_is_no_code(tmp_path: Path) -> None:
    for text in (
        "http://127.0.0.1:8000/v1",
        "builtin:octa",
        "./gone.py:Mine",
        "a: b",
        "x" * 9000,
        "no.such.module:f",
        ":",
    ):
        assert _read(text, tmp_path) is None
