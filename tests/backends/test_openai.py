"""The `openai` backend against real servers on 127.0.0.1, scripted to behave well and badly."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import ssl
import subprocess
from collections.abc import Sequence
from email.utils import formatdate
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from fake_server import Reply, completion, proxying, refusal, serving

from harness.backends.openai import OpenAI, retry_after
from harness.contracts import Backend
from harness.identity import digest, request_key
from harness.plugins import create
from harness.records import Generation, HarnessError, Media, Message, Part, Request, Sampling

KEY = "sk-planted-7f3a9c51"
PNG = b"\x89PNG not really"


def request(text: str = "Why?", system: str | None = None, **more: Any) -> Request:
    messages = [Message.of("system", system)] if system else []
    sampling = more.pop("sampling", Sampling(temperature=0.7, max_tokens=64, seed=5))
    messages.append(Message.of("user", text))
    return Request("openai", "m", tuple(messages), sampling=sampling, **more)


def ask(backend: OpenAI, *requests: Request) -> list[Generation]:
    """All at once, without waiting between retries; the waits are kept in `backend.waits`."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backend._sleep = sleep

    async def run() -> list[Generation]:
        return list(await asyncio.gather(*(backend.generate(one) for one in requests)))

    answers = asyncio.run(run())
    backend.waits = waits  # type: ignore[attr-defined]
    return answers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refuses(*names: str) -> Any:
    """A server that knows none of these parameters and says so, one at a time."""

    def script(body: dict[str, Any], _: int) -> Reply:
        for name in names:
            if name == "system" and any(m["role"] == "system" for m in body["messages"]):
                return refusal("System role not supported")
            if name in body:
                return refusal(f"Unsupported parameter: '{name}' is not supported", param=name)
        return completion()

    return script


# --- the request --------------------------------------------------------------------------


def test_the_suite_finds_it_by_name_and_it_is_a_backend() -> None:
    backend = create("backends", "openai", model="m", concurrency=3, images=True, seed=False)
    assert isinstance(backend, Backend)
    assert backend.capabilities.concurrency == 3
    assert backend.capabilities.images
    assert not backend.capabilities.seed


def test_every_setting_of_a_request_reaches_the_server() -> None:
    schema = {"type": "object"}
    sampling = Sampling(0.2, 0.9, 40, 33, ("\n\n",), 7)
    wanted = {"logprobs": 3, "token_ids": True}
    with serving(lambda *_: completion()) as server:
        backend = OpenAI(
            "org/m",
            server.url,
            headers={"X-Team": "eyes"},
            chat_template_kwargs={"enable_thinking": False},
            extra_body={"min_p": 0.1},
        )
        ask(backend, request("Why?", "Be brief.", sampling=sampling, schema=schema, extras=wanted))
    assert server.requests == [
        {
            "model": "org/m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Why?"},
            ],
            "max_completion_tokens": 33,
            "temperature": 0.2,
            "top_p": 0.9,
            "top_k": 40,
            "stop": ["\n\n"],
            "seed": 7,
            "logprobs": True,
            "top_logprobs": 3,
            "return_token_ids": True,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": schema, "strict": True},
            },
            "chat_template_kwargs": {"enable_thinking": False},
            "min_p": 0.1,
        }
    ]
    assert server.headers[0]["X-Team"] == "eyes"
    assert server.paths == ["/v1/chat/completions"]


def test_the_same_request_is_the_same_bytes_with_sorted_keys() -> None:
    with serving(lambda *_: completion()) as server:
        for _ in range(2):
            ask(OpenAI("m", server.url), request("µ–😀", "Sei kurz.", schema={"b": 1, "a": 2}))
    first, second = server.bodies
    assert first == second
    text = first.decode()
    assert text == json.dumps(
        json.loads(text), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )


