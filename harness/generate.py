"""The stage that asks: requests in, stored generations out.

What is stored is never asked for again, but for what `--only-failed` names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import Any

from harness.budget import Price
from harness.identity import request_key
from harness.outcomes import cell_outcome
from harness.plan import Plan, PlannedCell, next_turn
from harness.records import Generation, Request
from harness.session import OnAnswer, Session, Traffic
from harness.store import Store
from harness.suite import ModelSpec, Suite
from harness.watch import Watch


async def generate(
    suite: Suite,
    plan: Plan,
    store: Store,
    spec: ModelSpec,
    cells: Sequence[PlannedCell],
    traffic: Traffic,
    on_answer: OnAnswer,
    watch: Watch,
    again: Collection[str] = (),
) -> None:
    """Asks one model for all its cells, turn by turn.

    `watch` knows what other runs hold; the keys in `again` are asked although they are answered. A
    model that cannot be asked is kept in `traffic.stopped`, and its cells are not run.
    """
    backend, entry, who = plan.backends[spec.name], spec.entry, f"model '{spec.name}'"
    current = {planned.cell.id: (planned.key, planned.request) for planned in cells}
    later = {planned.cell.id: planned.later for planned in cells}
    seeded = backend.capabilities.seed
    again = set(again)
    async with contextlib.AsyncExitStack() as stack:
        turn = 1
        session: Session | None = None
        while current:
            requests = dict(current.values())
            watch.take_proven(entry, requests)
            answered = store.answered(entry)
            if session is None and requests.keys() - (answered - again) and traffic.budget.left():
                known = bool(answered & requests.keys())
                session = Session(store, entry, backend, who, spec.price, traffic, watch, known)
                await stack.enter_async_context(session.open())
            if session is not None and not session.over:
                await session.ask_all(requests, on_answer, again)
                again -= requests.keys()
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
    traffic: Traffic | None = None,
    price: Price = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Generation]:
    """The answers to requests that a scorer makes, through the same store.

    The answers are kept as those of `entry`. `who` names the scorer or model where its backend
    cannot be asked: that is kept in `traffic.stopped`. `watch` knows what other runs hold. What a
    limit or a server that is away kept from being asked is not run. `progress` is told how many of
    the requests are answered, and how many there are.
    """
    traffic = traffic or Traffic()
    keyed = {request_key(request): request for request in requests}
    with store.transaction():
        store.put_requests((key, request, ()) for key, request in keyed.items())
    watch.take_proven(entry, keyed)
    missing = len(keyed.keys() - store.answered(entry))
    if missing and traffic.budget.left():

        def on_answer(*_: Any) -> None:
            nonlocal missing
            missing -= 1
            if progress is not None:
                progress(len(keyed) - missing, len(keyed))

        known = missing < len(keyed)
        session = Session(store, entry, backend, who, price, traffic, watch, known)
        async with session.open():
            await session.ask_all(keyed, on_answer)
    answers = [store.generation(entry, request_key(request)) for request in requests]
    return [answer or Generation(outcome="not_run") for answer in answers]
