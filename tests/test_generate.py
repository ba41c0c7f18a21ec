"""Answers are committed before their workers go on; what no backend may do costs its own cells."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

import harness
from harness.committer import Committer
from harness.export import cells_table
from harness.records import Generation, HarnessError, InfrastructureError
from harness.store import Store


def test_who_awaits_the_committer_goes_on_only_when_the_answer_is_stored(tmp_path: Path) -> None:
    async def worker(store: Store, committer: Committer, i: int) -> None:
        await committer.put(f"k{i}", Generation(str(i)))
        assert store.generation("m", f"k{i}") == Generation(str(i))

    async def all_of_them(store: Store) -> None:
        committer = Committer(store, "m")
        await asyncio.gather(*(worker(store, committer, i) for i in range(50)))

    with Store.write(tmp_path) as store:
        asyncio.run(all_of_them(store))
        assert len(store.answered("m")) == 50


ODD = """
import sys
from harness.records import Capabilities, Generation

class Odd:
    capabilities = Capabilities()

    def __init__(self, model):
        pass

    async def generate(self, request):
        BODY
"""

BATCHES = """
    def batches(self, requests):
        return [requests]

    def generate_batch(self, requests):
        ANSWERS
"""


def odd(folder: Path, body: str, more: str = "") -> Path:
    models = [{"name": "odd", "backend": "./odd.py:Odd"}]
    text = changed(models=models, scorers=["label"], arms=["predicted"], controls=["gold"])
    return write(folder, text, **{"odd.py": ODD.replace("BODY", body) + more})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 'It is so.'", "backend 'Odd' returned str, not a Generation"),
        ("pass", "backend 'Odd' returned NoneType, not a Generation"),
        ("return Generation(None)", "returned a Generation whose text is NoneType, not str"),
        ("return Generation('x', outcome='weird')", "a Generation with the outcome 'weird'"),
        ("return Generation('x', outcome='not_run')", "with the outcome 'not_run'"),
        ("return Generation('x', prompt_tokens='3')", "that counts ('3', None) tokens"),
        ("return Generation('x', logprobs=(sys,))", "that cannot be stored (Object of type module"),
        ("1 / 0", "backend 'Odd' failed: ZeroDivisionError: division by zero"),
        ("sys.exit(3)", "backend 'Odd' failed: SystemExit: 3"),
    ],
)
def test_what_is_no_answer_costs_the_cell_and_not_the_run(
    tmp_path: Path, body: str, said: str
) -> None:
    harness.run(odd(tmp_path, body), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        table = cells_table(store).query("model == 'odd'")
    # After five that failed alike the model is asked nothing more.
    assert set(table["outcome"]) <= {"server", "not_run"}
    errors = table[table["outcome"] == "server"]["error"]
    assert len(errors)
    assert all(said in error for error in errors)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ("return [Generation('Well.')]", "backend 'Odd' gave 1 answers to a batch of"),
        ("return None", "backend 'Odd' failed: TypeError: 'NoneType'"),
        ("sys.exit(3)", "backend 'Odd' failed: SystemExit: 3"),
    ],
)
def test_a_batch_that_is_not_answered_is_not_taken_for_an_answer(
    tmp_path: Path, answers: str, said: str
) -> None:
    more = BATCHES.replace("ANSWERS", answers)
    result = harness.run(odd(tmp_path, "pass", more), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        table = cells_table(store).query("model == 'odd'")
    assert set(table["outcome"]) == {"server"}
    assert all(said in error for error in table["error"])
    assert "its first 5 requests all failed" in "; ".join(result.ending.reasons)


def test_one_wrong_answer_of_a_batch_costs_its_own_cells_alone(tmp_path: Path) -> None:
    answers = "return [None, *(Generation('Well.') for _ in requests[1:])]"
    more = BATCHES.replace("ANSWERS", answers)
    harness.run(odd(tmp_path, "pass", more), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        table = cells_table(store).query("model == 'odd' and variant != 'pressure'")
    assert table.query("outcome == 'server'")["request"].nunique() == 1
    assert set(table.query("outcome != 'server'")["text"]) == {"Well."}


def test_batches_that_cannot_be_made_are_one_sentence(tmp_path: Path) -> None:
    more = BATCHES.replace("return [requests]", "1 / 0")
    with pytest.raises(HarnessError, match="backend 'Odd' cannot make batches: ZeroDivisionError"):
        harness.run(odd(tmp_path, "pass", more), out=tmp_path / "run", samples=1)


STARTED = """
    async def start(self):
        self.note("start")

    async def stop(self):
        self.note("stop")

    def note(self, what):
        with open(__file__ + ".log", "a") as file:
            file.write(what + "\\n")
