"""A stand-in vLLM that fails in the ways in which real ones do, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from engines.scripted import ScriptedEngine
from tests.stand_ins import StandInVllm, serving


class FaultyVllm(StandInVllm):
    """While `hung` it accepts calls and answers none, /health neither.

    `fault` answers completions, as in any stand-in, and `health`, where set, /health.
    """

    def __init__(self, texts: Sequence[str] = ("fine",) * 100, **options: Any) -> None:
        super().__init__(ScriptedEngine(texts, **options))
        self.hung = False
        self.health: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def app(self) -> web.Application:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.asked.append(request.path)
            self.headers.append(dict(request.headers))
            if self.hung:
                await asyncio.sleep(3600)
            if self.health and request.path == "/health":
                return await self.health(request)
            return await handler(request)

        app = super().app()
        app.middlewares.append(gate)
        return app

    @property
    def completions(self) -> int:
        """Completion calls that reached it."""
        return self.asked.count("/v1/completions")


@asynccontextmanager
async def faulty(*texts: str, **options: Any) -> AsyncGenerator[FaultyVllm]:
    """A `FaultyVllm` that listens."""
    server = FaultyVllm(texts or ("fine",) * 100, **options)
    async with serving(server.app()) as url:
        server.url = url
        yield server


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def answers_404(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


async def answers_503(_: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def answers_500(_: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="Traceback: /root/secret")


async def half_json(_: web.Request) -> web.StreamResponse:
    return web.Response(text='{"choices": [{"index": 0, "te', content_type="application/json")


async def half_a_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"ind')
    _abort(request)
    return response


async def resets(request: web.Request) -> web.StreamResponse:
    _abort(request)
    return web.Response()


def breaks_after(
    *choices: dict[str, Any], silent: bool = False
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A stream of these choices, one an event, that then breaks, or goes `silent`."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for choice in choices:
            await response.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        if silent:
            await asyncio.sleep(3600)
        _abort(request)
        return response

    return fault


def piece(index: int, text: str, finish: str | None = None) -> dict[str, Any]:
    """A piece of a continuation, a token for each character."""
    return {"index": index, "text": text, "token_ids": list(map(ord, text)), "finish_reason": finish}


def _abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()
