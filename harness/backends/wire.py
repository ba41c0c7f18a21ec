"""Bodies of requests to an OpenAI-compatible server, without the parameters that it rejects."""

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
    """Writes the requests for one model.

    `api` is `chat` or `responses`; `max_tokens_field` is the name of the limit, the other one is
    sent where it is rejected. `rejected` holds the parameters that the server has rejected, by
    their names in a body; `system` stands for a system message.
    """

    model: str
    api: str
    capabilities: Capabilities
    max_tokens_field: str = LIMITS[0]
    chat_template_kwargs: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)

    def body(self, request: Request) -> bytes:
        """The bytes that are sent; keys are sorted.

        Raises `HarnessError` for media that the model is not declared to take.
        """
        takes_system = self.capabilities.system_role and "system" not in self.rejected
        messages = sent_messages(
            request.messages, self.model, takes_system, self.capabilities.images
        )
        body = {"model": self.model, **self._parameters(request, self.rejected)}
        if self.api == "chat":
            body["messages"] = messages
        else:
            body["input"] = responses.as_input(messages)
        text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return well_formed(text).encode("utf-8")

    def wanted_parameters(self, request: Request) -> frozenset[str]:
        """The parameters of a request to a server that rejects none."""
        return self._names(request, ())

    def sent_parameters(self, request: Request) -> frozenset[str]:
        """The parameters that its body holds for this server."""
        return self._names(request, self.rejected)

    def reject(self, name: str) -> None:
        """Leaves a parameter out of all further bodies, with the one that depends on it."""
        both = ("include" if self.api == "responses" else "logprobs", "top_logprobs")
        self.rejected.update(both if name in both else (name,))

    def notes(self, wanted: Collection[str]) -> list[str]:
        """A sentence for each wanted parameter that the server has rejected."""
        return [self._note(name) for name in sorted(self.rejected.intersection(wanted))]

    def _limits(self) -> tuple[str, ...]:
        if self.api != "chat":
            return (responses.LIMIT,)
        return (self.max_tokens_field, *(n for n in LIMITS if n != self.max_tokens_field))

    def _parameters(self, request: Request, rejected: Collection[str]) -> dict[str, Any]:
        sampling, limits = request.sampling, self._limits()
        limit = next((name for name in limits if name not in rejected), limits[0])
        asked: dict[str, Any] = {
            limit: sampling.max_tokens,
            "temperature": sampling.temperature if self.capabilities.temperature else None,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "stop": list(sampling.stop) or None,
            "seed": sampling.seed if self.capabilities.seed else None,
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
            if value is not None and name not in rejected
        }

    def _names(self, request: Request, rejected: Collection[str]) -> frozenset[str]:
        names = set(self._parameters(request, rejected))
        if self.capabilities.system_role and any(m.role == "system" for m in request.messages):
            names |= {"system"} - set(rejected)
        return frozenset(names)

    def _note(self, name: str) -> str:
        if name == "system":
            return "system role refused by the server; its text opens the first user message"
        other = next((limit for limit in self._limits() if limit not in self.rejected), None)
        if name in LIMITS and other is not None:
            return f"{name} refused by the server; {other} sent instead"
        return f"{name} refused by the server and left out"
