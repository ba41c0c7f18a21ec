"""Small random language models, with and without eyes, and questions to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from harness.identity import sha256
from harness.images import to_png
from harness.records import (
    Generation,
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


def make_llama(folder: Path) -> Path:
    from transformers import LlamaForCausalLM

    tokenizer = make_tokenizer(ROLES)
    torch.manual_seed(0)
    LlamaForCausalLM(text_config(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_idefics(folder: Path) -> Path:
    """A model that normalises nothing, so a black picture is zero throughout."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )

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
