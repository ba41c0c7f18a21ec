"""Connections: waits that servers ask for, pools, secrets that no message holds, proxies, TLS."""

from __future__ import annotations

import asyncio
import logging
import ssl
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from fake_server import Reply, ask, completion, free_port, proxying, refusal, request, serving

from harness.backends.connection import retry_after
from harness.backends.openai import OpenAI
from harness.records import Generation, HarnessError

KEY = "sk-planted-7f3a9c51"


# --- addresses and waits ------------------------------------------------------------------


def test_retry_after_is_read_in_all_its_forms() -> None:
    assert retry_after({"retry-after-ms": "1500", "Retry-After": "9"}) == 1.5
    assert retry_after({"Retry-After": "2.5"}) == 2.5
    assert retry_after({"Retry-After": formatdate(0, usegmt=True)}) == 0
    assert (retry_after({"Retry-After": formatdate(4e9, usegmt=True)}) or 0) > 1e6
    for text in ("", "soon", "nan", "-3", "inf"):
        assert retry_after({"Retry-After": text}) is None


def test_an_unknown_host_is_a_transport_failure() -> None:
    (answer,) = ask(OpenAI("m", "http://no-such-host.invalid/v1"), request())
    assert answer.outcome == "transport"
    assert "no-such-host.invalid" in str(answer.error)


def test_the_query_of_the_base_url_is_kept() -> None:
    with serving(lambda *_: completion()) as server:
        ask(OpenAI("m", f"{server.url}?api-version=2024-10-21"), request())
    assert server.paths == ["/v1/chat/completions?api-version=2024-10-21"]


# --- secrets ------------------------------------------------------------------------------


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


@pytest.mark.parametrize(
    ("login", "fields"),
    [
        ("name:pass-planted@", {}),
        (":pass-planted@", {}),
        ("pass-planted@", {}),
        ("name:p%40ss-planted@", {}),
        ("", {"headers": {"Authorization": "Basic cGxhbnRlZDpwYXNz"}}),
        ("name:unused-planted@", {"headers": {"authorization": "Token pass-planted"}}),
    ],
)
def test_what_a_login_is_sent_as_is_not_told_either(login: str, fields: dict[str, Any]) -> None:
    with serving(lambda *_: completion()) as server:
        repeated = lambda *_: refusal(f"{server.headers[-1]}", code=400)  # noqa: E731
        server.script = repeated
        url = server.url.replace("127", f"{login}127")
        (answer,) = ask(OpenAI("m", url, **fields), request())
    (sent,) = (v for name, v in server.headers[0].items() if name.lower() == "authorization")
    assert answer.outcome == "server"
    assert "[hidden]" in str(answer.error)
    for secret in (sent.split()[1], "planted", "@"):
        assert secret not in str(answer)


def test_a_secret_that_begins_like_another_is_hidden_whole() -> None:
    headers = {"X-One": "planted-1", "X-Two": "planted-1-and-its-end"}
    with serving(lambda *_: refusal("said: planted-1-and-its-end, planted-1.")) as server:
        (answer,) = ask(OpenAI("m", server.url, headers=headers), request())
    assert "said: [hidden], [hidden]." in str(answer.error)


def test_a_token_is_hidden_without_the_scheme_that_it_was_sent_with() -> None:
    headers = {"Authorization": "Token planted-without-scheme"}
    with serving(lambda *_: refusal("not planted-without-scheme")) as server:
        (answer,) = ask(OpenAI("m", server.url, headers=headers), request())
    assert "not [hidden]" in str(answer.error)


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_server_that_lets_nobody_in_is_quoted_without_the_key(status: int) -> None:
    with serving(lambda *_: completion()) as server:
        server.models = refusal(f"no {KEY} here", status)
        said = str(asyncio.run(OpenAI("m", server.url, api_key=KEY, max_retries=0).health()))
    assert str(status) in said
    assert KEY not in said


