"""The empty models and their processors: a small Idefics3 that sees, and a Llama that does not.

Idefics3 was chosen because transformers and vLLM both run it without torchvision, on a CPU too.
A picture of 128 pixels becomes 256 patches of 8 pixels and, four by four, 64 tokens of the
language model. Head dimensions of 32 and 64 are what vLLM's CPU attention takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.language_models.images import IMAGE_SIZE
from harness.octa.geometry import SECTORS
from harness.records import HarnessError

PATCH_SIZE = 8
SCALE_FACTOR = 2
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE // SCALE_FACTOR) ** 2
WIDTH = 128
POSITIONS = 2048
VOCABULARY = 525
MEAN, DEVIATION = 0.25, 0.15
"""Rough mean and standard deviation of the images' grey values in [0, 1], by which the processor
normalises them. No grey level becomes exactly 0, which Idefics3 would take for padding."""

PAD, BOS, EOS = "<pad>", "<s>", "<end_of_utterance>"
IMAGE, AROUND, WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
SPECIAL = (PAD, BOS, EOS, IMAGE, AROUND, WHOLE, *ROLES)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% endif %}{% endfor %}{% endif %}<end_of_utterance>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tokenizer(texts: Iterable[str]) -> Any:
    """A byte-level BPE of about 525 tokens, learned from the prompts and reports themselves.

    Raises `HarnessError` unless each sector is one token, which the recipe relies on.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=[IMAGE, AROUND, WHOLE, *ROLES],
        padding_side="left",
        model_max_length=POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    for sector in SECTORS:
        if len(tokenizer(f" {sector}")["input_ids"]) != 1:
            raise HarnessError(f"the vocabulary cuts the sector '{sector}' into pieces")
    return tokenizer


def make_processor(tokenizer: Any) -> Any:
    """Picture and text to the model's inputs, through Pillow alone."""
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )

    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": IMAGE_SIZE},
        max_image_size={"longest_edge": IMAGE_SIZE},
        do_image_splitting=False,
        image_mean=[MEAN] * 3,
        image_std=[DEVIATION] * 3,
    )
    return Idefics3Processor(
        pictures, tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=CHAT_TEMPLATE
    )


def make_text_model(tokenizer: Any) -> Any:
    """An untrained Llama of 64 dimensions and 2 layers, for `octa-text`."""
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM(_llama(tokenizer, width=64, layers=2, heads=2))


def make_vision_model(tokenizer: Any) -> Any:
    """An untrained Idefics3: vision 128 wide with 4 layers, language 128 wide with 3 layers."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    configuration: Any = Idefics3Config
    config = configuration(
        vision_config={
            "hidden_size": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
        },
        text_config=_llama(tokenizer, width=WIDTH, layers=3, heads=4).to_dict(),
        scale_factor=SCALE_FACTOR,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    return Idefics3ForConditionalGeneration(config)


def _llama(tokenizer: Any, width: int, layers: int, heads: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
