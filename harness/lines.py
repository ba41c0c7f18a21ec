"""A model's line to its server: its turns at the gate, and when it is asked nothing more.

`Gates` hands out one gate an address for the whole of a command; a `Line` is what one model (or a
judge) has of it. A backend that knows of lines has an attribute `line`, and takes each try of each
request to it; for all others the engine does.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.server_gate import Patience, ServerGate, Stopped, Ticket

FIRST_REQUESTS = 5
"""So many requests that fail alike, none ever answered, show that a model cannot be asked."""
PERMANENT = (400, 401, 403, 404, 422, 500, 501)
"""The statuses of such failures; others (429, 502 to 504) say that a server is busy or away."""

_NUMBERED = re.compile(r"[\w-]*\d[\w-]*|\b[0-9a-f]{8,}\b|\w{20,}", re.IGNORECASE)

Look = Callable[[], Awaitable[str | None]]


class FirstRequests:
    """Whether a model's first requests show that it will never answer.

    `known` is whether it has answered already: then nothing does.
    """

    def __init__(self, known: bool = False) -> None:
        self._over = known
        self._words: dict[Hashable, str] = {}

    def answered(self) -> None:
        """From now on no failure is permanent."""
        self._over = True
        if self._words:
            self._words.clear()

    def failed(self, request: Hashable, why: str, permanent: bool) -> str | None:
        """Why the model cannot be asked, once enough of its first requests have failed alike."""
        if self._over:
            return None
        if not permanent:
            self._words.pop(request, None)
            return None
        self._words[request] = _alike(why)
        if len(self._words) < FIRST_REQUESTS:
            return None
        self._over = True
        alike = len(set(self._words.values())) == 1  # else each fails for a reason of its own
        return f"its first {FIRST_REQUESTS} requests all failed: {why}" if alike else None


class Line:
    """One model's way to its server.

    `known` is whether the run holds an answer of the model already: then no failure of its first
    requests stops it. `stopped` is why nothing more is asked, `limited` whether that is a limit of
    the run's own. `look` is called before a request goes to a server that was away: it says whether
    another model has come back, in a sentence.
    """

    def __init__(self, gate: ServerGate, who: str = "", *, known: bool = False) -> None:
        self.gate = gate
        self.who = who
        self.stopped: str | None = None
        self.limited = False
        self.permanent = False
        self.look: Look | None = None  # who answers now, where the server was away
        self._openings = gate.openings
        self._first = FirstRequests(known)
        self._ended = asyncio.Event()

    @classmethod
    def alone(cls, shown: str, connections: int, patience: Patience) -> Line:
        """The line of a backend that is used outside a run: it shares nothing and pauses nobody."""
        gate = ServerGate(shown, patience, breaks=False)
        gate.allow(connections)
        return cls(gate, known=True)

    async def enter(self, request: Hashable) -> Ticket:
        """Waits until the request may be sent. Raises `Stopped` where it never will be."""
        if self.stopped is not None:
            raise Stopped(self.stopped, self.limited)
        try:
            ticket = await self.gate.enter(request, self)
        except Stopped as over:
            if self.stopped is None:
                self._end(str(over), over.limit)
            raise
        if self.stopped is not None:
            self.gate.leave(ticket)
            raise Stopped(self.stopped, self.limited)
        if self.look is not None and (self.gate.is_open or self.gate.openings != self._openings):
            self._openings = self.gate.openings
            try:
                other = await self.look()
            except BaseException:
                self.gate.leave(ticket)
                raise
            if other is not None:
                self.gate.leave(ticket)
                self.stop(other)
                raise Stopped(other)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The request is back; what became of it is told before."""
        self.gate.leave(ticket)

    def answered(self, ticket: Ticket) -> None:
        """The request was answered."""
        self._first.answered()
        self.gate.answered(ticket)

    def failed(self, ticket: Ticket, why: str, *, away: bool, permanent: bool) -> bool:
        """The request failed. `away` is how a server fails that is not there, `permanent` how one
        fails that will never answer. Whether this failure counts as one of the request's tries."""
        if self.stopped is None:
            reason = self._first.failed(ticket.request, why, permanent)
            if reason is not None:
                self.stop(reason, permanent=True)
        if away:
            self.gate.failed(ticket, why)
        return not self.gate.is_open

    def denied(self, ticket: Ticket, asked: float | None, backoff: float) -> None:
        """The server said HTTP 429."""
        self.gate.denied(ticket, asked, backoff)

    def stop(self, reason: str, permanent: bool = False) -> None:
        """Nothing more is asked of this model; others of the same server go on."""
        if self.stopped is None:
            self.permanent = permanent
            self._end(reason, False)
            self.gate.drop(self, reason)

    async def pause(self, seconds: float) -> None:
        """Waits between two tries of one request, less long where the line ends meanwhile."""
        left = self.gate.time_left
        sleeper = asyncio.ensure_future(self.gate.patience.sleep(max(0.0, min(seconds, left))))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({sleeper, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeper.cancel()
            ended.cancel()

    def _end(self, reason: str, limited: bool) -> None:
        self.stopped, self.limited = reason, limited
        self._ended.set()


class Gates:
    """The gates of one command, by address, and who is at work."""

    def __init__(
        self,
        patience: Patience | None = None,
        *,
        until: float | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.patience = patience or Patience()
        self.tell = tell
        self._until = until
        self._gates: dict[Hashable, ServerGate] = {}
        self._at_work: list[ServerGate | None] = []

    def of(self, backend: Any, who: str) -> ServerGate:
        """The gate of a backend's server; of a backend without an address, its own."""
        place = getattr(backend, "place", None)
        key: Hashable = place if place is not None else (id(backend), who)
        if key not in self._gates:
            shown = place if isinstance(place, str) else who
            self._gates[key] = ServerGate(
                shown, self.patience, until=self._until, tell=self.tell, review=self._review
            )
        return self._gates[key]

    @contextmanager
    def at_work(self, gate: ServerGate | None) -> Iterator[None]:
        """While something is asked: of a server, or (`None`) of no server at all."""
        self._at_work.append(gate)
        try:
            yield
        finally:
            self._at_work.remove(gate)
            self._review()

    def _review(self) -> None:
        """Gives up servers that never answered, once nothing else is asked."""
        if self.patience.wait or None in self._at_work:
            return
        gates = [gate for gate in self._at_work if gate is not None and gate.stopped is None]
        if all(gate.hopeless for gate in gates):
            for gate in gates:
                gate.stop(f"{gate.shown} never answered ({gate.why})")


def _alike(words: str) -> str:
    """The words of a failure without ids and numbers, which differ between requests."""
    return " ".join(_NUMBERED.sub("#", words).casefold().split())
