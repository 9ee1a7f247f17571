"""A server that speaks vLLM's protocol and answers from a simulated world: model, rewards and embeddings in one.

Every response says so: in its header `X-Simulated`, in `system_fingerprint`, and at the beginning of every text.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeVar
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engines.base import Call, EngineRefused
from engines.simulated.completions import Writer
from engines.simulated.engine import MODEL, SimulatedEngine
from engines.simulated.pooling import EMBEDDING, HACKABLE, OUTCOME, PROCESS, classified, embedded, pooled
from engines.simulated.wire import (
    Asked,
    CompletionAsked,
    DetokenizeAsked,
    PoolingAsked,
    Refusal,
    TokenizeAsked,
    read,
    read_prompts,
)
from engines.simulated.words import decode, encode, render
from engines.simulated.world import SimulatedWorld

MODELS: Final = (MODEL, PROCESS, OUTCOME, HACKABLE, EMBEDDING)
HEADER: Final = "X-Simulated"

_MOST_BYTES: Final = 16 * 2**20
_VERSION: Final = "0.32.0+simulated"
_LEFT: Final = 499

T = TypeVar("T")
A = TypeVar("A", bound=Asked)

Pool = Callable[[SimulatedWorld, PoolingAsked], tuple[list[dict[str, Any]], int]]


def create_simulated_app(engine: SimulatedEngine) -> Starlette:
    """The ASGI application that serves `engine` and its world's rewards."""
    server = _Server(engine)
    return Starlette(
        routes=[
            Route("/health", server.health),
            Route("/version", server.version),
            Route("/load", server.load),
            Route("/metrics", server.metrics),
            Route("/v1/models", server.models),
            Route("/tokenize", server.tokenize, methods=["POST"]),
            Route("/detokenize", server.detokenize, methods=["POST"]),
            Route("/v1/completions", server.completions, methods=["POST"]),
            Route("/pooling", server.pooling(pooled, "pooling"), methods=["POST"]),
            Route("/classify", server.pooling(classified, "classify"), methods=["POST"]),
            Route("/v1/embeddings", server.pooling(embedded, "embd"), methods=["POST"]),
        ],
        middleware=[Middleware(_SaySimulated)],
        exception_handlers={Refusal: _refused, ClientDisconnect: _left},
    )


class _Server:
    def __init__(self, engine: SimulatedEngine) -> None:
        self._engine = engine
        self._world = engine.world
        self._context = engine.world.settings.context
        self._running = 0

    async def health(self, _: Request) -> Response:
        return Response()

    async def version(self, _: Request) -> Response:
        return _json({"version": _VERSION})

    async def load(self, _: Request) -> Response:
        return _json({"server_load": self._running})

    async def models(self, _: Request) -> Response:
        facts = {"object": "model", "created": 0, "owned_by": "simulated", "parent": None}
        data = [{"id": name, "root": name, "max_model_len": self._context, **facts} for name in MODELS]
        return _json({"object": "list", "data": data})

    async def metrics(self, _: Request) -> Response:
        cache = self._engine.cache
        values = {
            "counter prefix_cache_queries_total": cache.queried,
            "counter prefix_cache_hits_total": cache.hit,
            "gauge num_requests_running": self._running,
            "gauge num_requests_waiting": 0,
        }
        lines = []
        for name, value in values.items():
            kind, metric = name.split()
            lines.append(f"# TYPE vllm:{metric} {kind}")
            lines.append(f'vllm:{metric}{{engine="0",model_name="{MODEL}"}} {float(value)}')
        return PlainTextResponse("\n".join(lines) + "\n")

    async def tokenize(self, request: Request) -> Response:
        asked = await _read(request, TokenizeAsked)
        if asked.messages is not None:
            if not asked.messages:
                raise Refusal("Cannot apply chat template to an empty conversation.", "messages")
            messages = [message.plain() for message in asked.messages]
            tokens = render(messages, generation=asked.add_generation_prompt)
        elif asked.prompt is not None:
            tokens = encode(asked.prompt)
        else:
            raise Refusal("Give prompt or messages.", "prompt")
        return _json(
            {"count": len(tokens), "max_model_len": self._context, "tokens": tokens, "token_strs": None}
        )

    async def detokenize(self, request: Request) -> Response:
        asked = await _read(request, DetokenizeAsked)
        (tokens,) = read_prompts(asked.tokens, self._context, "tokens")
        return _json({"prompt": decode(tokens)})

    def pooling(self, pool: Pool, kind: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of a route of the pooling runner."""

        async def handle(request: Request) -> Response:
            asked = await _read(request, PoolingAsked)
            data, read = pool(self._world, asked)
            return _json(
                {
                    "id": f"{kind}-{uuid4().hex}",
                    "object": "list",
                    "created": int(time.time()),
                    "model": asked.model,
                    "data": data,
                    "usage": {"prompt_tokens": read, "total_tokens": read, "completion_tokens": 0},
                }
            )

        return handle

    async def completions(self, request: Request) -> Response:
        asked = await _read(request, CompletionAsked)
        if asked.model != MODEL:
            raise Refusal(f"The model {asked.model} does not generate; {MODEL} does.", "model")
        call = asked.call(self._context)
        writer = Writer(call, ids=bool(asked.return_token_ids))
        try:
            samples, usage = await self._engine.draw(call)
        except EngineRefused as refusal:
            raise Refusal(str(refusal)) from refusal
        if not asked.stream:
            with self._generating(call):
                await _unless_left(request, self._engine.decode(samples))
            return _json(writer.whole(samples, usage))

        async def events() -> AsyncGenerator[bytes]:
            with self._generating(call):
                async with aclosing(self._engine.deal(samples)) as chunks:
                    async for chunk in chunks:
                        yield _event(writer.piece(chunk, samples[chunk.prompt][chunk.choice]))
            if asked.stream_options and asked.stream_options.include_usage:
                yield _event(writer.last(usage))
            yield b"data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @contextmanager
    def _generating(self, call: Call) -> Generator[None]:
        sequences = len(call.prompts) * call.n
        self._running += sequences
        try:
            yield
        finally:
            self._running -= sequences


class _SaySimulated:
    """Puts the header that says so on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def mark(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER.lower().encode(), b"true")]
            await send(message)

        await self._app(scope, receive, mark)


async def _read(request: Request, shape: type[A]) -> A:
    """The body as `shape`, of a model that is served. Raises Refusal."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise Refusal(f"The body is larger than {_MOST_BYTES} bytes. Send less.", status=413)
    asked = read(bytes(body), shape)
    if asked.model not in MODELS:
        raise Refusal(f"The model `{asked.model[:200]}` does not exist.", "model", status=404)
    return asked


async def _unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled where the client closes its connection: ClientDisconnect then."""

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.create_task(work), asyncio.create_task(leave())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _event(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return _json(refusal.body, refusal.status)


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=_LEFT)