def test_a_short_password_is_hidden_and_a_short_header_is_not() -> None:
    with serving(lambda *_: refusal("no pa55, no on")) as server:
        url = server.url.replace("127", "me:pa55@127")
        (answer,) = ask(OpenAI("m", url, headers={"X-Cache": "on"}), request())
    assert "no [hidden], no on" in str(answer.error)


@pytest.mark.parametrize(
    ("url", "fields"),
    [
        ("file://127.0.0.1/etc", {}),
        ("ftp://127.0.0.1/v1", {}),
        ("127.0.0.1/v1", {}),
        ("http://", {}),
        ("http://127.0.0.1/v1", {"proxy": "socks5://127.0.0.1:1"}),
    ],
)
def test_an_address_of_another_kind_is_refused_unshown(url: str, fields: dict[str, str]) -> None:
    with pytest.raises(HarnessError, match=r"no http\(s\) address") as error:
        OpenAI("m", url, **fields)
    assert "127" not in str(error.value)


@pytest.mark.parametrize("text", ["a\nX-Other: b", "a\rb", "a\0b", "schlüssel", "a\x7fb"])
def test_a_header_cannot_hold_another_one(text: str) -> None:
    for fields in ({"api_key": f"planted-{text}"}, {"headers": {"X-Key": f"planted-{text}"}}):
        with pytest.raises(HarnessError, match="printable ASCII only") as error:
            OpenAI("m", "http://127.0.0.1:1/v1", **fields)
        assert "planted" not in str(error.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_key_does_not_follow_a_redirect(status: int) -> None:
    with serving(lambda *_: completion()) as other, serving(lambda *_: completion()) as server:
        to = {"Location": f"{other.url}/chat/completions"}
        server.script = lambda *_: Reply("", status, to)
        (answer,) = ask(OpenAI("m", server.url, api_key=KEY, max_retries=0), request())
    assert answer.outcome == "server"
    assert "correct base_url" in str(answer.error)
    assert other.paths == []


def test_a_filter_that_repeats_the_key_does_not_bring_it_into_the_text() -> None:
    reply = refusal(f"your input was flagged, {KEY}", 403)
    with serving(lambda *_: reply) as server:
        (answer,) = ask(OpenAI("m", server.url, api_key=KEY), request())
    assert answer.outcome == "refusal"
    assert answer.text == ""
    assert "your input was flagged" in answer.notes[0]
    assert KEY not in str(answer)


@pytest.mark.parametrize("status", [200, 400, 403, 422, 500])
def test_a_key_that_a_long_message_is_cut_in_is_not_told_in_part(status: int) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        return Reply("x" * int(body["messages"][0]["content"]) + KEY + " y", status)

    with serving(script) as server:
        backend = OpenAI("m", server.url, api_key=KEY, max_retries=0)
        answers = ask(backend, *(request(str(before)) for before in range(270, 300)))
    said = [str(answer.error) for answer in answers]
    assert any(text.endswith("[hidden]…") for text in said)
    for text in said:
        assert KEY[:4] not in text


def test_a_key_is_not_told_when_nobody_answers() -> None:
    backend = OpenAI("m", f"http://127.0.0.1:{free_port()}/v1?key={KEY}", api_key=KEY)
    (answer,) = ask(backend, request())
    assert KEY not in f"{answer} {backend} {asyncio.run(backend.health())}"


def test_a_proxy_that_is_not_there_is_named_without_its_password() -> None:
    proxy = f"http://name:pass-planted@127.0.0.1:{free_port()}"
    with serving(lambda *_: completion()) as server:
        (answer,) = ask(OpenAI("m", server.url, proxy=proxy), request())
    assert answer.outcome == "transport"
    assert "proxy" in str(answer.error)
    assert "pass-planted" not in str(answer)
    assert not server.bodies


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


# --- proxy and TLS ------------------------------------------------------------------------


def test_a_proxy_is_really_used() -> None:
    with serving(lambda *_: completion("through")) as server, proxying() as proxy:
        (answer,) = ask(OpenAI("m", server.url, proxy=f"http://127.0.0.1:{proxy.port}"), request())
    assert answer.text == "through"
    assert proxy.heads[0].startswith(f"POST {server.url}/chat/completions")


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
