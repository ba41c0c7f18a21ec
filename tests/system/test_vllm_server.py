"""A real vLLM server on the CPU, with a real model of 260,000 parameters that nobody here made.

The environment comes from tools/make_vllm_cpu.sh. The transformers backend is the oracle: same
weights, same prompts, other code.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from small_suite import changed, write

import harness
from harness.backends.transformers import Transformers
from harness.backends.vllm import VLLM
from harness.records import Generation, Message, Request, Sampling
from harness.scorers.context import Context
from harness.scoring import Run as Scored
from harness.store import Store

pytestmark = pytest.mark.system

CHECKOUT = Path(__file__).resolve().parents[2]
ENV = {
    "VLLM_CPU_KVCACHE_SPACE": 1,
    "HF_HUB_OFFLINE": 1,
    # Threads that vLLM binds to cores wait in loops; of several servers they starve each other.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": 1,
}
SERVER: dict[str, Any] = {
    "enforce-eager": True,
    "dtype": "float32",
    # A model that knows nothing of JSON may fill it with blanks for ever; so there are none.
    "structured-outputs-config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
PROMPTS = (
    "Tell me a story.", "Once upon a time", "Why was the dog sad?", "Lily and Tom went to the park",
    "Explain the red spot.", "What did the bird see in the tree?", "The sun was hot", "Say yes.",
)  # fmt: skip


@pytest.fixture(scope="module")
def environment() -> Path:
    folder = CHECKOUT / ".venv-vllm"
    if not (folder / "bin" / "python").exists():
        missing = "there is no .venv-vllm; make it with tools/make_vllm_cpu.sh"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return folder


@pytest.fixture(scope="module")
def model(shared_data: Path) -> str:
    return str(shared_data / "stories260k-h32")


# --- however a run ends -------------------------------------------------------------------


def running(mark: str) -> list[int]:
    """The living processes that were started with this mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except (OSError, IndexError):
            continue
    return found


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


