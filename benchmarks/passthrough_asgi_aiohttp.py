"""The least that any Python service can do: bare ASGI, one engine call for 16 choices with aiohttp."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import yarl

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

ENGINE = yarl.URL(os.environ["ENGINE_URL"]) / "v1/chat/completions"
SAMPLES = int(os.environ["SAMPLES"])
JSON = {"content-type": "application/json"}


class PassThrough:
    """One ASGI application; it answers every path alike."""

    def __init__(self) -> None:
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.live(receive, send)
        elif scope["type"] == "http":
            await self.answer(receive, send)

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as self.session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def answer(self, receive: Receive, send: Send) -> None:
        content = b""
        more = True
        while more:
            event = await receive()
            content += event.get("body", b"")
            more = event.get("more_body", False)
        status, answer = await self.forward(content)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def forward(self, content: bytes) -> tuple[int, bytes]:
        if self.session is None or not content:
            return 400, b"{}"
        body = json.dumps(json.loads(content) | {"n": SAMPLES})
        async with self.session.post(ENGINE, data=body.encode(), headers=JSON) as answer:
            return answer.status, await answer.read()


app = PassThrough()