def test_images_go_as_data_uris_between_the_texts_in_their_order() -> None:
    parts = (Part("Before"), Part(media=Media("0" * 64, "image/png", PNG)), Part("after"))
    asked = Request("openai", "m", (Message("user", parts),))
    with serving(lambda *_: completion()) as server:
        ask(OpenAI("m", server.url, images=True), asked)
    content = server.requests[0]["messages"][0]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "text"]
    uri = content[1]["image_url"]["url"]
    assert base64.b64decode(uri.removeprefix("data:image/png;base64,")) == PNG


def test_an_undeclared_image_is_not_sent() -> None:
    media = Part(media=Media("0" * 64, "image/png", PNG))
    asked = Request("openai", "m", (Message("user", (media,)),))
    with serving(lambda *_: completion()) as server:
        (answer,) = ask(OpenAI("m", server.url), asked)
    assert answer.outcome == "server"
    assert "images: true" in str(answer.error)
    assert not server.bodies


def test_without_a_system_role_the_system_text_opens_the_first_user_message() -> None:
    image = Part(media=Media("0" * 64, "image/png", PNG))
    shown = Request("openai", "m", (Message.of("system", "S"), Message("user", (image,))))
    with serving(lambda *_: completion()) as server:
        ask(OpenAI("m", server.url, system_role=False, images=True), request("U", "S"), shown)
    text, parts = (body["messages"] for body in server.requests)
    assert text == [{"role": "user", "content": "S\n\nU"}]
    assert parts[0]["content"][0] == {"type": "text", "text": "S"}


def test_what_is_declared_as_not_taken_is_never_sent() -> None:
    with serving(lambda *_: completion()) as server:
        (answer,) = ask(OpenAI("m", server.url, temperature=False, seed=False), request())
    assert not {"temperature", "seed"} & set(server.requests[0])
    assert answer.notes == ()


def test_what_changes_an_answer_changes_the_request_key() -> None:
    fields: Sequence[dict[str, Any]] = (
        {},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"extra_body": {"min_p": 0.1}},
        {"system_role": False},
        {"temperature": False},
        {"extras": {"logprobs": 2}},
    )
    keys = {request_key(request(extras=OpenAI("m", **field).extras)) for field in fields}
    assert len(keys) == len(fields)
    assert digest(OpenAI("m", api_key=KEY, proxy="http://p:1").extras) == digest({})


def test_lone_surrogates_in_a_prompt_are_sent_as_valid_unicode() -> None:
    with serving(lambda *_: completion("fine \ud800 \0")) as server:
        (answer,) = ask(OpenAI("m", server.url), request("a\ud800b"))
    assert server.requests[0]["messages"][0]["content"] == "a\ufffdb"
    assert answer.text == "fine \ufffd \ufffd"


# --- what servers do not take -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("temperature", "temperature refused by the server and left out"),
        ("seed", "seed refused by the server and left out"),
        ("system", "system role refused by the server; its text opens the first user message"),
        (
            "max_completion_tokens",
            "max_completion_tokens refused by the server; max_tokens sent instead",
        ),
    ],
)
def test_a_refused_parameter_is_left_out_remembered_and_noted(name: str, note: str) -> None:
    with serving(refuses(name)) as server:
        backend = OpenAI("m", server.url)
        first = ask(backend, request("1", "S"))
        later = ask(backend, request("2", "S"), request("3", "S"))
    assert [answer.notes for answer in (*first, *later)] == [(note,)] * 3
    assert [answer.outcome for answer in (*first, *later)] == ["ok"] * 3
    assert len(server.bodies) == 4


@pytest.mark.parametrize("names", list(permutations(["max_completion_tokens", "max_tokens"])))
def test_the_limit_of_tokens_keeps_its_value_under_the_other_name(names: tuple[str, str]) -> None:
    declared, other = names
    with serving(refuses(declared)) as server:
        ask(OpenAI("m", server.url, max_tokens_field=declared), request())
    assert [body.get(other) for body in server.requests] == [None, 64]


def test_a_server_that_takes_next_to_nothing_is_asked_once_more_for_each() -> None:
    names = ("system", "temperature", "seed", "max_completion_tokens", "max_tokens")
    with serving(refuses(*names)) as server:
        (answer,) = ask(OpenAI("m", server.url), request("U", "S"))
    assert answer.outcome == "ok"
    assert len(server.bodies) == 1 + len(names)
    assert set(server.requests[-1]) == {"model", "messages"}


