"""How likely a given answer is: against what was drawn, plain forward passes, and odd servers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_server import Reply, completion, refusal, serving
from fake_server import request as chat_request
from language_checkpoints import ROLES, make_tokenizer, picture, questions, request

from harness.backends.checkpoint import find
from harness.backends.likelihood import of_texts
from harness.backends.openai import OpenAI
from harness.backends.transformers import Transformers
from harness.generate import ask
from harness.records import Generation, Message, Part, Request
from harness.store import Store
from harness.watch import Watch

LOGPROBS = {"logprobs": 0}


def weighing(asked: Request, answer: Sequence[int]) -> Request:
    return replace(asked, continuation=tuple(answer))


def make_gpt2(folder: Path) -> Path:
    """A random checkpoint with absolute positions."""
    import transformers

    hf: Any = transformers
    tokenizer = make_tokenizer(ROLES)
    config = hf.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, n_positions=256, initializer_range=0.5,
        vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(1)
    hf.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_gpt2(tmp_path_factory.mktemp("gpt2"))


# --- in process ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama", "gpt2", "stories"])
def test_a_drawn_answer_is_as_likely_as_when_it_was_drawn(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = (
        request.getfixturevalue("shared_data") / "stories260k"
        if kind == "stories"
        else request.getfixturevalue(kind)
    )
    backend = Transformers(str(folder), device="cpu", extras=LOGPROBS)
    asked = [
        replace(one, extras=LOGPROBS)
        for one in questions(6, temperature=1.0, seed=4, max_tokens=20)
    ]
    drawn = backend.generate_batch(asked)
    again = backend.generate_batch(
        [weighing(one, d.token_ids or ()) for one, d in zip(asked, drawn, strict=True)]
    )
    for answer, before in zip(again, drawn, strict=True):
        assert before.logprobs
        assert answer.outcome == "ok"
        assert answer.prompt_token_ids == before.prompt_token_ids
        assert answer.token_ids == before.token_ids
        np.testing.assert_allclose(answer.logprobs or (), before.logprobs, atol=5e-5)


def test_log_probabilities_are_those_of_a_plain_forward_pass_over_the_ids(llama: Path) -> None:
    backend = Transformers(str(llama), device="cpu")
    network = find(str(llama)).load_network("float32")
    one = request("no lesion in north")
    answer = (40, 7, 2, 2, 300)  # whatever the model would have said, an end in its midst included
    (said,) = backend.generate_batch([weighing(one, answer)])
    assert said.prompt_token_ids is not None
    with torch.no_grad():
        logs = network(torch.tensor([[*said.prompt_token_ids, *answer]])).logits[0].log_softmax(-1)
    start = len(said.prompt_token_ids) - 1
    wanted = [float(logs[start + i, token]) for i, token in enumerate(answer)]
    np.testing.assert_allclose(said.logprobs or (), wanted, atol=1e-5)
    assert backend.generate_batch([weighing(one, ())])[0].logprobs == ()


def test_rows_of_any_lengths_together_say_what_each_says_alone(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = find(str(llama)).load_network("float32")
    draw = np.random.default_rng(0)
    prompts = [draw.integers(3, 300, size).tolist() for size in (5, 5, 9, 7, 12, 9)]
    answers = [draw.integers(3, 300, size).tolist() for size in (4, 6, 0, 2, 1, 2)]
    with torch.inference_mode():
        together = of_texts(network, prompts, answers, torch.device("cpu"))
        alone = [
            of_texts(network, [p], [a], torch.device("cpu"))[0]
            for p, a in zip(prompts, answers, strict=True)
        ]
        monkeypatch.setattr("harness.backends.likelihood._SCORES", 1)
        single = of_texts(network, prompts, answers, torch.device("cpu"))
    for one, other, third, answer in zip(together, alone, single, answers, strict=True):
        assert len(one) == len(answer)
        np.testing.assert_allclose(one, other, atol=1e-5)
        np.testing.assert_allclose(one, third, atol=1e-5)


def test_questions_of_both_kinds_share_no_batch_and_do_not_disturb_each_other(llama: Path) -> None:
    backend = Transformers(str(llama), device="cpu", batch_tokens=100)
    plain = questions(4)
    weighed = [weighing(one, (40, 41, 42)) for one in plain]
    mixed = [r for pair in zip(plain, weighed, strict=True) for r in pair]
    batches = backend.batches(mixed)
    assert sorted(map(id, (r for batch in batches for r in batch))) == sorted(map(id, mixed))
    for batch in batches:
        assert len({r.continuation is None for r in batch}) == 1
    together = backend.generate_batch(mixed)
    assert together[::2] == backend.generate_batch(plain)
    for one, other in zip(together[1::2], backend.generate_batch(weighed), strict=True):
        np.testing.assert_allclose(one.logprobs or (), other.logprobs or (), atol=1e-5)


def test_an_answer_to_pictures_is_as_likely_as_when_it_was_drawn(idefics: Path) -> None:
    backend = Transformers(str(idefics), device="cpu", extras=LOGPROBS)
    draw = np.random.default_rng(0)
    pictures = [picture(draw.integers(0, 255, (32, 32, 3))) for _ in range(3)]
    asked = [
        replace(request("the scan", *pictures[:count], max_tokens=9 + count), extras=LOGPROBS)
        for count in (1, 2, 3)
    ]
    drawn = backend.generate_batch(asked)
    weighed = [weighing(one, d.token_ids or ()) for one, d in zip(asked, drawn, strict=True)]
    for answer, before in zip(backend.generate_batch(weighed), drawn, strict=True):
        assert answer.prompt_token_ids == before.prompt_token_ids
        np.testing.assert_allclose(answer.logprobs or (), before.logprobs or (), atol=5e-5)
    blind = replace(weighed[0], messages=(Message("user", (Part("the scan"),)),))
    (other,) = backend.generate_batch([blind])
    assert np.abs(np.subtract(other.logprobs or (), drawn[0].logprobs or ())).max() > 0.01


def test_what_cannot_be_weighed_is_an_outcome(llama: Path) -> None:
    backend = Transformers(str(llama), device="cpu")
    long, strange, fine = backend.generate_batch(
        [weighing(request(), [5] * 300), weighing(request(), [10**6]), weighing(request(), [5])]
    )
    assert (long.outcome, strange.outcome, fine.outcome) == ("too_long", "server", "server")
    assert long.logprobs is None
    assert backend.generate_batch([weighing(request(), [5])])[0].logprobs is not None


# --- over the wire ------------------------------------------------------------------------

IDS = [3, 1, 4, 1, 5]
ANSWER = (9, 2, 6)


def chat(**more: Any) -> Reply:
    reply = completion("x", "length")
    return Reply({**reply.body, "prompt_token_ids": IDS, **more})


def places(tokens: Sequence[int]) -> list[Any]:
    """What vLLM says of a prompt's tokens: nothing of the first."""
    return [None, *({str(t): {"logprob": -0.5 * t, "rank": 1}} for t in tokens[1:])]


