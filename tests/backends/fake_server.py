"""A real server on 127.0.0.1 that answers chat completions as a script says, and is asked.

A script is a function from the request's JSON and its number (from 0) to a `Reply`. The server
runs in a thread with a loop of its own, so that code under test may use any loop it likes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from harness.backends.openai import OpenAI
from harness.records import Generation, Message, Request, Sampling
from harness.server_gate import Patience


@dataclass(frozen=True)
class Reply:
    """A reply: JSON or raw text; `cut` breaks the connection instead of answering."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


Script = Callable[[dict[str, Any], int], Reply]


def completion(text: str | None = "an answer", finish: str = "stop", **message: Any) -> Reply:
    """A well-formed chat completion."""
    said = {"role": "assistant", "content": text, **message}
    return Reply({"model": "served", "choices": [{"message": said, "finish_reason": finish}]})


def refusal(message: str, status: int = 400, **more: Any) -> Reply:
    """An error in the shape that OpenAI's interface gives it."""
    return Reply({"error": {"message": message, **more}}, status)


@dataclass
class FakeServer:
    """What the server was sent, in the order of arrival.

    After the first request, which is answered, none is before `meet` are there at once: so
    concurrency shows without a clock, and a client that never has so many under way gets nothing.
    """

    script: Script
    models: Reply = field(default_factory=lambda: Reply({"data": []}))
    look: Callable[[Any], Reply] | None = None  # stands in the place of `models`
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    meet: int = 0
    busy: int = 0
    busiest: int = 0
    met: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    scheme: str = "http"

    @property
    def root(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return self._send(self.look(request) if self.look else self.models)
        body = await request.read()
        number = len(self.bodies)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.paths.append(request.path_qs)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        if self.busy >= self.meet:
            self.met.set()
        if number:
            await self.met.wait()
        reply = self.script(json.loads(body), number)
        self.busy -= 1
        if reply.cut:
            assert request.transport is not None
            request.transport.abort()
        return self._send(reply)

    async def version(self, _: web.Request) -> web.Response:
        return self._send(Reply({"version": "0.33"}))  # a page outside the API, as vLLM's

    def _send(self, reply: Reply) -> web.Response:
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        return web.Response(text=text, status=reply.status, headers=reply.headers)


@contextmanager
def serving(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[FakeServer]:
    """Runs a server until the block ends; its port is free and its own."""
    server = FakeServer(script, scheme="https" if tls else "http")
    with in_thread() as loop:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/v1/{rest:.*}", server.answer)
        app.router.add_route("*", "/openai/{rest:.*}", server.answer)  # as Azure's paths begin
        app.router.add_get("/version", server.version)
        runner = web.AppRunner(app, shutdown_timeout=0.1)

        async def start() -> int:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            return int(runner.addresses[0][1])

        server.port = asyncio.run_coroutine_threadsafe(start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()


@dataclass
class ForwardProxy:
    """A tiny HTTP proxy: `CONNECT` is tunnelled, absolute addresses are forwarded."""

    heads: list[str] = field(default_factory=list)
    port: int = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(head)
        method, target, _ = head.split(" ", 2)
        host, _, port = target.removeprefix("http://").split("/", 1)[0].partition(":")
        upstream, onward = await asyncio.open_connection(host, int(port))
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            onward.write(head.encode("latin-1"))
        await asyncio.gather(_pump(reader, onward), _pump(upstream, writer))


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()


@contextmanager
def proxying() -> Iterator[ForwardProxy]:
    """Runs a forward proxy until the block ends."""
    proxy = ForwardProxy()
    with in_thread() as loop:

        async def start() -> asyncio.Server:
            return await asyncio.start_server(proxy.accept, "127.0.0.1", 0)

        server = asyncio.run_coroutine_threadsafe(start(), loop).result()
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            loop.call_soon_threadsafe(server.close)


@contextmanager
def in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:

        async def finish() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(finish(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


# --- asking it ----------------------------------------------------------------------------


def request(text: str = "Why?", system: str | None = None, **more: Any) -> Request:
    messages = [Message.of("system", system)] if system else []
    sampling = more.pop("sampling", Sampling(temperature=0.7, max_tokens=64, seed=5))
    messages.append(Message.of("user", text))
    return Request("openai", "m", tuple(messages), sampling=sampling, **more)


def ask(backend: OpenAI, *requests: Request) -> list[Generation]:
    """All at once, by a clock that only waits move; the waits are kept in `backend.waits`."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backend.patience = Patience(clock=lambda: sum(waits), sleep=sleep)

    async def run() -> list[Generation]:
        return list(await asyncio.gather(*(backend.generate(one) for one in requests)))

    answers = asyncio.run(run())
    backend.waits = waits  # type: ignore[attr-defined]
    return answers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
