"""Who answers: proof makes two models the same, signs only tell them apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from harness.backends.signs import look
from harness.records import Message, Request, Served
from harness.served import changes, known, observed, other_model, proven, several


@pytest.mark.parametrize(
    ("before", "now", "other"),
    [
        (Served("digest:a"), Served("digest:a", {"size": "2"}), False),
        (Served("digest:a", {"size": "1"}), Served("digest:b", {"size": "1"}), True),
        (Served("digest:a", {"size": "1"}), Served(None, {"size": "1"}), False),
        (Served("digest:a", {"size": "1"}), Served(None, {"size": "2"}), True),
        *((Served(None, {s: "1"}), Served(None, {s: "2"}), True) for s in ("root", "size", "parameters", "served_model")),
        *((Served(None, {s: "1"}), Served(None, {s: "2"}), False) for s in ("build", "length", "owner", "parent", "quantisation")),
        (Served(None, {"root": "1"}), Served(None, {"size": "2"}), False),
        (Served(), Served(None, {"root": "1"}), False),
    ],
)  # fmt: skip
def test_what_tells_that_another_model_answers(before: Served, now: Served, other: bool) -> None:
    assert (other_model(before, now) is not None) == other
    assert (other_model(now, before) is not None) == other


def test_another_build_or_length_is_said_and_is_the_same_model() -> None:
    before, now = (
        Served(None, {"build": "b1", "length": "64"}),
        Served(None, {"build": "b2", "length": "128"}),
    )
    assert other_model(before, now) is None
    assert changes(before, now) == ["context length 64 before, 128 now", "build b1 before, b2 now"]


def test_answers_of_several_models_are_told_wherever_they_stand() -> None:
    a, b = Served(None, {"size": "1"}), Served(None, {"size": "2"})
    assert several([a, a]) is None
    assert several([a, a, b]) == "size 1 before, 2 now"
    assert several([]) is None


def test_a_name_alone_is_not_knowing_who_answers() -> None:
    assert not known(None)
    assert not known(Served())
    assert known(Served("digest:a"))
    assert known(Served(None, {"size": "1"}))
    assert not known(Served(None, {"build": "1", "served_model": "m"}))


def test_a_key_that_names_revision_code_or_table_is_proof() -> None:
    plain = Request("openai", "m", (Message.of("user", "Why?"),))
    assert proven(plain) is None
    kinds = [proven(Request("b", "m", (), **{name: "x"})) for name in ("revision", "code", "reads")]
    assert kinds == ["revision:x", "code:x", "reads:x"]


def test_a_backend_that_cannot_be_observed_is_unknown_unless_the_key_says_who_it_is() -> None:
    plain = Request("openai", "m", ())
    assert asyncio.run(observed(object(), plain, "model 'm'")) == Served()
    stated = Request("openai", "m", (), revision="7")
    assert asyncio.run(observed(object(), stated, "model 'm'")) == Served("revision:7")


def seen(pages: Mapping[str, Any], model: str = "m") -> Served:
    async def get(path: str, at_root: bool) -> Any:
        return pages.get(("/" if at_root else "") + path)

    return asyncio.run(look(get, model))


VLLM = {"id": "m", "object": "model", "created": 1764, "owned_by": "vllm", "root": "/models/m", "parent": None,
        "max_model_len": 512, "permission": [{"id": "modelperm-8f3a", "created": 1764}]}  # fmt: skip
LLAMA = {
    "id": "m",
    "owned_by": "llamacpp",
    "created": 3,
    "meta": {"n_params": 630_167_424, "size": 485_193_728, "n_ctx_train": 4096},
}
OLLAMA = {"name": "m:latest", "model": "m:latest", "modified_at": "2026-01-01", "size": 96, "digest": "sha256:" + "c6eb" * 16,
          "details": {"parameter_size": "8.0B", "quantization_level": "Q4_K_M", "parent_model": ""}}  # fmt: skip
SHOWN = {
    "vllm": ({"models": {"data": [VLLM]}, "/version": {"version": "0.33.0"}},
             {"owner": "vllm", "length": "512", "build": "0.33.0", "served_model": "m"}, None),
    "llama.cpp": ({"models": {"data": [LLAMA]}, "/props": {"build_info": "b8681", "model_path": "/x.gguf"}},
                  {"owner": "llamacpp", "parameters": "630167424", "size": "485193728", "length": "4096",
                   "build": "b8681", "served_model": "m"}, None),
    "ollama": ({"models": {"data": [{"id": "m:latest", "owned_by": "library", "created": 5}]},
                "/api/tags": {"models": [OLLAMA]}, "/api/version": {"version": "0.40.12"}},
               {"owner": "library", "size": "96", "parameters": "8.0B", "quantisation": "Q4_K_M",
                "build": "0.40.12", "served_model": "m:latest"}, "digest:" + "c6eb" * 16),
    "tgi": ({"models": {"data": [{"id": "org/m", "owned_by": "org/m"}]}, "/info": {"model_sha": "ab12" * 10, "version": "3.3"}},
            {"owner": "org/m", "build": "3.3", "served_model": "org/m"}, "digest:" + "ab12" * 10),
    "lm studio": ({"models": {"data": [{"id": "m", "publisher": "qwen", "quantization": "4bit", "loaded_context_length": 8192}]}},
                  {"owner": "qwen", "quantisation": "4bit", "length": "8192", "served_model": "m"}, None),
    "a list alone": ({"models": [{"id": "m", "context_length": 100}]}, {"length": "100", "served_model": "m"}, None),
    "a digest of its own": ({"models": {"data": [{"id": "m", "weights_sha256": "AB" * 32}]}}, {"served_model": "m"}, "digest:" + "ab" * 32),
    "one model of another name": ({"models": {"data": [{"id": "other"}]}}, {"served_model": "other"}, None),
    "several of other names": ({"models": {"data": [{"id": "a"}, {"id": "b"}]}}, {}, None),
    "nothing": ({}, {}, None),
    "what is no list": ({"models": {"data": "none"}}, {}, None),
    "odd values": ({"models": {"data": [None, 3, {"id": "m", "root": {"a": 1}, "size": True, "digest": "no"}]}},
                   {"served_model": "m"}, None),
}  # fmt: skip


@pytest.mark.parametrize("server", SHOWN)
def test_what_each_kind_of_server_shows_of_its_model(server: str) -> None:
    pages, signs, proof = SHOWN[server]
    found = seen(pages)
    assert {name: value for name, value in found.signs.items() if name != "root"} == signs
    assert found.proof == proof


def test_times_and_random_ids_are_dropped_and_paths_are_hashed() -> None:
    first = seen({"models": {"data": [VLLM]}})
    later = {**VLLM, "created": 9999, "permission": [{"id": "modelperm-0000"}]}
    assert seen({"models": {"data": [later]}}) == first
    assert "models" not in first.signs["root"]
    moved = seen({"models": {"data": [{**VLLM, "root": "/elsewhere/m"}]}})
    assert other_model(first, moved) is not None
    path = seen({"models": {"data": [{"id": "/home/someone/m.gguf"}]}})
    assert "someone" not in str(path)
