"""How tokens are drawn and where a text ends, against transformers' own samplers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_checkpoints import questions, request

from harness.backends.decoding import Drawing, Row, draw
from harness.backends.transformers import Transformers


def row(**fields: Any) -> Any:

    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    return Row(**{**settings, "max_tokens": 1, "stop": (), "seed": 0, **fields})


def shares(scores: torch.Tensor, one: Any) -> np.ndarray[Any, Any]:
    """How often each token is drawn over an even grid of random numbers: exact to 1 in 20,000."""

    count = 20_000
    noise = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    drawn = draw(scores.expand(count, -1).clone(), [one] * count, noise)
    return np.bincount(drawn.numpy(), minlength=scores.shape[-1]) / count


# --- how a token is drawn -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.5, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.7)]
)
def test_tokens_are_drawn_as_often_as_transformers_warpers_say(
    temperature: float, top_k: int, top_p: float
) -> None:
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    scores = torch.tensor([[1.0, -2.0, 0.3, 2.2, 0.9, -0.4]])
    expected = TemperatureLogitsWarper(temperature)(None, scores)
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    expected = TopPLogitsWarper(top_p)(None, expected)
    drawn = shares(scores, row(temperature=temperature, top_k=top_k, top_p=top_p))
    np.testing.assert_allclose(drawn, torch.softmax(expected, -1)[0].numpy(), atol=2e-4)


def test_a_penalty_on_repetition_is_that_of_transformers_but_never_of_padding() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = torch.from_numpy(rng.normal(0, 1, (1, 9)))
        prompt = rng.integers(0, 9, 4).tolist()
        ours = Drawing([row(temperature=0.0, repetition_penalty=1.7)], [prompt])
        padded = torch.tensor([[8, 8, 8, *prompt]])
        chosen = ours(padded, scores.clone()).argmax(-1)
        theirs = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor([prompt]), scores.clone())
        assert chosen.item() == theirs.argmax(-1).item()


def test_logprobs_are_the_models_own(llama: Path) -> None:
    from transformers import AutoModelForCausalLM

    backend = Transformers(str(llama), extras={"logprobs": 0})
    asked = replace(request(temperature=0.7, seed=5), extras=backend.extras)
    answer = backend.generate_batch([asked, questions(1)[0]])[0]
    assert answer.token_ids
    assert answer.prompt_token_ids
    assert answer.logprobs
    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    whole = torch.tensor([answer.prompt_token_ids + answer.token_ids])
    with torch.no_grad():
        logits = model(whole).logits[0, len(answer.prompt_token_ids) - 1 : -1]
    expected = torch.log_softmax(logits, -1)[range(len(answer.token_ids)), list(answer.token_ids)]
    np.testing.assert_allclose(answer.logprobs, expected.numpy(), atol=1e-4)


# --- where a text ends --------------------------------------------------------------------


def test_an_answer_that_reaches_its_own_limit_is_truncated(llama: Path) -> None:
    backend = Transformers(str(llama))
    short, long = backend.generate_batch([request(max_tokens=3), request(max_tokens=9)])
    assert short.outcome == "truncated"
    assert short.finish_reason == "length"
    assert short.token_ids == (long.token_ids or ())[:3]
    assert short.completion_tokens == 3


def test_an_answer_ends_before_a_stop_text(llama: Path) -> None:
    backend = Transformers(str(llama))
    whole = backend.generate_batch([request()])[0].text
    stop = whole[4:6]
    answer = backend.generate_batch([request(stop=(stop, "never said"))])[0]
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finish_reason == "stop"
    assert answer.outcome == ("ok" if answer.text.strip() else "empty")


def test_an_end_token_ends_the_answer_and_is_no_text(llama: Path, tmp_path: Path) -> None:
    whole = Transformers(str(llama)).generate_batch([request()])[0]
    assert whole.token_ids is not None
    ending = whole.token_ids[4]
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, ending]}))
    answer = Transformers(str(tmp_path)).generate_batch([request()])[0]
    first = whole.token_ids.index(ending)
    assert answer.token_ids == whole.token_ids[: first + 1]
    assert answer.outcome in ("ok", "empty")
    assert whole.text.startswith(answer.text)
