"""Clients of one store, as replicas are, and what they find in a tenant's account."""

from contextlib import asynccontextmanager

from service.errors import ApiError
from service.settings import Settings
from service.store.client import Store
from tests.redis_server import stored

BY = ("model", "majority")


@asynccontextmanager
async def stores(count):
    """So many clients of one store, as many replicas have."""
    shared = stored(Settings())
    opened = [Store(shared) for _ in range(count)]
    for store in opened:
        await store.start()
    try:
        yield opened
    finally:
        for store in opened:
            await store.stop()


async def lapse(quotas, name):
    """Let all leases of a tenant run out."""
    async with quotas._store.exchange() as redis:
        key = quotas._store.key("leases", name)
        for id in await redis.zrange(key, 0, -1):
            await redis.zadd(key, {id: 1})


async def today(quotas, name):
    running, (day,) = await quotas.usage(name, 1)
    return running, day


async def ended(asking):
    """What was held, or the code of the refusal."""
    try:
        return await asking
    except ApiError as refused:
        return refused.code
