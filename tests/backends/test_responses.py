"""The Responses API: what is sent, and that its replies are read as those of a chat are."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fake_server import Reply, ask, completion, refusal, request, serving

from harness.backends.openai import OpenAI
from harness.backends.replies import read_reply
from harness.backends.responses import read_response
from harness.records import HarnessError, Media, Message, Part, Request, Sampling


def response(
    text: str | None = "an answer", status: str = "completed", output: Any = None, **more: Any
) -> Reply:
    """A well-formed response."""
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "role": "assistant", "status": status, "content": [part]}
    items = output if output is not None else [message] if text is not None else []
    usage = {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}
    return Reply(
        {"object": "response", "model": "served", "status": status, "error": None,
         "incomplete_details": None, "output": items, "usage": usage, **more}
    )  # fmt: skip


def said(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts), **more}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "output_text", "text": words, **more}


def read(reply: Reply) -> Any:
    return read_response(reply.body if isinstance(reply.body, str) else json.dumps(reply.body))


# --- what is sent -------------------------------------------------------------------------


def test_a_request_is_sent_by_the_names_of_the_responses_api() -> None:
    schema = {"type": "object"}
    asked = request(
        "Why?", "Be brief.", schema=schema, extras={"logprobs": 3},
        sampling=Sampling(0.2, 0.9, max_tokens=33),
    )  # fmt: skip
    with serving(lambda *_: response()) as server:
        more = {"reasoning": {"effort": "low"}, "text": {"verbosity": "low"}}
        (answer,) = ask(
            OpenAI("m", server.url, api="responses", seed=False, extra_body=more), asked
        )
    assert answer.text == "an answer"
    assert server.paths == ["/v1/responses"]
    described = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    assert server.requests == [
        {
            "model": "m",
            "input": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Why?"},
            ],
            "max_output_tokens": 33,
            "temperature": 0.2,
            "top_p": 0.9,
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 3,
            "text": {"verbosity": "low", "format": described},
            "reasoning": {"effort": "low"},
            "store": False,
        }
    ]


def test_turns_and_pictures_go_as_parts_of_their_role() -> None:
    picture = Part(media=Media("0" * 64, "image/png", b"not really"))
    messages = (
        Message("user", (Part("Look"), picture)),
        Message.of("assistant", "Seen."),
        Message.of("user", "Sure?"),
    )
    with serving(lambda *_: response()) as server:
        ask(OpenAI("m", server.url, api="responses", images=True), Request("openai", "m", messages))
    first, second, third = server.requests[0]["input"]
    assert [part["type"] for part in first["content"]] == ["input_text", "input_image"]
    assert first["content"][1]["image_url"].startswith("data:image/png;base64,")
    assert (second["role"], second["content"]) == ("assistant", "Seen.")
    assert third["content"] == "Sure?"


@pytest.mark.parametrize(
    "name", ["seed", "stop", "store", "temperature", "text", "max_output_tokens"]
)
def test_what_the_service_does_not_take_is_left_out_once_and_noted(name: str) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        said = f"Unsupported parameter: '{name}' is not supported with this model."
        return refusal(said, param=name) if name in body else response()

    asked = [
        request(word, schema={"type": "object"}, sampling=Sampling(0.7, stop=("\n",), seed=5))
        for word in "ab"
    ]
    with serving(script) as server:
        backend = OpenAI("m", server.url, api="responses")
        answers = [ask(backend, one)[0] for one in asked]
    assert [answer.outcome for answer in answers] == ["ok", "ok"]
    assert all(f"{name} refused" in " ".join(answer.notes) for answer in answers)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    "name", ["input", "instructions", "max_output_tokens", "background", "seed"]
)
def test_what_the_harness_settles_is_no_extra(name: str) -> None:
    with pytest.raises(HarnessError, match=name):
        OpenAI("m", "http://h/v1", api="responses", extra_body={name: 1})


def test_how_likely_an_answer_is_cannot_be_asked_and_is_not() -> None:
    with serving(lambda *_: response()) as server:
        backend = OpenAI("m", server.url, api="responses")
        asked = replace(request(), continuation=(1, 2))
        found = asyncio.run(backend.loglikelihood(asked))
    assert not server.bodies
    assert "Responses API" in found.notes[0]


# --- what comes back ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "chat"),
    [
        (response("because"), completion("because")),
        (response("<think>hm</think>because"), completion("<think>hm</think>because")),
        (response(""), completion("")),
        (response(None), completion("")),
        (response("beca", "incomplete", incomplete_details={"reason": "max_output_tokens"}),
         completion("beca", "length")),
        (response("beca", "incomplete", incomplete_details={"reason": "content_filter"}),
         completion("beca", "content_filter")),
        (response(output=[said({"type": "refusal", "refusal": "I cannot"})]),
         completion("", refusal="I cannot")),
        (response(output=[said(text("be"), text("cause"))]), completion("because")),
        (response(output=[said(text("one")), {"type": "web_search_call"}, said(text("two"))]),
         completion("one\n\ntwo")),
        (response(output=[{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                          said(text("because"))]),
         completion("because", reasoning_content="hm")),
        (response(output=[{"type": "reasoning", "summary": [], "content": [
                              {"type": "reasoning_text", "text": "hm"}]}, said(text("because"))]),
         completion("because", reasoning_content="hm")),
        (response(output=[said(text("I shall look."), phase="commentary"),
                          said(text("because"), phase="final_answer")]),
         completion("because", reasoning_content="I shall look.")),
        (response("", "incomplete", incomplete_details={"reason": "of its own"}),
         completion("", "of its own")),
        (response("because", "in_progress"), completion("because", "in_progress")),
        (response("because", "cancelled"), completion("because", "cancelled")),
    ],
)  # fmt: skip
def test_a_response_is_read_as_the_chat_completion_that_says_the_same(
    reply: Reply, chat: Reply
) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    pair = read(reply), read_reply(json.dumps({**chat.body, "usage": usage}))
    # An error may quote the body, which differs in order and in what is null.
    first, second = (replace(one, error=(one.error or "").partition("{")[0]) for one in pair)
    assert first == second


@pytest.mark.parametrize("body", ["", "<html>", '{"output": [{"ty', "[]", '{"object": "list"}'])
def test_what_is_no_response_is_told_as_in_a_chat(body: str) -> None:
    assert read_response(body) == read_reply(body)
    assert read_response(body).outcome == "server"


@pytest.mark.parametrize("output", [[None], ["text"], [said(None)], [{"type": "message"}], [{}]])  # type: ignore[arg-type]
def test_items_of_a_strange_shape_are_no_answer_and_no_crash(output: Any) -> None:
    assert read(response(output=output)).outcome == "empty"


def test_logprobs_of_all_parts_are_kept() -> None:
    tokens = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]
    parts = (text("a", logprobs=tokens[:1]), text("b", logprobs=tokens[1:]))
    assert read(response(output=[said(*parts)])).logprobs == (-0.5, -1.5)


def test_a_response_that_failed_for_now_is_asked_again_and_for_good_is_not() -> None:
    def failed(code: str) -> Reply:
        return response(None, "failed", error={"code": code, "message": "it broke"})

    with serving(lambda _, number: response() if number else failed("server_error")) as server:
        (answer,) = ask(OpenAI("m", server.url, api="responses"), request())
    assert answer.outcome == "ok"
    with serving(lambda *_: failed("invalid_image")) as server:
        (answer,) = ask(OpenAI("m", server.url, api="responses"), request())
    assert (answer.outcome, len(server.bodies)) == ("server", 1)
    assert "it broke" in str(answer.error)
