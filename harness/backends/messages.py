"""Messages as OpenAI's interface takes them: text as plain strings, pictures as data URLs."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from harness.records import HarnessError, Message


def sent_messages(
    messages: Sequence[Message], model: str, takes_system: bool, takes_images: bool
) -> list[dict[str, Any]]:
    """The messages as they are sent; without a system role the system text opens the first user
    message.

    Raises `HarnessError` for media that the model is not declared to take.
    """
    sent = [{"role": m.role, "content": _content(m, model, takes_images)} for m in messages]
    system = "\n\n".join(m.text for m in messages if m.role == "system")
    if takes_system:
        return sent
    sent = [message for message in sent if message["role"] != "system"]
    if not system:
        return sent
    first = next((message for message in sent if message["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": system}, *sent]
    if isinstance(first["content"], str):
        first["content"] = f"{system}\n\n{first['content']}"
    else:
        first["content"] = [{"type": "text", "text": system}, *first["content"]]
    return sent


def _content(message: Message, model: str, takes_images: bool) -> Any:
    """A plain string where there is only text, which some servers need."""
    if all(part.media is None for part in message.parts):
        return message.text
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if part.media is None:
            content.append({"type": "text", "text": part.text})
            continue
        if not takes_images or not part.media.mime.startswith("image/"):
            raise HarnessError(
                f"the model '{model}' is not declared to take {part.media.mime}; "
                "set 'images: true' where it takes images"
            )
        data = base64.b64encode(part.media.read()).decode("ascii")
        url = f"data:{part.media.mime};base64,{data}"
        content.append({"type": "image_url", "image_url": {"url": url}})
    return content
