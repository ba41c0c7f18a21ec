"""The in-process backend: texts that hang on their own request alone, and errors in one sentence.

The checkpoints are small random ones made here, and a real one of 260,000 parameters.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from language_checkpoints import WORDS, picture, questions, request, texts

from harness.backends.transformers import Transformers
from harness.records import (
    HarnessError,
)

# --- what a text hangs on -----------------------------------------------------------------


def test_greedy_texts_are_those_of_transformers_own_generate(llama: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(llama)
    asked = questions(5)
    answers = Transformers(str(llama)).generate_batch(asked)
    for one, answer in zip(asked, answers, strict=True):
        prompt = f"<user>{one.messages[0].text}</s><assistant>"
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        expected = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0]
        length = inputs["input_ids"].shape[1]
        assert answer.prompt_token_ids == tuple(inputs["input_ids"][0].tolist())
        assert answer.token_ids == tuple(expected[length:].tolist())


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_says_the_same_alone_and_among_seven_others(llama: Path, temperature: float) -> None:
    backend = Transformers(str(llama))
    asked = [
        replace(one, sampling=replace(one.sampling, seed=i))
        for i, one in enumerate(questions(8, temperature=temperature))
    ]
    together = texts(backend.generate_batch(asked))
    assert together == [texts(backend.generate_batch([one]))[0] for one in asked]
    assert len(set(together)) > 1


def test_pictures_are_seen_and_do_not_mix_between_rows(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    rng = np.random.default_rng(0)
    pictures = [picture(rng.integers(0, 256, (40, 40))) for _ in range(7)]
    asked = [request(" ".join(WORDS[: 1 + i]), pictures[i % 7]) for i in range(8)]
    together = texts(backend.generate_batch(asked))
    assert together == [texts(backend.generate_batch([one]))[0] for one in asked]
    same_words = [request("the scan", one) for one in pictures]
    assert len(set(texts(backend.generate_batch(same_words)))) > 1


def test_text_and_picture_rows_may_stand_in_one_batch(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    asked = [
        request("the scan"),
        request("the scan", picture(np.full((32, 32), 90))),
        request("here"),
    ]
    assert texts(backend.generate_batch(asked)) == [
        texts(backend.generate_batch([one]))[0] for one in asked
    ]


def test_the_seed_alone_decides_what_is_drawn(llama: Path) -> None:
    backend = Transformers(str(llama))

    def drawn(seed: int) -> str:
        return texts(backend.generate_batch([request(temperature=1.0, seed=seed)]))[0]

    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(8)}) > 4


def test_torchs_global_random_state_plays_no_part_and_is_left_alone(llama: Path) -> None:
    backend = Transformers(str(llama))
    asked = request(temperature=1.0, seed=1)
    torch.manual_seed(1)
    first = backend.generate_batch([asked])
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    assert backend.generate_batch([asked]) == first
    assert torch.equal(torch.random.get_rng_state(), state)


# --- batches ------------------------------------------------------------------------------


def test_batches_hold_every_request_once_within_their_tokens(llama: Path) -> None:
    backend = Transformers(str(llama), batch_tokens=150)
    asked = questions(8)
    batches = backend.batches(asked)
    assert Counter(id(one) for batch in batches for one in batch) == Counter(map(id, asked))
    assert len(batches) > 1
    for batch in batches:
        longest = max(len(backend._prompt(one).token_ids) for one in batch) + 12
        assert len(batch) == 1 or longest * len(batch) <= 150


def test_batches_follow_from_the_plan_alone(idefics: Path) -> None:
    grey = picture(np.full((32, 32), 90))
    asked = [*questions(4), *(request(word, grey) for word in WORDS[:4])]
    first = Transformers(str(idefics), batch_tokens=120).batches(asked)
    second = Transformers(str(idefics), batch_tokens=120).batches(asked)
    assert first == second
    assert all(
        len({any(p.media for p in one.messages[0].parts) for one in batch}) == 1 for batch in first
    )


# --- what cannot be answered --------------------------------------------------------------


def test_a_prompt_that_leaves_no_room_is_too_long_and_others_are_answered(llama: Path) -> None:
    backend = Transformers(str(llama))
    long = request(" ".join(WORDS * 20))
    answers = backend.generate_batch([long, request()])
    assert [answer.outcome == "too_long" for answer in answers] == [True, False]
    assert "256 positions" in (answers[0].error or "")
    count = answers[1].prompt_tokens or 0
    edge = [request(max_tokens=256 - count), request(max_tokens=257 - count)]
    assert [a.outcome == "too_long" for a in backend.generate_batch(edge)] == [False, True]


def test_a_picture_for_a_model_without_eyes_is_an_outcome(llama: Path) -> None:
    answer = asyncio.run(Transformers(str(llama)).generate(request("a", picture(np.zeros((8, 8))))))
    assert answer.outcome == "server"
    assert "does not take images" in (answer.error or "")


def test_the_number_format_is_part_of_the_request(llama: Path) -> None:
    assert Transformers(str(llama)).extras == {"dtype": "float32"}
    assert Transformers(str(llama), dtype="bfloat16").extras == {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "./nowhere"}, "there is no model folder ./nowhere"),
        ({"model": "builtin:nobody"}, "no built-in language model 'nobody'"),
        ({"dtype": "int8"}, "dtype is one of"),
        ({"batch_tokens": 0}, "batch_tokens is a whole number"),
        ({"threads": True}, "threads is a whole number"),
        ({"chat_template_kwargs": "thinking"}, "chat_template_kwargs is a mapping"),
        ({"extras": {"attention": 1}}, "no extra 'attention'"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_a_field_that_cannot_be_right_is_refused(
    llama: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        Transformers(**{"model": str(llama), **fields})


# --- what fails ---------------------------------------------------------------------------


def test_scores_that_are_no_numbers_are_an_outcome_of_their_rows_alone(
    llama: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    backend = Transformers(str(tmp_path))
    hurt, whole = request("them"), request("a few")
    only_there = set(backend._prompt(hurt).token_ids) - set(backend._prompt(whole).token_ids)
    tensors["model.embed_tokens.weight"][sorted(only_there)] = float("nan")
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    answers = Transformers(str(tmp_path)).generate_batch([hurt, whole])
    assert (answers[0].outcome, answers[0].text) == ("server", "")
    assert "no numbers" in str(answers[0].error)
    assert answers[1] == Transformers(str(llama)).generate_batch([whole])[0]


@pytest.mark.parametrize("kind", [RuntimeError, TypeError, KeyError, AssertionError])
def test_whatever_a_model_fails_with_is_an_outcome(
    llama: Path, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = Transformers(str(llama))

    def fail(**_: Any) -> None:
        raise kind("a fault")

    monkeypatch.setattr(backend._network(), "generate", fail)
    (answer,) = backend.generate_batch([request()])
    assert answer.outcome == "server"
    assert "the model failed: " in str(answer.error)
    assert "a fault" in str(answer.error)


# --- a real model -------------------------------------------------------------------------


def test_a_trained_model_tells_its_stories_in_any_batch(shared_data: Path) -> None:
    backend = Transformers(str(shared_data / "stories260k"), batch_tokens=2_000)
    asked = [
        request(text, max_tokens=40, temperature=0.0)
        for text in ("Once upon a time", "Lily and Ben went to the park.", "The", "One day, a dog")
    ]
    together = texts(backend.generate_batch(asked))
    assert together == [texts(backend.generate_batch([one]))[0] for one in asked]
    assert all(len(text.split()) > 10 for text in together)
    limit = backend.generate_batch([request(max_tokens=512)])[0]
    assert limit.outcome == "too_long"
