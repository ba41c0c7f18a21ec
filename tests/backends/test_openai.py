"""The `openai` backend against real servers on 127.0.0.1, scripted to behave well and badly."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from fake_server import Reply, ask, completion, free_port, refusal, request, serving

from harness.backends.openai import OpenAI
from harness.contracts import Backend
from harness.identity import digest, request_key
from harness.plugins import create
from harness.records import HarnessError, Media, Message, Part, Request, Sampling

KEY = "sk-planted-7f3a9c51"
PNG = b"\x89PNG not really"


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


def test_models_of_one_server_have_one_place_whatever_key_they_are_asked_with() -> None:
    place = OpenAI("m", "http://one:8000/v1").place
    assert place == OpenAI("n", "http://name:pass@one:8000/v1/?key=k", api_key=KEY).place
    assert place != OpenAI("m", "http://two:8000/v1").place
    assert KEY not in str(place)


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


def test_a_parameter_of_ones_own_may_have_any_name_and_be_refused() -> None:
    with serving(refuses("top(p")) as server:
        (answer,) = ask(OpenAI("m", server.url, extra_body={"top(p": 1, "min_p": 0.1}), request())
    assert answer.notes == ("top(p refused by the server and left out",)
    assert "top(p" not in server.requests[-1]
    assert server.requests[-1]["min_p"] == 0.1


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


@pytest.mark.parametrize(("count", "cut"), [(63, True), (64, False), (None, False)])
def test_an_answer_that_a_server_cut_off_before_the_limit_says_so(
    count: int | None, cut: bool
) -> None:
    choice = {"message": {"content": "half of"}, "finish_reason": "length"}
    body = {"choices": [choice], "usage": {"completion_tokens": count}}
    with serving(lambda *_: Reply(body)) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    said = (f"the server cut the answer off after {count} of 64 tokens",)
    assert (answer.outcome, answer.notes) == ("truncated", said if cut else ())


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


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("", 200), "it is empty"),
        (Reply('{"choices": [{"mess', 200), '{"choices": [{"mess'),
        (Reply("<html>Please log in</html>", 200), "Please log in"),
        (Reply({"object": "list"}), "no choices"),
        (Reply({"choices": []}), "no choices"),
    ],
)
def test_a_reply_that_is_no_answer_is_asked_again_twice_and_then_kept_with_what_came(
    reply: Reply, says: str
) -> None:
    with serving(lambda *_: reply) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    assert (answer.outcome, answer.failure) == ("server", "malformed reply")
    assert says in str(answer.error)
    assert len(server.bodies) == 3
    with serving(lambda _, number: reply if number < 2 else completion()) as server:
        (answer,) = ask(OpenAI("m", server.url), request())
    assert answer.outcome == "ok"


def test_the_wait_that_a_server_asks_for_is_kept() -> None:
    busy = Reply("busy", 429, {"Retry-After": "17"})
    with serving(lambda _, number: completion() if number else busy) as server:
        backend = OpenAI("m", server.url)
        ask(backend, request())
    assert backend.waits == [17]  # type: ignore[attr-defined]


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
        {"extra_body": {"max_tokens": 9}}, {"extra_body": {"seed": 9}}, {"concurrency": True},
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_right_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(HarnessError, match="backend 'openai'"):
        OpenAI("m", **fields)
