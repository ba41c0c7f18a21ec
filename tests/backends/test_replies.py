"""Servers' replies: what was answered, and in whose words it was not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.backends.answers import blank
from harness.backends.replies import (
    LOWEST_LOGPROB,
    read_failure,
    read_reply,
    refused_parameter,
    true_status,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def reply(message: dict[str, Any], finish: str = "stop", **more: object) -> str:
    choice = {"message": message, "finish_reason": finish, **more}
    return json.dumps({"model": "m", "choices": [choice]})


# --- answers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "finish", "outcome"),
    [
        ({"content": "text"}, "stop", "ok"),
        ({"content": "tex"}, "length", "truncated"),
        ({"content": " \n\t"}, "stop", "empty"),
        ({"content": "\ufeff"}, "stop", "empty"),
        ({"content": None}, "stop", "empty"),
        ({"content": None, "reasoning": "long"}, "length", "truncated"),
        ({"content": "<think>long"}, "length", "truncated"),
        ({"content": "<think>done</think>"}, "stop", "empty"),
        ({"content": None, "refusal": "I can't."}, "stop", "refusal"),
        ({"content": ""}, "content_filter", "refusal"),
        ({"content": "half"}, "content_filter", "refusal"),
    ],
)
def test_the_outcome_follows_from_text_and_finish_reason(
    message: dict[str, Any], finish: str, outcome: str
) -> None:
    assert read_reply(reply(message, finish)).outcome == outcome


WHOLE = "Gastritis is an inflammation of the stomach's lining. Bacteria are a common cause."
HALF = WHOLE[:40]

# Who says it so stands in `harness/backends/known.py`.
FINISHES = [
    *((word, "ok") for word in ("stop", "STOP", "eos", "eos_token", "EOS_TOKEN", "end_turn", "EndTurn",
      "stop_sequence", "COMPLETE", "eosFound", "FINISH_REASON_STOP", "FinishReason.STOP", " stop ")),
    *((word, "truncated") for word in ("length", "Length", "LENGTH", "max_tokens", "MAX_TOKENS",
      "maxTokens", "max-tokens", "FinishReason.MAX_TOKENS", "FINISH_REASON_MAX_TOKENS", "model_length",
      "model_context_window_exceeded", "modelContextWindowExceeded", "contextLengthReached", "limit",
      "maxPredictedTokensReached", "token_limit", "time_limit", "pause_turn", "incomplete")),
    *((word, "refusal") for word in ("content_filter", "ContentFilter", "content-filter", "SAFETY",
      "refusal", "guardrail_intervened", "content_filtered", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII",
      "RECITATION", "sensitive", "ERROR_TOXIC")),
    *((word, "server") for word in ("abort", "ABORT", "aborted", "network_error", "error", "cancelled",
      "canceled", "insufficient_system_resource", "modelUnloaded", "failed", "unload", "load",
      "MALFORMED_FUNCTION_CALL", "malformed_model_output")),
]  # fmt: skip


@pytest.mark.parametrize(("finish", "outcome"), FINISHES)
def test_a_finish_reason_is_known_whatever_its_case_and_separators(
    finish: str, outcome: str
) -> None:
    generation = read_reply(reply({"content": HALF}, finish))
    assert generation.outcome == outcome
    assert not generation.notes
    if outcome == "server":
        assert generation.text == ""
        assert finish.strip() in (generation.error or "")


@pytest.mark.parametrize("finish", [None, "", "null", "None", " "])
def test_a_server_that_does_not_say_why_it_ended_gets_a_note(finish: str | None) -> None:
    generation = read_reply(reply({"content": HALF}, finish))
    assert (generation.outcome, generation.text) == ("ok", HALF)
    assert "does not say why the answer ended" in generation.notes[0]


@pytest.mark.parametrize(
    "finish", ["banana", "STOPPED_BY_PEER", "stop!length", 3, ["banana"], {"type": "peer"}]
)
def test_a_finish_reason_that_nobody_knows_is_scored_with_a_note(finish: Any) -> None:
    generation = read_reply(reply({"content": HALF}, finish))
    assert (generation.outcome, generation.text) == ("ok", HALF)
    assert "is unknown here" in generation.notes[0]


@pytest.mark.parametrize(
    ("more", "outcome"),
    [
        ({"finish_reason": "stop", "native_finish_reason": "MAX_TOKENS"}, "truncated"),
        ({"finish_reason": "stop", "native_finish_reason": "end_turn"}, "ok"),
        ({"finish_reason": "stop", "native_finish_reason": "a word of its own"}, "ok"),
        ({"finish_reason": None, "finish_details": {"type": "max_tokens"}}, "truncated"),
        ({"finish_reason": None, "finish_details": {"type": "stop"}}, "ok"),
        ({"finish_reason": {"type": "length", "length": 40}}, "truncated"),
        ({"finish_reason": {"type": "abort", "message": "aborted"}}, "server"),
        ({"finish_reason": None, "done_reason": "length"}, "truncated"),
        ({"finish_reason": None, "stop_type": "eos"}, "ok"),
        ({"finish_reason": None, "stop_type": "limit"}, "truncated"),
        ({"finish_reason": "stop", "error": {"code": 502, "message": "upstream"}}, "server"),
    ],
)
def test_of_several_reasons_the_worst_counts(more: dict[str, Any], outcome: str) -> None:
    body = {"choices": [{"message": {"content": HALF}, **more}]}
    generation = read_reply(json.dumps(body))
    assert generation.outcome == outcome
    assert not generation.notes


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": WHOLE},
        {"content": "", "reasoning": WHOLE},
        {"content": "\u200b", "thinking": WHOLE},
        {"content": None, "reasoning_details": [{"type": "reasoning.text", "text": WHOLE}]},
        {"content": [{"type": "thinking", "thinking": WHOLE}]},
        {"content": [{"text": WHOLE, "thought": True}]},
        {"content": f"<think>{WHOLE}"},
    ],
)
def test_an_answer_that_stands_in_the_reasoning_alone_is_empty(message: dict[str, Any]) -> None:
    generation = read_reply(reply(message))
    assert (generation.outcome, generation.reasoning) == ("empty", WHOLE)
    assert blank(generation.text)


def test_a_limit_that_is_spent_on_reasoning_is_a_truncation_and_not_an_empty_answer() -> None:
    generation = read_reply(reply({"content": None, "reasoning_content": HALF}, "length"))
    assert (generation.outcome, generation.text, generation.reasoning) == ("truncated", "", HALF)


@pytest.mark.parametrize("content", ["\u200b\u200d", "\u2800", "&nbsp;", "\ufeff \n", "\u3164"])
def test_an_answer_of_letters_that_nobody_sees_is_empty(content: str) -> None:
    assert read_reply(reply({"content": content})).outcome == "empty"


@pytest.mark.parametrize(
    ("content", "text", "outcome"),
    [
        ([{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}], "ab", "ok"),
        ({"type": "text", "text": "a"}, "a", "ok"),
        ({"parts": [{"text": "why", "thought": True}, {"text": "a"}]}, "a", "ok"),
        (["a", "b"], "ab", "ok"),
        ([{"type": "refusal", "refusal": "I can't."}], "I can't.", "refusal"),
        (
            [{"type": "text", "text": "half"}, {"type": "refusal", "refusal": "no"}],
            "half",
            "refusal",
        ),
    ],
)
def test_content_in_parts_is_read_by_the_type_of_each(
    content: object, text: str, outcome: str
) -> None:
    generation = read_reply(reply({"content": content}))
    assert (generation.text, generation.outcome) == (text, outcome)
    assert not generation.notes


def test_a_part_that_is_no_text_is_left_out_with_a_note() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}, 3]
    generation = read_reply(reply({"content": parts}))
    assert generation.text == "a"
    assert "(image_url, int)" in generation.notes[0]


@pytest.mark.parametrize("finish", ["tool_calls", "tool_use", "function_call", "stop"])
@pytest.mark.parametrize(("content", "outcome"), [(None, "empty"), ("I look it up.", "ok")])
def test_a_call_of_a_tool_is_no_answer_and_is_noted(
    finish: str, content: str | None, outcome: str
) -> None:
    called = [{"function": {"name": "look", "arguments": "{}"}}]
    generation = read_reply(reply({"content": content, "tool_calls": called}, finish))
    assert generation.outcome == outcome
    assert len(generation.notes) == 1
    assert "called a tool" in generation.notes[0]


def test_the_shape_of_a_text_completion_is_read_as_well() -> None:
    body = {"choices": [{"text": "an answer", "finish_reason": "length"}]}
    generation = read_reply(json.dumps(body))
    assert (generation.text, generation.outcome) == ("an answer", "truncated")


def test_a_server_that_streams_unasked_is_told_so() -> None:
    chunk = {"object": "chat.completion.chunk", "choices": [{"delta": {"content": "an"}}]}
    generation = read_reply(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")
    assert generation.outcome == "server"
    assert "streams although it was not asked to" in (generation.error or "")


@pytest.mark.parametrize(
    "message",
    [
        {"content": "answer", "reasoning_content": "thought"},
        {"content": "answer", "reasoning": "thought"},
        {"content": "answer", "thinking": "thought"},
        {"content": "answer", "reasoning_content": "thought", "reasoning": "thought"},
        {"content": "<|channel|>analysis<|message|>thought<|end|><|start|>assistant<|channel|>final"
                    "<|message|>answer"},
        {"content": "<seed:think>thought</seed:think>answer"},
        {"content": "<think>thought</think>answer"},
        {"content": "thought</think>answer"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "thought"}]},
                     {"type": "text", "text": "answer"}]},
    ],
)  # fmt: skip
def test_reasoning_is_apart_from_the_text_wherever_a_server_puts_it(
    message: dict[str, Any],
) -> None:
    generation = read_reply(reply(message))
    assert (generation.text, generation.reasoning) == ("answer", "thought")


@pytest.mark.parametrize("count", [True, "7", 7.5, None, [7], {}])
def test_a_count_of_tokens_that_is_none_is_not_known(count: object) -> None:
    body = json.loads(reply({"content": "text"}))
    body["usage"] = {"prompt_tokens": count, "completion_tokens": 7}
    found = read_reply(json.dumps(body))
    assert (found.prompt_tokens, found.completion_tokens) == (None, 7)


def test_tokens_usage_and_fingerprint_are_kept() -> None:
    body = {
        "model": "org/model",
        "system_fingerprint": "fp_1",
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        "prompt_token_ids": [1, 2, 3],
        "choices": [
            {
                "message": {"content": "ab"},
                "finish_reason": "stop",
                "token_ids": [4, 5],
                "logprobs": {
                    "content": [{"token": "a", "logprob": -0.5}, {"logprob": float("-inf")}]
                },
            }
        ],
    }
    generation = read_reply(json.dumps(body))
    assert (generation.served_model, generation.fingerprint) == ("org/model", "fp_1")
    assert (generation.prompt_tokens, generation.completion_tokens) == (3, 2)
    assert (generation.prompt_token_ids, generation.token_ids) == ((1, 2, 3), (4, 5))
    assert generation.logprobs == (-0.5, LOWEST_LOGPROB)


@pytest.mark.parametrize(
    "body",
    ["", "<html>busy</html>", "[]", "null", "3", "{}", '{"choices": []}', '{"choices": [3]}',
     '{"choices": [{"message": null}]}', '{"choices": {}}', "[" * 100_000],
)  # fmt: skip
def test_a_reply_that_is_no_completion_is_a_failure_of_the_server(body: str) -> None:
    generation = read_reply(body)
    assert generation.outcome == "server"
    assert generation.error


@given(st.recursive(JSON, lambda inner: st.fixed_dictionaries({
    "choices": st.lists(st.fixed_dictionaries({"message": inner, "finish_reason": inner, "logprobs": inner,
                                               "token_ids": inner}), max_size=1), "usage": inner, "model": inner})))  # fmt: skip
def test_no_reply_at_all_raises(body: object) -> None:
    json.dumps(read_reply(json.dumps(body)).text).encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"error": {"message": "busy", "code": 429}}', 429),
        ('{"error": "Input validation error", "error_type": "validation"}', 400),
        ('{"error": {"code": 7}}', 400),
        ('{"object": "error", "message": "no such model", "code": 404}', 404),
        ('{"error": null, "choices": []}', 200),
        (reply({"content": 'an "error"'}), 200),
        ('"error"', 200),
    ],
)
def test_an_error_sent_with_status_200_is_known_for_what_it_is(body: str, status: int) -> None:
    assert true_status(200, body) == status


def test_an_answer_that_broke_off_with_an_error_is_a_failure_of_the_server() -> None:
    assert read_reply(reply({"content": "half an"}, "error")).outcome == "server"


COMPLETION = reply({"role": "assistant", "content": None}, "content_filter")


@pytest.mark.parametrize("body", [COMPLETION, reply({"content": "half of an"}, "content_filter")])
def test_a_filter_that_answers_with_a_completion_gives_no_text_to_score(body: str) -> None:
    generation = read_failure(400, body)
    assert (generation.outcome, generation.text) == ("refusal", "")
    assert '"finish_reason": "content_filter"' in generation.notes[0]


# --- failures -----------------------------------------------------------------------------


ALL = ("max_completion_tokens", "max_tokens", "temperature", "top_p", "top_k", "seed", "stop",
       "logprobs", "top_logprobs", "return_token_ids", "response_format", "chat_template_kwargs",
       "system")  # fmt: skip


def error(message: str, **more: object) -> str:
    return json.dumps({"error": {"message": message, **more}})


# A server or gateway may word it so.
WORDINGS = [
    (400, error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter"), "max_tokens"),
    (400, error("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.", param="temperature", code="unsupported_value"), "temperature"),
    (400, error("Unsupported parameter: 'top_p' is not supported with this model.", param="top_p"), "top_p"),
    (400, error("Unsupported parameter: 'stop' is not supported with this model.", param="stop"), "stop"),
    (400, error("Unsupported value: 'messages[0].role' does not support 'system' with this model.", param="messages[0].role"), "system"),
    (400, error("Unrecognized request argument supplied: seed", type="invalid_request_error", param=None), "seed"),
    (400, error("Unknown parameter: 'seed'.", param="seed", code="unknown_parameter"), "seed"),
    (400, '{"object":"error","message":"[{\'type\': \'extra_forbidden\', \'loc\': (\'body\', \'max_completion_tokens\'), \'msg\': \'Extra inputs are not permitted\', \'input\': 8192}]","type":"BadRequestError","param":null,"code":400}', "max_completion_tokens"),
    (422, '{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":32000}]},"type":"invalid_request_error","param":null,"code":null}', "max_completion_tokens"),
    (422, '{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted","input":123}]}', "seed"),
    (400, '{"object":"error","message":"System role not supported","type":"BadRequestError","param":null,"code":400}', "system"),
    (400, error("Developer instruction is not enabled for models/gemma-3-27b-it", code=400, status="INVALID_ARGUMENT"), "system"),
    (400, '[{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \\"top_k\\": Cannot find field.", "status": "INVALID_ARGUMENT"}}]', "top_k"),
    (400, '[{"error": {"code": 400, "message": "Invalid JSON payload received. Unknown name \\"seed\\": Cannot find field.", "status": "INVALID_ARGUMENT"}}]', "seed"),
    (400, error("litellm.UnsupportedParamsError: gpt-5 models (including gpt-5-codex) don't support temperature=0.7. Only temperature=1 is supported. To drop unsupported params set litellm.drop_params = True."), "temperature"),
    (500, error("ollama does not support parameters: {'seed': 1}, for model=llama3:latest. To drop these, set `litellm.drop_params=True`", code=500), "seed"),
    (400, error("invalid temperature: only 1 is allowed for this model", type="invalid_request_error"), "temperature"),
    (400, error("`temperature` and `top_p` cannot both be specified for this model. Please use only one."), "top_p"),
    (400, error("`temperature` is deprecated for this model."), "temperature"),
    (422, "Failed to deserialize the JSON body into the target type: unknown field `seed`, expected one of `messages`, `model`, `temperature`, `max_tokens` at line 1 column 90", "seed"),
    (400, error("'response_format' of type 'json_schema' is not supported with this model.", param="response_format"), "response_format"),
    (400, error("Additional properties are not allowed ('return_token_ids' was unexpected) - 'body'"), "return_token_ids"),
    (400, error("Conversation roles must alternate user/assistant/user/assistant/..."), "system"),
    (500, error("Only user and assistant roles are supported!"), "system"),
    (400, error("property 'logprobs' is not supported for this model"), "logprobs"),
    (400, error("The following parameters are not supported for model gpt-5: temperature"), "temperature"),
    (400, error("seed is not supported by this provider"), "seed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "name"), WORDINGS)
def test_a_refused_parameter_is_understood(status: int, body: str, name: str) -> None:
    assert refused_parameter(status, body, ALL) == name


@pytest.mark.parametrize(("status", "body", "name"), WORDINGS)
def test_what_was_not_sent_is_never_held_to_be_refused(status: int, body: str, name: str) -> None:
    assert refused_parameter(status, body, [other for other in ALL if other != name]) != name


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("temperature must be non-negative, got -1.0")),
        (400, error("max_tokens is too large: 99999. This model supports at most 4096 completion tokens")),
        (400, error("Invalid schema for response_format 'answer': 'minLength' is not permitted.")),
        (400, error("this model does not support image input")),
        (404, error("The model `seed` does not exist")),
        (401, error("'temperature' is not supported")),
        (429, error("Rate limit: seed is not supported")),
        (503, error("'temperature' is not available")),
        (400, error("Please stop: this is not supported")),
        (400, ""),
    ],
)  # fmt: skip
def test_other_failures_refuse_no_parameter(status: int, body: str) -> None:
    assert refused_parameter(status, body, ALL) is None


TOO_LONG = [
    (400, error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.", code="context_length_exceeded")),
    (400, '{"object":"error","message":"\'max_tokens\' or \'max_completion_tokens\' is too large: 600. This model\'s maximum context length is 512 tokens and your request has 100 input tokens","code":400}'),
    (400, '{"object":"error","message":"max_tokens must be at least 1, got -186.","code":400}'),
    (400, error("The decoder prompt (length 600) is longer than the maximum model length of 512.")),
    (400, error("max_completion_tokens=600 cannot be greater than max_model_len=512. Please request fewer output tokens. (parameter=max_completion_tokens, value=600)", param="max_completion_tokens")),
    (400, error("This model's maximum context length is 512 tokens. However, your prompt contains 3604 characters (more than 3584 characters, which is the upper bound for 512 input tokens). Please reduce the length of the input prompt. (parameter=input_text, value=3604)", param="input_text")),
    (400, '{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_prompt_tokens":14429,"n_ctx":8192}}'),
    (500, error("Requested tokens (2285) exceed context window of 2048")),
    (422, '{"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 2000 `inputs` tokens and 512 `max_new_tokens`","error_type":"validation"}'),
    (422, '{"error":"Input validation error: `inputs` must have less than 1024 tokens. Given: 2000"}'),
    (400, error("The input (700 tokens) is longer than the model's context length (512 tokens).")),
    (400, error("The input token count (40000) exceeds the maximum number of tokens allowed (32768).")),
    (400, error("prompt is too long: 210000 tokens > 200000 maximum")),
    (400, error("Please reduce the length of the messages or completion.")),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_an_overlong_prompt_is_told_from_other_failures(status: int, body: str) -> None:
    assert read_failure(status, body).outcome == "too_long"
    assert refused_parameter(status, body, ALL) is None


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, error("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.", code="content_filter"), "refusal"),
        (403, error("Your chosen model requires moderation and your input was flagged", code=403), "refusal"),
        (400, error("temperature must be non-negative"), "server"),
        (500, error("the content_filter cannot be reached"), "server"),
        (404, error("no such content_filter"), "server"),
        (429, error("Request too large for model: reduce the length; limit 6000 tokens per minute"), "server"),
        (503, "<html><h1>Busy</h1></html>", "server"),
        (500, "", "server"),
    ],
)  # fmt: skip
def test_filters_and_failures_have_their_outcomes(status: int, body: str, outcome: str) -> None:
    generation = read_failure(status, body)
    assert generation.outcome == outcome
    assert "<" not in (generation.error or "")
