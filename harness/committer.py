"""Answers are committed on arrival, one transaction for all that arrive in a tick of the loop."""

from __future__ import annotations

import asyncio

from harness.records import Generation
from harness.store import Store


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
