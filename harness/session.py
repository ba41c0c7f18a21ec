"""One model or judge while it is asked: started, asked through its line, stopped.

Servers are asked by as many workers as the backend allows, each committing an answer before it
asks for the next. Models in process run whole batches that the plan determines. Backends are
foreign code: what one does wrong costs its own cells.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, TypeVar, get_args

from harness import serial
from harness.backends.settle import settled
from harness.budget import Budget, Price
from harness.committer import Committer
from harness.identity import request_key
from harness.lines import FirstRequests, Gates, Line
from harness.plugins import blamed
from harness.records import Generation, InfrastructureError, Outcome, Request
from harness.server_gate import Patience, Stopped
from harness.store import Store
from harness.watch import Watch

_LISTED = 12  # models that are named of those that a server lists
_RAISED = "the backend's own error"
_UNSENT = Generation(outcome="not_run")
# A backend that knows nothing of lines reports a failed connection once for each of these tries.
_TRIES = 3
_PLACES = 4
_FIRST_WAIT = 0.5  # seconds before the second of them, doubled with each

_T = TypeVar("_T")
OnAnswer = Callable[[str, Generation], None]


@dataclass
class Traffic:
    """What all models and judges of one command share: gates, limits, and why one was stopped.

    `stopped` holds by model or judge why it is asked nothing more; limits of the run's own stand
    not in it.
    """

    budget: Budget = field(default_factory=Budget)
    gates: Gates = field(default_factory=Gates)
    stopped: dict[str, str] = field(default_factory=dict)
    tell: Callable[[str], None] = lambda _: None

    @classmethod
    def within(
        cls,
        max_time: float | None = None,
        max_cost: float | None = None,
        patience: Patience | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Traffic:
        """With these limits, from now on."""
        patience = patience or Patience()
        budget = Budget(max_time, max_cost, patience.clock)
        return cls(budget, Gates(patience, until=budget.until, tell=tell), tell=tell)

    def stop(self, who: str, why: str) -> None:
        """Keeps why a model or judge is asked nothing more, and says it."""
        if who not in self.stopped:
            self.stopped[who] = why
            self.tell(f"{who} is asked nothing more: {why}")


class NotStopped(InfrastructureError):
    """A backend was asked all it could be, and then could not be stopped."""


class Session:
    """One model or judge, from its start to its stop; its answers are kept as those of `entry`.

    `known` is whether the run holds an answer of it. Whoever answers in process, by batches, has no
    server and no line to one.
    """

    def __init__(
        self,
        store: Store,
        entry: str,
        backend: Any,
        who: str,
        price: Price,
        traffic: Traffic,
        watch: Watch,
        known: bool,
    ) -> None:
        self._store = store
        self._entry = entry
        self._watch = watch
        self._backend = backend
        self._who = who
        self._price = price
        self._traffic = traffic
        self._batches = hasattr(backend, "generate_batch")
        self._gate = None if self._batches else traffic.gates.of(backend, who)
        self._line = None if self._gate is None else Line(self._gate, who, known=known)
        self._first = FirstRequests(known)  # where there is no line
        self.over = False  # whether nothing more can be asked
        self._begun = False  # whether the backend's start was called

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Starts the backend, and stops it however the block ends.

        Where it cannot be started, that is kept in `traffic.stopped` and nothing is asked.
        """
        backend, line = self._backend, self._line
        with self._traffic.gates.at_work(self._gate):
            if hasattr(backend, "log_folder"):
                backend.log_folder = self._store.folder
            try:
                await self._start()
            except InfrastructureError as error:
                self.over = True
                self._traffic.stop(
                    self._who, str(error).replace(f"{self._who} cannot", "it cannot", 1)
                )
                if self._begun:
                    with contextlib.suppress(Exception):
                        await _stop(backend, self._who)
                yield
                return
            if line is not None:
                line.gate.allow(backend.capabilities.concurrency)
                if hasattr(backend, "line"):
                    backend.line = line
            try:
                yield
                if line is not None and line.permanent:
                    self._traffic.stop(self._who, f"{line.stopped}{await self._listed()}")
            except BaseException:
                # Of several failures the first is raised: a `stop` that fails too explains nothing.
                with contextlib.suppress(Exception):
                    await _stop(backend, self._who)
                raise
            finally:
                if hasattr(backend, "line"):
                    backend.line = None
            await _stop(backend, self._who)

    async def _start(self) -> None:
        backend = self._backend
        if hasattr(backend, "unreachable"):  # answers decide, not this: it begins with a probe
            away = await backend.unreachable() if getattr(backend, "place", None) else None
            if away is not None and self._gate is not None:
                self._gate.presume_away(away)
        elif hasattr(backend, "health"):
            with blamed(f"{self._who} cannot be reached", InfrastructureError):
                trouble = await backend.health()
            if trouble is not None:
                raise InfrastructureError(trouble)
        if hasattr(backend, "start"):
            self._begun = True
            with blamed(f"{self._who} cannot be started", InfrastructureError):
                await backend.start()

    async def _listed(self) -> str:
        """What the server lists, for whoever named a model that it does not have."""
        names: Sequence[str] = ()
        if hasattr(self._backend, "listed"):
            with contextlib.suppress(Exception):
                names = await self._backend.listed()
        shown = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
        return f"; the server lists {shown}" if names else ""

    async def ask_all(
        self,
        requests: Mapping[str, Request],
        on_answer: OnAnswer,
        again: Collection[str] = (),
    ) -> None:
        """Asks for what is not answered, and stores each answer before the next request.

        Before, the watch looks who answers. Raises `HarnessError` where that is another model.
        """
        if self.over:
            return
        await self._watch.look(self._entry, self._backend, requests, self._who)
        answered = self._store.answered(self._entry) - set(again)
        missing = {key: request for key, request in requests.items() if key not in answered}
        if not missing:
            return
        if self._line is None:
            await self._ask_batches(requests, missing, on_answer)
            return
        first = next(iter(missing.values()))
        self._line.look = lambda: self._watch.look_again(
            self._entry, self._backend, first, self._who
        )
        await self._ask_each(self._line, missing, on_answer)
        if self._line.stopped is not None:
            self.over = True
            if self._line.limited:
                self._traffic.budget.reached = True
            elif not self._line.permanent:
                self._traffic.stop(self._who, self._line.stopped)

    async def _ask_each(
        self, line: Line, missing: Mapping[str, Request], on_answer: OnAnswer
    ) -> None:
        committer = Committer(self._store, self._entry)
        budget, price = self._traffic.budget, self._price
        waiting = deque(_spread(list(missing.items())))
        put_off: set[str] = set()
        probed: set[str] = set()

        async def work() -> None:
            while waiting and line.stopped is None:
                key, request = waiting.popleft()
                cost = budget.estimate(request, price)
                if not await budget.reserve(cost):
                    return
                answers = line.gate.answers
                answer: Generation | None = None
                try:
                    answer = await _one(self._backend, request, line)
                finally:
                    budget.pay(request, answer, price, cost)
                if answer.outcome == "not_run":
                    return
                failed = answer.outcome in ("transport", "server") and line.stopped is None
                if failed and line.gate.is_open and _away(answer):
                    # The server is away: that was no try. It may fail everything once, or some
                    # requests always; so each probes once more, and then lets others probe.
                    if key in probed:
                        waiting.append((key, request))
                    else:
                        waiting.appendleft((key, request))
                    probed.add(key)
                    continue
                if failed and line.gate.answers == answers and waiting and key not in put_off:
                    # Nobody was answered meanwhile: is it this request, or the server?
                    put_off.add(key)
                    waiting.append((key, request))
                    continue
                await committer.put(key, answer)
                on_answer(key, answer)

        async with tasks() as group:
            for _ in range(min(self._backend.capabilities.concurrency, len(missing))):
                group.create_task(work())

    async def _ask_batches(
        self, requests: Mapping[str, Request], missing: Mapping[str, Request], on_answer: OnAnswer
    ) -> None:
        committer = Committer(self._store, self._entry)
        backend, budget, price = self._backend, self._traffic.budget, self._price
        with blamed(f"backend '{type(backend).__name__}' cannot make batches"):
            batches = [
                (list(batch), [request_key(request) for request in batch])
                for batch in backend.batches(list(requests.values()))
            ]
        for batch, keys in batches:
            if not any(key in missing for key in keys):
                continue
            costs = [budget.estimate(request, price) for request in batch]
            if not await budget.reserve(sum(costs)):
                return
            started = time.perf_counter()
            answers = await _batch(backend, batch)
            seconds = (time.perf_counter() - started) / len(batch)
            budget.pay_all(zip(batch, answers, strict=True), price, sum(costs))
            new = [
                (key, replace(answer, seconds=seconds))
                for key, answer in zip(keys, answers, strict=True)
                if key in missing
            ]
            await asyncio.gather(*(committer.put(key, answer) for key, answer in new))
            for key, answer in new:
                on_answer(key, answer)
                if self._never_answers(key, answer):
                    return

    def _never_answers(self, key: str, answer: Generation) -> bool:
        """Whether a model in process is stopped, because its first requests all failed alike."""
        if answer.outcome != "server":
            self._first.answered()
            return False
        why = self._first.failed(key, answer.error or "", answer.failure == _RAISED)
        if why is not None:
            self.over = True
            self._traffic.stop(self._who, why)
        return self.over


