"""A model that fails for good is stopped early, and a server that never answered is waited for only
while something else is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from virtual_time import patience, run

from harness.lines import FIRST_REQUESTS, Gates, Line
from harness.server_gate import ServerGate, Stopped

NO_MODEL = "the server answered HTTP 404: The model `llama` does not exist"


def line(known: bool = False, connections: int = 8) -> Line:
    gate = ServerGate("the server", patience())
    gate.allow(connections)
    return Line(gate, "model 'm'", known=known)


async def fail(mine: Line, request: Any, why: str, *, permanent: bool = True, away: bool = False):  # type: ignore[no-untyped-def]
    ticket = await mine.enter(request)
    mine.failed(ticket, why, away=away, permanent=permanent)
    mine.leave(ticket)


async def answer(mine: Line, request: Any) -> None:
    ticket = await mine.enter(request)
    mine.answered(ticket)
    mine.leave(ticket)


def test_five_first_requests_that_fail_in_the_same_words_stop_the_model() -> None:
    async def whole() -> None:
        mine = line()
        for i in range(FIRST_REQUESTS):
            assert mine.stopped is None
            await fail(mine, i, NO_MODEL)
        assert mine.permanent
        assert NO_MODEL in str(mine.stopped)
        with pytest.raises(Stopped, match="does not exist"):
            await mine.enter("next")

    run(whole())


def test_ids_and_numbers_make_no_other_words() -> None:
    async def whole() -> None:
        mine = line()
        for i in range(FIRST_REQUESTS):
            await fail(mine, i, f"HTTP 500: request req_{i}a7f at 12:0{i} failed (deadbeef{i})")
        assert mine.permanent

    run(whole())


@pytest.mark.parametrize(
    "why",
    [
        lambda i: f"the server answered HTTP 400: bad {'abcdefgh'[i]}",  # each for its own reason
        lambda i: NO_MODEL if i else "the server answered HTTP 400: too many images",
    ],
)
def test_requests_that_fail_each_for_its_own_reason_stop_nothing(why: Any) -> None:
    async def whole() -> None:
        mine = line()
        for i in range(8):
            await fail(mine, i, why(i))
        assert mine.stopped is None

    run(whole())


def test_one_request_that_fails_five_times_is_one_request() -> None:
    async def whole() -> None:
        mine = line()
        for _ in range(3 * FIRST_REQUESTS):
            await fail(mine, "the same", NO_MODEL)
        assert mine.stopped is None

    run(whole())


@pytest.mark.parametrize("known", [True, False])
def test_a_model_that_answered_in_this_run_is_not_stopped(known: bool) -> None:
    async def whole() -> None:
        mine = line(known)
        if not known:
            await fail(mine, 0, NO_MODEL)
            await answer(mine, 1)
        for i in range(20):
            await fail(mine, i, NO_MODEL)
        assert mine.stopped is None

    run(whole())


def test_what_says_that_a_server_is_busy_or_away_is_no_permanent_failure() -> None:
    async def whole() -> None:
        mine = line(connections=20)
        for i in range(15):
            await fail(mine, i, "HTTP 503", permanent=False, away=True)
        assert mine.stopped is None

    run(whole())


def test_other_models_of_the_server_go_on() -> None:
    async def whole() -> None:
        mine = line()
        other = Line(mine.gate, "model 'n'")
        for i in range(FIRST_REQUESTS):
            await fail(mine, i, NO_MODEL)
        await answer(other, "fine")
        assert other.stopped is None

    run(whole())


def test_who_waits_behind_a_model_that_is_stopped_is_sent_away_at_once() -> None:
    async def whole() -> float:
        mine = line(connections=1)
        held = await mine.enter("held")
        waiting = asyncio.create_task(mine.enter("waiting"))
        await asyncio.sleep(0)
        mine.stop("it is dead")
        with pytest.raises(Stopped, match="it is dead"):
            await waiting
        mine.leave(held)
        return asyncio.get_running_loop().time()

    assert run(whole())[0] == 0


def test_a_pause_ends_when_the_model_is_stopped() -> None:
    async def whole() -> float:
        mine = line()
        pause = asyncio.create_task(mine.pause(1000))
        await asyncio.sleep(3)
        mine.stop("it is dead")
        await pause
        return asyncio.get_running_loop().time()

    assert run(whole())[0] == 3


# --- several servers ----------------------------------------------------------------------


class Backend:
    def __init__(self, place: str | None) -> None:
        self.place = place


def test_models_and_judges_of_one_address_share_a_gate() -> None:
    gates = Gates(patience())
    one, same, other = (Backend(place) for place in ("http://a", "http://a", "http://b"))
    assert gates.of(one, "model 'm'") is gates.of(same, "scorer 'judge'")
    assert gates.of(one, "model 'm'") is not gates.of(other, "model 'n'")
    first, second = Backend(None), Backend(None)
    assert gates.of(first, "model 'm'") is not gates.of(second, "model 'n'")


async def away(gates: Gates, name: str) -> float:
    """A server that never answers; when its requests are given up."""
    gate = gates.of(Backend(name), name)
    gate.allow(3)
    mine = Line(gate, name)
    requests = [fail(mine, i, "refused", permanent=False, away=True) for i in range(1000)]
    with gates.at_work(gate), pytest.raises(Stopped, match=f"{name} never answered .refused"):
        await asyncio.gather(*requests)
    return asyncio.get_running_loop().time()


async def busy(gates: Gates, name: str | None, seconds: float) -> float:
    """A server that answers for so many seconds; `None` is no server."""
    gate = None if name is None else gates.of(Backend(name), name)
    with gates.at_work(gate):
        if gate is not None:
            await answer(Line(gate, str(name)), "fine")
        await asyncio.sleep(seconds)
    return asyncio.get_running_loop().time()


def test_alone_a_server_that_never_answered_is_given_up_after_one_probe() -> None:
    assert run(away(Gates(patience()), "a"))[0] == 5


@pytest.mark.parametrize("other", ["b", None])
def test_it_is_waited_for_while_something_else_is_asked(other: str | None) -> None:
    async def whole() -> list[float]:
        gates = Gates(patience())
        return await asyncio.gather(away(gates, "a"), busy(gates, other, 500))

    assert run(whole())[0] == [500, 500]


def test_two_servers_that_never_answered_do_not_wait_for_each_other() -> None:
    async def whole() -> list[float]:
        gates = Gates(patience())
        return await asyncio.gather(away(gates, "a"), away(gates, "b"))

    assert run(whole())[0] == [5, 5]


def test_it_is_waited_for_alone_where_that_is_asked_for() -> None:
    async def whole() -> float:
        gates = Gates(patience(wait=True, max_outage=60))
        gate = gates.of(Backend("a"), "a")
        gate.allow(3)
        mine = Line(gate, "a")
        with gates.at_work(gate):
            for i in range(40):
                await fail(mine, i, "refused", permanent=False, away=True)
            await answer(mine, "at last")
        return asyncio.get_running_loop().time()

    assert run(whole())[0] > 2000


def test_a_server_that_was_not_there_a_moment_ago_is_tried_once_at_once() -> None:
    async def whole() -> float:
        gates = Gates(patience())
        gate = gates.of(Backend("a"), "a")
        gate.allow(3)
        gate.presume_away("there is no server")
        with gates.at_work(gate):
            mine = Line(gate, "a")
            await fail(mine, 1, "refused", permanent=False, away=True)
            with pytest.raises(Stopped, match="never answered"):
                await mine.enter(2)
        return asyncio.get_running_loop().time()

    assert run(whole())[0] == 0
