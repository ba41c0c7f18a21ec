"""The stage that asks: requests in, stored generations out.

Servers are asked by as many workers as the backend allows, each committing an answer before it
asks for the next. Models in process run whole batches that the plan determines. What is
stored is never asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, get_args

from harness import serial
from harness.backends.settle import settled
from harness.identity import request_key
from harness.outcomes import cell_outcome
from harness.plan import Plan, PlannedCell, next_turn
from harness.plugins import blamed
from harness.records import Generation, InfrastructureError, Outcome, Request
from harness.store import Store
from harness.suite import ModelSpec, Suite
from harness.watch import Watch

# After so many failures to reach a server in a row there is nobody there: the rest is not asked.
GIVE_UP_AFTER = 20

OnAnswer = Callable[[str, Generation], None]


@dataclass
class Budget:
    """What a run may still spend; shared by all its models."""

    max_time: float | None = None
    max_cost: float | None = None
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def left(self) -> bool:
        """Whether another request may go out."""
        in_time = self.max_time is None or time.monotonic() - self.started < self.max_time
        return in_time and (self.max_cost is None or self.spent < self.max_cost)

    def pay(self, generation: Generation, price: tuple[float, float] | None) -> None:
        """Counts what an answer cost."""
        if price is not None:
            tokens = (generation.prompt_tokens or 0, generation.completion_tokens or 0)
            self.spent += (tokens[0] * price[0] + tokens[1] * price[1]) / 1e6


class Committer:
    """Commits answers on arrival: one transaction for all that arrive in a tick of the loop.

    Whoever awaits `put` goes on only when the answer is committed, so a kill at any moment loses
    nothing that was answered, and asks for nothing twice but what was under way.
    """

    def __init__(self, store: Store, entry: str) -> None:
        self._store = store
        self._entry = entry
        self._pending: list[tuple[str, Generation, asyncio.Future[None]]] = []

    async def put(self, key: str, generation: Generation) -> None:
        """Returns when the answer is stored."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._flush)
        self._pending.append((key, generation, future))
        await future

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        error: BaseException | None = None
        try:
            with self._store.transaction():
                self._store.put_generations(
                    (self._entry, key, generation) for key, generation, _ in pending
                )
        except Exception as caught:  # every waiter must hear of it
            error = caught
        for _, _, future in pending:
            if future.cancelled():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)


async def check_servers(suite: Suite, plan: Plan) -> None:
    """Raises `InfrastructureError` for the first model whose server does not answer."""
    for spec in suite.models:
        await _check(plan.backends[spec.name], f"model '{spec.name}'")


async def _check(backend: Any, who: str) -> None:
    health = getattr(backend, "health", None)
    with blamed(f"{who} cannot be reached", InfrastructureError):
        trouble = await health() if health is not None else None
    if trouble is not None:
        raise InfrastructureError(f"{who}: {trouble}")


async def generate(
    suite: Suite,
    plan: Plan,
    store: Store,
    spec: ModelSpec,
    cells: Sequence[PlannedCell],
    budget: Budget,
    on_answer: OnAnswer,
    watch: Watch,
) -> None:
    """Asks one model for all its cells, turn by turn. `watch` knows what other runs hold."""
    backend, entry, who = plan.backends[spec.name], spec.entry, f"model '{spec.name}'"
    current = {planned.cell.id: (planned.key, planned.request) for planned in cells}
    later = {planned.cell.id: planned.later for planned in cells}
    seeded = backend.capabilities.seed
    async with contextlib.AsyncExitStack() as stack:
        turn = 1
        running = False
        while current:
            requests = dict(current.values())
            watch.take_proven(entry, requests)
            if not running and budget.left() and requests.keys() - store.answered(entry):
                await stack.enter_async_context(_running(store, backend, who))
                running = True
            await watch.look(entry, backend, requests, who)
            await _ask_all(store, entry, backend, requests, budget, spec.price, on_answer)
            turn += 1
            following: dict[str, tuple[str, Request]] = {}
            for cell_id, (key, request) in current.items():
                if len(later[cell_id]) < turn - 1:
                    continue
                answer = store.generation(entry, key)
                if cell_outcome(answer, None) not in ("ok", "truncated", "refusal"):
                    continue  # nothing to ask on: the cell's outcome is that of this turn
                assert answer is not None
                asked = next_turn(suite, request, answer.text, later[cell_id][turn - 2], seeded)
                following[cell_id] = (request_key(asked), asked)
            with store.transaction():
                store.put_requests(
                    (key, request, later[cell_id][turn - 2].spans)
                    for cell_id, (key, request) in following.items()
                )
                store.put_turns((cell_id, turn, key) for cell_id, (key, _) in following.items())
            current = following


