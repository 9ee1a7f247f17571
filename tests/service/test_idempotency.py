"""Keys in the store: one owner each, leases that outlive no owner, replies that are kept for their time."""

import asyncio

import pytest

from service import idempotency
from service.errors import ApiError
from service.idempotency import Claim, Head, Idempotency, Reply
from service.settings import Limits, Settings
from service.store.client import Store, StoreUnavailable
from tests.redis_server import stored

LIMITS = Limits()
REPLY = Reply(Head(200, [("content-type", "application/json")]), b'{"a":"\xc3\xa4"}\x00\xff')


@pytest.fixture
async def stores():
    """Two replicas' clients of one store."""
    settings = stored(Settings())
    both = [Store(settings), Store(settings)]
    for store in both:
        await store.start()
    yield both
    for store in both:
        await store.stop()


@pytest.fixture
def keys(stores):
    return [Idempotency(store, LIMITS) for store in stores]


async def test_of_a_thousand_races_between_two_replicas_each_has_one_winner(keys):
    async def run(replica: Idempotency, key: str) -> str:
        found = await replica.claim("t", key, "print", 1)
        if isinstance(found, Reply):
            return "replayed"
        await found.keep(REPLY)
        return "ran"

    for hundred in range(10):
        names = [f"{hundred}-{n}" for n in range(100)]
        ended = await asyncio.gather(*(run(replica, name) for name in names for replica in keys))
        pairs = zip(ended[::2], ended[1::2], strict=True)
        assert [sorted(pair) for pair in pairs] == [["ran", "replayed"]] * 100


async def test_a_reply_comes_back_byte_for_byte_on_another_replica(keys):
    claim = await keys[0].claim("t", "k", "print", 1)
    assert await claim.keep(REPLY)
    assert await keys[1].claim("t", "k", "print", 1) == REPLY


async def test_another_request_with_the_key_is_refused_before_and_after_the_first_has_ended(keys):
    claim = await keys[0].claim("t", "k", "print", 1)
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            await keys[1].claim("t", "k", "another", 1)
        assert (refused.value.status, refused.value.code) == (409, "idempotency_conflict")
        await claim.keep(REPLY)


async def test_tenants_do_not_share_keys(keys):
    await (await keys[0].claim("one", "k", "print", 1)).keep(REPLY)
    assert isinstance(await keys[0].claim("other", "k", "print", 1), Claim)
    assert isinstance(await keys[0].claim("one:k", "", "print", 1), Claim)


async def test_a_key_that_is_released_runs_again(keys):
    await (await keys[0].claim("t", "k", "print", 1)).release()
    assert isinstance(await keys[1].claim("t", "k", "another", 1), Claim)


async def test_one_that_waits_gets_the_reply_of_the_one_that_runs(keys):
    claim = await keys[0].claim("t", "k", "print", 1)
    waiting = asyncio.create_task(keys[1].claim("t", "k", "print", 1))
    await asyncio.sleep(3 * idempotency.FIRST_POLL)
    assert not waiting.done()
    await claim.keep(REPLY)
    assert await waiting == REPLY


async def test_a_dead_owners_key_is_taken_over(keys, monkeypatch):
    monkeypatch.setattr(idempotency, "LEASE_SECONDS", 0.2)
    dead = await keys[0].claim("t", "k", "print", 1)
    heir = await keys[1].claim("t", "k", "print", 1)
    assert isinstance(heir, Claim)
    assert not await dead.keep(REPLY), "one that was taken for dead has nothing to say any more"
    await dead.release()
    assert await heir.keep(REPLY)


async def test_a_lease_is_renewed_while_the_owner_works(keys, monkeypatch):
    monkeypatch.setattr(idempotency, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(idempotency, "RENEW_SECONDS", 0.02)
    claim = await keys[0].claim("t", "k", "print", 1)
    async with claim.held():
        waiting = asyncio.create_task(keys[1].claim("t", "k", "print", 1))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await claim.keep(REPLY)
    assert await waiting == REPLY


async def test_a_lapsed_key_that_nobody_took_is_held_again_and_its_reply_kept(keys, stores, monkeypatch):
    monkeypatch.setattr(idempotency, "RENEW_SECONDS", 0.02)
    claim = await keys[0].claim("t", "k", "print", 1)
    key = stores[0].key("idempotency", "t", "k")
    async with claim.held(), stores[0].exchange() as redis:
        await redis.delete(key)
        async with asyncio.timeout(5):
            while not await redis.exists(key):
                await asyncio.sleep(0.005)
    async with stores[0].exchange() as redis:
        await redis.delete(key)
    assert await claim.keep(REPLY)
    assert await keys[1].claim("t", "k", "print", 1) == REPLY


async def test_a_reply_is_kept_for_its_time(stores):
    keys = Idempotency(stores[0], Limits(idempotent_seconds=100))
    await (await keys.claim("t", "k", "print", 1)).keep(REPLY)
    async with stores[0].exchange() as redis:
        assert 95 < await redis.ttl(stores[0].key("idempotency", "t", "k")) <= 100


async def test_waiting_is_bounded_in_time_and_number(stores, monkeypatch):
    monkeypatch.setattr(idempotency, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(idempotency, "RENEW_SECONDS", 0.02)
    monkeypatch.setattr(idempotency, "MOST_WAITING", 1)
    keys = Idempotency(stores[0], Limits(seconds=0.05))
    async with (await keys.claim("t", "k", "print", 1)).held():
        first = asyncio.create_task(keys.claim("t", "k", "print", 1))
        await asyncio.sleep(0.05)
        for asked in (keys.claim("t", "k", "print", 1), first):
            with pytest.raises(ApiError) as refused:
                await asked
            assert (refused.value.status, refused.value.code) == (503, "idempotency_in_flight")
            assert "Retry-After" in refused.value.headers


async def test_without_the_store_nothing_is_run_and_nothing_breaks_that_runs(stores):
    keys = Idempotency(stores[0], LIMITS)
    claim = await keys.claim("t", "k", "print", 1)
    await stores[0].stop()
    assert not await claim.keep(REPLY)
    await claim.release()
    with pytest.raises(StoreUnavailable):
        await keys.claim("t", "other", "print", 1)
