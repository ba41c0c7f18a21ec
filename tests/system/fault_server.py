"""A server of chat completions on 127.0.0.1 that fails in a chosen way, in a thread of its own.

Whether a prompt is hit is drawn from its text alone, and a prompt is hit `times` times (-1: always),
so what a client must send can be counted exactly.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

CUT_JSON = '{"id": "x", "choices": [{"message": {"role": "assis'
STATUS = {"400": 400, "404": 404, "429": 429, "500": 500, "503": 503}


@dataclass
class Fault:
    """What goes wrong: `kind` for this share of prompts, after so many requests.

    `rate_limit` is requests a second, in a bucket that holds as many.
    """

    kind: str = "none"
    share: float = 1.0
    times: int = 1
    after: int = 0
    retry_after: float | None = None
    rate_limit: float | None = None
    latency: float = 0.005


@dataclass
class FaultServer:
    """Starts, dies and comes back on one port; `prompts` counts what arrived."""

    fault: Fault = field(default_factory=Fault)
    port: int = 0
    prompts: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    denied: int = 0
    _tokens: float = 0.0
    _filled: float = -1e9
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def requests(self) -> int:
        return self.prompts.total()

    def start(self) -> None:
        """Listens, on the port it had before."""

        async def listen() -> asyncio.Server:
            return await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=256)

        self._server = asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def die(self) -> None:
        """Refuses from now on, and breaks what is under way."""

        async def close() -> None:
            assert self._server is not None
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    def mend(self) -> None:
        """No fault any more, and counts from zero."""
        self.fault = Fault()
        self.prompts.clear()
        self.answered.clear()
        self.denied = 0

    def close(self) -> None:
        """Ends server and thread."""
        with suppress(Exception):
            self.die()

        async def finish() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n")
                     if line.lower().startswith(b"content-length:")), 0,
                )  # fmt: skip
                body = await reader.readexactly(length)
                if head.startswith(b"GET"):
                    listed = {"data": [{"id": "m", "object": "model"}, {"id": "other"}]}
                    self._send(writer, 200, json.dumps(listed))
                elif not await self._answer(writer, json.loads(body)):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        """Answers or fails; whether the connection goes on."""
        prompt, fault = body["messages"][-1]["content"], self.fault
        self.prompts[prompt] += 1
        number = self.prompts.total()
        if fault.rate_limit is not None and not self._granted(fault.rate_limit):
            self.denied += 1
            self._fail(writer, 429, fault.retry_after)
            return True
        drawn = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big") / 2**32
        hit = number > fault.after and drawn < fault.share
        hit = hit and (fault.times < 0 or self.prompts[prompt] <= fault.times)
        await asyncio.sleep(fault.latency)
        if not hit or fault.kind == "none":
            self.answered[prompt] += 1
            self._send(writer, 200, completion(body.get("model", "m"), prompt))
            return True
        if fault.kind in STATUS:
            self._fail(writer, STATUS[fault.kind], fault.retry_after)
            return True
        if fault.kind in ("cut_json", "no_choices", "empty"):
            text = {"cut_json": CUT_JSON, "no_choices": '{"choices": []}', "empty": ""}
            self._send(writer, 200, text[fault.kind])
            return True
        if fault.kind == "reset":
            writer.transport.abort()
        elif fault.kind == "cut_body":
            self._send(writer, 200, CUT_JSON, length=500)
        elif fault.kind == "drip":
            self._send(writer, 200, "", length=4000)
            with suppress(ConnectionError):
                for _ in range(4000):
                    writer.write(b" ")
                    await asyncio.sleep(0.05)
        else:
            assert fault.kind == "silent"
            await asyncio.sleep(60)
        return False

    def _granted(self, rate: float) -> bool:
        now = self._loop.time()
        self._tokens = min(rate, self._tokens + rate * (now - self._filled))
        self._filled = now
        granted = self._tokens >= 1
        self._tokens -= granted
        return granted

    def _fail(self, writer: asyncio.StreamWriter, status: int, retry_after: float | None) -> None:
        said = {400: "bad request", 404: "there is no such model", 429: "slow down"}
        error = {"error": {"message": said.get(status, "out of order")}}
        more = "" if retry_after is None else f"Retry-After: {retry_after:g}\r\n"
        self._send(writer, status, json.dumps(error), more)

    def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        text: str,
        more: str = "",
        length: int | None = None,
    ) -> None:
        body = text.encode()
        size = len(body) if length is None else length
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n"
        )
        writer.write(f"{head}{more}\r\n".encode() + body)


def completion(model: str, prompt: str) -> str:
    """An answer that names the last word of its prompt."""
    choice = {"message": {"role": "assistant", "content": prompt.split()[-1]}, "finish_reason": "stop"}  # fmt: skip
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 2}
    return json.dumps({"id": "x", "model": model, "choices": [choice], "usage": usage})
