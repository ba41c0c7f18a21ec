"""One pooled connection to a server: its address, certificates and proxy, and what went wrong.

What a person reads of a failure is one sentence, with every secret struck out.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import math
import os
import re
import socket
import ssl
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from harness import secrets
from harness.backends.replies import error_message
from harness.lines import Line
from harness.records import HarnessError

REDIRECTED = "the server sends elsewhere; correct base_url"


class NoConnection(OSError):
    """No connection came about, for a reason of the system's that has no class of its own."""


# Whoever refuses, is unknown or untrusted now will be in a second.
UNREACHABLE = (
    aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, ssl.SSLError,
    ConnectionRefusedError, socket.gaierror, NoConnection,
)  # fmt: skip


@dataclass
class Pool:
    """The connections of one event loop, how many use them, and who must wait."""

    loop: asyncio.AbstractEventLoop
    session: Any  # what the server's `open` gave
    line: Line  # for requests outside a run
    first: defaultdict[frozenset[str], asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    users: int = 0

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop, line: Line, size: int, server: Server) -> Pool:
        return cls(loop, server.open(size), line)


@dataclass(frozen=True)
class Server:
    """Where a server is and how it is reached. Secrets stand in fields that no repr shows."""

    shown: str  # without user, password and query
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    proxy: URL | None = field(repr=False)
    proxy_shown: str
    tls: ssl.SSLContext | bool = field(repr=False)
    keyed: bool

    @classmethod
    def at(
        cls,
        base_url: str,
        api_key: str | None,
        headers: Mapping[str, str],
        ca_bundle: str | Path | None,
        proxy: str | None,
    ) -> Server:
        url, of_urls = _address("base_url", base_url)
        sent = {str(name): str(value).strip() for name, value in headers.items()}
        sent["Content-Type"] = "application/json"
        key = "" if api_key is None else str(api_key).strip()
        authorised = any(name.lower() == "authorization" for name in sent)
        if key and not authorised:
            sent["Authorization"] = f"Bearer {key}"
        if any(ord(letter) < 32 or ord(letter) > 126 for text in sent.values() for letter in text):
            raise HarnessError("backend 'openai': api_key and headers take printable ASCII only")
        through = None
        if proxy:
            through, more = _address("proxy", proxy)
            of_urls = (*of_urls, *more)
        if key or authorised:
            url = url.with_user(None)  # a header and a user in the URL contradict each other
        # Shorter values are switches and placeholders; hiding those would garble errors.
        values = [value for name, value in sent.items() if name != "Content-Type"]
        values += [value.partition(" ")[2] for value in values]  # the key without its scheme
        hidden = {value for value in values if len(value) >= 8}
        hidden |= {one for one in (key, *of_urls) if len(one) >= 4}
        hidden = set().union(*map(secrets.forms, hidden))
        struck = tuple(sorted(hidden, key=len, reverse=True))
        tls = trusting(Path(ca_bundle)) if ca_bundle else True
        shown = "" if through is None else _shown(through)
        return cls(_shown(url), url, sent, struck, through, shown, tls, bool(key))

    def open(self, size: int) -> Any:
        """A session for one event loop, with an asynchronous `close`; `send` goes through it."""
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=size, ssl=self.tls))

    async def send(
        self, session: Any, path: str, body: bytes | None, seconds: float
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, text and headers of one exchange; a redirect would lose body or key, so none."""
        address = (self.url / path).with_query(self.url.query)
        async with session.request(
            "GET" if body is None else "POST",
            address,
            data=body,
            headers=self.headers,
            proxy=self.proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=seconds),
        ) as response:
            text = (await response.read()).decode("utf-8-sig", "replace")
            if 300 <= response.status < 400:
                text = REDIRECTED
            return response.status, text, response.headers

    def root(self) -> Server:
        """The same server, its own pages instead of the API's."""
        path = self.url.path.rstrip("/").removesuffix("/v1")
        return replace(self, url=self.url.with_path(path or "/", keep_query=True))

    def hide(self, text: str) -> str:
        """The text without any secret of this server, and without what a cut left of one."""
        *cut, rest = secrets.strike(text, self.secrets).split("…")
        return "…".join([*map(self._hide_beginning, cut), rest])

    def _hide_beginning(self, text: str) -> str:
        """The text without the beginning of a secret, of 4 characters or more, that it ends in."""
        for secret in self.secrets:
            for length in range(len(secret) - 1, 3, -1):
                if text.endswith(secret[:length]):
                    return f"{text[:-length]}[hidden]"
        return text

    def denied(self, status: int, body: str) -> str:
        """Why nobody is let in: 401 speaks of the key alone, and may repeat parts of it."""
        if status == 401 and not self.keyed:
            return f"the server at {self.shown} asks for an API key (HTTP 401); set api_key"
        if status == 401:
            return f"the server at {self.shown} refuses the API key (HTTP 401); check api_key"
        said = self.hide(error_message(body))
        return f"the server at {self.shown} forbids this (HTTP 403) {said}".rstrip()

    def reason(self, error: Exception, seconds: float) -> str:
        """Why no answer came, for people."""
        if isinstance(error, TimeoutError):
            return f"nothing came within {seconds:g} s"
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return f"the proxy {self.proxy_shown} cannot be reached"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return f"the proxy {self.proxy_shown} answers HTTP {error.status}"
        if isinstance(
            error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)
        ):
            return "its certificate is not trusted; name its authority in ca_bundle"
        if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
            return "the TLS handshake failed; is it https that it speaks?"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return f"the name '{self.url.host}' is not known"
        if isinstance(error, aiohttp.ClientConnectorError):
            number = error.os_error.errno
            refused = number == errno.ECONNREFUSED or "refused" in str(error).lower()
            return "connection refused" if refused else os.strerror(number or errno.EIO).lower()
        if isinstance(error, ConnectionRefusedError):
            return "connection refused"
        if isinstance(error, NoConnection):
            return os.strerror(error.errno or errno.EIO).lower()
        if isinstance(error, socket.gaierror):
            return f"the name '{self.url.host}' is not known"
        if isinstance(
            error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)
        ):
            return "the connection broke off"
        return self.hide(f"{type(error).__name__}: {error}")


