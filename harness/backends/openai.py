"""Any server that speaks OpenAI's chat completions: hosted, vLLM, SGLang, TGI, llama.cpp, Ollama.

The transport is aiohttp, or OpenAI's own client for hosted services; retries are ours in both.
What a server does not take (temperature, seed, a system role, `max_completion_tokens`) is found
out once, left out from then on, and said in the notes of every generation it concerns.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp

from harness import fields, secrets
from harness.backends import responses
from harness.backends.chat import media_of
from harness.backends.connection import UNREACHABLE, Pool, Server, asked_to_wait
from harness.backends.hosted import HostedServer, Service
from harness.backends.likelihood import (
    NO_COMPLETIONS,
    NO_LOGPROBS,
    completion_body,
    read_completion,
    unsaid,
)
from harness.backends.replies import (
    error_message,
    read_failure,
    read_reply,
    refused_parameter,
    true_status,
)
from harness.backends.signs import look
from harness.backends.tokens import Provider, TokenError
from harness.backends.tries import Tally
from harness.backends.wire import LIMITS, SETTLED, Wire
from harness.identity import draw
from harness.lines import Line
from harness.records import (
    Capabilities,
    Generation,
    HarnessError,
    Request,
    Sampling,
    Served,
)
from harness.server_gate import Patience, Stopped

_FIRST_WAIT = 0.5  # seconds, doubled with every retry; as in OpenAI's own client
_LONGEST_WAIT = 30.0
_LONGEST_OWN_WAIT = 300.0  # for one request that is denied while others are answered
_HEALTH_TIMEOUT = 10.0
_EXTRAS = ("logprobs", "token_ids")
_APIS = ("chat", "responses")
_CLIENTS = ("aiohttp", "openai")
_PATHS = {"chat": "chat/completions", "responses": "responses"}
_READERS = {"chat": read_reply, "responses": responses.read_response}
_NO_PLACE = (404, 405, 501)


class OpenAI:
    """A model behind an OpenAI-compatible server.

    - `base_url`: up to and with `/v1`; its query is kept (Azure's `api-version`)
    - `api_key`, `headers`: sent, and never written anywhere; a key belongs in one of these
    - `ca_bundle`: a PEM file (or folder) of the authorities to trust instead of the system's
    - `proxy`: an HTTP proxy; those of the environment are not used
    - `timeout`: seconds for one attempt
    - `max_retries`: after 408, 409, 429, 5xx or a broken connection, where others are answered; a
      reply that is no answer (cut JSON, no choices, no body) is asked again twice at most
    - `concurrency`: requests under way at once
    - `images`, `system_role`, `temperature`, `seed`: what the model takes; without a system role
      the system text is put before the first user message
    - `max_tokens_field`: the name of the limit; the other one is tried where it is refused
    - `chat_template_kwargs`, `extra_body`: sent as they are, and part of the request's identity;
      the latter holds nothing that the harness sets
    - `extras`: what is wanted beyond the text: `logprobs: k` (0 to 20), `token_ids: true` (vLLM)
    - `revision`: of the weights served, if you know it
    - `api`: `chat` (completions), or `responses` where a model has only the Responses API; that is
      part of the request's identity
    - `client`: `aiohttp`, or `openai`: OpenAI's own client, for what hosted services need. The
      following want the latter, and like it say how a service is reached, not what is asked:
    - `api_version`: Azure's; `base_url` is then the endpoint, without a path. `azure_deployment` is
      the deployment, where it is not called like the model
    - `token_command`: a command that prints an access token (no shell); `token_provider`: a
      function that returns one, or `package.module:function`, or `./file.py:function` beside the
      suite. A token is used for five minutes, and renewed where it is refused
    - `organization`, `project`: OpenAI's, for accounts in several

    Raises `HarnessError` for a field that cannot be right.
    """

    _where = "backend 'openai'"

    def __init__(
        self,
        model: str,
        base_url: str = "https://api.openai.com/v1",
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        ca_bundle: str | Path | None = None,
        proxy: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 5,
        concurrency: int = 16,
        images: bool = False,
        system_role: bool = True,
        temperature: bool = True,
        seed: bool = True,
        max_tokens_field: str = "max_completion_tokens",
        chat_template_kwargs: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
        revision: str | None = None,
        api: str = "chat",
        client: str = "aiohttp",
        api_version: str | None = None,
        azure_deployment: str | None = None,
        token_command: str | Sequence[str] | None = None,
        token_provider: str | Provider | None = None,
        organization: str | None = None,
        project: str | None = None,
        beside: str | None = None,
    ) -> None:
        fields.seconds(self._where, timeout=timeout)
        fields.whole(self._where, 0, max_retries=max_retries)
        fields.whole(self._where, 1, concurrency=concurrency)
        fields.switches(
            self._where, images=images, system_role=system_role, temperature=temperature, seed=seed
        )
        fields.mappings(
            self._where,
            headers=headers,
            chat_template_kwargs=chat_template_kwargs,
            extra_body=extra_body,
        )
        fields.one_of(self._where, LIMITS, max_tokens_field=max_tokens_field)
        fields.extras(self._where, extras, _EXTRAS)
        fields.one_of(self._where, _APIS, api=api)
        fields.one_of(self._where, _CLIENTS, client=client)
        self._api = api
        names = (*SETTLED, *(responses.SETTLED if api == "responses" else ()))
        settled = next((name for name in names if name in (extra_body or ())), None)
        if settled is not None:
            raise HarnessError(
                f"{self._where}: extra_body may not hold '{settled}', which the harness sets"
            )
        self.model = model
        self.revision = revision
        self.capabilities = Capabilities(
            seed=seed,
            logprobs=True,
            schema=True,
            images=images,
            system_role=system_role,
            temperature=temperature,
            concurrency=concurrency,
        )
        # What changes an answer is part of the request, so it must change its key.
        self.extras: dict[str, Any] = dict(extras or {})
        if chat_template_kwargs:
            self.extras["chat_template_kwargs"] = dict(chat_template_kwargs)
        if extra_body:
            # what a request holds is stored, and so is no secret
            self.extras["extra_body"] = secrets.concealed(extra_body)
        if not system_role:
            self.extras["system_role"] = False
        if not temperature:
            self.extras["temperature"] = False
        if api != "chat":
            self.extras["api"] = api
        service = Service(
            api_version, azure_deployment, organization, project, token_command, token_provider
        )
        reached = (base_url, api_key, headers or {}, ca_bundle, proxy)
        if client == "openai":
            folder = Path(beside) if beside is not None else None
            self._server: Server = HostedServer.of(model, *reached, service, folder)
        elif service.given():
            raise HarnessError(f"{self._where}: {service.given()[0]} needs client: openai")
        else:
            self._server = Server.at(*reached)
        self.place: str | None = self._server.shown
        self._timeout = timeout
        self._max_retries = max_retries
        self._wire = Wire(
            model,
            api,
            self.capabilities,
            max_tokens_field,
            dict(chat_template_kwargs) if chat_template_kwargs else None,
            dict(extra_body or {}),
        )
        self._tried: set[frozenset[str]] = set()  # sets of parameters it has answered to
        self._unable: str | None = None  # why it cannot say how likely an answer is
        self._pool: Pool | None = None
        self._held: Pool | None = None
        self.line: Line | None = None  # set by a run, for as long as it asks
        self.patience = Patience()  # outside a run

    def __repr__(self) -> str:
        return f"OpenAI(model={self.model!r}, base_url={self._server.shown!r})"

    async def start(self) -> None:
        """Opens the pool of connections for this event loop and holds it until `stop`."""
        pool = self._join()
        if self._held is pool:
            pool.users -= 1
        self._held = pool

    async def stop(self) -> None:
        """Lets go of it; harmless where it was never held."""
        pool, self._held = self._held, None
        if pool is not None:
            await self._leave(pool)

    async def unreachable(self) -> str | None:
        """Why no connection to the server can be made, in a sentence; `None` where one can."""
        server, seconds = self._server, min(self._timeout, _HEALTH_TIMEOUT)
        try:
            async with self._connected() as pool:
                await server.send(pool.session, "models", None, seconds)
        except TokenError:
            return None  # nobody can sign in, but somebody is there
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"there is no server at {server.shown}: {server.reason(error, seconds)}"
        return None

    async def listed(self) -> tuple[str, ...]:
        """The models that the server lists; none where it does not say."""
        seconds = min(self._timeout, _HEALTH_TIMEOUT)
        try:
            async with self._connected() as pool:
                _, body, _ = await self._server.send(pool.session, "models", None, seconds)
            rows = json.loads(body)["data"]
            return tuple(self._server.hide(str(row["id"])) for row in rows)
        except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError):
            return ()

    async def health(self) -> str | None:
        """`None` where the server answers `GET {base_url}/models`, else why not, in a sentence."""
        server, seconds = self._server, min(self._timeout, _HEALTH_TIMEOUT)
        try:
            async with self._connected() as pool:
                status, body, _ = await server.send(pool.session, "models", None, seconds)
                if status in (404, 405):  # some list no models; an empty request costs nothing
                    asked = await server.send(pool.session, _PATHS[self._api], b"{}", seconds)
                    status = 200 if asked[0] in (400, 422) else asked[0]
        except TokenError as error:
            return f"nobody can sign in at {server.shown}: {server.hide(str(error))}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"there is no server at {server.shown}: {server.reason(error, seconds)}"
        if status in (401, 403):
            return server.denied(status, body)
        if status in (404, 405):
            return f"the server at {server.shown} has no chat completions; does it end in /v1?"
        if status >= 300:
            said = server.hide(error_message(body))
            return f"the server at {server.shown} is not ready: HTTP {status} {said}".rstrip()
        return None

    async def observe(self) -> Served:
        """What the server shows of the model; an empty record where it says nothing.

        A server that is not there shows nothing: whoever asks it next says so.
        """
        server, seconds = self._server, min(self._timeout, _HEALTH_TIMEOUT)
        async with self._connected() as pool:

            async def get(path: str, at_root: bool) -> Any:
                try:
                    where = server.root() if at_root else server
                    status, body, _ = await where.send(pool.session, path, None, seconds)
                    return json.loads(body) if status < 300 else None
                except (aiohttp.ClientError, OSError, ValueError, RecursionError):
                    return None

            return await look(get, self.model)

    async def loglikelihood(self, request: Request) -> Generation:
        """Log-probabilities of a request's continuation behind its messages.

        The server itself says which token ids the messages are (`return_token_ids`), and how likely
        those of the continuation are behind them (`/v1/completions` with `prompt_logprobs`), as
        vLLM does. What another server cannot say, and what ids cannot carry (pictures), is returned
        without numbers, the reason as a note.
        """
        answer = request.continuation or ()
        if media_of(request.messages):
            return unsaid("a server cannot be given a prompt with pictures as token ids")
        if self._api != "chat":
            return unsaid("the Responses API does not say how likely an answer is")
        if self._unable is not None:  # what a server cannot do at all, it is asked once
            return unsaid(self._unable)
        extras = {name: value for name, value in request.extras.items() if name != "logprobs"}
        asked = replace(
            request,
            sampling=Sampling(max_tokens=1),
            schema=None,
            extras={**extras, "token_ids": True},
            continuation=None,
        )
        said = await self.generate(asked)
        if said.error is not None:
            return said
        prompt = said.prompt_token_ids
        if prompt is None:
            self._unable = "the server does not say which token ids a prompt is, as vLLM does"
            return unsaid(self._unable)
        body = completion_body(self.model, prompt, answer)
        async with self._connected() as pool:
            refused, found = await self._attempts(
                pool,
                body,
                ("prompt", "prompt_logprobs"),
                path="completions",
                read=lambda reply: read_completion(reply, prompt, answer),
            )
        if refused is not None:
            found = unsaid(f"the server's /v1/completions does not take {refused}")
        if refused is not None or found.notes in ((NO_COMPLETIONS,), (NO_LOGPROBS,)):
            self._unable = found.notes[0]
        spent = (said.prompt_tokens or 0) + (found.prompt_tokens or 0)
        return replace(found, prompt_tokens=spent) if found.prompt_tokens is not None else found

    async def generate(self, request: Request) -> Generation:
        """The answer; a failure is an outcome with an error, never an exception."""
        wanted = self._wire.wanted_parameters(request)
        async with self._connected() as pool, self._alone(pool, wanted) as release:
            try:
                answer = await self._ask(pool, request, release)
            except (HarnessError, OSError, ValueError) as error:
                said = self._server.hide(str(error))
                return Generation(outcome="server", error=f"the request cannot be made: {said}")
        notes = self._wire.notes(wanted)
        count, limit = answer.completion_tokens, request.sampling.max_tokens
        if count is not None and count > limit:
            notes.append("the server went past the limit of tokens; set max_tokens_field")
        if count is not None and count < limit and answer.outcome == "truncated":
            # A server may lower the limit, to its own or to the positions left, and not say so.
            notes.append(f"the server cut the answer off after {count} of {limit} tokens")
        return replace(answer, notes=(*answer.notes, *notes))

    def body(self, request: Request) -> bytes:
        """The bytes that are sent, less what the server is known to refuse; keys are sorted.

        Raises `HarnessError` for media that the model is not declared to take.
        """
        return self._wire.body(request)

    # --- asking ---------------------------------------------------------------------------

    async def _ask(self, pool: Pool, request: Request, release: Callable[[], None]) -> Generation:
        """Sends a request until it is answered, each time without what was refused."""
        while True:
            sent = self._wire.sent_parameters(request)
            refused, answer = await self._attempts(pool, self.body(request), sent, release)
            if refused is None:
                return answer
            self._wire.reject(refused)

    async def _attempts(
        self,
        pool: Pool,
        body: bytes,
        sent: Collection[str],
        release: Callable[[], None] = lambda: None,
        *,
        path: str | None = None,
        read: Callable[[str], Generation] | None = None,
    ) -> tuple[str | None, Generation]:
        """What of `sent` the server refuses, or else its answer, after as many tries as allowed.

        A failure counts as a try unless the server is away, which pauses all its requests; a denial
        (HTTP 429) does only where nobody else was answered since. `release` is called when the
        first try has failed. An answer with the outcome `not_run` means that nothing was sent.
        """
        line = self.line or pool.line
        path = path or _PATHS[self._api]
        read = read or _READERS[self._api]
        digest = hashlib.sha256(body).hexdigest()
        answer = Generation(outcome="not_run")
        tally = Tally()
        while True:
            try:
                ticket = await line.enter(digest)
            except Stopped as over:
                # A limit of the run is nobody's failure.
                answer = Generation(outcome="not_run") if over.limit else answer
                return None, replace(answer, error=answer.error or str(over))
            tally.begin(ticket)
            backoff = min(_FIRST_WAIT * 2**tally.tries, _LONGEST_WAIT)
            backoff *= (1 + draw(digest, tally.asked - 1)) / 2
            started = time.perf_counter()
            try:
                status, reply, headers = await self._server.send(
                    pool.session, path, body, self._timeout
                )
                status = true_status(status, reply)
                if status >= 300:
                    reply = self._server.hide(reply)  # before it is cut, and a key with it
                refused = refused_parameter(status, reply, sent) if status >= 300 else None
                if refused is not None:
                    return refused, Generation()
                if status in _NO_PLACE and path == "completions":
                    answer = unsaid(NO_COMPLETIONS)
                else:
                    answer = read(reply) if status < 300 else self._failure(status, reply)
                if answer.outcome != "server":
                    line.answered(ticket)
                    return None, replace(answer, seconds=time.perf_counter() - started)
                asked = asked_to_wait(headers)
                if status < 300:
                    answer = replace(answer, failure="malformed reply")
                    again = tally.malformed(line, ticket, answer)
                elif status == 429 and "insufficient_quota" not in reply:
                    again = True
                    if tally.denied(line, ticket, asked, backoff):
                        asked = backoff = 0.0  # the gate makes all of them wait
                else:
                    again = tally.failed(line, ticket, answer, status)
            except (aiohttp.ClientError, OSError) as error:
                reason, asked = self._server.reason(error, self._timeout), None
                said = f"no answer from {self._server.shown}: {reason}"
                answer = Generation(outcome="transport", error=said, failure=reason)
                # Outside a run, whoever refuses, is unknown or untrusted now will be in a second.
                again = tally.silent(line, ticket, reason, isinstance(error, TimeoutError))
                again = again and (self.line is not None or not isinstance(error, UNREACHABLE))
                if (gone := await self._gone()) is not None:
                    line.stop(gone)
            except HarnessError as error:  # nothing could be sent, as without a token
                line.failed(ticket, str(error), away=False, permanent=True)
                raise
            finally:
                line.leave(ticket)
            release()
            if not again or tally.tries > self._max_retries or line.gate.is_open:
                break  # while the server is away, the run decides what is asked
            wait = max(backoff, min(asked or 0.0, _LONGEST_OWN_WAIT))
            if wait:
                await line.pause(wait)
        if tally.asked > 1:
            answer = replace(answer, error=f"{answer.error} (asked {tally.asked} times)")
        return None, self._without_secrets(answer)

    async def _gone(self) -> str | None:
        """Why a server that just failed will never be back; `None` where that is not known."""
        return None

    def _failure(self, status: int, reply: str) -> Generation:
        """What an error status means, without any secret."""
        answer = read_failure(status, reply)
        if status in (401, 403) and answer.outcome == "server":
            answer = replace(answer, error=self._server.denied(status, reply))
        if answer.outcome == "server":
            answer = replace(answer, failure=f"HTTP {status}")
        return self._without_secrets(answer)

    def _without_secrets(self, answer: Generation) -> Generation:
        """A failure in a server's words, which may repeat a key; a filter's are a note."""
        error = None if answer.error is None else self._server.hide(answer.error)
        notes = tuple(self._server.hide(note) for note in answer.notes)
        return replace(answer, text=self._server.hide(answer.text), error=error, notes=notes)

    # --- connections ----------------------------------------------------------------------

    def _join(self) -> Pool:
        """The pool of the running event loop, with one more user."""
        loop = asyncio.get_running_loop()
        if self._pool is None or self._pool.loop is not loop:
            count = self.capabilities.concurrency
            line = Line.alone(self._server.shown, count, self.patience)
            self._pool = Pool.open(loop, line, count, self._server)
        self._pool.users += 1
        return self._pool

    async def _leave(self, pool: Pool) -> None:
        pool.users -= 1
        if pool.users <= 0:
            self._pool = None if self._pool is pool else self._pool
            await pool.session.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Pool]:
        """Keeps the pool open for one request; without `start` the last to leave closes it."""
        pool = self._join()
        try:
            yield pool
        finally:
            await self._leave(pool)

    @asynccontextmanager
    async def _alone(self, pool: Pool, wanted: frozenset[str]) -> AsyncIterator[Callable[[], None]]:
        """Lets the first request with these parameters go alone until its first reply.

        So what the server does not take is refused once, not once for each of a burst.
        """
        if wanted not in self._tried:
            lock = pool.first[wanted]
            await lock.acquire()
            if wanted not in self._tried:
                held = True

                def release() -> None:
                    nonlocal held
                    self._tried.add(wanted)
                    if held:
                        held = False
                        lock.release()

                try:
                    yield release
                finally:
                    release()
                return
            lock.release()
        yield lambda: None
