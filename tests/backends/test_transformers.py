"""The in-process backend: texts that hang on their own request alone, and errors in one sentence.

The checkpoints are small random ones made here, and a real one of 260,000 parameters.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness.backends.transformers import Transformers
from harness.identity import sha256
from harness.images import to_png
from harness.records import (
    Generation,
    HarnessError,
    Media,
    Message,
    Part,
    Request,
    Sampling,
)

WORDS = [
    "the",
    "scan",
    "shows",
    "no",
    "lesion",
    "in",
    "north",
    "south",
    "east",
    "west",
    "and",
    "a",
    "few",
    "of",
    "them",
    "are",
    "seen",
    "here",
]
ROLES = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}<assistant>"
PICTURES = (
    "{% for m in messages %}<{{ m['role'] }}>{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}</s>"
    "{% endfor %}<assistant>"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}" + ROLES
)


def make_tokenizer(template: str | None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<image>", "<fake_token_around_image>", "<global-img>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([" ".join(WORDS)] * 20, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def text_config(tokenizer: Any) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        initializer_range=0.5,  # so that texts differ from one another
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = make_tokenizer(ROLES)
    torch.manual_seed(0)
    LlamaForCausalLM(text_config(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def idefics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that normalises nothing, so a black picture is zero throughout."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )

    folder = tmp_path_factory.mktemp("idefics")
    tokenizer = make_tokenizer(PICTURES)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "initializer_range": 0.5,
        },
        text_config=text_config(tokenizer).to_dict(),
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)
    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": 32},
        max_image_size={"longest_edge": 32},
        do_image_splitting=False,
        do_normalize=False,
    )
    Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=PICTURES).save_pretrained(
        folder
    )
    return folder


def picture(pixels: np.ndarray[Any, Any]) -> Part:
    data = to_png(Image.fromarray(pixels.astype(np.uint8)))
    return Part(media=Media(sha256(data), "image/png", data=data))


def request(text: str = "the scan", *parts: Part, system: str = "", **sampling: Any) -> Request:
    messages = (Message("user", (*parts, Part(text))),)
    if system:
        messages = (Message.of("system", system), *messages)
    settings = {"temperature": 0.0, "max_tokens": 12, **sampling}
    return Request("transformers", "local", messages, sampling=Sampling(**settings))


def questions(count: int, **sampling: Any) -> list[Request]:
    """Questions of very different length."""
    return [request(" ".join(WORDS[: 1 + 2 * i]), **sampling) for i in range(count)]


def texts(answers: list[Generation]) -> list[str]:
    assert all(answer.error is None for answer in answers), answers
    return [answer.text for answer in answers]


# --- what a text hangs on ---------------------------------------------------------------------


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


def test_a_black_picture_is_a_picture(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    black, grey = (picture(np.full((32, 32), value)) for value in (0, 1))
    alone = texts(backend.generate_batch([request("a few", black)]))
    mixed = texts(backend.generate_batch([request("a few", grey), request("a few", black)]))
    assert mixed[1] == alone[0]


def test_two_pictures_in_one_question_stand_beside_one_in_another(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    a, b = (picture(np.full((32, 32), value)) for value in (60, 0))
    asked = [request("both", a, b), request("one", b)]
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


# --- how a token is drawn ---------------------------------------------------------------------


def row(**fields: Any) -> Any:
    from harness.backends.decoding import Row

    settings = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0}
    return Row(**{**settings, "max_tokens": 1, "stop": (), "seed": 0, **fields})


def shares(scores: torch.Tensor, one: Any) -> np.ndarray[Any, Any]:
    """How often each token is drawn over an even grid of random numbers: exact to 1 in 20,000."""
    from harness.backends.decoding import draw

    count = 20_000
    noise = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    drawn = draw(scores.expand(count, -1).clone(), [one] * count, noise)
    return np.bincount(drawn.numpy(), minlength=scores.shape[-1]) / count


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

    from harness.backends.decoding import Drawing

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


# --- where a text ends ------------------------------------------------------------------------


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


def test_a_prompt_that_leaves_no_room_is_too_long_and_others_are_answered(llama: Path) -> None:
    backend = Transformers(str(llama))
    long = request(" ".join(WORDS * 20))
    answers = backend.generate_batch([long, request()])
    assert [answer.outcome == "too_long" for answer in answers] == [True, False]
    assert "256 positions" in (answers[0].error or "")
    count = answers[1].prompt_tokens or 0
    edge = [request(max_tokens=256 - count), request(max_tokens=257 - count)]
    assert [a.outcome == "too_long" for a in backend.generate_batch(edge)] == [False, True]


# --- templates and settings -------------------------------------------------------------------


def test_a_system_text_goes_into_the_first_question_where_there_is_no_system_role(
    llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").write_text(NO_SYSTEM)
    backend = Transformers(str(tmp_path))
    assert not backend.capabilities.system_role
    assert Transformers(str(llama)).capabilities.system_role
    asked = request("here", system="the scan")
    merged = request("the scan\n\nhere")
    assert texts(backend.generate_batch([asked])) == texts(backend.generate_batch([merged]))


def test_settings_that_a_suite_leaves_out_are_the_checkpoints(llama: Path, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    own = {"do_sample": True, "temperature": 0.6, "top_k": 5, "eos_token_id": 2}
    (tmp_path / "generation_config.json").write_text(json.dumps(own))
    left_out = request(temperature=None, seed=4)
    spelt_out = request(temperature=0.6, top_k=5, seed=4)
    backend = Transformers(str(tmp_path))
    assert texts(backend.generate_batch([left_out])) == texts(backend.generate_batch([spelt_out]))
    greedy = Transformers(str(llama)).generate_batch([replace(left_out)])
    assert greedy == Transformers(str(llama)).generate_batch([request(seed=4)])


def test_a_conversation_of_several_turns_is_shown_whole(llama: Path) -> None:
    turns = (
        Message.of("user", "the scan"),
        Message.of("assistant", "no lesion"),
        Message.of("user", "are them seen"),
    )
    asked = Request("transformers", "local", turns, sampling=Sampling(0.0, max_tokens=4))
    backend = Transformers(str(llama))
    answer = backend.generate_batch([asked])[0]
    shown = backend._chat.decode(answer.prompt_token_ids or ())
    assert shown == "<user>the scan<assistant>no lesion<user>are them seen<assistant>"


def test_a_picture_for_a_model_without_eyes_is_an_outcome(llama: Path) -> None:
    answer = asyncio.run(Transformers(str(llama)).generate(request("a", picture(np.zeros((8, 8))))))
    assert answer.outcome == "server"
    assert "does not take images" in (answer.error or "")


def test_a_question_that_names_the_picture_token_hinders_no_other(idefics: Path) -> None:
    backend = Transformers(str(idefics))
    grey = picture(np.full((32, 32), 90))
    hostile, honest = request("<image> <image>", grey), request("the scan", grey)
    answers = backend.generate_batch([hostile, honest])
    assert answers[1] == backend.generate_batch([honest])[0]
    assert answers[0].outcome == "server"


# --- batches ----------------------------------------------------------------------------------


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


# --- identity and bad input -------------------------------------------------------------------


def test_the_revision_changes_with_weights_tokenizer_and_template_alone(
    llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    backend = Transformers(str(tmp_path))
    assert backend.model_id == "local"
    same = backend.revision
    assert same == Transformers(str(llama)).revision
    (tmp_path / "README.md").write_text("a card")
    assert Transformers(str(tmp_path)).revision == same
    revisions = {same}
    for name in ("chat_template.jinja", "tokenizer_config.json", "model.safetensors"):
        path = tmp_path / name
        before = path.read_bytes()
        changed = bytearray(before)
        changed[-2] = 32 if before[-2] != 32 else 10
        path.write_bytes(bytes(changed))
        from harness.backends.checkpoint import find

        revisions.add(find(str(tmp_path)).revision)
        path.write_bytes(before)
    assert len(revisions) == 4


def test_the_number_format_is_part_of_the_request(llama: Path) -> None:
    assert Transformers(str(llama)).extras == {"dtype": "float32"}
    assert Transformers(str(llama), dtype="bfloat16").extras == {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: (f / "chat_template.jinja").unlink(), "has no chat template"),
        (lambda f: (f / "config.json").unlink(), "has no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "is not JSON"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors of model .* is missing"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "only safetensors are read",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer or processor of model"),
        (
            lambda f: (f / "chat_template.jinja").write_text("{{ raise_exception('no') }}"),
            "fails on a plain question",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_asked(
    llama: Path, tmp_path: Path, spoil: Any, said: str
) -> None:
    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    spoil(tmp_path)
    with pytest.raises(HarnessError, match=said):
        Transformers(str(tmp_path))


def test_weights_that_do_not_fill_the_model_are_refused(llama: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(llama, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match="lack 1 tensors"):
        asyncio.run(Transformers(str(tmp_path)).start())
    (tmp_path / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(HarnessError, match="cannot be loaded"):
        asyncio.run(Transformers(str(tmp_path)).start())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "./nowhere"}, "there is no model folder ./nowhere"),
        ({"model": "builtin:nobody"}, "no built-in language model 'nobody'"),
        ({"dtype": "int8"}, "dtype is one of"),
        ({"batch_tokens": 0}, "batch_tokens is a whole number"),
        ({"threads": True}, "threads is a whole number"),
        ({"extras": {"attention": 1}}, "no extra 'attention'"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
    ],
)
def test_a_field_that_cannot_be_right_is_refused(
    llama: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(HarnessError, match=said):
        Transformers(**{"model": str(llama), **fields})


# --- a real model -----------------------------------------------------------------------------


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
