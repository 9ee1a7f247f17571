"""HTTP to a vLLM server: one pooled aiohttp session, bytes in and out, failures as `EngineError`s.

aiohttp and not httpx, as measured by benchmarks/overhead.py: a call costs the caller about a tenth of the CPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from engines.base import EngineError, EngineGarbage, EngineRefused, EngineUnavailable

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 4.0  # below uvicorn's 5 s, so that no request meets a connection the server is closing
MAX_LINE = 4 * 2**20

T = TypeVar("T")


class _Problem(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    """A 4xx answer's body; vLLM nests it under `error`, older servers do not."""

    error: _Problem | None = None
    message: str = ""


class Transport:
    """Calls one server. `headers` go with every call (an API key, say); `url` has no trailing path."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, URL] = {}

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
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
        try:
            async with self._opened().request(method, self._address(path), data=data) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _broken(error) from error
        if response.status >= 400:
            raise _refused(response.status, answer)
        return answer

    async def events(self, path: str, body: Any) -> AsyncGenerator[bytes]:
        """The payloads of a server-sent event stream, up to `[DONE]`; closing the generator closes the connection."""
        data = msgspec.json.encode(body)
        try:
            async with self._opened().request("POST", self._address(path), data=data) as response:
                if response.status >= 400:
                    raise _refused(response.status, await response.read())
                async for line in response.content:
                    if line.startswith(b"data:"):
                        payload = line[5:].strip()
                        if payload == b"[DONE]":
                            return
                        yield payload
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise _broken(error) from error
        raise EngineUnavailable("The engine's stream ended before its end was said.", began=True)

    async def alive(self, path: str = "/health", within: float = 2.0) -> bool:
        try:
            async with asyncio.timeout(within):
                await self.get(path)
        except (EngineError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


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
