"""Between HTTP and a run: reading a body within limits, and stopping work whose client has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing, suppress
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import ApiError
from service.settings import Limits

T = TypeVar("T")


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body. Raises ApiError 413 past `limits.body_bytes`, 408 past `limits.body_seconds`."""
    too_large = ApiError(
        413,
        "body_too_large",
        f"The body is larger than {limits.body_bytes} bytes. Send fewer or shorter messages.",
    )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError as slow:
        message = f"The body did not arrive within {limits.body_seconds:g} s. Send it at once."
        raise ApiError(408, "body_too_slow", message) from slow
    return bytes(body)


async def unless_left(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client closes its connection: ClientDisconnect then."""
    runner = asyncio.current_task()
    assert runner is not None
    left = False

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        left = True
        runner.cancel()

    watcher = asyncio.create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if left and not runner.uncancel():
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()


class EventStream(Response):
    """Server-sent events from a generator of encoded events; closed, work and all, when the client leaves."""

    def __init__(self, events: AsyncGenerator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(
            None, headers={**headers, "Cache-Control": "no-cache"}, media_type="text/event-stream"
        )
        self._events = events
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        with suppress(ClientDisconnect):
            await unless_left(receive, self._pump(send))
            await send({"type": "http.response.body", "body": b""})

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