def test_a_burst_learns_each_refusal_once() -> None:
    with serving(refuses("temperature", "seed", "max_completion_tokens")) as server:
        backend = OpenAI("m", server.url)
        answers = ask(backend, *(request(str(i)) for i in range(60)))
    assert len(server.bodies) == 60 + 3
    assert all(len(answer.notes) == 3 for answer in answers)


def test_a_request_that_never_had_the_parameter_carries_no_note() -> None:
    with serving(refuses("temperature")) as server:
        backend = OpenAI("m", server.url)
        _, plain = ask(backend, request(), request("2", sampling=Sampling(max_tokens=9)))
    assert plain.notes == ()


def test_a_limit_that_the_server_ignores_is_noted() -> None:
    choice = {"message": {"content": "long"}, "finish_reason": "stop"}
    body = {"choices": [choice], "usage": {"completion_tokens": 900}}
    with serving(lambda *_: Reply(body)) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    assert "max_tokens_field" in answer.notes[0]


# --- failures and retries -----------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_passing_failure_is_asked_again_with_growing_waits(status: int) -> None:
    def script(_: Any, number: int) -> Reply:
        return completion() if number == 3 else Reply("busy", status)

    with serving(script) as server:
        backend = OpenAI("m", server.url)
        (answer,) = ask(backend, request())
    assert answer.outcome == "ok"
    waits = backend.waits  # type: ignore[attr-defined]
    assert len(waits) == 3
    for i, wait in enumerate(waits):
        assert 0.25 * 2**i <= wait <= 0.5 * 2**i


def test_the_jitter_is_drawn_from_the_request_alone() -> None:
    waits = []
    with serving(lambda *_: Reply("busy", 503)) as server:
        for text in ("1", "1", "2"):
            backend = OpenAI("m", server.url, max_retries=3)
            ask(backend, request(text))
            waits.append(backend.waits)  # type: ignore[attr-defined]
    assert waits[0] == waits[1] != waits[2]


def test_a_failure_that_a_gateway_sends_with_status_200_is_asked_again() -> None:
    busy = Reply({"error": {"message": "upstream is busy", "code": 502}})
    with serving(lambda _, number: completion() if number else busy) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    assert answer.outcome == "ok"


def test_a_broken_connection_is_asked_again() -> None:
    script = lambda _, number: completion() if number else Reply(cut=True)  # noqa: E731
    with serving(script) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    assert answer.outcome == "ok"
    assert len(server.bodies) == 2


def test_a_failure_that_stays_is_given_up_after_the_retries() -> None:
    with serving(lambda *_: Reply({"error": {"message": "out of memory"}}, 500)) as server:
        (answer,) = ask(OpenAI("m", server.url, max_retries=2), request())
    assert answer.outcome == "server"
    assert "out of memory" in str(answer.error)
    assert "3 times" in str(answer.error)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("reply", "outcome", "says"),
    [
        (refusal("temperature must be positive"), "server", "must be positive"),
        (refusal("The model does not exist", 404), "server", "does not exist"),
        (refusal("no", 401), "server", "asks for an API key"),
        (refusal("not in your country", 403), "server", "not in your country"),
        (refusal("x", code="context_length_exceeded"), "too_long", "too long"),
        (refusal("You exceeded your quota", 429, code="insufficient_quota"), "server", "quota"),
        (Reply("moved", 301, {"Location": "http://127.0.0.1:9/"}), "server", "base_url"),
        (Reply("", 200), "server", "not JSON"),
        (Reply({"object": "list"}), "server", "no choices"),
        (refusal("x", code="content_filter"), "refusal", ""),
    ],
)
def test_a_failure_that_would_come_again_is_not_asked_again(
    reply: Reply, outcome: str, says: str
) -> None:
    with serving(lambda *_: reply) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    assert answer.outcome == outcome
    assert says in (answer.error or "")
    assert len(server.bodies) == 1


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    busy = Reply("busy", 429, {"Retry-After": "17"})
    with serving(lambda _, number: completion() if number else busy) as server:
        backend = OpenAI("m", server.url)
        ask(backend, request())
    assert backend.waits == [17]  # type: ignore[attr-defined]


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert retry_after({"retry-after-ms": "1500", "Retry-After": "9"}) == 1.5
    assert retry_after({"Retry-After": "2.5"}) == 2.5
    assert retry_after({"Retry-After": formatdate(0, usegmt=True)}) == 0
    assert (retry_after({"Retry-After": formatdate(4e9, usegmt=True)}) or 0) > 1e6
    for text in ("", "soon", "nan", "-3", "inf"):
        assert retry_after({"Retry-After": text}) is None


