"""One gate per server address: who may send a request now, and who waits.

All models and judges of an address share its gate, so they share what the server asks of them
(waits, fewer connections) and what is known of it (it is away, it answers again). A server that is
away pauses the run; it does not end it. Time and sleep are injected, so tests need neither.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

_SHORTEST_PAUSE = 0.02  # seconds, after a 429 that asks for none
_LONGEST_ASKED = 86_400.0  # seconds; a server that asks for more is asked again after a day
# How the seconds between two starts shrink with each answer: slowly where a limit of many requests
# a second was met, faster where it may have been a single long pause. Chosen in a simulation.
_FASTER, _FASTEST, _SLOW = 0.98, 0.9, 5.0
_SLOWER = 1.3
_SHOWN_FROM = 5.0  # seconds; shorter waits are not worth a line on the screen


@dataclass(frozen=True)
class Patience:
    """How long a run waits for servers that are away, and by which clock.

    - `max_outage`: seconds from a server's last answer after which the rest of it is not run; time
      that the server itself asked to wait does not count
    - `wait`: whether a server that never answered is waited for; else only while others are asked
    - `first_probe`, `longest_probe`: seconds between the single requests that try a server that is
      away, from the first to the longest; doubled each time
    """

    max_outage: float = 600.0
    wait: bool = False
    first_probe: float = 5.0
    longest_probe: float = 60.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Stopped(Exception):
    """No request goes out any more. `limit` is true where the run's own limit of time says so."""

    def __init__(self, reason: str, limit: bool = False) -> None:
        super().__init__(reason)
        self.limit = limit


@dataclass(eq=False)
class Ticket:
    """A request that may be sent now. `request` is the same for all tries of one request."""

    request: Hashable
    started: float
    answers: int  # how many answers the server had given when it started


@dataclass(eq=False)
class _Turn:
    """A request that waits for its ticket; `owner` is the model whose request it is."""

    request: Hashable
    owner: object
    ticket: asyncio.Future[Ticket] = field(repr=False)