def completions(prompt_logprobs: Any) -> Reply:
    choice = {"index": 0, "text": "x", "prompt_logprobs": prompt_logprobs}
    return Reply({"choices": [choice], "usage": {"prompt_tokens": 8, "completion_tokens": 1}})


def weigh(script: Any, asked: Request | None = None, **options: Any) -> tuple[Generation, Any]:
    asked = asked or chat_request(system="Be brief.", extras={"logprobs": 0, "token_ids": True})
    with serving(script) as server:
        backend = OpenAI("m", server.url, max_retries=0, **options)
        answer = asyncio.run(backend.loglikelihood(weighing(asked, ANSWER)))
    return answer, server


def test_a_server_is_asked_for_the_prompts_ids_and_then_for_their_continuation() -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        return completions(places([*IDS, *ANSWER])) if "prompt" in body else chat()

    answer, server = weigh(script)
    assert answer.logprobs == (-4.5, -1.0, -3.0)
    assert answer.prompt_token_ids == tuple(IDS)
    assert answer.token_ids == ANSWER
    assert (answer.prompt_tokens, answer.completion_tokens) == (8, 1)
    assert server.paths == ["/v1/chat/completions", "/v1/completions"]
    first, second = server.requests
    assert first["return_token_ids"] is True
    assert first["max_completion_tokens"] == 1
    assert "logprobs" not in first
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert second == {
        "model": "m", "prompt": [*IDS, *ANSWER], "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0,
    }  # fmt: skip


