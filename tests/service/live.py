"""A real Aliquot on a free port in front of stand-ins: what the tests of this folder share."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from engines.scripted import Script, ScriptedEngine
from service.app import create_app
from service.settings import Settings, WorldConfig
from service.world import World
from tests.redis_server import stored
from tests.stand_ins import MODEL, StandInVllm, serving

MESSAGES = [{"role": "user", "content": "What is 7 + 8?"}]


@asynccontextmanager
async def listening(config: dict[str, Any], settings: Settings | None = None) -> AsyncGenerator[str]:
    """The address of a service with this configuration. Where the settings say nothing of a store, it has its own."""
    # With its protocol named, asyncio sends at once (TCP_NODELAY) what would else wait for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    async with World(stored(settings or Settings()), WorldConfig.model_validate(config)) as world:
        options = uvicorn.Config(
            create_app(world), log_config=None, lifespan="off", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(options)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
            listener.close()


class Live:
    """A service, the stand-in vLLM behind it, and a client in front of it."""

    def __init__(self, stand_in: StandInVllm, url: str, client: httpx.AsyncClient) -> None:
        self.stand_in = stand_in
        self.url = url
        self.client = client

    def script(self, script: Script, **options: Any) -> ScriptedEngine:
        """Let the model answer from `script` from now on."""
        self.stand_in.engine = engine = ScriptedEngine(script, **options)
        return engine

    @property
    def completions(self) -> list[Any]:
        """Bodies of the completion calls that reached the engine."""
        return [body for path, body in self.stand_in.requests if path == "/v1/completions"]

    async def chat(self, **body: Any) -> httpx.Response:
        return await self.client.post(
            "/v1/chat/completions", json={"model": MODEL, "messages": MESSAGES} | body
        )

    async def scale(self, **body: Any) -> httpx.Response:
        return await self.client.post("/v1/scale", json={"model": MODEL, "messages": MESSAGES} | body)


@asynccontextmanager
async def live(
    script: Script = (),
    settings: Settings | None = None,
    *,
    model: dict[str, Any] | None = None,
    others: Sequence[dict[str, Any]] = (),
    **config: Any,
) -> AsyncGenerator[Live]:
    """A service whose one model answers from `script`; `config` adds to its configuration, `model` to the model's.

    `others` are more models, which the same engine answers for.
    """
    stand_in = StandInVllm(ScriptedEngine(script))
    async with serving(stand_in.app()) as engine_url:
        first = {"name": MODEL, "urls": [engine_url]} | (model or {})
        models = [first, *({"urls": [engine_url], "served_name": MODEL} | other for other in others)]
        async with (
            listening({"models": models} | config, settings) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as client,
        ):
            yield Live(stand_in, url, client)
