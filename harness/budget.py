"""What a run may still spend: time, and money that is reserved before anything is sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from harness.records import UNSCORABLE, Generation, Request

Price = tuple[float, float] | None
"""Per million tokens in and out."""

_BYTES_PER_TOKEN = 2.0
"""Of what is reserved: English has about four, so that a prompt hardly ever costs more."""
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_MEDIUM = 1_600
"""An image of 1,568 pixels a side costs about so many where a service says what it counts."""


@dataclass
class Budget:
    """What a run may still spend; shared by all its models.

    `max_time` counts seconds from `started` by the `clock`, `max_cost` is in the currency of the
    prices. A request goes out only where its estimate and all that is under way fit into what is
    left, so the sum of what answers cost stays within `max_cost`.
    """

    max_time: float | None = None
    max_cost: float | None = None
    clock: Callable[[], float] = time.monotonic
    spent: float = 0.0
    reached: bool = False  # whether a limit kept something from being asked
    started: float = field(default=-1.0)
    _reserved: float = 0.0
    _under_way: int = 0
    _ratio: float = 1.0  # the most that a prompt cost of its estimate
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.started < 0:
            self.started = self.clock()

    @property
    def until(self) -> float | None:
        """The clock's time at which the limit of time is reached."""
        return None if self.max_time is None else self.started + self.max_time

    def left(self) -> bool:
        """Whether another request may go out, as far as time and what is spent say."""
        in_time = self.until is None or self.clock() < self.until
        open_ = in_time and (self.max_cost is None or self.spent < self.max_cost)
        self.reached |= not open_
        return open_

    def estimate(self, request: Request, price: Price) -> float:
        """The most that a request is expected to cost: its prompt, and `max_tokens` out."""
        if price is None or self.max_cost is None:
            return 0.0
        tokens = prompt_tokens(request) * self._ratio
        return (tokens * price[0] + request.sampling.max_tokens * price[1]) / 1e6

    async def reserve(self, cost: float) -> bool:
        """Whether a request of this cost may go out: now, or when what is under way is paid."""
        while True:
            if not self.left():
                return False
            if self.max_cost is None or self.spent + self._reserved + cost <= self.max_cost:
                self._reserved += cost
                self._under_way += 1
                return True
            if not self._under_way:
                self.reached = True
                return False
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def pay(
        self, request: Request, generation: Generation | None, price: Price, reserved: float
    ) -> None:
        """Gives back what was reserved, and counts what came of it (`None`: nothing was sent)."""
        self.pay_all([] if generation is None else [(request, generation)], price, reserved)

    def pay_all(
        self, answers: Iterable[tuple[Request, Generation]], price: Price, reserved: float
    ) -> None:
        """The same for all that was reserved in one go."""
        self._reserved = max(0.0, self._reserved - reserved)
        self._under_way -= 1
        for request, generation in answers if price is not None else ():
            assert price is not None
            self.spent += self._cost(request, generation, price)
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    def _cost(self, request: Request, generation: Generation, price: tuple[float, float]) -> float:
        tokens_in, tokens_out = generation.prompt_tokens, generation.completion_tokens
        failed = generation.outcome in UNSCORABLE or generation.outcome == "not_run"
        if tokens_in is not None:
            self._ratio = max(self._ratio, tokens_in / prompt_tokens(request))
        elif not failed:
            tokens_in = round(prompt_tokens(request) * self._ratio)
        if tokens_out is None and not failed:
            said = generation.text + (generation.reasoning or "")
            tokens_out = min(text_tokens(said), request.sampling.max_tokens)
        return ((tokens_in or 0) * price[0] + (tokens_out or 0) * price[1]) / 1e6


def text_tokens(text: str) -> int:
    """An upper estimate of a text's tokens."""
    return round(len(text.encode("utf-8", "replace")) / _BYTES_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """An upper estimate of a prompt's tokens, media included."""
    tokens = 0
    for message in request.messages:
        tokens += text_tokens(message.text) + _TOKENS_PER_MESSAGE
        tokens += _TOKENS_PER_MEDIUM * sum(part.media is not None for part in message.parts)
    return tokens + len(request.continuation or ())
