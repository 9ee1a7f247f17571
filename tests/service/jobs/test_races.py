"""Many at once at one job: exactly one wins, whatever it is that they race for."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from service.store.client import StoreUnavailable
from service.tenants.tenant import ANONYMOUS
from tests.service.jobs.replicas import QUICK, body, lapse, replicas

RACERS = 1_000
AT_ONCE = 50
"""As many ask at a time: a replica has 64 connections."""


@pytest.fixture(autouse=True)
def quiet():
    with capture_logs():
        yield


async def race(count, ask):
    """What `ask` answers to so many who ask at once; it is given the number of each."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number):
        async with gate:
            return await ask(number)

    return await asyncio.gather(*map(one, range(count)))


async def test_of_a_thousand_that_would_take_a_job_one_does_and_of_a_thousand_that_would_take_it_over():
    async with replicas() as some:
        worlds = [await some.world(), await some.world()]
        id = (await worlds[0].jobs.submit(ANONYMOUS, body())).id
        for attempt in (1, 2):
            taken = await race(RACERS, lambda n: worlds[n % 2].jobs._jobs.take(QUICK.lease))
            held = [one for one in taken if one]
            assert [(one.id, one.attempt) for one in held] == [(id, attempt)]
            await lapse(worlds[0])


async def test_of_a_thousand_that_would_end_a_job_one_does():
    async with replicas() as some:
        world = await some.world()
        id = (await world.jobs.submit(ANONYMOUS, body())).id
        store = world.jobs._jobs
        held = []
        for _ in range(10):
            held.append(await store.take(QUICK.lease))
            await lapse(world)

        async def end(number):
            if number % 11 == 10:
                return "cancelled" if await store.cancel("anonymous", id) else None
            result = b'{"by":%d}' % number
            if await store.finish(held[number % 11], "completed", b"", result):
                return result
            return None

        won = [one for one in await race(RACERS, end) if one]
        view, result = await store.whole("anonymous", id)
        if view.status == "cancelled":
            assert (won, result) == (["cancelled"], None)
        else:
            # That of the one which held it; what it asked for again was told to have been done.
            assert result in won
            assert {int(one[6:-1]) % 11 for one in won} == {9}


async def test_of_a_thousand_appends_at_one_place_one_is_kept():
    async with replicas() as some:
        world = await some.world()
        id = (await world.jobs.submit(ANONYMOUS, body())).id
        store = world.jobs._jobs
        held = await store.take(QUICK.lease)
        kept = await race(RACERS, lambda n: store.append(held, 0, b"%d" % n, "", 0, []))
        assert sum(kept) == 1
        assert (await store.kept(id)).lines == [b"%d" % kept.index(True)]


async def test_a_thousand_submissions_under_one_id_make_one_job():
    async with replicas() as some:
        world = await some.world()
        views = await race(RACERS, lambda n: world.jobs.submit(ANONYMOUS, body(seed=n), id="one"))
        assert set(views) == {views[0]}
        assert [view.id for view in (await world.jobs.page(ANONYMOUS, None, 10))[0]] == ["one"]
        assert (await world.jobs._jobs.watch([], renew=False))[0] == 1


async def test_a_full_store_refuses_and_nothing_is_torn():
    """A server with no memory left: every step is done whole or not at all, and goes on once there is room."""
    async with replicas() as some:
        world = await some.world()
        store = world.jobs._jobs
        ids = [(await world.jobs.submit(ANONYMOUS, body())).id for _ in range(3)]
        held = await store.take(QUICK.lease)
        steps = [
            lambda: world.jobs.submit(ANONYMOUS, body(), id="late"),
            lambda: store.take(QUICK.lease),
            lambda: store.append(held, 0, b"{}", "", 0, [b"{}"]),
            lambda: store.finish(held, "completed", b"", b"{}"),
            lambda: store.give_up(held, 1.0, QUICK.lease),
            lambda: store.cancel("anonymous", ids[1]),
        ]
        async with full(world):
            for step in steps:
                with pytest.raises(StoreUnavailable, match="refuses"):
                    await step()
            assert await store.watch([held], renew=True) == (2, ["held"])
        assert [v.status for v in (await store.page("anonymous", None, 9))[0]] == [
            "queued",
            "queued",
            "running",
        ]
        await lapse(world)
        assert {(await store.take(QUICK.lease)).id for _ in range(3)} == set(ids)


@asynccontextmanager
async def full(world):
    """The store's server has no memory left, for as long as this lasts."""
    async with world.store.exchange() as redis:
        await redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        async with world.store.exchange() as redis:
            await redis.config_set("maxmemory", 0)
