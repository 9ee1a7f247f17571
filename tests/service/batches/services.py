"""Services with batches in front of a model that says what it is asked, and clients of theirs."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from engines.base import EngineError
from engines.scripted import ScriptedEngine
from service.batches.lines import Line, Name, Read
from service.settings import Settings, WorldConfig
from service.world import World
from tests.redis_server import stored
from tests.service.live import listening
from tests.stand_ins import MODEL, StandInVllm, serving

CHAT, SCALE = "/v1/chat/completions", "/v1/scale"


def ask(text: str, **more) -> dict:
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "scaling": {"budget": {"samples": 1}}} | more


def jsonl(texts, url: str = CHAT, **more) -> str:
    lines = ({"custom_id": f"id {t}", "method": "POST", "url": url, "body": ask(t, **more)} for t in texts)
    return "\n".join(map(json.dumps, lines))


def echo(prompt: str):
    """A model that says what it was asked, and fails where that is asked for."""
    while True:
        yield EngineError("broken") if "fail" in prompt else f"{prompt}!"


class Service:
    def __init__(self, stand_in: StandInVllm, clients: list[httpx.AsyncClient]) -> None:
        self.stand_in = stand_in
        self.clients = clients
        self.client = clients[0]

    async def create(self, body: str, **headers) -> dict:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = await self.client.post("/v1/batches", content=body, headers=named)
        assert reply.status_code == 200, reply.text
        assert reply.headers["location"] == f"/v1/batches/{reply.json()['id']}"
        return reply.json()

    async def ended(self, id: str) -> dict:
        async with asyncio.timeout(30):
            while True:
                batch = (await self.client.get(f"/v1/batches/{id}")).json()
                if batch["status"] in ("completed", "cancelled"):
                    return batch
                await asyncio.sleep(0.02)

    async def results(self, id: str, replica: int = 0) -> list[dict]:
        reply = await self.clients[replica].get(f"/v1/batches/{id}/results")
        assert (reply.status_code, reply.headers["content-type"]) == (200, "application/jsonl")
        return [json.loads(line) for line in reply.text.splitlines()]


@asynccontextmanager
async def services(count: int = 1, script=echo, **config):
    stand_in = StandInVllm(ScriptedEngine(script))
    settings = stored(Settings())
    async with serving(stand_in.app()) as engine, AsyncExitStack() as stack:
        world = {"models": [{"name": MODEL, "urls": [engine]}], **config}
        urls = [await stack.enter_async_context(listening(world, settings)) for _ in range(count)]
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in urls
        ]
        yield Service(stand_in, clients)


@asynccontextmanager
async def world_of(settings: Settings, engine: str, **limits):
    """A service without its HTTP side: nothing in it looks after batches or runs jobs."""
    config = {"models": [{"name": MODEL, "urls": [engine]}], "limits": limits}
    async with World(settings, WorldConfig.model_validate(config)) as world:
        yield world


def lines(count: int) -> Read:
    texts = (str(n) for n in range(count))
    return Read(CHAT, [Line(Name(t, 1, False), json.dumps(ask(t)).encode()) for t in texts], [])
