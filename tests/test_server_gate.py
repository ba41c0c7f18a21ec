"""A server that is away pauses its requests, and one that limits them is kept to: by a clock of our
own, in which only sleep takes time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import patience, run

from harness.server_gate import ServerGate, Stopped, Ticket


def now() -> float:
    return asyncio.get_running_loop().time()


def gate(connections: int = 4, *, until: float | None = None, **fields: Any) -> ServerGate:
    made = ServerGate("the server", patience(**fields), until=until)
    made.allow(connections)
    return made


async def fail(server: ServerGate, request: object, why: str = "HTTP 503") -> None:
    ticket = await server.enter(request)
    server.failed(ticket, why)
    server.leave(ticket)


async def answer(server: ServerGate, request: object = "fine") -> None:
    ticket = await server.enter(request)
    server.answered(ticket)
    server.leave(ticket)


async def deny(server: ServerGate, asked: float | None, backoff: float = 0.5) -> None:
    ticket = await server.enter("denied")
    server.denied(ticket, asked, backoff)
    server.leave(ticket)


async def failed_for_ever(server: ServerGate, said: str) -> None:
    with pytest.raises(Stopped, match=said):
        await asyncio.gather(*(fail(server, i) for i in range(100)))


async def denied_for_ever(server: ServerGate) -> None:
    with pytest.raises(Stopped, match="HTTP 429 to everything"):
        await asyncio.gather(*(deny(server, None, 30) for _ in range(100)))


# --- connections --------------------------------------------------------------------------


@given(
    connections=st.integers(1, 9),
    fates=st.lists(st.sampled_from(["answered", "failed", "denied", "other"]), max_size=60),
)
def test_no_more_is_ever_under_way_than_the_gate_allows(connections: int, fates: list[str]) -> None:
    async def whole() -> None:
        server = gate(connections)
        under_way: set[Ticket] = set()

        async def one(i: int, fate: str) -> None:
            ticket = await server.enter(i)
            under_way.add(ticket)
            assert len(under_way) <= connections
            assert 1 <= server.limit <= connections
            await asyncio.sleep(0.1)
            if fate == "answered":
                server.answered(ticket)
            elif fate == "failed":
                server.failed(ticket, "HTTP 500")
            elif fate == "denied":
                server.denied(ticket, None, 0.5)
            under_way.discard(ticket)
            server.leave(ticket)

        async with asyncio.TaskGroup() as group:
            for i, fate in enumerate(fates):
                group.create_task(_stopped_is_fine(one(i, fate)))

    run(whole())


async def _stopped_is_fine(work: Any) -> None:
    with contextlib.suppress(Stopped):
        await work


def test_requests_go_out_in_the_order_in_which_they_came() -> None:
    async def whole() -> list[int]:
        server, order = gate(1), list[int]()

        async def one(i: int) -> None:
            ticket = await server.enter(i)
            order.append(i)
            await asyncio.sleep(1)
            server.leave(ticket)

        await asyncio.gather(*(one(i) for i in range(5)))
        return order

    assert run(whole()) == ([0, 1, 2, 3, 4], 5.0)


def test_a_request_that_is_cancelled_while_it_waits_keeps_no_place() -> None:
    async def whole() -> None:
        server = gate(1)
        held = await server.enter("a")
        waiting = [asyncio.create_task(server.enter(name)) for name in "bcd"]
        await asyncio.sleep(0)
        waiting[0].cancel()
        server.leave(held)  # "c" has its ticket now, and is cancelled before it hears of it
        waiting[1].cancel()
        await asyncio.wait(waiting)
        assert waiting[2].result().request == "d"

    run(whole())


# --- away ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("connections", "enough"), [(1, 3), (3, 3), (16, 16), (64, 20)])
def test_as_many_failures_in_a_row_as_there_are_connections_open_the_circuit(
    connections: int, enough: int
) -> None:
    async def whole() -> None:
        server = gate(connections)
        for i in range(enough - 1):
            await fail(server, i)
        assert not server.is_open
        await fail(server, "one more")
        assert server.is_open

    run(whole())


def test_one_request_that_always_fails_is_no_outage() -> None:
    async def whole() -> None:
        server = gate(3)
        for _ in range(50):
            await fail(server, "the same")
        assert not server.is_open

    run(whole())


@given(st.lists(st.booleans(), max_size=60))
def test_the_circuit_opens_only_after_failures_with_no_answer_between(good: list[bool]) -> None:
    async def whole() -> None:
        server = gate(4)
        in_a_row = 0
        for i, fine in enumerate(good):
            await (answer(server, i) if fine else fail(server, i))
            in_a_row = 0 if fine else in_a_row + 1
            assert server.is_open == (in_a_row >= 4)
            if server.is_open:
                return

    run(whole())


def test_requests_that_fail_while_others_are_answered_say_nothing_of_the_server() -> None:
    async def whole() -> None:
        server = gate(3)
        for bad in "abcdef":
            await fail(server, bad)
            await answer(server)
        for bad in "abcdef":  # the last that are left, and all of them fail again
            await fail(server, bad)
        assert not server.is_open

    run(whole())


def test_an_open_circuit_lets_single_requests_through_after_5_seconds_doubled_to_60() -> None:
    async def whole() -> list[float]:
        server, times = gate(3, max_outage=1e6), list[float]()
        await answer(server)
        for i in range(3):
            await fail(server, i)

        async def one(i: int) -> None:
            ticket = await server.enter(i)
            times.append(now())
            server.failed(ticket, "HTTP 503")
            server.leave(ticket)

        await asyncio.gather(*(one(i) for i in range(7)))
        return times

    assert run(whole())[0] == [5, 15, 35, 75, 135, 195, 255]


def test_an_answered_completion_closes_the_circuit_and_connections_come_back_one_by_one() -> None:
    said: list[str] = []

    async def whole() -> None:
        server = ServerGate("the server", patience(), tell=said.append)
        server.allow(4)
        for i in range(4):
            await fail(server, i, "connection refused")
        await answer(server)
        assert not server.is_open
        assert [server.limit] + [await _limit_after_an_answer(server) for _ in range(5)] == [
            1, 2, 3, 4, 4, 4,
        ]  # fmt: skip

    run(whole())
    assert "connection refused" in said[0]
    assert "answers again" in said[1]


async def _limit_after_an_answer(server: ServerGate) -> int:
    await answer(server)
    return server.limit


def test_a_request_that_was_under_way_when_the_circuit_opened_closes_it_with_its_answer() -> None:
    async def whole() -> None:
        server = gate(4)
        late = await server.enter("late")
        for i in range(4):
            await fail(server, i)
        assert server.is_open
        server.answered(late)
        assert not server.is_open

    run(whole())


def test_what_comes_back_late_and_failed_does_not_prolong_the_pause() -> None:
    async def whole() -> float:
        server = gate(4)
        await answer(server)
        late = await server.enter("late")
        for i in range(4):
            await fail(server, i)
        server.failed(late, "HTTP 503")
        server.leave(late)
        await server.enter("probe")
        return now()

    assert run(whole())[0] == 5


def test_an_outage_ends_max_outage_after_the_last_answer() -> None:
    async def whole() -> float:
        server = gate(3, max_outage=100)
        await asyncio.sleep(7)
        await answer(server)
        await asyncio.sleep(20)
        for i in range(3):
            await fail(server, i)
        await failed_for_ever(server, r"given up: no answer for 100 s \(HTTP 503\)")
        assert "given up" in str(server.stopped)
        return now()

    assert run(whole())[0] == 107


def test_a_server_that_never_answered_is_not_given_up_by_its_own_gate() -> None:
    async def whole() -> None:
        server = gate(3, max_outage=100)
        for i in range(3):
            await fail(server, i)
        assert not server.hopeless
        for i in range(20):  # many minutes
            await fail(server, i)
        assert server.hopeless

    run(whole())


@pytest.mark.parametrize("pause", ["away", "denied", "behind"])
def test_the_limit_of_time_ends_every_pause(pause: str) -> None:
    async def whole() -> float:
        server = gate(3, until=12)
        await answer(server)
        if pause == "away":
            for i in range(3):
                await fail(server, i)
            await fail(server, "probe")  # at 5; the next would go out at 15
        elif pause == "denied":
            await deny(server, 1000)
        else:
            for i in range(3):
                await server.enter(i)
        with pytest.raises(Stopped, match="limit of time") as stopped:
            await server.enter("next")
        assert stopped.value.limit
        return now()

    assert run(whole())[0] == 12


# --- denied -------------------------------------------------------------------------------


@given(asked=st.floats(0.1, 80_000), connections=st.integers(1, 30))
def test_everybody_waits_as_long_as_the_server_asks(asked: float, connections: int) -> None:
    async def whole() -> list[float]:
        server, times = gate(connections), list[float]()
        await deny(server, asked)

        async def one(i: int) -> None:
            ticket = await server.enter(i)
            times.append(now())
            server.answered(ticket)
            server.leave(ticket)

        await asyncio.gather(*(one(i) for i in range(connections)))
        return times

    assert min(run(whole())[0]) == pytest.approx(asked)


def test_a_denied_burst_halves_the_connections_once_and_answers_bring_them_back() -> None:
    async def whole() -> None:
        server = gate(16)
        burst = [await server.enter(i) for i in range(16)]
        for ticket in burst:
            server.denied(ticket, 1, 0.5)
            server.leave(ticket)
        assert server.limit == 8
        await deny(server, 1)
        assert server.limit == 4
        for expected in (5, 6, 7):
            await answer(server)
            assert server.limit == expected

    run(whole())


def test_what_the_server_asked_to_wait_is_no_outage() -> None:
    async def whole() -> tuple[float, float]:
        server = gate(3, max_outage=100)
        await answer(server)
        await deny(server, 400)
        await deny(server, 400)  # at 400
        await answer(server, "third")  # at 800, and nothing is given up
        answered = now()
        await denied_for_ever(server)
        return answered, now()

    assert run(whole())[0] == (800, 900)


def test_a_server_that_denies_everything_for_ever_is_given_up_also_before_its_first_answer() -> (
    None
):
    async def whole() -> float:
        await denied_for_ever(gate(3, max_outage=100))
        return now()

    assert run(whole())[0] == 100


@pytest.mark.parametrize("asked", [1.0, None])
@pytest.mark.parametrize("connections", [4, 16])
def test_a_rate_limit_is_met_seldom_once_it_is_known(asked: float | None, connections: int) -> None:
    """A bucket of 20 requests that fills by 20 a second, as servers have them."""

    async def whole() -> tuple[int, int]:
        server = gate(connections)
        tokens, filled, denied = 20.0, 0.0, 0

        async def one(i: int) -> None:
            nonlocal tokens, filled, denied
            while True:
                ticket = await server.enter(i)
                tokens, filled = min(20.0, tokens + 20 * (now() - filled)), now()
                granted = tokens >= 1
                tokens -= granted
                await asyncio.sleep(0.02)
                if granted:
                    server.answered(ticket)
                else:
                    denied += 1
                    server.denied(ticket, asked, 0.5)
                server.leave(ticket)
                if granted:
                    return

        waiting = iter(range(400))

        async def work() -> None:
            for i in waiting:
                await one(i)

        await asyncio.gather(*(work() for _ in range(connections)))
        return denied, server.answers

    (denied, answers), seconds = run(whole())
    assert answers == 400
    assert denied < 60  # today as many as are answered
    assert seconds < 25  # of the 19 that the limit allows


@pytest.mark.parametrize("asked", [2.0, 30.0, 400.0])
def test_long_waits_that_a_server_asks_for_are_no_rate(asked: float) -> None:
    """The one answer between two waits of 400 s does not mean one request in 400 s."""

    async def whole() -> int:
        server, known, waits = gate(16), set[int](), set[float]()

        async def one(i: int) -> None:
            while True:
                ticket = await server.enter(i)
                again = i in known
                known.add(i)
                await asyncio.sleep(0.02)
                if again:
                    server.answered(ticket)
                else:
                    waits.add(now())
                    server.denied(ticket, asked, 0.5)
                server.leave(ticket)
                if again:
                    return

        await one(0)
        waiting = iter(range(1, 200))

        async def work() -> None:
            for i in waiting:
                await one(i)

        await asyncio.gather(*(work() for _ in range(16)))
        return len(waits)

    waits, seconds = run(whole())
    assert seconds < 1.1 * asked * waits + 30


# --- what an application sees -------------------------------------------------------------


def test_a_gate_is_used_by_one_event_loop_after_another() -> None:
    server = gate(1)

    async def some() -> None:
        held = await server.enter("a")
        waiting = asyncio.create_task(server.enter("b"))
        await asyncio.sleep(0)
        server.leave(held)
        server.leave(await waiting)
        server.denied(await server.enter("c"), 1, 0.5)
        await asyncio.sleep(0)

    def later(body: Callable[[], Any]) -> None:
        run(body())

    later(some)
