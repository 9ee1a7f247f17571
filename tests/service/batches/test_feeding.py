"""Batches become jobs piece by piece, once, whichever replicas look after them; each is its tenant's alone."""

import asyncio

import pytest

from service.batches import batches as batches_module
from service.batches import scripts
from service.batches.views import Made
from service.settings import Settings
from service.tenants.tenant import ANONYMOUS, Tenant
from tests.redis_server import stored
from tests.service.batches.services import lines, world_of


async def test_another_tenants_batch_is_a_404(world):
    batch = await world.batches.create(Tenant("one"), lines(1), Made())
    for asked in (world.batches.get, world.batches.cancel):
        with pytest.raises(Exception, match="There is no batch"):
            await asked(Tenant("other"), batch.id)
    assert (await world.batches.page(Tenant("other"), None, 10)) == ([], False)
    assert (await world.batches.get(Tenant("one"), batch.id)).status == "in_progress"


async def test_a_tenant_has_so_many_open_batches_and_no_more(world):
    for _ in range(2):
        await world.batches.create(ANONYMOUS, lines(1), Made())
    with pytest.raises(Exception, match="You have 2 batches"):
        await world.batches.create(ANONYMOUS, lines(1), Made())
    await world.batches.create(Tenant("other"), lines(1), Made())
    async with world.store.exchange() as redis:
        kept = [key async for key in redis.scan_iter(world.store.key("batch", "*"))]
    assert len(kept) == 0 or len({key.split(b":")[3] for key in kept}) == 3


async def test_a_large_batch_becomes_jobs_piece_by_piece(world, monkeypatch):
    monkeypatch.setattr(batches_module, "PAUSE", 0.0)
    batch = await world.batches.create(ANONYMOUS, lines(scripts.WINDOW + 200), Made())
    queue = world.store.key("jobs", "queue", "batch")
    for _ in range(20):
        for id in await world.batches.kept.take():
            await world.batches._look(id)
    async with world.store.exchange() as redis:
        assert await redis.xlen(queue) == scripts.WINDOW
        assert await redis.llen(world.store.key("batch", batch.id, "bodies")) == 200


async def test_two_replicas_that_feed_one_batch_submit_each_line_once(world):
    settings = world._settings
    async with world_of(settings, "http://127.0.0.1:9") as other:
        batch = await world.batches.create(ANONYMOUS, lines(60), Made())
        found = await world.batches.kept.look(batch.id)
        await asyncio.gather(*(w.batches._feed(batch.id, found) for w in (world, other)))
        async with world.store.exchange() as redis:
            assert await redis.xlen(world.store.key("jobs", "queue", "batch")) == 60
        found = await other.batches.kept.look(batch.id)
        assert (found.next, len(found.running), found.bodies) == (60, 60, [])


async def test_a_batch_whose_replica_died_is_taken_over_and_by_one_alone(world, monkeypatch):
    hasty = scripts.TAKE._source.replace(str(scripts.LOOK_MS), "200")
    monkeypatch.setattr(scripts, "TAKE", scripts.Script(hasty))
    batch = await world.batches.create(ANONYMOUS, lines(3), Made())
    async with world_of(world._settings, "http://127.0.0.1:9") as other:
        assert await world.batches.kept.take() == [batch.id]
        assert await other.batches.kept.take() == []
        async with asyncio.timeout(5):
            while not (taken := await other.batches.kept.take()):
                await asyncio.sleep(0.02)
        assert taken == [batch.id]
        await other.batches._look(batch.id)
        views, _ = await world.jobs.page(ANONYMOUS, None, 10)
        assert {view.id for view in views} == {f"{batch.id}-{n}" for n in range(3)}


async def test_a_full_queue_holds_lines_back_and_loses_none():
    settings = stored(Settings())
    engine = "http://127.0.0.1:9"
    async with world_of(settings, engine, jobs_waiting=7) as full, world_of(settings, engine) as world:
        queue = world.store.key("jobs", "queue", "batch")
        batch = await full.batches.create(ANONYMOUS, lines(20), Made())
        found = await full.batches.kept.look(batch.id)
        assert await full.batches._feed(batch.id, found) == batches_module.BUSY_PAUSE
        async with world.store.exchange() as redis:
            assert await redis.xlen(queue) == 7
        found = await full.batches.kept.look(batch.id)
        assert found.next <= 7
        assert found.bodies == [], "while the queue is half full of batches, other jobs have the rest"
        found = await world.batches.kept.look(batch.id)
        assert await world.batches._feed(batch.id, found) == 0
        async with world.store.exchange() as redis:
            assert await redis.xlen(queue) == 20
        assert len((await world.batches.kept.look(batch.id)).running) == 20


async def test_a_batch_that_is_cancelled_while_it_is_fed_leaves_no_job_behind(world):
    batch = await world.batches.create(ANONYMOUS, lines(10), Made())
    found = await world.batches.kept.look(batch.id)
    await world.batches.cancel(ANONYMOUS, batch.id)
    await world.batches._feed(batch.id, found)
    await world.batches.kept.look(batch.id)
    assert (await world.batches.get(ANONYMOUS, batch.id)).status == "cancelled"
    views, _ = await world.jobs.page(ANONYMOUS, None, 100)
    assert {view.status for view in views} == {"cancelled"}


async def test_a_batch_is_kept_for_its_time_after_its_end_and_what_is_left_is_forgotten(world):
    batch = await world.batches.create(ANONYMOUS, lines(3), Made())
    await world.batches.cancel(ANONYMOUS, batch.id)
    await world.batches.kept.look(batch.id)
    async with world.store.exchange() as redis:
        for part in ((), ("names",), ("states",)):
            assert 0 < await redis.ttl(world.store.key("batch", batch.id, *part)) <= 7 * 86_400
        assert await redis.exists(world.store.key("batch", batch.id, "bodies")) == 0
        await redis.delete(world.store.key("batch", batch.id))
    assert (await world.batches.page(ANONYMOUS, None, 10))[0] == []
    await world.batches.create(ANONYMOUS, lines(1), Made())
    async with world.store.exchange() as redis:
        assert await redis.zcard(world.store.key("batches", "of", "anonymous")) == 1
