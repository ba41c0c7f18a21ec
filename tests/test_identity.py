"""Requests that mean the same share a key; whatever changes the answer changes the key."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.identity import (
    attribution_key,
    canonical,
    digest,
    draw,
    file_hash,
    request_key,
    request_seed,
    tree_hash,
)
from harness.records import (
    Attribution,
    Media,
    Message,
    Part,
    Request,
    Sampling,
    Segmentation,
    Unit,
)

PLAIN = Request(
    backend="openai",
    model="qwen",
    messages=(Message.of("system", "Be brief."), Message.of("user", "Why?")),
    sampling=Sampling(temperature=0.7, max_tokens=64, seed=5),
)
PICTURE = Media("ab" * 32, "image/png", data=b"x")


BY_HAND = {
    "key_version": 1,
    "backend": "openai",
    "model": "qwen",
    "revision": None,
    "messages": [
        {"role": "system", "parts": [{"text": "Be brief."}]},
        {"role": "user", "parts": [{"text": "Why?"}]},
    ],
    "sampling": {
        "temperature": 0.7,
        "top_p": None,
        "top_k": None,
        "max_tokens": 64,
        "stop": [],
        "seed": 5,
    },
    "schema": None,
    "extras": {},
    "cell": None,
    "reads": None,
    "repeat": 1,
}


@pytest.mark.parametrize(
    ("request_", "more"),
    [(PLAIN, {}), (replace(PLAIN, continuation=(5, 0, 7)), {"continuation": [5, 0, 7]})],
)
def test_the_key_is_the_sha256_of_canonical_json_that_anyone_can_write(
    request_: Request, more: dict[str, list[int]]
) -> None:
    by_hand = {**BY_HAND, **more}
    text = json.dumps(by_hand, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert request_key(request_) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "changed",
    [
        replace(PLAIN, backend="vllm"),
        replace(PLAIN, model="other"),
        replace(PLAIN, revision="abc"),
        replace(PLAIN, messages=(Message.of("user", "Why?"),)),
        replace(PLAIN, messages=(Message.of("system", "Be brief."), Message.of("user", "Why? "))),
        replace(PLAIN, sampling=replace(PLAIN.sampling, temperature=0.8)),
        replace(PLAIN, sampling=replace(PLAIN.sampling, seed=6)),
        replace(PLAIN, sampling=replace(PLAIN.sampling, top_p=0.9)),
        replace(PLAIN, sampling=replace(PLAIN.sampling, top_k=5)),
        replace(PLAIN, sampling=replace(PLAIN.sampling, max_tokens=65)),
        replace(PLAIN, sampling=replace(PLAIN.sampling, stop=("a",))),
        replace(PLAIN, messages=(Message.of("user", "Be brief."), Message.of("user", "Why?"))),
        replace(PLAIN, schema={"type": "object"}),
        replace(PLAIN, extras={"logprobs": 5}),
        replace(PLAIN, repeat=2),
        replace(PLAIN, cell="m/s/f/v/none/a/1"),
        replace(PLAIN, reads="abc"),
        replace(PLAIN, continuation=()),
        replace(PLAIN, continuation=(1, 2)),
        replace(PLAIN, continuation=(12,)),
        replace(PLAIN, messages=(Message("user", (Part("Why?"), Part(media=PICTURE))),)),
    ],
)
def test_whatever_determines_the_answer_changes_the_key(changed: Request) -> None:
    assert request_key(changed) != request_key(PLAIN)


def test_the_keys_of_requests_without_a_continuation_are_those_of_earlier_releases() -> None:
    assert request_key(PLAIN) == "9fa081766c93ee5a9c74baf92d5c47dff32aa9c7ff5f2900d19609aff9408a78"


def test_where_the_bytes_of_a_picture_lie_does_not_change_the_key() -> None:
    there = replace(PICTURE, data=None, path="/somewhere/else.png")
    keys = {
        request_key(replace(PLAIN, messages=(Message("user", (Part(media=media),)),)))
        for media in (PICTURE, there)
    }
    assert len(keys) == 1


def test_the_same_bytes_sent_as_another_media_type_are_another_request() -> None:
    def key(media: Media) -> str:
        return request_key(replace(PLAIN, messages=(Message("user", (Part(media=media),)),)))

    assert key(PICTURE) != key(replace(PICTURE, mime="image/webp"))
    assert key(PICTURE) != key(replace(PICTURE, sha256="cd" * 32))
    assert digest(PICTURE) != digest(replace(PICTURE, mime="image/webp"))
    assert digest(PICTURE) == digest(replace(PICTURE, data=None, path="/elsewhere.png"))


def test_text_that_spells_a_picture_is_not_a_picture() -> None:
    picture = Message("user", (Part(media=PICTURE),))
    spelled = Message.of("user", json.dumps({"media": PICTURE.sha256, "mime": PICTURE.mime}))
    assert request_key(replace(PLAIN, messages=(picture,))) != request_key(
        replace(PLAIN, messages=(spelled,))
    )


def test_the_seed_depends_on_run_request_and_repeat_but_not_on_a_seed_already_set() -> None:
    unseeded = replace(PLAIN, sampling=replace(PLAIN.sampling, seed=None))
    assert request_seed(1, PLAIN) == request_seed(1, unseeded)
    seeds = {request_seed(run, replace(PLAIN, repeat=r)) for run in (1, 2) for r in (1, 2, 3)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_seeds_use_all_31_bits() -> None:
    seeds = [request_seed(run, PLAIN) for run in range(300)]
    for bit in range(31):
        ones = sum(seed >> bit & 1 for seed in seeds)
        assert 100 < ones < 200, f"bit {bit} is set in {ones} of 300 seeds"


ATTRIBUTION = Attribution(
    "s", "lime", "word", "x", "logit", "mask", (Unit("pain"),), (0.5,), classifier="abc",
    input="def", seed=3, settings={"samples": 100},
)  # fmt: skip


@pytest.mark.parametrize(
    "cause",
    [
        {"sample": "t"},
        {"method": "rise"},
        {"unit": "sentence"},
        {"target": "y"},
        {"output": "probability"},
        {"removal": "delete"},
        {"reduce": "sum"},
        {"settings": {"samples": 200}},
        {"seed": 4},
        {"classifier": "abd"},
        {"input": "dee"},
    ],
)
def test_whatever_an_attribution_follows_from_changes_its_key(cause: dict[str, Any]) -> None:
    assert attribution_key(replace(ATTRIBUTION, **cause)) != attribution_key(ATTRIBUTION)


@pytest.mark.parametrize(
    "found",
    [
        {"values": (0.7,)},
        {"standard_errors": (0.1,)},
        {"units": (Unit("pain", 0, 4),)},
        {"full": 1.0, "empty": 0.0, "completeness_error": 0.5},
        {"evaluations": 9, "notes": ("slow",)},
        {"segmentation": (Segmentation((1,), (0, 1)),)},
    ],
)
def test_what_an_attribution_found_does_not_change_its_key(found: dict[str, Any]) -> None:
    assert attribution_key(replace(ATTRIBUTION, **found)) == attribution_key(ATTRIBUTION)


def test_the_hash_of_a_folder_follows_from_all_names_and_bytes_below_it(tmp_path: Path) -> None:
    def hashed(folder: str, **files: str) -> str:
        for name, text in files.items():
            path = tmp_path / folder / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tree_hash(tmp_path / folder)

    first = hashed("a", one="1", deep__two="2")
    assert hashed("b", one="1", deep__two="2") == first
    others = [
        hashed("c", one="1", deep__two="3"),
        hashed("d", one="1", deep__other="2"),
        hashed("e", one="1", two="2"),
        hashed("f", one="2", deep__two="1"),
        hashed("g", one="1"),
        hashed("h", one="1", deep__two="2", deep__three=""),
    ]
    assert len({first, *others}) == 1 + len(others)


def test_a_file_that_changed_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    assert file_hash(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"longer")
    assert file_hash(path) == hashlib.sha256(b"longer").hexdigest()
    before = path.stat()
    path.write_bytes(b"LONGER")  # of the same size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert file_hash(path) == hashlib.sha256(b"LONGER").hexdigest()


@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**50), 2**50), max_size=6))
def test_the_order_of_fields_does_not_change_a_digest(value: dict[str, int]) -> None:
    turned = dict(reversed(list(value.items())))
    assert digest(value) == digest(turned)
    assert json.loads(canonical(value)) == value


def test_draws_are_uniform_and_repeatable() -> None:
    drawn = [draw("wrong", i) for i in range(2000)]
    assert drawn == [draw("wrong", i) for i in range(2000)]
    assert 0.45 < sum(drawn) / len(drawn) < 0.55
    assert all(0 <= value < 1 for value in drawn)