@contextlib.asynccontextmanager
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of tasks of which the first failure is raised as it is: one sentence is enough."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def _spread(items: list[_T]) -> list[_T]:
    """The items taken from four places in turn.

    What one variant or sample makes a server fail at stands together in a plan. Asked in a row it
    would look like a server that is away; between others it does not.
    """
    size = -(-len(items) // _PLACES)
    parts = [items[i : i + size] for i in range(0, len(items), size)] if items else []
    return [part[i] for i in range(size) for part in parts if i < len(part)]


def _away(failure: Generation) -> bool:
    """Whether a request failed as it does where a server is not there."""
    return failure.outcome == "transport" or (failure.failure or "").startswith("HTTP 5")


async def _one(backend: Any, request: Request, line: Line) -> Generation:
    """The answer of a backend. One that does not take its tries to the line itself is asked again
    where no connection came about."""
    started = time.perf_counter()
    if hasattr(backend, "line"):
        answer = await _called(backend, request)
    else:
        answer = await _tried(backend, request, line)
    return answer if answer.seconds else replace(answer, seconds=time.perf_counter() - started)


async def _tried(backend: Any, request: Request, line: Line) -> Generation:
    key = request_key(request)
    answer = _UNSENT
    tries = 0
    while True:
        try:
            ticket = await line.enter(key)
        except Stopped as over:
            return _UNSENT if over.limit else answer
        try:
            answer = await _called(backend, request)
            why = answer.error or answer.outcome
            if answer.outcome == "transport":
                tries += line.failed(ticket, why, away=True, permanent=False)
            elif answer.outcome == "server":
                line.failed(ticket, why, away=False, permanent=answer.failure == _RAISED)
                return answer
            else:
                line.answered(ticket)
                return answer
        finally:
            line.leave(ticket)
        if tries >= _TRIES or line.gate.is_open:
            return answer
        await line.pause(_FIRST_WAIT * 2**tries)


async def _called(backend: Any, request: Request) -> Generation:
    try:
        asked = backend.generate if request.continuation is None else backend.loglikelihood
        return _as_generation(backend, await asked(request))
    except (Exception, SystemExit) as error:
        # A backend of one's own may fail; its cell is then unscorable and the run goes on.
        return _failure(backend, f"failed: {type(error).__name__}: {error}")


async def _batch(backend: Any, batch: Sequence[Request]) -> list[Generation]:
    try:
        answers = list(await asyncio.to_thread(backend.generate_batch, batch))
    except (Exception, SystemExit) as error:
        return [_failure(backend, f"failed: {type(error).__name__}: {error}")] * len(batch)
    if len(answers) != len(batch):  # nobody knows which answer is whose
        wrong = f"gave {len(answers)} answers to a batch of {len(batch)} requests"
        return [_failure(backend, wrong)] * len(batch)
    return [_as_generation(backend, answer) for answer in answers]


def _as_generation(backend: Any, answer: Any) -> Generation:
    """What a backend returned, or a failure where that is no `Generation` as the contract has it.

    What could not be stored or counted would end the run, and so would every reader of it.
    """
    if not isinstance(answer, Generation):
        return _failure(backend, f"returned {type(answer).__name__}, not a Generation")
    if not isinstance(answer.text, str):
        kind = type(answer.text).__name__
        return _failure(backend, f"returned a Generation whose text is {kind}, not str")
    if answer.outcome == "not_run" and hasattr(backend, "line"):
        return answer  # it was stopped before it sent anything
    if answer.outcome not in get_args(Outcome) or answer.outcome == "not_run":
        return _failure(backend, f"returned a Generation with the outcome {answer.outcome!r:.40}")
    tokens = (answer.prompt_tokens, answer.completion_tokens)
    if not all(count is None or isinstance(count, Real) for count in tokens):
        return _failure(backend, f"returned a Generation that counts {tokens!r:.60} tokens")
    try:
        serial.dumps(answer)
    except (TypeError, ValueError) as error:
        return _failure(backend, f"returned a Generation that cannot be stored ({error})")
    return settled(answer)


def _failure(backend: Any, what: str) -> Generation:
    said = f"backend '{type(backend).__name__}' {what}"
    return Generation(outcome="server", error=said, failure=_RAISED)


async def _stop(backend: Any, who: str) -> None:
    if hasattr(backend, "stop"):
        with blamed(f"{who} cannot be stopped", NotStopped):
            await backend.stop()
