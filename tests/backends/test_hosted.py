"""Hosted services: OpenAI's own client against a stand-in server on 127.0.0.1."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import socket
import ssl
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from fake_server import (
    Reply,
    ask,
    completion,
    free_port,
    proxying,
    refusal,
    request,
    serving,
)

from harness import documents, resolve, suite
from harness.backends.openai import OpenAI
from harness.identity import digest, request_key
from harness.records import Generation, HarnessError

KEY = "sk-planted-7f3a9c51"
TOKEN = "eyJ-planted-token"
CLIENTS = ("aiohttp", "openai")


def hosted(url: str, **more: Any) -> OpenAI:
    fields: dict[str, Any] = {"api_key": KEY, "client": "openai", **more}
    return OpenAI("m", url, **fields)


# --- what is sent -------------------------------------------------------------------------


def test_both_clients_send_the_same_bytes_to_the_same_address() -> None:
    with serving(lambda *_: completion()) as server:
        for client in CLIENTS:
            url = f"{server.url}?tier=a%20b"
            ask(OpenAI("m", url, KEY, client=client), request("µ😀", "Sei kurz.", schema={"a": 1}))
    assert server.bodies[0] == server.bodies[1]
    assert [unquote_plus(path) for path in server.paths] == ["/v1/chat/completions?tier=a b"] * 2
    assert {sent["Authorization"] for sent in server.headers} == {f"Bearer {KEY}"}


def test_organisation_project_and_headers_of_ones_own_are_sent() -> None:
    with serving(lambda *_: completion()) as server:
        ask(
            hosted(server.url, organization="org-1", project="proj-2", headers={"X-T": "eyes"}),
            request(),
        )
    sent = {name.lower(): value for name, value in server.headers[0].items()}
    assert (sent["openai-organization"], sent["openai-project"]) == ("org-1", "proj-2")
    assert sent["x-t"] == "eyes"


def test_what_the_environment_says_to_the_client_takes_no_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY",
                 "AZURE_OPENAI_AD_TOKEN", "OPENAI_API_VERSION"):  # fmt: skip
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Also: from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(lambda *_: completion()) as server:
        answers = ask(hosted(server.url), request())
        answers += ask(hosted(server.root, api_version="2024-10-21"), request())
    assert [answer.outcome for answer in answers] == ["ok", "ok"]
    assert "from-the-environment" not in f"{server.headers} {server.paths}"


# --- Azure --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/openai"])
def test_azure_is_asked_by_deployment_and_api_version(path: str) -> None:
    with serving(lambda *_: completion()) as server:
        backend = hosted(
            server.root + path, api_version="2024-10-21", azure_deployment="eyes-deployment"
        )
        (answer,) = ask(backend, request())
        trouble = asyncio.run(backend.health())
    assert answer.outcome == "ok"
    assert trouble is None
    assert server.paths == [
        "/openai/deployments/eyes-deployment/chat/completions?api-version=2024-10-21"
    ]
    assert server.headers[0]["api-key"] == KEY
    assert "Authorization" not in server.headers[0]


def test_a_deployment_is_called_like_the_model_unless_it_is_named() -> None:
    with serving(lambda *_: completion()) as server:
        ask(hosted(server.root, api_version="v"), request())
    assert server.paths == ["/openai/deployments/m/chat/completions?api-version=v"]


def test_azures_responses_lie_at_no_deployment_and_name_it_as_the_model() -> None:
    with serving(lambda *_: completion()) as server:
        backend = hosted(server.root, api_version="v", azure_deployment="eyes", api="responses")
        ask(backend, request())
    assert server.paths == ["/openai/responses?api-version=v"]
    assert server.requests[0]["model"] == "eyes"


# --- tokens -------------------------------------------------------------------------------


def tokens_in_turn() -> Any:
    given = iter(range(1, 99))
    return lambda: f"{TOKEN}-{next(given)}"


@pytest.mark.parametrize("azure", [False, True])
def test_a_token_is_fetched_once_and_again_where_it_is_refused(azure: bool) -> None:
    def script(_: Any, number: int) -> Reply:
        stale = server.headers[-1]["Authorization"] == f"Bearer {TOKEN}-1" and number > 1
        return refusal(f"{TOKEN}-1 has expired", 401) if stale else completion()

    fields = {"api_version": "v"} if azure else {}
    with serving(script) as server:
        url = server.root if azure else server.url
        backend = hosted(url, api_key=None, token_provider=tokens_in_turn(), **fields)
        answers = [ask(backend, request(text))[0] for text in "abcd"]
    assert [answer.outcome for answer in answers] == ["ok"] * 4
    used = [sent["Authorization"].rpartition("-")[2] for sent in server.headers]
    assert used == ["1", "1", "1", "2", "2"]


def test_a_burst_fetches_one_token() -> None:
    fetched: list[int] = []

    def provider() -> str:
        fetched.append(1)
        return TOKEN

    with serving(lambda *_: completion()) as server:
        backend = hosted(server.url, api_key=None, token_provider=provider)
        ask(backend, *(request(str(i)) for i in range(20)))
    assert len(fetched) == 1
    assert len(server.bodies) == 20


def test_a_token_of_a_command_or_a_function_beside_the_suite_is_used(tmp_path: Path) -> None:
    (tmp_path / "sign_in.py").write_text(f"async def token():\n    return '{TOKEN}'\n", "utf-8")
    ways: list[dict[str, Any]] = [
        {"token_command": [sys.executable, "-c", f"print('{TOKEN}')"]},
        {"token_command": f"{sys.executable} -c \"print('{TOKEN}')\""},
        {"token_provider": "./sign_in.py:token", "beside": str(tmp_path)},
    ]
    with serving(lambda *_: completion()) as server:
        for way in ways:
            ask(hosted(server.url, api_key=None, **way), request())
    assert [sent["Authorization"] for sent in server.headers] == [f"Bearer {TOKEN}"] * 3


def test_a_token_that_cannot_be_fetched_is_told_and_nothing_is_sent() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('run az login first')", KEY]
    with serving(lambda *_: completion()) as server:
        backend = hosted(server.url, api_key=None, token_command=command)
        (answer,) = ask(backend, request())
        trouble = str(asyncio.run(backend.health()))
    assert not server.bodies
    assert answer.outcome == "server"
    for said in (str(answer.error), trouble):
        assert "run az login first" in said
        assert KEY not in said


def test_a_token_that_is_refused_twice_is_told() -> None:
    with serving(lambda *_: refusal(f"bad token {TOKEN}", 401)) as server:
        backend = hosted(server.url, api_key=None, token_provider=lambda: TOKEN)
        (answer,) = ask(backend, request())
    assert len(server.bodies) == 2
    assert "refuses the token" in str(answer.error)
    assert TOKEN not in str(answer)


# --- the same outcomes --------------------------------------------------------------------

REPLIES = {
    "answer": completion("because", usage=1),
    "refusal": completion(None, refusal="I cannot"),
    "cut off": completion("becau", "length"),
    "empty": completion(""),
    "filtered": refusal("x", code="content_filter"),
    "too long": refusal("x", code="context_length_exceeded"),
    "no key": refusal("no", 401),
    "forbidden": refusal("not in your country", 403),
    "no model": refusal("The model does not exist", 404),
    "quota": refusal("You exceeded your quota", 429, code="insufficient_quota"),
    "elsewhere": Reply("moved", 301, {"Location": "http://127.0.0.1:9/"}),
    "nothing": Reply("", 200),
    "no choices": Reply({"object": "list"}),
    "cut JSON": Reply('{"choices": [{"mess'),
    "overloaded": Reply("busy", 503, {"Retry-After": "17"}),
    "gateway": Reply({"error": {"message": "upstream is busy", "code": 502}}),
    "no temperature": refusal("Unsupported parameter: 'temperature' is not supported"),
    "broken off": Reply(cut=True),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_the_same_generation_whoever_carried_it(name: str) -> None:
    found = []
    for client in CLIENTS:
        with serving(lambda *_: REPLIES[name]) as server:
            backend = OpenAI("m", server.url, KEY, client=client, max_retries=1)
            (answer,) = ask(backend, request())
            said = str(answer.error).replace(str(server.port), "PORT")
            waits = len(backend.waits)  # type: ignore[attr-defined]
            found.append(
                (dataclasses.replace(answer, error=said, seconds=0.0), waits, len(server.bodies))
            )
    assert found[0] == found[1]


def unreachable(kind: str) -> tuple[str, dict[str, Any], Any]:
    """An address behind which nobody answers, and what has to live meanwhile."""
    if kind == "refused":
        return f"http://127.0.0.1:{free_port()}/v1", {}, None
    if kind == "unknown":
        return "http://no-such-host.invalid/v1", {}, None
    if kind == "proxy":
        proxy = f"http://name:pass-planted@127.0.0.1:{free_port()}"
        return "http://127.0.0.1:9/v1", {"proxy": proxy}, None
    silent = socket.create_server(("127.0.0.1", 0))
    return f"http://127.0.0.1:{silent.getsockname()[1]}/v1", {"timeout": 0.05}, silent


@pytest.mark.parametrize("kind", ["refused", "unknown", "proxy", "silent"])
def test_no_answer_is_told_in_the_same_words_whoever_asked(kind: str) -> None:
    found = []
    url, fields, alive = unreachable(kind)
    for client in CLIENTS:
        backend = OpenAI("m", url, KEY, client=client, **fields)
        (answer,) = ask(backend, request())
        found.append((answer, len(backend.waits), asyncio.run(backend.health())))  # type: ignore[attr-defined]
    if alive is not None:
        alive.close()
    assert found[0] == found[1]
    assert found[0][0].outcome == "transport"
    assert "pass-planted" not in str(found)


def test_a_server_without_trust_and_one_without_tls_are_told_alike(
    certificates: tuple[Path, ssl.SSLContext],
) -> None:
    certificate, tls = certificates
    found: list[list[str]] = []
    for client in CLIENTS:
        said = []
        with serving(lambda *_: completion(), tls) as server:
            trusted: dict[str, Any] = {"ca_bundle": certificate}
            for more in ({}, trusted):
                (answer,) = ask(OpenAI("m", server.url, KEY, client=client, **more), request())
                said.append(str(answer.error or answer.outcome).replace(str(server.port), "PORT"))
        with serving(lambda *_: completion()) as server:
            url = server.url.replace("http:", "https:")
            (answer,) = ask(OpenAI("m", url, KEY, client=client), request())
            said.append(str(answer.error).replace(str(server.port), "PORT"))
        found.append(said)
    assert found[0] == found[1]
    assert found[0][1] == "ok"


def test_a_proxy_is_really_used() -> None:
    with serving(lambda *_: completion()) as server, proxying() as proxy:
        url = f"http://name:pass-planted@127.0.0.1:{proxy.port}"
        (answer,) = ask(hosted(server.url, proxy=url), request())
    assert answer.outcome == "ok"
    assert proxy.heads
    assert "Basic" in proxy.heads[0]


def test_the_clients_own_retries_are_off_and_ours_wait_as_the_service_asks() -> None:
    busy = Reply("busy", 429, {"Retry-After": "17"})
    with serving(lambda _, number: completion() if number else busy) as server:
        backend = hosted(server.url)
        (answer,) = ask(backend, request())
    assert answer.outcome == "ok"
    assert backend.waits == [17]  # type: ignore[attr-defined]
    assert len(server.bodies) == 2


def test_requests_go_at_the_same_time_and_in_several_event_loops() -> None:
    with serving(lambda body, _: completion(body["messages"][0]["content"].upper())) as server:
        server.meet = 4
        backend = hosted(server.url, concurrency=4)
        for _ in range(2):
            answers = ask(backend, request("first"), *(request(f"r{i}") for i in range(8)))
            assert [a.text for a in answers[1:]] == [f"R{i}" for i in range(8)]
    assert server.busiest == 4


# --- what is refused, and what is part of the identity ------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"client": "httpx"}, "client"),
        ({"client": "openai"}, "api_key"),
        ({"api_version": "v"}, "client: openai"),
        ({"organization": "o"}, "client: openai"),
        ({"token_command": "true"}, "client: openai"),
        ({"client": "openai", "api_key": KEY, "token_command": "true"}, "not both"),
        ({"client": "openai", "token_provider": str, "token_command": "true"}, "not both"),
        ({"client": "openai", "token_command": ""}, "empty"),
        ({"client": "openai", "token_command": "'"}, "token_command"),
        ({"client": "openai", "token_provider": 7}, "no function"),
        ({"client": "openai", "token_provider": "json:nothing"}, "nothing"),
        ({"client": "openai", "token_provider": "json"}, "package.module:function"),
        ({"client": "openai", "api_key": KEY, "azure_deployment": "d"}, "api_version"),
        ({"client": "openai", "api_key": KEY, "api_version": "v"}, "endpoint"),
        ({"api": "completions"}, "api is one of"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(HarnessError, match=f"backend 'openai'.*{says}"):
        OpenAI("m", **fields)


def test_the_client_is_no_part_of_a_request_and_the_responses_api_is() -> None:
    plain = OpenAI("m", "http://h/v1", KEY)
    azure = OpenAI("m", "http://h", KEY, client="openai", api_version="v", azure_deployment="d")
    rich = OpenAI(
        "m",
        "http://h/v1",
        client="openai",
        token_provider=lambda: TOKEN,
        organization="o",
        project="p",
    )
    other = OpenAI("m", "http://h/v1", KEY, api="responses")
    keys = [request_key(request(extras=backend.extras)) for backend in (plain, azure, rich, other)]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def identity(model: str, tmp_path: Path) -> str:
    text = f"models: [{{name: m, backend: openai, model: m, {model}}}]"
    return digest(resolve.resolve(documents.parse(text, "suite.yaml"), tmp_path)[1])


@pytest.mark.parametrize(
    "fields",
    [
        "client: openai", "client: openai, organization: o, project: p",
        "client: openai, api_version: v, azure_deployment: d",
        "client: openai, token_command: [az, account]",
        "client: openai, token_provider: './sign_in.py:token'",
    ],
)  # fmt: skip
def test_how_a_service_is_reached_is_no_part_of_the_suites_identity(
    fields: str, tmp_path: Path
) -> None:
    plain = identity("base_url: 'http://h/v1'", tmp_path)
    assert identity(f"base_url: 'http://h/v1', {fields}", tmp_path) == plain
    assert identity("base_url: 'http://h/v1', api: responses", tmp_path) != plain


def test_deployments_are_asked_apart_and_clients_of_one_address_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", KEY)
    (tmp_path / "notes.csv").write_text("id,note\na,Cramps\n", "utf-8")
    azure = {"api_version": "v", "client": "openai", "api_key": "${KEY}", "base_url": "http://h"}
    models = [
        {"name": "one", "azure_deployment": "d1", **azure},
        {"name": "two", "azure_deployment": "d2", **azure},
        {"name": "lean", "base_url": "http://h/v1"},
        {"name": "client", "base_url": "http://h/v1", "client": "openai", "organization": "o"},
    ]
    written = {
        "name": "x",
        "source": {"kind": "table", "path": "notes.csv", "text": "note", "id": "id"},
        "families": ["medical-question"],
        "models": [{"backend": "openai", "model": "m", **model} for model in models],
        "controls": "none",
    }
    path = tmp_path / "suite.json"
    path.write_text(json.dumps(written), "utf-8")
    entries = {model.name: model.entry for model in suite.load(path).models}
    assert entries == {"one": "one", "two": "two", "lean": "lean", "client": "lean"}


def test_what_a_server_shows_of_its_model_is_the_same_whoever_looks() -> None:
    with serving(lambda *_: completion()) as server:
        shown = {"id": "m", "owned_by": "vllm", "root": "/models/m", "max_model_len": 64}
        server.models = Reply({"data": [shown]})
        seen = [asyncio.run(OpenAI("m", server.url, KEY, client=c).observe()) for c in CLIENTS]
    assert seen[0] == seen[1]
    assert seen[0].signs["build"] == "0.33"


# --- secrets ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
@pytest.mark.parametrize("azure", [False, True])
def test_a_token_is_sent_and_stands_nowhere_else(
    status: int, azure: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    reply = completion() if status == 200 else refusal(f"{TOKEN}: no", status)
    with serving(lambda *_: reply) as server:
        server.models = refusal(TOKEN, 500)
        fields = {"api_version": "v"} if azure else {}
        url = server.root if azure else server.url
        backend = hosted(url, api_key=None, token_provider=lambda: TOKEN, max_retries=0, **fields)
        (answer,) = ask(backend, request())
        told = [
            repr(answer),
            repr(backend),
            repr(vars(backend)),
            str(asyncio.run(backend.health())),
        ]
    assert server.headers[0]["Authorization"] == f"Bearer {TOKEN}"
    for text in (*told, caplog.text):
        assert TOKEN not in text


def test_a_failure_carries_no_key_of_the_services() -> None:
    with serving(lambda *_: refusal(f"bad key {KEY}", 400)) as server:
        (answer,) = ask(hosted(server.root, api_version="v"), request())
    assert isinstance(answer, Generation)
    assert KEY not in str(answer)
