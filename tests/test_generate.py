"""Answers are committed before their workers go on; what no backend may do costs its own cells."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

import harness
from harness.export import cells_table
from harness.generate import Committer
from harness.records import Generation, HarnessError, InfrastructureError
from harness.store import Store


def test_who_awaits_the_committer_goes_on_only_when_the_answer_is_stored(tmp_path: Path) -> None:
    async def worker(store: Store, committer: Committer, i: int) -> None:
        await committer.put(f"k{i}", Generation(str(i)))
        assert store.generation(f"k{i}") == Generation(str(i))

    async def all_of_them(store: Store) -> None:
        committer = Committer(store)
        await asyncio.gather(*(worker(store, committer, i) for i in range(50)))

    with Store.write(tmp_path) as store:
        asyncio.run(all_of_them(store))
        assert len(store.answered()) == 50


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
        return [Generation("Well.")]
"""


def odd(folder: Path, body: str, more: str = "") -> Path:
    models = [{"name": "odd", "backend": "./odd.py:Odd"}]
    text = changed(models=models, scorers=["label"], arms=["predicted"], controls=["gold"])
    return write(folder, text, **{"odd.py": ODD.replace("BODY", body) + more})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 'It is so.'", "TypeError: the backend returned str, not a Generation"),
        ("pass", "TypeError: the backend returned NoneType, not a Generation"),
        ("return Generation(None)", "a Generation of text None"),
        ("return Generation('x', outcome='weird')", "outcome 'weird'"),
        ("sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_what_is_no_answer_costs_the_cell_and_not_the_run(
    tmp_path: Path, body: str, said: str
) -> None:
    harness.run(odd(tmp_path, body), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        table = cells_table(store).query("model == 'odd'")
    assert set(table["outcome"]) == {"server"}
    assert all(said in error for error in table["error"])


def test_a_batch_with_too_few_answers_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    harness.run(odd(tmp_path, "pass", BATCHES), out=tmp_path / "run", samples=1)
    with Store.read(tmp_path / "run") as store:
        table = cells_table(store).query("model == 'odd'")
    assert all("the backend gave 1 answers to" in error for error in table["error"])


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
            "allows 0 requests at once",
            HarnessError,
        ),
        (
            (
                "async def generate",
                "async def start(self):\n        1 / 0\n\n    async def generate",
            ),
            "model 'odd' cannot be started: ZeroDivisionError",
            InfrastructureError,
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