def _cut(tokens: list[Any]) -> list[Any]:
    return tokens[:-1]


@pytest.mark.parametrize(
    ("chat_reply", "reply", "said"),
    [
        (completion("x"), None, "does not say which token ids a prompt is"),
        (chat(), Reply("Not Found", 404), "has no /v1/completions"),
        (chat(), refusal("Unknown parameter: 'prompt_logprobs'."), "does not take prompt_logprobs"),
        (chat(), completions(None), "knows no prompt_logprobs"),
        (chat(), completions(_cut(places([*IDS, *ANSWER]))), "the server read 7 tokens where 8 were given"),
        (chat(), completions(places([*IDS, 9, 7, 6])), "how likely the token 2 is"),
        (chat(), completions([None] * 8), "how likely the token 9 is"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_say_gives_a_reason_and_no_number(
    chat_reply: Reply, reply: Reply | None, said: str
) -> None:
    answer, _ = weigh(lambda body, _: (reply if "prompt" in body else chat_reply) or Reply())
    assert answer.logprobs is None
    assert answer.outcome == "ok"  # there is nothing to ask again
    assert said in answer.notes[-1]


def test_what_a_server_cannot_do_it_is_asked_once() -> None:
    with serving(lambda body, _: Reply("", 404) if "prompt" in body else chat()) as server:
        backend = OpenAI("m", server.url, max_retries=0)

        async def ask_thrice() -> list[Generation]:
            one = weighing(chat_request(), ANSWER)
            return [await backend.loglikelihood(one) for _ in range(3)]

        answers = asyncio.run(ask_thrice())
    assert len(server.bodies) == 2
    assert {answer.notes for answer in answers} == {("the server has no /v1/completions",)}


def test_failures_are_asked_again_later_and_what_is_too_long_is_not() -> None:
    broken, _ = weigh(lambda *_: Reply("", 503))
    assert broken.outcome == "server"
    for garbled in (Reply({"choices": []}), Reply("<html>"), Reply("[]")):
        odd, _ = weigh(lambda body, _, reply=garbled: reply if "prompt" in body else chat())
        assert (odd.outcome, odd.logprobs) == ("server", None)
        assert "has no choices" in (odd.error or "")
    half, _ = weigh(lambda body, _: Reply("", 503) if "prompt" in body else chat())
    assert (half.outcome, half.logprobs) == ("server", None)
    long, _ = weigh(
        lambda body, _: refusal("maximum context length is 8") if "prompt" in body else chat()
    )
    assert (long.outcome, long.logprobs) == ("too_long", None)


def test_pictures_are_never_sent_as_ids() -> None:
    parts = (picture(np.zeros((4, 4, 3))), Part("Why?"))
    asked = replace(chat_request(), messages=(Message("user", parts),))
    answer, server = weigh(lambda *_: chat(), asked, images=True)
    assert "with pictures" in answer.notes[-1]
    assert server.bodies == []


def test_an_emptied_system_text_is_not_sent_where_there_is_no_system_role() -> None:
    asked = chat_request(system="")
    asked = replace(asked, messages=(Message.of("system", ""), *asked.messages))
    sent = json.loads(OpenAI("m", system_role=False).body(asked))["messages"]
    assert sent == [{"role": "user", "content": "Why?"}]


def test_the_engine_weighs_what_has_a_continuation_and_stores_it(tmp_path: Path) -> None:
    def script(body: dict[str, Any], _: int) -> Reply:
        return completions(places([*IDS, *ANSWER])) if "prompt" in body else chat()

    with serving(script) as server, Store.write(tmp_path) as store:
        backend = OpenAI("m", server.url)
        asked = [weighing(chat_request(), ANSWER), chat_request()]
        first = asyncio.run(ask(store, "m", backend, asked, "model 'm'", Watch(store)))
        count = len(server.bodies)
        again = asyncio.run(ask(store, "m", backend, asked, "model 'm'", Watch(store)))
    assert [g.logprobs for g in first] == [(-4.5, -1.0, -3.0), None]
    assert first == again
    assert len(server.bodies) == count == 3