def test_a_silent_server_is_given_one_more_chance() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        backend = OpenAI("m", url, timeout=0.05)
        (answer,) = ask(backend, request())
    assert answer.outcome == "transport"
    assert "nothing came within 0.05 s" in str(answer.error)
    assert len(backend.waits) == 1  # type: ignore[attr-defined]


def test_a_server_that_is_not_there_is_a_transport_failure_told_at_once() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    backend = OpenAI("m", url)
    (answer,) = ask(backend, request())
    assert answer.outcome == "transport"
    assert answer.error == f"no answer from {url}: connection refused"
    assert backend.waits == []  # type: ignore[attr-defined]
    assert asyncio.run(backend.health()) == f"there is no server at {url}: connection refused"


def test_an_unknown_host_is_a_transport_failure() -> None:
    (answer,) = ask(OpenAI("m", "http://no-such-host.invalid/v1"), request())
    assert answer.outcome == "transport"
    assert "no-such-host.invalid" in str(answer.error)


@pytest.mark.parametrize(
    ("models", "script", "says"),
    [
        (Reply({"data": []}), refuses(), None),
        (Reply("no", 404), lambda *_: refusal("model is required"), None),
        (Reply("no", 404), lambda *_: Reply("no", 404), "/v1"),
        (Reply("no", 401), refuses(), "API key"),
        (Reply("loading", 503), refuses(), "not ready"),
    ],
)
def test_health_says_what_is_wrong_before_anything_is_sent(
    models: Reply, script: Any, says: str | None
) -> None:
    with serving(script) as server:
        server.models = models
        trouble = asyncio.run(OpenAI("m", server.url).health())
    assert (
        (trouble is None) if says is None else (says in str(trouble) and server.url in str(trouble))
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"base_url": "localhost:8000/v1"}, {"base_url": "ftp://host/v1"}, {"timeout": 0},
        {"concurrency": 0}, {"max_retries": -1}, {"max_tokens_field": "limit"},
        {"extras": {"logprob": 1}}, {"ca_bundle": "missing.pem"}, {"proxy": "socks5://host:1"},
        {"headers": {"X": "a\nb"}}, {"timeout": "2m"}, {"concurrency": 1.5}, {"images": "no"},
        {"headers": ["X: a"]}, {"extra_body": "min_p"}, {"base_url": 8000}, {"proxy": "::"},
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_right_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="backend 'openai'"):
        OpenAI("m", **fields)


# --- load ---------------------------------------------------------------------------------


def test_two_hundred_requests_arrive_once_each_in_parallel_and_answers_keep_their_order() -> None:
    def echo(body: dict[str, Any], number: int) -> Reply:
        if number % 50 == 7:
            return Reply("busy", 503)
        return completion(body["messages"][0]["content"].upper())

    texts = [f"request {i}" for i in range(200)]
    with serving(echo) as server:
        server.meet = 16
        answers = ask(OpenAI("m", server.url, concurrency=16, timeout=20), *map(request, texts))
    assert [answer.text for answer in answers] == [text.upper() for text in texts]
    retried = 4
    assert len(server.bodies) == 200 + retried
    assert {body["messages"][0]["content"] for body in server.requests} == set(texts)
    assert server.busiest == 16