@dataclass
class Run:
    """A `harness run` of a small suite against a vLLM server of its own."""

    folder: Path
    environment: Path
    model: str

    def __post_init__(self) -> None:
        models = [
            {
                "name": "stories", "backend": "vllm", "model": self.model,
                "environment": str(self.environment), "server": {"enforce-eager": True},
                "env": ENV, "concurrency": 1, "sampling": {"max_tokens": 200, "temperature": 1.0},
            }
        ]  # fmt: skip
        self.folder.mkdir()
        suite = write(self.folder, changed(models=models, repeats=20, scorers=["label"]))
        self.mark = f"HARNESS_TEST_MARK={uuid.uuid4()}"
        name, _, value = self.mark.partition("=")
        self.out = self.folder / "run"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", str(suite), "--out", str(self.out)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, name: value}, start_new_session=True,
        )  # fmt: skip

    def answers(self) -> int:
        """How many answers are stored."""
        try:
            with sqlite3.connect(f"file:{self.out / 'run.sqlite'}?mode=ro", uri=True) as db:
                return int(db.execute("SELECT count(*) FROM generations").fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    def answers_or_ends(self) -> bool:
        return self.process.poll() is not None or self.answers() >= 3

    def port(self) -> str:
        """The port of its server, as its log in the run's folder says."""
        log = (self.out / "vllm-stories260k-h32.log").read_text()
        found = re.findall(r"^\$ .* --port (\d+)", log, re.MULTILINE)
        return str(found[-1])


def test_no_server_outlives_a_run_that_is_killed_or_interrupted(
    environment: Path, model: str, tmp_path: Path
) -> None:
    killed = Run(tmp_path / "killed", environment, model)
    interrupted = Run(tmp_path / "interrupted", environment, model)
    try:
        for run in (killed, interrupted):
            assert eventually(run.answers_or_ends, 300)
            assert run.process.poll() is None, run.process.communicate()[1]
            assert len(running(run.mark)) >= 4  # run, supervisor, server, engine
        assert killed.port() != interrupted.port()

        os.kill(killed.process.pid, signal.SIGKILL)
        killed.process.wait()
        assert eventually(lambda: not running(killed.mark), 10), "the server outlives the run"

        assert interrupted.process.poll() is None
        os.killpg(interrupted.process.pid, signal.SIGINT)
        _, errors = interrupted.process.communicate(timeout=60)
        assert interrupted.process.returncode == 130, errors
        assert "Traceback" not in errors
        assert eventually(lambda: not running(interrupted.mark), 10), "the server outlives the run"
        assert interrupted.answers() >= 3
    finally:
        for run in (killed, interrupted):
            for pid in running(run.mark):
                os.kill(pid, signal.SIGKILL)
            run.process.wait()
            assert run.process.stderr is not None
            run.process.stderr.close()


# --- what is asked and answered ------------------------------------------------------------------


@dataclass(frozen=True)
class Served:
    """A started backend and the event loop it was started in."""

    backend: VLLM
    loop: asyncio.Runner
    log: Path

    def ask(self, requests: Sequence[Request]) -> list[Generation]:
        async def all_at_once() -> list[Generation]:
            return list(await asyncio.gather(*(self.backend.generate(one) for one in requests)))

        return self.loop.run(all_at_once())


@pytest.fixture(scope="module")
def served(
    environment: Path, model: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    extras = {"logprobs": 0, "token_ids": True}
    backend = VLLM(model, environment=environment, server=SERVER, env=ENV, extras=extras)
    backend.log_folder = tmp_path_factory.mktemp("run")
    with asyncio.Runner() as loop:
        try:
            loop.run(backend.start())
            yield Served(backend, loop, backend.log_folder / "vllm-stories260k-h32.log")
        finally:
            loop.run(backend.stop())


def request(text: str, extras: Any = None, schema: Any = None, **sampling: Any) -> Request:
    messages = (Message.of("user", text),)
    drawn = Sampling(**{"max_tokens": 40, **sampling})
    return Request("vllm", "local", messages, sampling=drawn, extras=extras or {}, schema=schema)


def test_it_is_healthy_and_its_log_lies_in_the_folder_of_the_run(served: Served) -> None:
    assert served.loop.run(served.backend.health()) is None
    assert "Application startup complete" in served.log.read_text()


def test_greedy_texts_tokens_and_logprobs_are_those_of_transformers(
    served: Served, model: str
) -> None:
    ours = Transformers(model, device="cpu", extras={"logprobs": 0})
    asked = [request(p, {"logprobs": 0, "token_ids": True}, temperature=0.0) for p in PROMPTS]
    expected = ours.generate_batch([request(p, {"logprobs": 0}, temperature=0.0) for p in PROMPTS])
    for prompt, answer, wanted in zip(PROMPTS, served.ask(asked), expected, strict=True):
        assert answer.text == wanted.text, prompt
        assert answer.prompt_token_ids == wanted.prompt_token_ids
        assert answer.token_ids == wanted.token_ids
        assert answer.logprobs == pytest.approx(wanted.logprobs, abs=1e-3)
        assert answer.outcome == wanted.outcome
        assert answer.completion_tokens == len(answer.token_ids or ())
        assert answer.served_model == "local"
        assert str(answer.fingerprint).startswith("vllm-")
        assert answer.notes == ()
    assert len({answer.text for answer in expected}) > 4


def test_a_seed_makes_a_text_and_other_seeds_make_others(served: Served) -> None:
    asked = [request(PROMPTS[0], temperature=1.0, seed=seed) for seed in (1, 2, 3, 4)]
    first = [answer.text for answer in served.ask(asked)]
    again = [answer.text for answer in served.ask(asked)]
    assert first == again
    assert len(set(first)) == 4


def test_a_drawn_answer_is_as_likely_as_when_it_was_drawn_and_as_transformers_finds_it(
    served: Served, model: str
) -> None:
    ours = Transformers(model, device="cpu")
    extras = {"logprobs": 0, "token_ids": True}
    asked = [request(p, extras, temperature=1.0, seed=7) for p in PROMPTS]
    drawn = served.ask(asked)
    weighed = [
        replace(r, continuation=a.token_ids, sampling=Sampling(max_tokens=1))
        for r, a in zip(asked, drawn, strict=True)
    ]
    # Behind another prompt, as when a part of it is removed.
    moved = [replace(r, messages=asked[0].messages) for r in weighed]

    async def all_at_once() -> list[Generation]:
        both = (*weighed, *moved)
        return list(await asyncio.gather(*(served.backend.loglikelihood(r) for r in both)))

    found = served.loop.run(all_at_once())
    for answer, before in zip(found, drawn, strict=False):
        assert answer.prompt_token_ids == before.prompt_token_ids
        assert answer.logprobs == pytest.approx(before.logprobs, abs=5e-5)
    for answer, wanted in zip(found, ours.generate_batch([*weighed, *moved]), strict=True):
        assert answer.outcome == "ok"
        assert answer.notes == ()
        assert answer.prompt_token_ids == wanted.prompt_token_ids
        assert answer.token_ids == wanted.token_ids
        assert answer.logprobs == pytest.approx(wanted.logprobs, abs=1e-3)


def test_a_schema_makes_json_of_a_model_that_knows_none(served: Served) -> None:
    schema = {
        "type": "object",
        "properties": {"stage": {"enum": ["mild", "severe"]}, "sure": {"type": "boolean"}},
        "required": ["stage", "sure"],
        "additionalProperties": False,
    }
    asked = [request(p, schema=schema, temperature=1.0, seed=1, max_tokens=80) for p in PROMPTS[:3]]
    for answer in served.ask(asked):
        assert answer.outcome == "ok", answer
        value = json.loads(answer.text)
        assert value.keys() == {"stage", "sure"}
        assert value["stage"] in ("mild", "severe")
        assert isinstance(value["sure"], bool)


@pytest.mark.parametrize(
    ("words", "max_tokens"),
    [(2, 600), (150, 400), (220, 300), (400, 64), (2000, 8)],
)
def test_what_does_not_fit_into_512_positions_is_too_long(
    served: Served, model: str, words: int, max_tokens: int
) -> None:
    asked = request("a dog " * (words // 2), max_tokens=max_tokens)
    (answer,) = served.ask([asked])
    assert answer.outcome == "too_long", answer
    (wanted,) = Transformers(model, device="cpu").generate_batch([asked])
    assert wanted.outcome == "too_long"


def test_a_suite_asks_what_its_explanations_rest_on_and_transformers_finds_the_same(
    environment: Path, model: str, tmp_path: Path
) -> None:
    spec = {
        "name": "stories", "backend": "vllm", "model": model, "environment": str(environment), "server": SERVER,
        "env": ENV, "extras": {"logprobs": 0, "token_ids": True}, "sampling": {"max_tokens": 30, "temperature": 1.0},
    }  # fmt: skip
    families = [{"family": "small", "variants": ["base", "reworded"], "aspects": ["causes"]}]
    scorers = ["harness.scorers.context:Context"]
    suite = changed(
        models=[spec],
        families=families,
        arms=["predicted"],
        repeats=1,
        controls="none",
        scorers=scorers,
    )
    harness.run(write(tmp_path, suite), out=tmp_path / "run")
    ours, scorer = Transformers(model, device="cpu"), Context()
    with Store.read(tmp_path / "run") as store:
        held = Scored(store)
        stored = {(s.subject, s.metric): s for s in store.scores()}
        for answered in held.scorable():
            subject = held.subject(answered, scorer.reads)
            answers = ours.generate_batch(scorer.requests(subject))
            for wanted in scorer.score(subject, [*subject.generations, *answers]):
                found = stored[answered.cell.id, wanted.metric]
                assert found.value == pytest.approx(wanted.value, abs=0.01), wanted.metric
    gains = [s for (_, metric), s in stored.items() if metric == "gain"]
    assert len(gains) == 8
    assert all(s.value is not None and (s.detail or {})["deviation"] < 5e-5 for s in gains)
