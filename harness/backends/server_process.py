"""A server as a process of the run: started under a supervisor, waited for, ended, and its log.

The supervisor ends the server with all its processes, however the run ends. Why a server died is
told by the one line of its log that says it best.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from harness import private
from harness.backends.supervisor import end_group

_GRACE = 5.0  # seconds from SIGTERM to SIGKILL; chosen: a busy server needs about 2

# vLLM's own prefixes: "(EngineCore pid=7) ERROR 11-24 14:16:59 [core.py:12] ".
_PREFIX = re.compile(r"^(\(\w+ pid=\d+\) )?([A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
# The end of a traceback, the line under pydantic's, or what argparse says.
_ERROR = re.compile(
    r"(?:^|[\s(])((?:\w+\.)*\w*(?:Error|Exception): |Value error, |\w+\.py: error: )"
)


class ServerProcess:
    """A server and its supervisor, started by making one; `log` is added to, never cut.

    Both outlive a Ctrl-C in the terminal: the run itself decides when they end.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        supervisor = str(Path(__file__).with_name("supervisor.py"))
        with private.file(log).open("ab") as output:
            output.write(f"$ {shlex.join(command)}\n".encode())
            output.flush()
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-I", supervisor, str(log), str(_GRACE), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,  # where the command cannot be run at all, the supervisor says why
                env=env,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        self._group = int(line) if line else None

    @property
    def alive(self) -> bool:
        """Whether the supervisor, and so the server, still runs."""
        return self._process.poll() is None

    async def healthy(self, address: str, seconds: float) -> bool:
        """Waits until the address answers with 200; False where the server has died.

        Raises `TimeoutError` where neither has come after so many seconds.
        """
        deadline = time.monotonic() + seconds
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while self.alive:
                try:
                    async with session.get(address) as response:
                        if response.status == 200:
                            return self.alive
                except (aiohttp.ClientError, OSError):
                    pass  # not yet listening
                if time.monotonic() > deadline:
                    raise TimeoutError
                await asyncio.sleep(0.25)
        return False

    async def end(self) -> None:
        """Closes the pipe and waits until the supervisor has ended the server."""
        await asyncio.to_thread(self._finish)

    def port_was_taken(self) -> bool:
        """Whether the log says so."""
        return "address already in use" in self._written().lower()

    def last_words(self) -> str:
        """The line of the log that says best why the server died; empty where there is none."""
        return telling_line(self._written())

    def _written(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def _finish(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(2 * _GRACE + 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        if self._group is not None and process.returncode == -9:
            end_group(self._group, _GRACE)  # the supervisor was killed before it could


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


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
