"""An event loop whose time passes only while everybody sleeps: hours of waiting cost no second."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from harness.server_gate import Patience

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Never blocks: the loop's time jumps instead."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever wake them")
        if not ready and timeout:
            self.loop.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at time 0."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now


def run(coroutine: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """What a coroutine returns, and how many seconds passed meanwhile."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(coroutine)
        return result, runner.get_loop().time()


def patience(**fields: Any) -> Patience:
    """Patience by the time of the running loop."""
    return Patience(clock=lambda: asyncio.get_running_loop().time(), **fields)


def hurried(**fields: Any) -> Patience:
    """Patience for a loop of real time, by a clock that only pauses move: nothing is waited for."""
    passed = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        await asyncio.sleep(0)

    return Patience(clock=lambda: passed, sleep=sleep, **fields)