"""


def test_a_model_is_started_once_and_only_where_something_is_left_to_ask(tmp_path: Path) -> None:
    path = odd(tmp_path, "return Generation('It is so.')", STARTED)
    harness.run(path, out=tmp_path / "run")
    log = tmp_path / "odd.py.log"
    assert log.read_text().split() == ["start", "stop"]
    with Store.write(tmp_path / "run") as store:
        store.set_meta({"finished": False})  # as if it was ended before it had scored
    harness.run(path, out=tmp_path / "run")
    assert log.read_text().split() == ["start", "stop"]


@pytest.mark.parametrize(
    ("change", "said", "kind"),
    [
        (
            ("Capabilities()", "None"),
            "model 'odd': .* has no attribute 'capabilities'",
            HarnessError,
        ),
        (
            ("Capabilities()", "Capabilities(concurrency=0)"),
            "model 'odd': .* allows 0 requests at once",
            HarnessError,
        ),
        (
            ("Capabilities()", "Capabilities(concurrency='8')"),
            "model 'odd': .* allows '8' requests at once",
            HarnessError,
        ),
        (
            ("async def generate", "async def answer"),
            "model 'odd': .* has no method 'generate'",
            HarnessError,
        ),
        (
            ("async def gen", "def bind(self, context):\n        1 / 0\n\n    async def gen"),
            "model 'odd': .* failed in bind: ZeroDivisionError",
            HarnessError,
        ),
        (
            ("async def gen", "async def stop(self):\n        1 / 0\n\n    async def gen"),
            "model 'odd' cannot be stopped: ZeroDivisionError",
            InfrastructureError,
        ),
        (
            ("async def gen", "async def start(self):\n        sys.exit(3)\n\n    async def gen"),
            r"cannot be started: it called sys.exit\(3\)",
            RuntimeError,
        ),
    ],
)
def test_a_backend_that_cannot_be_asked_is_named(
    tmp_path: Path, change: tuple[str, str], said: str, kind: Any
) -> None:
    path = odd(tmp_path, "return Generation('x')")
    code = (tmp_path / "odd.py").read_text()
    (tmp_path / "odd.py").write_text(code.replace(*change))
    with pytest.raises(kind, match=said):
        harness.run(path, out=tmp_path / "run", samples=1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "    async def start(self): raise OSError('no GPU')",
            "cannot be started: OSError: no GPU",
        ),
        ("    async def health(self): 1 / 0", "it cannot be reached: ZeroDivisionError"),
        ("    async def health(self): return 'nobody is at home'", "nobody is at home"),
        # A stop that fails too does not hide why it did not start.
        (
            "    async def start(self): raise OSError('no GPU')\n"
            "    async def stop(self): self.process.kill()",
            "cannot be started: OSError: no GPU",
        ),
    ],
)
def test_a_model_that_cannot_be_asked_leaves_its_own_cells_and_the_others_go_on(
    tmp_path: Path, more: str, said: str
) -> None:
    path = odd(tmp_path, "return Generation('Well.')", f"\n{more}\n")
    fine = f"{ODD.replace('BODY', 'return Generation(text)')}".replace("class Odd", "class Fine")
    (tmp_path / "fine.py").write_text(fine.replace("Generation(text)", "Generation('Well.')"))
    models = [{"name": "odd", "backend": "./odd.py:Odd"}, {"name": "fine", "backend": "./fine.py:Fine"}]  # fmt: skip
    path.write_text(changed(models=models, scorers=["label"], controls=["gold"]))
    result = harness.run(path, out=tmp_path / "run", samples=1)
    assert result.exit_code == 4
    assert said in "; ".join(result.ending.sentences())
    with Store.read(tmp_path / "run") as store:
        outcomes = cells_table(store).groupby("model")["outcome"].unique()
    assert set(outcomes["odd"]) == {"not_run"}
    assert "not_run" not in outcomes["fine"]
    assert "not_run" not in outcomes["control:gold"]


def test_what_was_answered_before_a_model_could_not_be_stopped_is_kept(tmp_path: Path) -> None:
    more = "\n    async def stop(self):\n        1 / 0\n"
    path = odd(tmp_path, "return Generation('It is so.')", more)
    with pytest.raises(InfrastructureError, match="cannot be stopped"):
        harness.run(path, out=tmp_path / "run", samples=1)
    harness.run(path, out=tmp_path / "run", samples=1)  # nothing is left to ask
    with Store.read(tmp_path / "run") as store:
        assert set(cells_table(store)["text"]) >= {"It is so."}