class ServerGate:
    """Lets requests to one server through: a closed circuit, an open one, or single probes.

    `until` is the clock's time at which the run's limit of time ends every pause. `tell` hears
    sentences for the screen, `review` that the gate may have become hopeless. One that does not
    break never takes the server for away: a backend that is used on its own has such a gate.
    """

    def __init__(
        self,
        shown: str,
        patience: Patience | None = None,
        *,
        until: float | None = None,
        tell: Callable[[str], None] = lambda _: None,
        review: Callable[[], None] = lambda: None,
        breaks: bool = True,
    ) -> None:
        self.shown = shown
        self.patience = patience or Patience()
        self.stopped: str | None = None
        self.answers = 0
        self.outages = 0
        self.connections = 1
        self._until = until
        self._tell = tell
        self._review = review
        self._breaks = breaks
        self._limit = 1
        self._under_way: set[Ticket] = set()
        self._waiting: deque[_Turn] = deque()
        self._last_answer: float | None = None  # or the first start, where nothing was answered
        self._failing: set[Hashable] = set()  # failed since the last answer
        self._outlived: set[Hashable] = set()  # failed, and others were answered since
        self._open = False
        self.openings = 0  # how often the server was found away
        self.why = ""  # what the last failure was
        self._probe: Ticket | None = None
        self._failed_probes = 0
        self._probe_wait = 0.0
        self._next_probe = 0.0
        self._resume = -math.inf  # when the pause that a 429 began is over
        self._paused = -math.inf  # when it began
        self._asked = 0.0  # seconds of pauses that the server asked for since its last answer
        self._denied = 0  # pauses since the last answer
        self._answers_at_pause = 0
        self._interval = 0.0  # seconds between two starts, where a rate limit was met
        self._slowest = 0.0
        self._next_start = -math.inf
        self._timer: asyncio.Task[None] | None = None

    # --- who may send ---------------------------------------------------------------------

    def allow(self, connections: int) -> None:
        """Sets how many requests may be under way at once, where the server denies none."""
        free = self._limit >= self.connections
        self.connections = connections
        self._limit = connections if free else min(self._limit, connections)

    @property
    def limit(self) -> int:
        """How many requests may be under way at once now."""
        return self._limit

    @property
    def threshold(self) -> int:
        """After so many failures in a row, each of another request, the server is away."""
        return min(max(self.connections, 3), 20)

    @property
    def is_open(self) -> bool:
        """Whether the server counts as away, so that only single probes go out."""
        return self._open

    @property
    def ever_answered(self) -> bool:
        """Whether the server answered a completion since this command began."""
        return self.answers > 0

    @property
    def time_left(self) -> float:
        """Seconds until the run's limit of time ends every pause."""
        return math.inf if self._until is None else self._until - self.patience.clock()

    @property
    def hopeless(self) -> bool:
        """Whether the server never answered, is away, and was tried since it is."""
        tried = self._failed_probes > 0 and self._probe is None
        return self._open and not self.ever_answered and tried and self.stopped is None

    async def enter(self, request: Hashable, owner: object = None) -> Ticket:
        """Waits until the request may be sent. Raises `Stopped` where it never will be."""
        now = self.patience.clock()
        if self._last_answer is None:
            self._last_answer = now
        self._raise_if_over(now)
        if not self._waiting and self._delay(now) <= 0:
            return self._start(request, now)
        turn = _Turn(request, owner, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        self._serve()
        try:
            return await turn.ticket
        except asyncio.CancelledError:
            if turn.ticket.done() and not turn.ticket.cancelled() and not turn.ticket.exception():
                self.leave(turn.ticket.result())
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    def leave(self, ticket: Ticket) -> None:
        """The request is no longer under way. Its result is told before, if there is one."""
        self._under_way.discard(ticket)
        if ticket is self._probe:
            self._probe = None
            if self._open:
                self._failed_probes += 1
                self._next_probe = self.patience.clock() + self._probe_wait
                self._probe_wait = min(2 * self._probe_wait, self.patience.longest_probe)
                self._review()
        self._serve()

    def drop(self, owner: object, reason: str) -> None:
        """Sends away what of one owner waits."""
        for turn in [turn for turn in self._waiting if turn.owner is owner]:
            self._waiting.remove(turn)
            if not turn.ticket.done():
                turn.ticket.set_exception(Stopped(reason))

    def stop(self, reason: str) -> None:
        """Nothing is sent to this server any more."""
        if self.stopped is None:
            self.stopped = reason
            self._serve()

    # --- what became of requests ----------------------------------------------------------

    def answered(self, ticket: Ticket) -> None:
        """A completion came back: an answer, a refusal, or that the prompt is too long."""
        self.answers += 1
        self._last_answer = self.patience.clock()
        self._asked = 0.0
        self._denied = 0
        if self._interval:
            faster = min(_FASTER, max(_FASTEST, 0.5 ** (self._interval / _SLOW)))
            self._interval = self._interval * faster if self._interval > 1e-3 else 0.0
        if self._limit < self.connections:
            self._limit += 1
        if self._failing:
            self._outlived |= self._failing
            self._failing.clear()
        if self._outlived:
            self._outlived.discard(ticket.request)
        if self._open:
            self._open = False
            self._limit = 1  # a server that has just come back is not flooded
            self._tell(f"{self.shown} answers again; the run goes on")

    def failed(self, ticket: Ticket, why: str) -> None:
        """No answer: refused, reset, a time-out, a 5xx. Opens the circuit after enough of them."""
        if self._open:
            self.why = why
            return
        if ticket.request not in self._outlived:
            self._failing.add(ticket.request)
        if self._breaks and len(self._failing) >= self.threshold:
            count = len(self._failing)
            self._failing.clear()
            self._break(why, self.patience.first_probe)
            self._tell(
                f"{self.shown} is away: {count} requests in a row failed ({why}). It is tried "
                f"again every {self.patience.first_probe:g} to {self.patience.longest_probe:g} s"
                + self._bound()
            )

    def presume_away(self, why: str) -> None:
        """Begins with a single probe, because the server could not be reached just now."""
        if not self._open and not self.ever_answered:
            self._break(why, 0.0)

    def denied(self, ticket: Ticket, asked: float | None, backoff: float) -> None:
        """HTTP 429: all wait the seconds that the server asks for, or else the back-off.

        Of a burst that was denied together only the first counts: connections are halved once.
        """
        now = self.patience.clock()
        asked = None if asked is None else min(asked, _LONGEST_ASKED)
        resume = now + max(backoff if asked is None else asked, _SHORTEST_PAUSE)
        burst = ticket.started <= self._paused
        if asked is not None:
            self._asked += max(0.0, resume - max(self._resume, now))
        if burst and asked is None:
            return
        if not burst:
            self._denied += 1
            came = self.answers - self._answers_at_pause
            self._limit = max(1, self._limit // 2)
            # A long wait that the server asked for is its own spacing, and tells no rate.
            long = self._resume - self._paused > _SLOW
            self._slow_down(came, now - (self._resume if long else self._paused))
            self._paused, self._answers_at_pause = now, self.answers
        if resume > self._resume:
            if resume - max(now, self._resume) >= _SHOWN_FROM:
                self._tell(f"{self.shown} asks to wait {resume - now:.0f} s (HTTP 429)")
            self._resume = resume

    # --- inside ---------------------------------------------------------------------------

    def _slow_down(self, came: int, seconds: float) -> None:
        """Spaces starts: at the rate at which answers came since the last pause, and a little more
        with each further denial. Denials that have another cause than a rate do not add up."""
        # One answer is that of a request that went alone, and tells no rate.
        measured = seconds / came if came > 1 and seconds < math.inf else 0.0
        if self._interval:
            self._interval = min(max(self._interval * _SLOWER, measured), self._slowest)
        else:
            self._interval, self._slowest = measured, 2 * measured

    def _break(self, why: str, first: float) -> None:
        self._open, self.why = True, why
        self.openings += 1
        self.outages += 1
        self._failed_probes = 0
        self._next_probe = self.patience.clock() + first
        self._probe_wait = min(
            max(self.patience.first_probe, 2 * first), self.patience.longest_probe
        )

    def _bound(self) -> str:
        if not self.ever_answered:
            return "" if self.patience.wait else ", while other servers are asked"
        return f", and given up {_minutes(self.patience.max_outage)} after its last answer"

    def _start(self, request: Hashable, now: float) -> Ticket:
        ticket = Ticket(request, now, self.answers)
        self._under_way.add(ticket)
        if self._open:
            self._probe = ticket
        if self._interval:
            self._next_start = max(now, self._next_start) + self._interval
        return ticket

    def _delay(self, now: float) -> float:
        """Seconds until the next request may go out; infinite until another one is back."""
        if self._open:
            return math.inf if self._probe else max(self._next_probe, self._resume) - now
        if len(self._under_way) >= self._limit:
            return math.inf
        wait = self._resume - now
        return max(wait, self._next_start - now) if self._interval else wait

    def _gives_up(self) -> float:
        """When the server counts as gone."""
        if self._last_answer is None or not (self._open or self._denied):
            return math.inf
        if not self.ever_answered and (self._open or self.patience.wait):
            return math.inf  # `Gates` decides
        return self._last_answer + self._asked + self.patience.max_outage

    def _raise_if_over(self, now: float) -> None:
        if self.stopped is None and now >= self._gives_up():
            why = self.why if self._open else "HTTP 429 to everything"
            self.stopped = (
                f"{self.shown} is given up: no answer for {_minutes(self.patience.max_outage)} "
                f"({why})"
            )
            self._tell(self.stopped)
        if self.stopped is not None:
            raise Stopped(self.stopped)
        if self._until is not None and now >= self._until:
            raise Stopped("the limit of time is reached", limit=True)

    def _serve(self) -> None:
        """Gives tickets to those who wait, in their order, and sets the timer for the next."""
        while self._waiting:
            now = self.patience.clock()
            try:
                self._raise_if_over(now)
            except Stopped as over:
                for turn in self._waiting:
                    if not turn.ticket.done():
                        turn.ticket.set_exception(Stopped(str(over), over.limit))
                self._waiting.clear()
                return
            delay = self._delay(now)
            if delay > 0:
                self._wake_in(min(delay, self._gives_up() - now, (self._until or math.inf) - now))
                return
            turn = self._waiting.popleft()
            if not turn.ticket.done():
                turn.ticket.set_result(self._start(turn.request, now))

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < math.inf:
            self._timer = asyncio.get_running_loop().create_task(self._wake(seconds))

    async def _wake(self, seconds: float) -> None:
        await self.patience.sleep(max(seconds, 0.0))
        self._timer = None
        self._serve()

    async def close(self) -> None:
        """Ends the timer; the gate may be used again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _minutes(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} min"