async def ask(
    store: Store,
    entry: str,
    backend: Any,
    requests: Sequence[Request],
    who: str,
    watch: Watch,
    *,
    budget: Budget | None = None,
    price: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Generation]:
    """The answers to requests that a scorer makes, through the same store.

    The answers are kept as those of `entry`. `who` names the scorer or model where its backend
    cannot be reached: then `InfrastructureError`. `watch` knows what other runs hold. What does not
    fit into the `budget` is not run. `progress` is told how many of the requests are answered, and
    how many there are.
    """
    budget = budget or Budget()
    keyed = {request_key(request): request for request in requests}
    with store.transaction():
        store.put_requests((key, request, ()) for key, request in keyed.items())
    watch.take_proven(entry, keyed)
    missing = len(keyed.keys() - store.answered(entry))
    if missing and budget.left():

        def on_answer(*_: Any) -> None:
            nonlocal missing
            missing -= 1
            if progress is not None:
                progress(len(keyed) - missing, len(keyed))

        await _check(backend, who)
        async with _running(store, backend, who):
            await watch.look(entry, backend, keyed, who)
            await _ask_all(store, entry, backend, keyed, budget, price, on_answer)
    answers = [store.generation(entry, request_key(request)) for request in requests]
    return [answer or Generation(outcome="not_run") for answer in answers]


async def _ask_all(
    store: Store,
    entry: str,
    backend: Any,
    requests: Mapping[str, Request],
    budget: Budget,
    price: tuple[float, float] | None,
    on_answer: OnAnswer,
) -> None:
    answered = store.answered(entry)
    missing = {key: request for key, request in requests.items() if key not in answered}
    if not missing:
        return
    committer = Committer(store, entry)
    if hasattr(backend, "generate_batch"):
        with blamed(f"backend '{type(backend).__name__}' cannot make batches"):
            batches = [
                (list(batch), [request_key(request) for request in batch])
                for batch in backend.batches(list(requests.values()))
            ]
        for batch, keys in batches:
            if not any(key in missing for key in keys):
                continue
            if not budget.left():
                return
            started = time.perf_counter()
            answers = await _batch(backend, batch)
            seconds = (time.perf_counter() - started) / len(batch)
            new = [
                (key, replace(answer, seconds=seconds))
                for key, answer in zip(keys, answers, strict=True)
                if key in missing
            ]
            await asyncio.gather(*(committer.put(key, answer) for key, answer in new))
            for key, answer in new:
                budget.pay(answer, price)
                on_answer(key, answer)
        return
    waiting = iter(missing.items())
    unreachable = 0

    async def work() -> None:
        nonlocal unreachable
        for key, request in waiting:
            if not budget.left() or unreachable >= GIVE_UP_AFTER:
                return
            answer = await _one(backend, request)
            unreachable = unreachable + 1 if answer.outcome == "transport" else 0
            await committer.put(key, answer)
            budget.pay(answer, price)
            on_answer(key, answer)

    count = min(backend.capabilities.concurrency, len(missing))
    async with tasks() as group:
        for _ in range(count):
            group.create_task(work())


@contextlib.asynccontextmanager
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A group of tasks of which the first failure is raised as it is: one sentence is enough."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def _one(backend: Any, request: Request) -> Generation:
    started = time.perf_counter()
    try:
        asked = backend.generate if request.continuation is None else backend.loglikelihood
        answer = _as_generation(backend, await asked(request))
    except (Exception, SystemExit) as error:
        # A backend of one's own may fail; its cell is then unscorable and the run goes on.
        return _failure(backend, f"failed: {type(error).__name__}: {error}")
    return answer if answer.seconds else replace(answer, seconds=time.perf_counter() - started)


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
    return Generation(outcome="server", error=f"backend '{type(backend).__name__}' {what}")


@contextlib.asynccontextmanager
async def _running(store: Store, backend: Any, who: str) -> AsyncIterator[None]:
    """Starts a backend that needs it, and stops it however the block ends.

    Of several failures the first is raised: a `stop` that fails because `start` did explains
    nothing.
    """
    if hasattr(backend, "log_folder"):
        backend.log_folder = store.folder
    try:
        if hasattr(backend, "start"):
            with blamed(f"{who} cannot be started", InfrastructureError):
                await backend.start()
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            await _stop(backend, who)
        raise
    await _stop(backend, who)


async def _stop(backend: Any, who: str) -> None:
    if hasattr(backend, "stop"):
        with blamed(f"{who} cannot be stopped", InfrastructureError):
            await backend.stop()
