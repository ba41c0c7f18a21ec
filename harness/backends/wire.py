"""A request as an OpenAI-compatible server is sent it, less what that server does not take."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.backends import responses
from harness.backends.answers import well_formed
from harness.backends.messages import sent_messages
from harness.records import Capabilities, Request

LIMITS = ("max_completion_tokens", "max_tokens")
# What a request, its identity or the reading of its answer already settle.
SETTLED = ("messages", "model", "n", "seed", "stream", *LIMITS)


@dataclass
class Wire:
    """How one model's requests are written.

    `api` is `chat` or `responses`; `max_tokens_field` the name of the limit, the other is sent
    where it is refused. `refused` holds what the server was found not to take, by the names that it
    goes by in a body; `system` stands for a system message.
    """

    model: str
    api: str
    takes: Capabilities
    max_tokens_field: str = LIMITS[0]
    chat_template_kwargs: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def body(self, request: Request) -> bytes:
        """The bytes that are sent; keys are sorted.

        Raises `HarnessError` for media that the model is not declared to take.
        """
        takes_system = self.takes.system_role and "system" not in self.refused
        messages = sent_messages(request.messages, self.model, takes_system, self.takes.images)
        body = {"model": self.model, **self._parameters(request, self.refused)}
        if self.api == "chat":
            body["messages"] = messages
        else:
            body["input"] = responses.as_input(messages)
        text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return well_formed(text).encode("utf-8")

    def wanted(self, request: Request) -> frozenset[str]:
        """What a request would be sent with if the server took everything."""
        return self._names(request, ())

    def sent(self, request: Request) -> frozenset[str]:
        """What it is sent with."""
        return self._names(request, self.refused)

    def refuse(self, name: str) -> None:
        """Leaves this out from now on, with what makes no sense without it."""
        both = ("include" if self.api == "responses" else "logprobs", "top_logprobs")
        self.refused.update(both if name in both else (name,))

    def notes(self, wanted: Collection[str]) -> list[str]:
        """A sentence for each of these that the server does not take."""
        return [self._note(name) for name in sorted(self.refused.intersection(wanted))]

    def _limits(self) -> tuple[str, ...]:
        if self.api != "chat":
            return (responses.LIMIT,)
        return (self.max_tokens_field, *(n for n in LIMITS if n != self.max_tokens_field))

    def _parameters(self, request: Request, refused: Collection[str]) -> dict[str, Any]:
        sampling, limits = request.sampling, self._limits()
        limit = next((name for name in limits if name not in refused), limits[0])
        asked: dict[str, Any] = {
            limit: sampling.max_tokens,
            "temperature": sampling.temperature if self.takes.temperature else None,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "stop": list(sampling.stop) or None,
            "seed": sampling.seed if self.takes.seed else None,
            "logprobs": True if request.extras.get("logprobs") is not None else None,
            "top_logprobs": request.extras.get("logprobs"),
            "return_token_ids": True if request.extras.get("token_ids") else None,
            "chat_template_kwargs": self.chat_template_kwargs,
        }
        if request.schema is not None:
            described = {"name": "answer", "schema": request.schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": described}
        asked |= self.extra_body
        if self.api == "responses":
            asked = responses.as_parameters(asked)
        return {
            name: value
            for name, value in asked.items()
            if value is not None and name not in refused
        }

    def _names(self, request: Request, refused: Collection[str]) -> frozenset[str]:
        names = set(self._parameters(request, refused))
        if self.takes.system_role and any(m.role == "system" for m in request.messages):
            names |= {"system"} - set(refused)
        return frozenset(names)

    def _note(self, name: str) -> str:
        if name == "system":
            return "system role refused by the server; its text opens the first user message"
        other = next((limit for limit in self._limits() if limit not in self.refused), None)
        if name in LIMITS and other is not None:
            return f"{name} refused by the server; {other} sent instead"
        return f"{name} refused by the server and left out"
