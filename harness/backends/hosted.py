"""Hosted services through OpenAI's own client: Azure's deployments, tokens, organisations.

The client signs in, builds the addresses, and speaks TLS. What is sent, how a reply is read, and
when a request is tried again is the harness's own, as for any other server: the client is a
transport with the same `send`, and its own retries are off.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends import tokens
from harness.backends.connection import REDIRECTED, NoConnection, Server
from harness.records import HarnessError

if TYPE_CHECKING:
    import openai

_WHERE = "backend 'openai'"


@dataclass(frozen=True)
class Service:
    """What a hosted service is told beyond address and key. None of it is part of a request."""

    api_version: str | None = None
    azure_deployment: str | None = None
    organization: str | None = None
    project: str | None = None
    token_command: str | Sequence[str] | None = field(default=None, repr=False)
    token_provider: str | tokens.Provider | None = field(default=None, repr=False)

    def given(self) -> list[str]:
        """The names of the fields that say something."""
        return [name for name, value in vars(self).items() if value is not None]

    def token(self, beside: Path | None) -> tokens.Token | None:
        """What fetches tokens, `None` where a key is used."""
        if self.token_command is not None and self.token_provider is not None:
            raise HarnessError(f"{_WHERE}: give token_command or token_provider, not both")
        try:
            if self.token_command is not None:
                return tokens.from_command(self.token_command)
            if self.token_provider is not None:
                return tokens.from_provider(self.token_provider, beside)
        except HarnessError as error:
            raise HarnessError(f"{_WHERE}: {error}") from error
        return None


@dataclass(frozen=True)
class HostedServer(Server):
    """A hosted service: its address and headers as any server's, the client's session in front."""

    service: Service
    token: tokens.Token | None = field(repr=False)
    key: str | None = field(repr=False)
    given: tuple[str, ...]  # the names of the suite's own headers
    deployment: str | None  # Azure's; `None` where the service is not Azure
    rooted: bool = False  # whether paths are those of the host itself, outside the API

    @classmethod
    def of(
        cls,
        model: str,
        base_url: str,
        api_key: str | None,
        headers: Mapping[str, str],
        ca_bundle: str | Path | None,
        proxy: str | None,
        service: Service,
        beside: Path | None = None,
    ) -> HostedServer:
        """Raises `HarnessError` for fields that contradict each other and where no key is given."""
        server = Server.at(base_url, api_key, headers, ca_bundle, proxy)
        token = service.token(beside)
        key = str(api_key).strip() if api_key else None
        if key and token:
            raise HarnessError(f"{_WHERE}: give api_key or a token, not both")
        signed = {name.lower() for name in headers} & {"authorization", "api-key"}
        if not (key or token or signed):
            raise HarnessError(
                f"{_WHERE}: client: openai needs an api_key, a token_command or a token_provider"
            )
        azure = service.api_version is not None
        if azure and server.url.path.rstrip("/").endswith("/v1"):
            raise HarnessError(
                f"{_WHERE}: with api_version, base_url is Azure's endpoint "
                "(https://NAME.openai.azure.com); an address that ends in /v1 takes none"
            )
        if service.azure_deployment is not None and not azure:
            raise HarnessError(f"{_WHERE}: azure_deployment needs api_version as well")
        deployment = (service.azure_deployment or model) if azure else None
        fields = {**vars(server), "keyed": True}
        given = tuple(str(name) for name in headers)
        return cls(
            **fields, service=service, token=token, key=key, given=given, deployment=deployment
        )

    def open(self, size: int) -> openai.AsyncOpenAI:
        """A client for one event loop; nothing of the environment takes part."""
        import httpx2
        import openai

        http = httpx2.AsyncClient(
            verify=self.tls,
            proxy=None if self.proxy is None else str(self.proxy),
            limits=httpx2.Limits(max_connections=size, max_keepalive_connections=size),
            timeout=None,  # `send` bounds the whole exchange, not each of its parts
            follow_redirects=False,
            trust_env=False,
        )
        query = dict(self.url.query)
        address = str(self.url.with_query(None).with_user(None)).rstrip("/")
        sent: dict[str, Any] = dict.fromkeys(_ambient_headers(), openai.omit)
        sent |= {name: self.headers[name] for name in self.given}
        options: dict[str, Any] = {
            "default_headers": sent,
            "default_query": query,
            "http_client": http,
            "timeout": None,
            "max_retries": 0,
        }
        key = self.key or "in the headers"
        if self.deployment is None:
            client = openai.AsyncOpenAI(base_url=address, api_key=self.token or key, **options)
        else:
            signed: dict[str, Any] = {"api_key": key}
            if self.token is not None:
                signed = {"azure_ad_token_provider": self.token}
            client = openai.AsyncAzureOpenAI(
                azure_endpoint=address.removesuffix("/openai"),
                azure_deployment=self.deployment,
                api_version=self.service.api_version,
                **signed,
                **options,
            )
        # Where the suite says nothing, the client would take these from the environment.
        client.organization = self.service.organization
        client.project = self.service.project
        return client

    def root(self) -> HostedServer:
        """The same server, its own pages instead of the API's."""
        path = self.url.path.rstrip("/").removesuffix("/v1")
        url = self.url.with_path(path or "/", keep_query=True)
        return replace(self, url=url, rooted=True)

    async def send(
        self, session: Any, path: str, body: bytes | None, seconds: float
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, text and headers of one exchange, as `Server.send`; a stale token is renewed.

        Raises `OSError` where no answer came, and `TokenError`.
        """
        before = self.token.fetches if self.token else 0
        answer = await self._exchange(session, path, body, seconds)
        if answer[0] == 401 and self.token is not None:
            self.token.refused_by_service(before)
            answer = await self._exchange(session, path, body, seconds)
        return answer

    async def _exchange(
        self, client: openai.AsyncOpenAI, path: str, body: bytes | None, seconds: float
    ) -> tuple[int, str, Mapping[str, str]]:
        import httpx2
        import openai

        address = str(self.url / path) if self.rooted else f"/{path}"
        try:
            async with asyncio.timeout(seconds):
                if body is None:
                    response = await client.get(address, cast_to=httpx2.Response)
                else:
                    response = await client.post(
                        address, cast_to=httpx2.Response, content=self._addressed(body)
                    )
        except openai.APIStatusError as error:
            response = error.response
        except openai.APIConnectionError as error:
            raise _cause(error) from error
        text = response.content.decode("utf-8-sig", "replace")
        return response.status_code, REDIRECTED if response.is_redirect else text, response.headers

    def _addressed(self, body: bytes) -> bytes:
        """The body with the deployment for its model: some of Azure's paths name none."""
        if self.deployment is None:
            return body
        content = json.loads(body)
        if "model" not in content:
            return body
        content["model"] = self.deployment
        return json.dumps(
            content, sort_keys=True, ensure_ascii=False, separators=(",", ":")
        ).encode("utf-8")

    def hide(self, text: str) -> str:
        """The text without any secret of this server, tokens included."""
        for value in self.token.seen if self.token else ():
            text = text.replace(value, "[hidden]")
        return super().hide(text)

    def denied(self, status: int, body: str) -> str:
        """Why nobody is let in; a token was fetched once more before."""
        if status == 401 and self.token is not None:
            return f"the server at {self.shown} refuses the token (HTTP 401), also a new one"
        return super().denied(status, body)

    def reason(self, error: Exception, seconds: float) -> str:
        """Why no answer came, for people."""
        if isinstance(error, tokens.TokenError):
            return self.hide(str(error))
        if isinstance(error, _ProxyRefusal):
            return f"the proxy {self.proxy_shown} answers {error}"
        if self.proxy is not None and isinstance(error, ConnectionRefusedError | socket.gaierror):
            return f"the proxy {self.proxy_shown} cannot be reached"
        return super().reason(error, seconds)


def _ambient_headers() -> list[str]:
    """The names of headers that the client would take from the environment."""
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
    return [line.partition(":")[0].strip() for line in lines if ":" in line]


class _ProxyRefusal(NoConnection):
    """A proxy that answers, and lets nothing through."""


def _cause(error: BaseException) -> OSError:
    """What the system said, deepest behind the client's exceptions; else a broken connection."""
    import httpx2

    found: OSError | None = None
    connecting = False
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, httpx2.ProxyError):
            return _ProxyRefusal(f"HTTP {inner}")
        connecting = connecting or isinstance(inner, httpx2.ConnectError)
        found = inner if isinstance(inner, OSError) else found
        group = inner.exceptions if isinstance(inner, BaseExceptionGroup) else ()
        inner = group[0] if group else inner.__cause__ or inner.__context__
    if found is None:
        return ConnectionResetError("the connection broke off")
    named = isinstance(found, ConnectionRefusedError | socket.gaierror | ssl.SSLError)
    return found if named or not connecting else NoConnection(found.errno, str(found))
