"""Replicas that note what reaches them, behind a real nginx with deploy/nginx.conf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web

from tests.deploy.nginx import Nginx, free_address, nginx

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Replica:
    """Notes each request that reaches it, then answers with its headers as JSON, or as `handler` says."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections: set[Any] = set()
        self.handler: Handler | None = None
        self.address = free_address()

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _, _ in self.requests]

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((request.method, request.raw_path, headers, await request.content.read()))
        self.connections.add(request.transport)
        return await self.handler(request) if self.handler else web.json_response(headers)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Replica]:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        host, port = self.address.split(":")
        await web.TCPSite(runner, host, int(port)).start()
        try:
            yield self
        finally:
            await runner.cleanup()


class Behind:
    """nginx, two replicas behind it, and a client before it."""

    def __init__(self, nginx: Nginx, replicas: list[Replica], client: httpx.AsyncClient) -> None:
        self.nginx = nginx
        self.first, self.second = replicas
        self.client = client

    @property
    def requests(self) -> list[tuple[str, str, dict[str, str], bytes]]:
        return self.first.requests + self.second.requests

    def both(self, handler: Handler) -> None:
        self.first.handler = self.second.handler = handler

    async def raw(self, sent: bytes) -> bytes:
        """What a connection answers until it is closed, to bytes that no client library would send."""
        host, port = self.nginx.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        answer = b""
        with suppress(ConnectionError):
            while some := await reader.read(65536):
                answer += some
        writer.transport.abort()
        return answer


@asynccontextmanager
async def behind(folder: Path, *, up: int = 2, template: str | None = None) -> AsyncGenerator[Behind]:
    replicas = [Replica(), Replica()]
    async with AsyncExitStack() as stack:
        for one in replicas[2 - up :]:
            await stack.enter_async_context(one.running())
        addresses = [one.address for one in replicas]
        running = await stack.enter_async_context(nginx(folder, addresses, template))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=running.url, timeout=20))
        yield Behind(running, replicas, client)


def error(response: httpx.Response) -> dict[str, Any]:
    """The error that a reply holds, in the API's shape."""
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    held = response.json()
    assert list(held) == ["error"]
    assert list(held["error"]) == ["message", "type", "param", "code"]
    return dict(held["error"])
