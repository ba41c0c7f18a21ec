"""The second phase of training: the language model learns to report what the eye sees.

The vision encoder is frozen; the connector and the language model learn. Only the report's tokens
count in the loss. The text-only model is trained by the same loop without pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.language_models.architecture import AROUND, IMAGE, IMAGE_TOKENS, WHOLE
from harness.language_models.corpus import Corpus, Example
from harness.language_models.images import Images
from harness.language_models.vision import Log, Schedule, brightened, pixel_values, see

PROMPTS_PER_IMAGE = 2
"""Prompts learned from one look at an image: looking costs more than asking."""


@dataclass(frozen=True)
class Tokens:
    """Examples as tensors, padded on the right: ids, attention mask, and labels (-100 where no
    loss is taken), each (n, length)."""

    ids: Any
    mask: Any
    labels: Any


def train_seeing(
    model: Any,
    tokenizer: Any,
    corpus: Corpus,
    images: Images,
    schedule: Schedule,
    seed: int,
    log: Log,
) -> None:
    """Trains connector and language model in place, vision frozen."""
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    inner = model.model
    inner.vision_model.requires_grad_(False)
    trained = [
        *inner.connector.parameters(),
        *inner.text_model.parameters(),
        *model.lm_head.parameters(),
    ]
    looks = schedule.batch // PROMPTS_PER_IMAGE
    order: list[int] = []

    def loss() -> Any:
        nonlocal order
        if len(order) < looks:
            order.extend(rng.permutation(len(images)).tolist())
        chosen, order = order[:looks], order[looks:]
        turned = [
            images.turned(index, int(rng.integers(4)), bool(rng.integers(2))) for index in chosen
        ]
        examples = [corpus.seeing(one[3], rng) for one in turned for _ in range(PROMPTS_PER_IMAGE)]
        tokens = tokenised(examples, tokenizer)
        with torch.no_grad():
            pictures = brightened(pixel_values(np.stack([one[0] for one in turned])), rng)
            patches = see(model, pictures)[0]
        seen = inner.connector(patches).repeat_interleave(PROMPTS_PER_IMAGE, dim=0)
        embedded = inner.text_model.get_input_embeddings()(tokens.ids)
        places = tokens.ids == inner.config.image_token_id
        shown = places.any(dim=1)  # a variant may leave the picture out
        embedded = embedded.masked_scatter(places[..., None], seen[shown].to(embedded.dtype))
        hidden = inner.text_model(
            inputs_embeds=embedded, attention_mask=tokens.mask, use_cache=False
        ).last_hidden_state
        return report_loss(model.lm_head, hidden, tokens.labels)

    model.train()
    _descend(trained, loss, schedule, log)
    inner.vision_model.requires_grad_(True)


def train_blind(
    model: Any, tokenizer: Any, corpus: Corpus, schedule: Schedule, seed: int, log: Log
) -> None:
    """Trains a text-only model in place."""
    import torch

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)

    def loss() -> Any:
        examples = [corpus.blind(rng) for _ in range(schedule.batch)]
        tokens = tokenised(examples, tokenizer)
        hidden = model.model(
            input_ids=tokens.ids, attention_mask=tokens.mask, use_cache=False
        ).last_hidden_state
        return report_loss(model.lm_head, hidden, tokens.labels)

    model.train()
    _descend(list(model.parameters()), loss, schedule, log)


def report_loss(head: Any, hidden: Any, labels: Any) -> Any:
    """Mean cross-entropy of the report's tokens; logits are made for these alone."""
    import torch

    wanted = labels[:, 1:] != -100
    logits = head(hidden[:, :-1][wanted])
    return torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][wanted])


def tokenised(examples: list[Example], tokenizer: Any) -> Tokens:
    """Examples as the chat template and the processor would write them, answer included."""
    import torch

    rows = []
    for example in examples:
        prompt = tokenizer(prompt_text(example, tokenizer), add_special_tokens=False)["input_ids"]
        report = tokenizer(example.report, add_special_tokens=False)["input_ids"]
        rows.append((prompt, [*report, tokenizer.eos_token_id]))
    longest = max(len(prompt) + len(report) for prompt, report in rows)
    ids = torch.full((len(rows), longest), tokenizer.pad_token_id)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    for i, (prompt, report) in enumerate(rows):
        end = len(prompt) + len(report)
        ids[i, :end] = torch.tensor([*prompt, *report])
        labels[i, len(prompt) : end] = torch.tensor(report)
        mask[i, :end] = 1
    return Tokens(ids, mask, labels)


def prompt_text(example: Example, tokenizer: Any) -> str:
    """The conversation in the chat template, each picture as the tokens it becomes."""
    conversation = [
        {
            "role": message.role,
            "content": [
                {"type": "text", "text": part.text} if part.media is None else {"type": "image"}
                for part in message.parts
            ],
        }
        for message in example.messages
    ]
    text: str = tokenizer.apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=True
    )
    return text.replace(IMAGE, AROUND + WHOLE + IMAGE * IMAGE_TOKENS + AROUND)


def _descend(parameters: list[Any], loss: Any, schedule: Schedule, log: Log) -> None:
    import torch

    optimiser = torch.optim.AdamW(
        parameters, lr=schedule.rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.98)
    )
    running = 0.0
    for step in range(schedule.steps):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate_at(step)
        with torch.autocast("cpu", torch.bfloat16):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        running += value.item()
        if (step + 1) % 50 == 0:
            log(f"language {step + 1}/{schedule.steps} loss {running / 50:.4f}")
            running = 0.0
