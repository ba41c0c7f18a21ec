"""Messages become a model's inputs: through its chat template, tokenizer and image processor.

Templates differ in what they take. What they refuse (a system role, two user turns in a row) and
what processors trip over (a black picture) is dealt with here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.backends.checkpoint import said
from harness.backends.pictures_once import ProcessedOnce
from harness.records import HarnessError, Media, Message, Part

_PROBE = "the-system-text"


class Chat:
    """A model's way of being asked.

    `multimodal` models are given message content as a list of parts, others as a string. Raises
    `HarnessError` where the chat template fails on a plain question.
    """

    def __init__(
        self, processor: Any, multimodal: bool, model: str, template_kwargs: Mapping[str, Any]
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", processor)
        if multimodal and hasattr(processor, "image_processor"):
            processor.image_processor = ProcessedOnce(processor.image_processor)
        self._multimodal = multimodal
        self._template_kwargs = template_kwargs
        try:
            self._apply([Message.of("user", "a")])
        except Exception as error:  # templates raise what they like
            raise HarnessError(
                f"the chat template of model '{model}' fails on a plain question: {said(error)}"
            ) from error
        self.system_role = self._takes_system()

    def text(self, messages: Sequence[Message]) -> str:
        """The prompt as text; a system text goes before the first user message where the template
        has no system role."""
        return self._apply(messages if self.system_role else without_system(messages))

    def encode(self, conversations: Sequence[Sequence[Message]]) -> Any:
        """Ids, attention mask and pictures of some conversations, padded on the left."""
        texts = [self.text(messages) for messages in conversations]
        options = {"add_special_tokens": False, "padding": True, "return_tensors": "pt"}
        media = [media_of(messages) for messages in conversations]
        if not any(media):
            return self.tokenizer(texts, **options)
        from PIL import Image

        from harness.images import load_array

        pictures = [[Image.fromarray(load_array(medium)) for medium in row] for row in media]
        inputs = self.processor(text=texts, images=pictures, **options)
        _mark_blank(inputs)
        return inputs

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens as text, special ones left out."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _apply(self, messages: Sequence[Message]) -> str:
        return str(
            self.processor.apply_chat_template(
                [self._turn(message) for message in messages],
                tokenize=False,
                add_generation_prompt=True,
                **self._template_kwargs,
            )
        )

    def _turn(self, message: Message) -> dict[str, Any]:
        if not self._multimodal:
            return {"role": message.role, "content": message.text}
        content = [
            {"type": "text", "text": part.text} if part.media is None else {"type": "image"}
            for part in message.parts
        ]
        return {"role": message.role, "content": content}

    def _takes_system(self) -> bool:
        """Whether the template takes a system message and shows it."""
        try:
            return _PROBE in self._apply([Message.of("system", _PROBE), Message.of("user", "a")])
        except Exception:  # a refusal, in whatever words
            return False


def media_of(messages: Sequence[Message]) -> list[Media]:
    """The pictures and other media of a conversation, in order."""
    return [part.media for m in messages for part in m.parts if part.media is not None]


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system text put before the first user message."""
    system: list[Part] = [part for m in messages if m.role == "system" for part in m.parts]
    rest = [message for message in messages if message.role != "system"]
    if not system:
        return rest
    if not rest or rest[0].role != "user":
        return [Message("user", tuple(system)), *rest]
    # A blank line between the two, whatever joins the parts.
    last = Part(f"{system[-1].text}\n")
    return [Message("user", (*system[:-1], last, *rest[0].parts)), *rest[1:]]


def _mark_blank(inputs: Any) -> None:
    """Keeps pictures that are zero throughout: Idefics and its kin take them for padding.

    One value becomes the smallest that every number format holds, which changes nothing that a
    model sees.
    """
    import torch

    values = inputs.get("pixel_values")
    if values is None or values.dim() != 5:  # rows, pictures, channels, height, width
        return
    blank = (values == 0).flatten(2).all(dim=-1)
    if inputs.get("pixel_attention_mask") is not None:
        blank &= inputs["pixel_attention_mask"].flatten(2).any(dim=-1)
    tiny = torch.finfo(torch.float16).tiny
    values[..., 0, 0, 0] = values[..., 0, 0, 0].masked_fill(blank, tiny)
