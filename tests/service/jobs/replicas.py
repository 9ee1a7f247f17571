"""Several services on one store, in one process: each a world of its own, and its HTTP API where that is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from engines.scripted import Script, ScriptedEngine
from service.app import create_app
from service.jobs.pace import Pace
from service.jobs.views import JobView
from service.settings import Settings, WorldConfig
from service.store.client import StoreUnavailable
from service.tenants.tenant import ANONYMOUS
from service.world import World
from tests.redis_server import stored
from tests.stand_ins import MODEL, StandInVllm, serving

QUICK = Pace(renew=0.1, watch=0.02, idle=0.02, pause=0.02, poll=0.02, beat=0.2)
"""Looks often; leases are as long as ever, so that none is lost where the machine is busy: see `lapse`."""
MESSAGES = [{"role": "user", "content": "What is 7 + 8?"}]


class Replicas:
    """A stand-in vLLM, a store, and services in front of both."""

    def __init__(self, stand_in: StandInVllm, url: str, settings: Settings, stack: AsyncExitStack) -> None:
        self.stand_in = stand_in
        self.settings = settings
        self._url = url
        self._stack = stack

    def script(self, script: Script, **options: Any) -> ScriptedEngine:
        """Let the model answer from `script` from now on."""
        self.stand_in.engine = engine = ScriptedEngine(script, **options)
        return engine

    async def world(self, pace: Pace = QUICK, **limits: Any) -> World:
        """One more service, without its jobs' worker."""
        config = {"models": [{"name": MODEL, "urls": [self._url]}], "limits": limits}
        world = World(self.settings, WorldConfig.model_validate(config))
        world.jobs._pace = pace
        return await self._stack.enter_async_context(world)

    async def worker(self, pace: Pace = QUICK, **limits: Any) -> World:
        """One more service, which runs jobs."""
        world = await self.world(pace, **limits)
        create_app(world)
        return world

    async def client(self, pace: Pace = QUICK, **limits: Any) -> httpx.AsyncClient:
        """A client of one more service, which runs jobs."""
        world = await self.world(pace, **limits)
        transport = httpx.ASGITransport(create_app(world))
        client = httpx.AsyncClient(transport=transport, base_url="http://aliquot", timeout=20)
        return await self._stack.enter_async_context(client)


@asynccontextmanager
async def replicas(script: Script = (), settings: Settings | None = None) -> AsyncGenerator[Replicas]:
    """Services in front of a model that answers from `script`; on one store, where the settings say nothing of it."""
    stand_in = StandInVllm(ScriptedEngine(script))
    async with serving(stand_in.app()) as url, AsyncExitStack() as stack:
        yield Replicas(stand_in, url, stored(settings or Settings()), stack)


SEARCH = {
    "strategy": "repeated_sampling",
    "budget": {"samples": 8},
    "answer": {"format": "number"},
    "verifier": {"name": "exact", "reference": "15"},
}
"""Waves of 1, 2, 4 samples until one says 15."""


def body(**more: Any) -> bytes:
    """A job's request."""
    scaling = {"strategy": "majority", "budget": {"samples": 4}, "answer": {"format": "number"}}
    return json.dumps({"model": MODEL, "messages": MESSAGES, "scaling": scaling} | more).encode()


async def ended(world: World, id: str) -> JobView:
    """The job, once it has ended."""
    return await reached(world, id, lambda view: view.ended)


async def reached(world: World, id: str, condition: Callable[[JobView], bool]) -> JobView:
    """The job, once the condition holds; TimeoutError after some seconds."""
    async with asyncio.timeout(15):
        while not condition(view := await world.jobs.get(ANONYMOUS, id)):
            await asyncio.sleep(0.01)
    return view


async def result_of(world: World, id: str) -> Any:
    """What came of a job."""
    return json.loads(await world.jobs.result(ANONYMOUS, id) or b"null")


async def told(world: World, id: str) -> list[Any]:
    """All that is told of a job, to its end."""
    found = await world.jobs.events(ANONYMOUS, id, None)
    assert found
    return [json.loads(event.data) async for event in found if event]


def without_time(event: dict[str, Any]) -> dict[str, Any]:
    """An event, but for when it was."""
    return {name: value for name, value in event.items() if name != "at"}


async def lines_of(world: World, id: str) -> list[bytes]:
    """A job's journal."""
    return (await world.jobs.kept(ANONYMOUS, id)).lines


async def kill(world: World) -> None:
    """Let a service's worker end as kill -9 would: in the middle of what it does, and without a word to the store."""
    world.store.exchange = _gone  # type: ignore[method-assign]
    tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tried.set_result(None)
    world.tenants.settling.put = lambda _: tried  # type: ignore[method-assign]
    worker = world.jobs._worker
    assert worker is not None
    tasks = [*worker._loops, *worker._running]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def lapse(world: World) -> None:
    """Let so much time pass, for the store's queues, that no lease holds any more."""
    async with world.store.exchange() as redis:
        for priority in ("interactive", "batch"):
            queue = world.store.key("jobs", "queue", priority)
            pending = await redis.xpending_range(queue, *_ALL) if await redis.exists(queue) else []
            for entry in pending:
                late = {"idle": round(QUICK.lease * 1e3), "justid": True}
                await redis.xclaim(queue, "workers", "worker", 0, [entry["message_id"]], **late)


_ALL = ("workers", "-", "+", 1_000)


@asynccontextmanager
async def _gone() -> AsyncGenerator[Any]:
    raise StoreUnavailable
    yield
