"""vLLM's OpenAI server, started for one model, ended with the run.

On a GPU vLLM is installed beside the harness; on a CPU, where it is another package with pins of
its own, it runs in a virtual environment that the suite names.
A supervisor process ends the server with all its processes, however the run ends; what is asked
and answered goes over the `openai` backend's transport.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from harness import fields
from harness.backends.checkpoint import BUILTIN, Checkpoint, find
from harness.backends.connection import Server
from harness.backends.openai import OpenAI
from harness.backends.server_process import ServerProcess, free_port
from harness.identity import sha256
from harness.records import Generation, HarnessError, InfrastructureError, Request

_MODULE = "vllm.entrypoints.openai.api_server"
_OWN = ".venv-vllm"  # as `make vllm-cpu` makes it
_PORTS = 3  # ports tried where another process takes the one that was free a moment ago
_OURS = ("model", "model-tag", "served-model-name", "revision", "tokenizer-revision", "host",
         "port", "uds", "api-key", "config", "ssl-keyfile", "ssl-certfile", "ssl-ca-certs",
         "root-path")  # fmt: skip
# Options that say how fast and with what means the server works, not what it answers. All others
# are part of a request's identity: an option unknown to us may change every text.
_MEANS = frozenset(
    {
        "gpu-memory-utilization", "kv-cache-memory-bytes", "tensor-parallel-size",
        "pipeline-parallel-size", "data-parallel-size", "distributed-executor-backend",
        "max-num-seqs", "max-num-batched-tokens", "max-parallel-loading-workers", "swap-space",
        "cpu-offload-gb", "enforce-eager", "download-dir", "load-format", "disable-log-stats",
        "enable-log-requests", "disable-uvicorn-access-log", "uvicorn-log-level",
        "api-server-count", "enable-prefix-caching", "trust-remote-code",
    }
)  # fmt: skip


class VLLM(OpenAI):
    """A model served by a vLLM server of its own on a free port of 127.0.0.1.

    - `model`: a folder, `builtin:NAME`, or a name on the hub, which the server itself fetches
    - `environment`: the virtual environment that has vLLM, where it is not the harness's own; where
      nothing is given and vLLM is not installed beside the harness, `.venv-vllm`
    - `server`: options of vLLM's server, with dashes or underscores: `gpu-memory-utilization: 0.9`,
      `tensor-parallel-size: 2`; true is `--name`, false `--no-name`, null leaves it out, a mapping
      goes as JSON, a list as several values. Those that may change an answer are part of the
      request's identity
    - `env`: environment variables of the server, such as `CUDA_VISIBLE_DEVICES`
    - `start_timeout`: seconds until the server must be ready, loading and compiling included
    - `revision`: branch, tag or commit of a hub model
    - `images`: whether the model sees; found out where the model is here
    - the others: as for `openai`

    The attribute `revision` is the SHA-256 of a local model's files; of a hub model, whose files
    the server alone sees, it is the option. `log_folder` is where the server's log goes; a run sets
    it to its own folder. Raises `HarnessError` for a field that cannot be right and for a local
    model whose files are not.
    """

    _where = "backend 'vllm'"
    log_folder: Path | None = None

    def __init__(
        self,
        model: str,
        environment: str | Path | None = None,
        server: Mapping[str, Any] | None = None,
        env: Mapping[str, Any] | None = None,
        start_timeout: float = 600.0,
        revision: str | None = None,
        images: bool | None = None,
        system_role: bool = True,
        timeout: float = 600.0,
        max_retries: int = 5,
        concurrency: int = 16,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        fields.mappings(self._where, server=server, env=env)
        fields.seconds(self._where, start_timeout=start_timeout)
        self._checkpoint = _local(model, revision)
        self.model_id = self._checkpoint.name if self._checkpoint else model
        seen = self._checkpoint is not None and self._checkpoint.multimodal
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
            revision=self._checkpoint.revision if self._checkpoint else revision,
        )
        self.place = None  # servers that a run starts share this machine: one after another
        self._options = _options(server or {})
        settings = {
            name: _without_place(value)
            for name, value in self._options.items()
            if name not in _MEANS and value is not None
        }
        if settings:
            self.extras["server"] = settings
        if environment is None and importlib.util.find_spec("vllm") is not None:
            self._python, self._environment_shown = Path(sys.executable), "the harness's own"
        else:
            self._environment_shown = str(environment or _OWN)
            folder = Path(self._environment_shown).expanduser().absolute()
            self._python = folder / "bin" / "python"
        self._env = {str(name): str(value) for name, value in (env or {}).items()}
        self._start_timeout = float(start_timeout)
        self._process: ServerProcess | None = None
        self._positions: int | None = None
        self._own_folder: Path | None = None

    def __repr__(self) -> str:
        return f"VLLM(model={self.model_id!r}, environment={self._environment_shown!r})"

    async def health(self) -> str | None:
        """`None` where the server answers or, before `start`, where its environment is there."""
        if self._process is None:
            return self._environment_missing()
        if not self._process.alive:
            return self._death(self._process)
        return await super().health()

    async def start(self) -> None:
        """Starts the server and waits until it is healthy.

        Raises `InfrastructureError` where there is no environment, where the server dies (with
        the line of its log that says why), and where it is not ready in time.
        """
        if self._process is None or not self._process.alive:
            missing = self._environment_missing()
            if missing is not None:
                raise InfrastructureError(missing)
            await self._serve()
        await super().start()
        self._positions = await self._max_model_len()

    async def stop(self) -> None:
        """Ends the server with all its processes; harmless where none runs."""
        await super().stop()
        await self._end()
        if self._own_folder is not None:
            shutil.rmtree(self._own_folder, ignore_errors=True)
            self._own_folder = None

    async def generate(self, request: Request) -> Generation:
        """The answer; a failure is an outcome with an error, never an exception."""
        process = self._process
        if process is None:
            return Generation(outcome="transport", error="the vLLM server was not started")
        answer = await self._alive(process, await super().generate(request))
        prompt, count = answer.prompt_tokens, answer.completion_tokens
        limit = request.sampling.max_tokens
        if answer.outcome != "truncated" or prompt is None or count is None or count >= limit:
            return answer
        if self._positions is None or prompt + count < self._positions:
            return answer  # cut off by a limit of the server's own, which a note says
        said = (
            f"the prompt is too long for the model: its {prompt} tokens left room for {count} of "
            f"{limit}; lower max_tokens or shorten it"
        )
        return replace(answer, outcome="too_long", error=said, notes=())

    async def loglikelihood(self, request: Request) -> Generation:
        """Log-probabilities of a request's continuation, as for `openai`."""
        process = self._process
        answer = await super().loglikelihood(request)
        return answer if process is None else await self._alive(process, answer)

    async def _gone(self) -> str | None:
        """A server of the run's own that died stays dead: the run does not wait for it."""
        process = self._process
        return self._death(process) if process is not None and await self._died(process) else None

    async def _alive(self, process: ServerProcess, answer: Generation) -> Generation:
        """The answer, or that the server died, where it did."""
        if answer.outcome in ("transport", "server") and await self._died(process):
            return replace(answer, outcome="transport", error=self._death(process))
        return answer

    # --- the process ----------------------------------------------------------------------

    def _environment_missing(self) -> str | None:
        if self._python.is_file():
            return None
        shown = self._environment_shown
        return (
            f"vLLM is not installed beside the harness, and there is no environment with it at "
            f"{shown} (it has no bin/python); on a GPU 'make vllm-gpu' makes one that holds both, "
            "on a CPU 'make vllm-cpu' makes .venv-vllm; 'environment' names another folder"
        )

    async def _serve(self) -> None:
        """Launches the server and waits for it, on another port where the first was taken."""
        for attempt in range(_PORTS):
            await self._end()
            port = free_port()
            # A key of its own: whoever else is on this machine can neither use the server nor be
            # taken for it.
            key = secrets.token_hex(16)
            env = {**self._server_env(), "VLLM_API_KEY": key}
            try:
                process = ServerProcess(self._command(port), env, self._log_path())
            except OSError as error:  # a full disk, a folder that cannot be written
                raise InfrastructureError(
                    f"the vLLM server of '{self.model_id}' cannot be started: {error}"
                ) from error
            self._process = process
            self._server = Server.at(f"http://127.0.0.1:{port}/v1", key, {}, None, None)
            try:
                if await process.healthy(f"http://127.0.0.1:{port}/health", self._start_timeout):
                    return
            except TimeoutError:
                await self._end()
                raise InfrastructureError(
                    f"the vLLM server of '{self.model_id}' was not ready within "
                    f"{self._start_timeout:g} s; raise start_timeout, or see {process.log}"
                ) from None
            if attempt + 1 == _PORTS or not process.port_was_taken():
                break
        await self._end()
        raise InfrastructureError(self._death(process))

    def _command(self, port: int) -> list[str]:
        place = str(self._checkpoint.folder.absolute()) if self._checkpoint else self.model_id
        command = [str(self._python), "-m", _MODULE, "--model", place]
        command += ["--served-model-name", self.model_id, "--host", "127.0.0.1"]
        command += ["--port", str(port)]
        if self._checkpoint is None and self.revision is not None:
            command += ["--revision", self.revision, "--tokenizer-revision", self.revision]
        for name, value in self._options.items():
            command += _arguments(name, value)
        return command

    def _server_env(self) -> dict[str, str]:
        """The run's environment variables as the environment's `activate` would have them."""
        strange = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        inherited = {name: value for name, value in os.environ.items() if name not in strange}
        folder = self._python.parent
        path = f"{folder}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        own = {"PATH": path, "VIRTUAL_ENV": str(folder.parent), "PYTHONSAFEPATH": "1"}
        return {**inherited, **own, **self._env}

    def _log_path(self) -> Path:
        folder = self.log_folder
        if folder is None:
            if self._own_folder is None:
                self._own_folder = Path(tempfile.mkdtemp(prefix="harness-vllm-"))
            folder = self._own_folder
        name = self._checkpoint.folder.name if self._checkpoint else self.model_id
        return folder / f"vllm-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.log"

    async def _max_model_len(self) -> int | None:
        """How many tokens a prompt and its answer may have, as the server itself says."""
        try:
            async with self._connected() as pool:
                _, body, _ = await self._server.send(pool.session, "models", None, 10.0)
            found = json.loads(body)["data"][0]["max_model_len"]
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError):
            return None
        return found if isinstance(found, int) else None

    async def _died(self, process: ServerProcess) -> bool:
        """Whether the server is gone; its supervisor needs a moment to notice."""
        for _ in range(8):
            if not process.alive:
                return True
            if await super().health() is None:
                return False
            await asyncio.sleep(0.25)
        return False

    def _death(self, process: ServerProcess) -> str:
        said = process.last_words()
        because = f": {said}" if said else ""
        return f"the vLLM server of '{self.model_id}' died{because} (its log is {process.log})"

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.end()


def _local(model: str, revision: str | None) -> Checkpoint | None:
    """The checkpoint where the model is a folder or built in; a hub's is left to the server."""
    here = model.startswith((BUILTIN, ".", "/", "~")) or Path(model).expanduser().is_dir()
    return find(model, revision) if here else None


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
    try:
        return {"sha256": sha256(Path(value).read_bytes())} if isinstance(value, str) else value
    except (OSError, ValueError):  # no file, or a text that is too long to be the name of one
        return value
