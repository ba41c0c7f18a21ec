"""Access tokens: how long one is used, when it is fetched anew, and what is told where it cannot be."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.backends.tokens import Token, TokenError, from_command, from_provider
from harness.records import HarnessError

SECRET = "planted-7f3a9c51"


def get(token: Token) -> str:
    async def once() -> str:
        return await token()

    return asyncio.run(once())


def counting(clock: Callable[[], float]) -> Token:
    given = iter(range(99))
    return Token(lambda: f"t{next(given)}\n", clock)


def test_a_token_is_kept_for_five_minutes_and_then_fetched_anew() -> None:
    now = [1000.0]
    token = counting(lambda: now[0])
    said = []
    for now[0] in (1000.0, 1299.0, 1301.0, 1600.0, 1602.0):
        said.append(get(token))
    assert said == ["t0", "t0", "t1", "t1", "t2"]


def test_a_token_that_was_refused_is_forgotten_once_however_many_requests_used_it() -> None:
    token = counting(lambda: 0.0)
    get(token)
    before = token.fetches
    for _ in range(3):
        token.refused_by_service(before)
        get(token)
    assert token.fetches == 2


async def asynchronous() -> str:
    return SECRET


def test_a_provider_may_be_asynchronous() -> None:
    assert get(from_provider(asynchronous)) == SECRET


def fails() -> str:
    raise RuntimeError("no network")


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        (fails, "no network"),
        (lambda: None, "NoneType"),
        (lambda: b"bytes", "bytes"),
        (lambda: "", "no text"),
        (lambda: "two\nlines", "no text"),
        (lambda: "tökén", "no text"),
    ],
)
def test_what_a_provider_gives_that_is_no_token_is_told(
    provider: Callable[[], str | Awaitable[str]], says: str
) -> None:
    with pytest.raises(TokenError, match=says):
        get(from_provider(provider))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["no-such-command", SECRET], "'no-such-command' cannot be run"),
        ([sys.executable, "-c", "raise SystemExit(3)", SECRET], "ended with 3: it says nothing"),
        ([sys.executable, "-c", "", SECRET], "no text"),
        ([sys.executable, "-c", "print('a\\nb')", SECRET], "no text"),
    ],
)
def test_a_command_that_gives_no_token_is_told_without_its_arguments(
    command: Any, says: str
) -> None:
    with pytest.raises(TokenError, match=says) as told:
        get(from_command(command))
    assert SECRET not in str(told.value)


def test_a_command_runs_without_a_shell() -> None:
    shown = get(from_command(f"{sys.executable} -c 'import sys; print(sys.argv[1])' $HOME;echo"))
    assert shown == "$HOME;echo"


@pytest.mark.parametrize("command", ["", [], "'"])
def test_what_is_no_command_is_refused(command: Any) -> None:
    with pytest.raises(HarnessError, match="token_command"):
        from_command(command)
