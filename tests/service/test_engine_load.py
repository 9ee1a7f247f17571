"""A model's engines are asked for their load while they have work, and only then."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web

from engines.load import Load
from engines.scripted import ScriptedEngine
from engines.transport import Transport
from service import engine_load
from service.engine_load import EngineLoad
from service.settings import Limits
from service.window import Window
from tests.stand_ins import StandInVllm, serving, until


@asynccontextmanager
async def loaded(*stand_ins: StandInVllm):
    """The load of these engines as one model's."""
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(stand_in.app())) for stand_in in stand_ins]
        load = EngineLoad({str(i): Transport(url) for i, url in enumerate(urls)}, Window(Limits()))
        stack.push_async_callback(load.close)
        yield load


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("SECONDS", "QUICK_SECONDS"):
        monkeypatch.setattr(engine_load, name, 0.02)


def engine(*load: float) -> StandInVllm:
    stand_in = StandInVllm(ScriptedEngine([]))
    stand_in.load = load or None
    return stand_in


async def test_it_is_asked_while_work_is_under_way_and_then_no_more():
    busy = engine(3, 1, 0.5)
    async with loaded(busy) as load:
        assert busy.load_asked == 0
        load.begin()
        load.begin()
        load.end()
        await until(lambda: busy.load_asked >= 3)
        assert load.loads == {"0": Load(3, 1, 0.5)}
        load.end()
        await until(lambda: load.loads == {})
        asked = busy.load_asked
        await asyncio.sleep(0.1)
        assert busy.load_asked == asked
        load.begin()
        await until(lambda: busy.load_asked > asked)
        load.end()


async def test_engines_that_do_not_tell_set_no_bound_and_are_not_asked_again_and_again():
    silent = engine()
    async with loaded(silent) as load:
        load.begin()
        for _ in range(3):
            await load.next_reading()
        assert load.window.has_room
        assert load.window.allowed == float("inf")
        assert silent.load_asked == 1
        load.end()


async def test_of_two_engines_one_that_is_silent_or_gone_does_not_count():
    async with loaded(engine(), engine(8, 40, 0.5)) as load:
        load.begin()
        await load.next_reading()
        assert load.loads == {"1": Load(8, 40, 0.5)}
        assert load.window.load == Load(8, 40, 0.5)
        load.end()


async def test_one_that_never_answers_holds_up_no_reading_for_long(monkeypatch):
    monkeypatch.setattr(engine_load, "WITHIN_SECONDS", 0.05)

    async def hang(_):
        await asyncio.Event().wait()

    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_get("/metrics", hang)
    async with asyncio.timeout(10), serving(app) as url:
        load = EngineLoad({"hung": Transport(url)}, Window(Limits()))
        load.begin()
        await load.next_reading()
        assert load.loads == {}
        assert load.window.has_room
        load.end()
        await load.close()


async def test_who_waits_for_a_reading_gets_it_before_its_turn(monkeypatch):
    monkeypatch.setattr(engine_load, "SECONDS", 60.0)
    calm = engine(3, 0, 0.5)
    async with loaded(calm) as load:
        load.begin()
        await until(lambda: load.loads != {})
        await load.next_reading()
        assert calm.load_asked == 2
        load.end()
