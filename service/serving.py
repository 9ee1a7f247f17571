"""Between HTTP and a run: reading a body within limits, and stopping work whose client has left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, aclosing, contextmanager, suppress
from typing import Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import ApiError
from service.settings import Limits

T = TypeVar("T")

FULL_BODIES: Final = 64
"""As many bodies of the largest size may be read at once; of smaller ones, more."""


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body. Raises ApiError 413 past `limits.body_bytes`, 408 past `limits.body_seconds`, 429: see `Bodies`."""
    too_large = ApiError(
        413,
        "body_too_large",
        f"The body is larger than {limits.body_bytes} bytes. Send fewer or shorter messages.",
    )
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise too_large
    body = bytearray()
    bodies: Bodies = request.app.state.world.bodies
    try:
        with bodies.reading() as came:
            async with asyncio.timeout(limits.body_seconds):
                async for chunk in request.stream():
                    came(len(chunk))
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


class Bodies:
    """Bytes of bodies that are being read, of all requests together: bounded, however slowly they come."""

    def __init__(self, limits: Limits) -> None:
        self._most = FULL_BODIES * limits.body_bytes
        self.held = 0

    @contextmanager
    def reading(self) -> Generator[Callable[[int], None]]:
        """To be told of bytes that have come, which count until the end. Raises ApiError 429 past the bound."""
        mine = 0

        def came(count: int) -> None:
            nonlocal mine
            mine += count
            self.held += count
            if self.held > self._most:
                message = "This replica reads more request bodies at once than it takes. Try again shortly."
                raise ApiError(429, "overloaded", message, retry_after=1)

        try:
            yield came
        finally:
            self.held -= mine


class EventStream(Response):
    """Server-sent events from a generator of encoded events; closed, work and all, when the client leaves.

    `held` is what the work holds, a place among the requests say; it is let go at the end. An ApiError from there is
    told as the last event.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        headers: Mapping[str, str],
        held: AsyncExitStack | None = None,
    ) -> None:
        super().__init__(
            None, headers={**headers, "Cache-Control": "no-cache"}, media_type="text/event-stream"
        )
        self._events = events
        self._held = held or AsyncExitStack()
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        last = b""
        with suppress(ClientDisconnect):
            try:
                async with self._held:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    await unless_left(receive, self._pump(send))
            except ApiError as error:
                last = b"data: " + msgspec.json.encode(error.body()) + b"\n\n"
            await send({"type": "http.response.body", "body": last})

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
