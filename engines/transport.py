"""HTTP to a vLLM server: one pooled aiohttp session, bytes in and out, failures as `EngineError`s.

aiohttp and not httpx, as measured by benchmarks/overhead.py: a call costs the caller about a tenth of the CPU.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from aiohttp import AddrInfoType
from yarl import URL

from engines import watch
from engines.base import EngineError, EngineGarbage, EngineRefused, EngineUnavailable
from engines.watch import Watch

CONNECT_SECONDS = 3.0  # a lost first packet is sent again after one second
KEEPALIVE_SECONDS = 4.0  # below uvicorn's 5 s, so that no request meets a connection the server is closing
MAX_LINE = 4 * 2**20

CARRIED: Final[ContextVar[Mapping[str, str] | None]] = ContextVar("headers carried along", default=None)
"""Headers for the calls made in this context, a trace's say."""

T = TypeVar("T")


class _Problem(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    """A 4xx answer's body; vLLM nests it under `error`, older servers do not."""

    error: _Problem | None = None
    message: str = ""


class Transport:
    """Calls one server. `headers` go with every call (an API key, say); `url` has no trailing path.

    A server that is hung (it accepts calls, and answers neither them nor `/health`) ends what waits for it with
    EngineUnavailable, and further calls at once, until it answers again. A slow one is waited for.
    """

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, URL] = {}
        self._watch = Watch(self._lives)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=KEEPALIVE_SECONDS, socket_factory=_socket
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                headers=self._headers,
                read_bufsize=MAX_LINE,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _address(self, path: str) -> URL:
        """The URL of `path`, parsed once."""
        if path not in self._addresses:
            self._addresses[path] = URL(self._url + path)
        return self._addresses[path]

    async def get(self, path: str) -> bytes:
        return await self._exchange("GET", path, None)

    async def post(self, path: str, body: Any) -> bytes:
        return await self._exchange("POST", path, msgspec.json.encode(body))

    async def _exchange(self, method: str, path: str, data: bytes | None) -> bytes:
        async with self._answer(method, path, data) as response:
            answer = await response.read()
        if response.status >= 400:
            raise _refused(response.status, answer)
        return answer

    async def events(self, path: str, body: Any) -> AsyncGenerator[bytes]:
        """The payloads of a server-sent event stream, up to `[DONE]`; closing the generator closes the connection."""
        async with self._answer("POST", path, msgspec.json.encode(body)) as response:
            if response.status >= 400:
                raise _refused(response.status, await response.read())
            async for line in response.content:
                self._watch.heard()
                if line.startswith(b"data:"):
                    payload = line[5:].strip()
                    if payload == b"[DONE]":
                        return
                    yield payload
        raise EngineUnavailable("The engine's stream ended before its end was said.", began=True)

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, data: bytes | None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """The response, once its headers are there; what breaks while it is read is an EngineError as well."""
        if self._watch.hung:
            raise EngineUnavailable("The engine does not answer.")
        try:
            async with asyncio.timeout(None) as scope:
                with self._watch.waiting(partial(scope.reschedule, 0.0)):
                    url, headers = self._address(path), CARRIED.get()
                    response = await self._opened().request(method, url, data=data, headers=headers)
            self._watch.heard()
            # From here on a stream's consumer runs between two reads, and is not to be cancelled.
            async with response:
                with self._watch.waiting(response.close):
                    yield response
            self._watch.heard()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if self._watch.hung:
                raise EngineUnavailable("The engine stopped answering.", began=True) from error
            if not isinstance(error, TimeoutError):
                self._watch.heard()  # a connection that breaks or is refused is no silence
            raise _broken(error) from error

    async def alive(self) -> bool:
        """Whether `/health` says so, soon; at once where it is hung, since the watch asks on."""
        status = None if self._watch.hung else await self._health()
        if status is None or status >= 400:
            return False
        self._watch.heard()
        return True

    async def _lives(self) -> bool:
        """Whether anything answers: a server without the route lives too, one whose engine is dead says 503."""
        status = await self._health()
        return status is not None and status < 500

    async def _health(self) -> int | None:
        try:
            async with (
                asyncio.timeout(watch.EVERY_SECONDS),
                self._opened().get(self._address("/health")) as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def close(self) -> None:
        self._watch.close()
        if self._session is not None:
            await self._session.close()
            self._session = None


def _socket(address: AddrInfoType) -> socket.socket:
    """A socket whose connection breaks, within a minute, where the other end or a router between forgot it."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    return made


def _broken(error: Exception) -> EngineError:
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return EngineUnavailable("The engine cannot be reached.")
    if isinstance(error, (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)):
        return EngineUnavailable("The engine's connection broke before its answer was whole.", began=True)
    return EngineGarbage("The engine's answer is not HTTP.")


def _refused(status: int, body: bytes) -> EngineError:
    if status >= 500 or status == 429:
        return EngineUnavailable(f"The engine answered {status}.", began=status not in (429, 503))
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.MsgspecError:
        return EngineRefused(f"The engine refused the call with {status}.")
    message = refusal.error.message if refusal.error else refusal.message
    return EngineRefused(f"The engine refused the call with {status}: {message[:500]}")


def decode(body: bytes, shape: type[T]) -> T:
    """`body` as `shape`, or EngineGarbage."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise EngineGarbage(f"The engine's answer does not follow its protocol: {error}") from error