def test_one_backend_serves_several_event_loops_started_or_not() -> None:
    async def started(backend: OpenAI) -> Generation:
        await backend.start()
        answer = await backend.generate(request())
        await backend.stop()
        await backend.stop()
        return answer

    with serving(lambda *_: completion()) as server:
        backend = OpenAI("m", server.url)
        answers = [
            *ask(backend, request()),
            asyncio.run(started(backend)),
            *ask(backend, request()),
        ]
        assert backend._pool is None
    assert [answer.outcome for answer in answers] == ["ok"] * 3


# --- secrets, proxy, TLS ------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
def test_a_key_is_sent_and_stands_nowhere_else(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    word = "another-planted-secret"

    def script(*_: Any) -> Reply:
        said = f"Incorrect API key provided: {KEY}, with {word}"
        return completion() if status == 200 else refusal(said, status)

    with serving(script) as server:
        server.models = refusal(f"{KEY} {word}", 500)
        url = server.url.replace("127", "user:pass-planted@127")
        backend = OpenAI("m", url, api_key=f"{KEY}\n", headers={"X-Key": word}, max_retries=1)
        (answer,) = ask(backend, request())
        told = [
            repr(answer),
            repr(backend),
            repr(vars(backend)),
            str(asyncio.run(backend.health())),
        ]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["X-Key"] == word
    for text in (*told, caplog.text):
        assert KEY not in text
        assert word not in text
        assert "pass-planted" not in text


def test_a_key_is_not_told_when_nobody_answers() -> None:
    backend = OpenAI("m", f"http://127.0.0.1:{free_port()}/v1?key={KEY}", api_key=KEY)
    (answer,) = ask(backend, request())
    assert KEY not in f"{answer} {backend} {asyncio.run(backend.health())}"


def test_the_query_of_the_base_url_is_kept() -> None:
    with serving(lambda *_: completion()) as server:
        ask(OpenAI("m", f"{server.url}?api-version=2024-10-21"), request())
    assert server.paths == ["/v1/chat/completions?api-version=2024-10-21"]


def test_a_proxy_is_really_used() -> None:
    with serving(lambda *_: completion("through")) as server, proxying() as proxy:
        (answer,) = ask(OpenAI("m", server.url, proxy=f"http://127.0.0.1:{proxy.port}"), request())
    assert answer.text == "through"
    assert proxy.heads[0].startswith(f"POST {server.url}/chat/completions")


def test_a_proxy_that_is_not_there_is_named_without_its_password() -> None:
    proxy = f"http://name:pass-planted@127.0.0.1:{free_port()}"
    with serving(lambda *_: completion()) as server:
        (answer,) = ask(OpenAI("m", server.url, proxy=proxy), request())
    assert answer.outcome == "transport"
    assert "proxy" in str(answer.error)
    assert "pass-planted" not in str(answer)
    assert not server.bodies


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that only its own file vouches for, and a server's context."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "ca.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


def test_a_ca_bundle_decides_whether_a_server_is_trusted(
    certificates: tuple[Path, ssl.SSLContext],
) -> None:
    bundle, context = certificates
    with serving(lambda *_: completion("secret"), tls=context) as server, proxying() as proxy:
        trusted = OpenAI("m", server.url, ca_bundle=bundle)
        tunnelled = OpenAI(
            "m", server.url, ca_bundle=bundle, proxy=f"http://127.0.0.1:{proxy.port}"
        )
        distrusted = OpenAI("m", server.url)
        (good,), (far,), (bad,) = (ask(one, request()) for one in (trusted, tunnelled, distrusted))
    assert (good.text, far.text) == ("secret", "secret")
    assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} ")
    assert bad.outcome == "transport"
    assert "ca_bundle" in str(bad.error)
    assert len(server.bodies) == 2


def test_https_to_a_server_without_tls_is_told() -> None:
    with serving(lambda *_: completion()) as server:
        (answer,) = ask(OpenAI("m", server.url.replace("http:", "https:")), request())
    assert answer.outcome == "transport"
    assert "TLS" in str(answer.error)
