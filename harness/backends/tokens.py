"""Access tokens that run out: what fetches them, how long one is used, and when it is renewed.

A token is fetched by a command (`az account get-access-token ...`) or a function
(`azure.identity`'s providers), used for some minutes, and fetched again at once where the service
no longer takes it. It stands in memory alone.
"""

from __future__ import annotations

import asyncio
import inspect
import shlex
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from harness import plugins
from harness.records import HarnessError

Provider = Callable[[], "str | Awaitable[str]"]
_KEPT = 300.0  # seconds; Azure's own libraries renew a token when less than that is left of it
_LONGEST_COMMAND = 60.0  # seconds; chosen: whoever waits longer is waiting for a person


class TokenError(HarnessError, ValueError):
    """No token could be fetched; the sentence holds nothing of a token or a command's arguments."""


class Token:
    """Fetches a token and keeps it for five minutes. Safe in several threads and event loops."""

    def __init__(self, fetch: Callable[[], str], clock: Callable[[], float] = time.monotonic):
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._value: str | None = None
        self._fetched_at = 0.0
        self.fetches = 0
        self.seen: list[str] = []  # every token so far, so that none shows in an error

    async def __call__(self) -> str:
        """The token to send. Raises `TokenError`."""
        value = self._kept()
        return value if value is not None else await asyncio.to_thread(self._renew)

    def refused_by_service(self, fetches: int) -> None:
        """Forgets the token, unless it was renewed since `fetches` was read."""
        with self._lock:
            if self.fetches == fetches:
                self._value = None

    def _kept(self) -> str | None:
        return self._value if self._clock() - self._fetched_at < _KEPT else None

    def _renew(self) -> str:
        with self._lock:  # of many requests one fetches, the others wait for it
            value = self._kept()
            if value is None:
                value = self._fetch().strip()
                if not value or not value.isascii() or not value.isprintable():
                    raise TokenError("what fetches the token gave no text that can be one")
                self.seen = [*self.seen[-9:], value]
                self._value, self._fetched_at = value, self._clock()
                self.fetches += 1
            return value


def from_command(command: str | Sequence[str]) -> Token:
    """A token that a command prints; it runs without a shell. Raises `HarnessError` for none."""
    try:
        words = shlex.split(command) if isinstance(command, str) else [str(w) for w in command]
    except ValueError as error:
        raise HarnessError(f"token_command cannot be read: {error}") from error
    if not words:
        raise HarnessError("token_command is empty")
    return Token(lambda: _printed(words))


def _printed(words: Sequence[str]) -> str:
    name = Path(words[0]).name
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=_LONGEST_COMMAND,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise TokenError(f"the token command '{name}' cannot be run ({error})") from error
    except subprocess.TimeoutExpired as error:
        raise TokenError(
            f"the token command '{name}' printed nothing within {_LONGEST_COMMAND:g} s"
        ) from error
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][:200]
        raise TokenError(f"the token command '{name}' ended with {done.returncode}: {said}")
    return done.stdout


def from_provider(provider: str | Provider, beside: Path | None = None) -> Token:
    """A token that a function returns, awaited where need be, or the function that a name means.

    `package.module:function` or `./file.py:function` beside the suite. Raises `HarnessError` for
    what is no function.
    """
    function: Any = provider
    if isinstance(provider, str):
        if ":" not in provider:
            raise HarnessError(
                f"token_provider is '{provider}', neither package.module:function nor "
                "./file.py:function"
            )
        function = plugins.load("backends", provider, beside)
    if not callable(function):
        raise HarnessError("token_provider is no function that returns a token")

    def fetch() -> str:
        with plugins.blamed("token_provider failed", TokenError):
            given = function()
            value = asyncio.run(_awaited(given)) if inspect.isawaitable(given) else given
        if not isinstance(value, str):
            raise TokenError(f"token_provider returned {type(value).__name__}, no text")
        return value

    return Token(fetch)


async def _awaited(given: Awaitable[str]) -> str:
    return await given