def _address(name: str, text: str) -> tuple[URL, tuple[str, ...]]:
    """A URL and what of it is secret: its password, also as it is sent, and its query's values."""
    try:
        url = URL(text.strip())
        host = url.host
    except (ValueError, AttributeError):
        host = None
    if host is None or url.scheme not in ("http", "https"):
        raise HarnessError(f"backend 'openai': {name} is no http(s) address")
    secret = list(secrets.of_address(text))
    if url.user or url.password:  # as the header holds it
        sent = f"{url.user or ''}:{url.password or ''}".encode("latin-1", "replace")
        secret.append(base64.b64encode(sent).decode("ascii"))
    return url, tuple(secret)


def _shown(url: URL) -> str:
    return str(url.with_user(None).with_query(None).with_fragment(None)).rstrip("/")


def trusting(bundle: Path) -> ssl.SSLContext:
    try:
        if bundle.is_dir():
            return ssl.create_default_context(capath=str(bundle))
        return ssl.create_default_context(cafile=str(bundle))
    except (OSError, ssl.SSLError) as error:
        raise HarnessError(
            f"backend 'openai': ca_bundle {bundle} holds no certificates that can be read ({error})"
        ) from error


def asked_to_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait: as `Retry-After` says, else until the limit of its rate
    that is used up is renewed."""
    seconds = retry_after(headers, now)
    return seconds if seconds is not None else _renewed(headers, now or datetime.now(UTC))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, or `Retry-After` as number or date."""
    for name, unit in (("retry-after-ms", 1e-3), ("Retry-After", 1.0)):
        text = headers.get(name, "")
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        then = parsedate_to_datetime(headers.get("Retry-After", ""))
    except ValueError:
        return None
    return _until(then, now or datetime.now(UTC))


# `x-ratelimit-reset-requests: 6m0s` (OpenAI and those like it), `anthropic-ratelimit-tokens-reset:
# 2026-01-27T12:00:30Z` (Anthropic), `ratelimit-reset: 30` (IETF draft), `x-ratelimit-reset:
# 1767225600` (seconds or milliseconds of the Unix clock: OpenRouter, GitHub).
_RESET = re.compile(r"^(?=.*ratelimit)(.*?)-?reset(-requests|-tokens)?$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _renewed(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds until the used-up limits are renewed, the longest of them."""
    lower = {name.lower(): str(value).strip() for name, value in headers.items()}
    waits = []
    for name, text in lower.items():
        found = _RESET.match(name)
        if found is None:
            continue
        left = lower.get(f"{found[1]}-remaining{found[2] or ''}", "0")
        seconds = _seconds(text, now)
        if seconds is not None and left.split(".")[0] in ("0", ""):
            waits.append(seconds)
    return max(waits, default=None)


def _seconds(text: str, now: datetime) -> float | None:
    """A duration (`1m30s`, `20ms`, `30`), a time of the Unix clock, or a date, as seconds."""
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    try:
        number = float(text)
    except ValueError:
        try:
            return _until(datetime.fromisoformat(text), now)
        except ValueError:
            return None
    if not math.isfinite(number) or number < 0:
        return None
    if number > 1e12:
        number /= 1e3
    return max(0.0, number - now.timestamp()) if number > 1e9 else number


def _until(then: datetime, now: datetime) -> float:
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - now).total_seconds())
