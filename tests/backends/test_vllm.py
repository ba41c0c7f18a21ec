"""The `vllm` backend with a small Python server in the place of vLLM's, and its supervisor.

The environment is a folder whose `bin/python` runs the stand-in with the arguments and variables
that vLLM would get. It starts a worker process of its own, as vLLM does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.backends.vllm import VLLM
from harness.contracts import Backend
from harness.identity import request_key
from harness.records import (
    Generation,
    HarnessError,
    InfrastructureError,
    Message,
    Request,
    Sampling,
)

STAND_IN = """
import json, os, signal, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

arguments = sys.argv[1:]
option = dict(zip(arguments, arguments[1:]))
mode = os.environ.get("MODE", "")
if mode == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # and so does the worker, which inherits it
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(os.environ["PIDS"], "a") as file:
    file.write(f"{os.getpid()} {worker.pid} ")
print("option", json.dumps(arguments), flush=True)
if mode == "dies":
    print("(EngineCore pid=7) ERROR 11-24 14:16:59 [core.py:12] ValueError: no room for the cache")
    print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    sys.exit(1)
if mode == "taken" and not os.path.exists(os.environ["PIDS"] + ".taken"):
    open(os.environ["PIDS"] + ".taken", "w").close()
    print("OSError: [Errno 98] Address already in use", flush=True)
    sys.exit(1)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(200 if mode != "never" or self.path != "/health" else 503, {
            "data": [{"id": option["--served-model-name"], "max_model_len": 512}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            self.reply(401, {"error": "Unauthorized"})
        elif body["messages"][-1]["content"] in ("long", "short"):
            tokens = 507 if body["messages"][-1]["content"] == "long" else 40
            self.reply(200, {"usage": {"prompt_tokens": tokens, "completion_tokens": body[
                "max_completion_tokens"] - 3}, "choices": [
                {"message": {"content": "It was"}, "finish_reason": "length"}]})
        elif body["messages"][-1]["content"] == "die":
            print("torch.OutOfMemoryError: CUDA out of memory", flush=True)
            os._exit(1)
        else:
            said = json.dumps([body["model"], os.environ.get("COLOUR"), os.environ.get("PYTHONPATH")])
            self.reply(200, {"model": body["model"], "choices": [
                {"message": {"content": said}, "finish_reason": "stop"}]})

    def reply(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(option["--port"])), Handler).serve_forever()
"""

RUN = """
import asyncio, os, sys
from pathlib import Path
from harness.backends.vllm import VLLM

async def main():
    backend = VLLM("org/model", environment=sys.argv[1])
    backend.log_folder = Path(sys.argv[2])
    await backend.start()
    if sys.argv[3] == "fork" and os.fork() == 0:
        import time
        time.sleep(600)  # a worker that holds every file of the run open
    print("ready", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


class Environment:
    """A stand-in for a virtual environment with vLLM, and the processes that came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "env"
        self.pids = folder / "pids"
        self.logs = folder / "run"
        (self.folder / "bin").mkdir(parents=True)
        script = folder / "stand_in.py"
        script.write_text(STAND_IN)
        python = self.folder / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
        python.chmod(0o755)

    def backend(self, model: str = "org/model", mode: str = "", **options: Any) -> VLLM:
        env = {"PIDS": str(self.pids), "MODE": mode, **options.pop("env", {})}
        backend = VLLM(model, environment=self.folder, env=env, **options)
        backend.log_folder = self.logs
        return backend

    def started(self) -> list[int]:
        return [int(pid) for pid in self.pids.read_text().split()] if self.pids.exists() else []

    def alive(self) -> list[int]:
        return [pid for pid in self.started() if alive(pid)]

    def arguments(self, log: str = "vllm-org-model.log") -> list[str]:
        found = re.findall(r"^option (.*)$", (self.logs / log).read_text(), re.MULTILINE)
        return list(json.loads(found[-1]))


def alive(pid: int) -> bool:
    """Whether it runs; a dead process that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it holds before the time that the backend promises is over."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path)
    yield made
    left = made.alive()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "the test left processes behind"


def request(text: str = "Why?") -> Request:
    sampling = Sampling(max_tokens=8)
    return Request("vllm", "m", (Message.of("user", text),), sampling=sampling)


def served(backend: VLLM, *texts: str) -> list[Generation]:
    """Starts the server, asks one question after another, and stops it."""

    async def run() -> list[Generation]:
        try:
            await backend.start()
            assert await backend.health() is None
            return [await backend.generate(request(text)) for text in texts]
        finally:
            await backend.stop()

    return asyncio.run(run())


# --- the server ---------------------------------------------------------------------------


def test_a_server_is_started_asked_and_ended_with_its_worker(environment: Environment) -> None:
    backend = environment.backend(env={"COLOUR": "green"})
    assert isinstance(backend, Backend)
    (answer,) = served(backend, "Why?")
    assert (answer.outcome, json.loads(answer.text)) == ("ok", ["org/model", "green", None])
    assert len(environment.started()) == 2
    assert environment.alive() == []


def test_options_reach_the_server_in_its_own_spelling(environment: Environment) -> None:
    options = {
        "gpu_memory_utilization": 0.5, "tensor-parallel-size": 2, "enforce-eager": True,
        "enable_prefix_caching": False, "max-model-len": None,
        "limit_mm_per_prompt": {"image": 2}, "middleware": ["a", "b"],
    }  # fmt: skip
    served(environment.backend(server=options, revision="abc"))
    given = environment.arguments()
    assert given[:2] == ["-m", "vllm.entrypoints.openai.api_server"]
    port = given[given.index("--port") + 1]
    assert given[2:] == [
        "--model", "org/model", "--served-model-name", "org/model", "--host", "127.0.0.1",
        "--port", port, "--revision", "abc", "--tokenizer-revision", "abc",
        "--gpu-memory-utilization=0.5", "--tensor-parallel-size=2", "--enforce-eager",
        "--no-enable-prefix-caching", '--limit-mm-per-prompt={"image": 2}', "--middleware", "a", "b",
    ]  # fmt: skip


def test_two_servers_at_once_have_ports_and_keys_of_their_own(environment: Environment) -> None:
    async def run() -> None:
        first, second = environment.backend("org/one"), environment.backend("org/two")
        try:
            await asyncio.gather(first.start(), second.start())
            answers = [await backend.generate(request()) for backend in (first, second)]
            assert [json.loads(answer.text)[0] for answer in answers] == ["org/one", "org/two"]
            first._server = replace(first._server, url=second._server.url)
            assert "401" in str((await first.generate(request())).error)
        finally:
            await first.stop()
            assert len(environment.alive()) == 2, "stopping one server ends the other"
            await second.stop()

    asyncio.run(run())


def test_a_port_that_was_taken_meanwhile_is_replaced(environment: Environment) -> None:
    (answer,) = served(environment.backend(mode="taken"), "Why?")
    assert answer.outcome == "ok"
    log = (environment.logs / "vllm-org-model.log").read_text()
    assert len(re.findall(r"^\$ .*--port \d+$", log, re.MULTILINE)) == 2


def test_a_server_that_dies_at_once_is_told_with_its_reason(environment: Environment) -> None:
    backend = environment.backend(mode="dies")
    with pytest.raises(
        InfrastructureError, match="died: ValueError: no room for the cache"
    ) as told:
        served(backend)
    assert str(environment.logs / "vllm-org-model.log") in str(told.value)
    assert environment.alive() == []


def test_a_server_that_is_never_ready_is_ended_at_the_time_out(environment: Environment) -> None:
    with pytest.raises(InfrastructureError, match=r"not ready within 1.5 s; raise start_timeout"):
        served(environment.backend(mode="never", start_timeout=1.5))
    assert environment.alive() == []


def test_a_server_that_dies_while_it_answers_is_an_outcome(environment: Environment) -> None:
    backend = environment.backend(max_retries=0)
    first, second = served(backend, "die", "Why?")
    assert (first.outcome, second.outcome) == ("transport", "not_run")  # nothing more is sent
    for answer in (first, second):
        assert "died: torch.OutOfMemoryError: CUDA out of memory" in str(answer.error)
    assert environment.alive() == []


def test_an_answer_cut_off_by_the_end_of_the_positions_is_too_long(
    environment: Environment,
) -> None:
    (answer,) = served(environment.backend(), "long")
    assert answer.outcome == "too_long"
    assert "its 507 tokens left room for 5 of 8" in str(answer.error)


def test_an_answer_cut_off_by_a_limit_of_the_server_is_truncated_and_noted(
    environment: Environment,
) -> None:
    (answer,) = served(environment.backend(), "short")
    assert (answer.outcome, answer.text, answer.error) == ("truncated", "It was", None)
    assert answer.notes == ("the server cut the answer off after 5 of 8 tokens",)


def test_a_log_that_cannot_be_written_is_told(environment: Environment) -> None:
    environment.logs.write_text("a file where the folder should be")
    with pytest.raises(InfrastructureError, match="'org/model' cannot be started: .*run"):
        served(environment.backend())


def test_a_worker_that_ignores_sigterm_is_killed(environment: Environment) -> None:
    backend = environment.backend(mode="deaf")

    async def run() -> None:
        await backend.start()
        await backend.stop()

    asyncio.run(run())
    assert len(environment.started()) == 2
    assert environment.alive() == []


def test_before_start_health_asks_for_the_environment_alone(tmp_path: Path) -> None:
    backend = VLLM("org/model", environment=tmp_path / "none")
    trouble = asyncio.run(backend.health())
    assert trouble is not None
    assert "make vllm-cpu" in trouble
    assert str(tmp_path / "none") in trouble
    with pytest.raises(InfrastructureError, match="make vllm-cpu"):
        asyncio.run(backend.start())
    assert asyncio.run(Environment(tmp_path).backend().health()) is None


def test_vllm_beside_the_harness_is_used_unless_another_environment_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    own, other = VLLM("org/model"), VLLM("org/model", environment=tmp_path / "none")
    assert own._command(1)[0] == sys.executable
    assert own._server_env()["VIRTUAL_ENV"] == str(Path(sys.executable).parents[1])
    assert asyncio.run(own.health()) is None
    assert str(tmp_path / "none") in str(asyncio.run(other.health()))


def test_without_vllm_beside_the_harness_its_usual_place_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    trouble = str(asyncio.run(VLLM("org/model").health()))
    assert ".venv-vllm" in trouble
    assert "make vllm-gpu" in trouble


def test_the_environment_is_no_part_of_a_request(tmp_path: Path) -> None:
    assert VLLM("org/model").extras == VLLM("org/model", environment=tmp_path).extras


def test_without_a_start_there_is_no_answer(environment: Environment) -> None:
    answer = asyncio.run(environment.backend().generate(request()))
    assert (answer.outcome, answer.error) == ("transport", "the vLLM server was not started")


# --- however the run ends -----------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("how", ["alone", "fork"])
def test_no_process_is_left_ten_seconds_after_a_run_ends(
    environment: Environment, number: int, how: str
) -> None:
    env = {**os.environ, "PIDS": str(environment.pids)}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(environment.folder), str(environment.logs), how],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        assert len(environment.alive()) == 2
        run.send_signal(number)  # to the run alone: a forked worker of it lives on
        run.wait(30)
        assert eventually(lambda: not environment.alive())
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


# --- what is asked for --------------------------------------------------------------------


def test_what_changes_an_answer_changes_the_key_and_what_does_not_does_not(tmp_path: Path) -> None:
    def key(**server: Any) -> str:
        extras = VLLM("org/model", server=server).extras
        return request_key(Request("vllm", "m", (Message.of("user", "Why?"),), extras=extras))

    assert key(gpu_memory_utilization=0.5, tensor_parallel_size=2) == key()
    assert key(dtype="float32") != key()
    assert key(max_model_len=512) == key(**{"max-model-len": 512}) != key()
    here, there = tmp_path / "a.jinja", tmp_path / "b.jinja"
    here.write_text("one")
    there.write_text("one")
    assert key(chat_template=str(here)) == key(chat_template=str(there))
    there.write_text("two")
    assert key(chat_template=str(here)) != key(chat_template=str(there))
    written_out = "{{ messages }}" * 500  # longer than any file's name
    assert key(chat_template=written_out) != key(chat_template=written_out + " ")


def test_servers_of_the_run_itself_have_no_place_so_one_runs_at_a_time() -> None:
    assert VLLM("org/one").place is VLLM("org/two").place is None


def test_a_local_model_is_known_by_its_files_and_a_hub_model_by_its_revision(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text('{"vision_config": {}}')
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    backend = VLLM(str(tmp_path))
    assert (backend.model_id, backend.capabilities.images) == ("local", True)
    before = backend.revision
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    assert VLLM(str(tmp_path)).revision not in (before, None)
    hub = VLLM("org/model", revision="abc", images=True)
    assert (hub.model_id, hub.revision, hub.capabilities.images) == ("org/model", "abc", True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"server": {"port": 8000}}, "'port' is set by the harness"),
        ({"server": {"api_key": "x"}}, "'api_key' is set by the harness"),
        ({"server": {"revision": "main"}}, "'revision' is set by the harness"),
        ({"model": "builtin:octa-text", "revision": "main"}, "has no revision"),
        ({"server": {"max_model_len": 1, "max-model-len": 2}}, "'max-model-len' is given twice"),
        ({"server": ["dtype"]}, "server is a mapping"),
        ({"env": "A=b"}, "env is a mapping"),
        ({"start_timeout": "soon"}, "start_timeout is a number of seconds"),
        ({"concurrency": 0}, "backend 'vllm': concurrency is a whole number"),
        ({"extras": {"colour": 1}}, "backend 'vllm': there is no extra 'colour'"),
        ({"model": "./no-such-folder"}, "there is no model folder"),
        ({"model": "builtin:no-such-model"}, "there is no built-in language model"),
    ],
)
def test_a_field_that_cannot_be_right_is_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(HarnessError, match=re.escape(said)):
        VLLM(**{"model": "org/model", **options})
