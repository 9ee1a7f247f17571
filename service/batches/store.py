"""Batches in Redis: each method raises StoreUnavailable where the store fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote

import msgspec

from service.batches import scripts
from service.batches.lines import Endpoint, Line, Name
from service.batches.views import FIELDS, BatchView, Made, batch_not_found, read_view
from service.errors import ApiError
from service.settings import Limits
from service.store.client import Store, StoreUnavailable
from service.store.script import Script

PART_BYTES: Final = 2**20
"""About what is written in one exchange, which has its time."""
UNMADE_SECONDS: Final = 600
"""How long lines are kept without their batch, where what writes them dies."""
AT_ONCE: Final = 4
"""Batches that one replica takes to look at in one step."""
BUSY_SECONDS: Final = 60
"""When to come again where a tenant has too many batches."""


class Look(NamedTuple):
    """What is to be done for a batch: `bodies` of the lines from `next` on to be submitted, jobs of the lines `running`
    to be cancelled where the batch is, a `webhook` to be told where it has ended."""

    tenant: str
    status: str
    webhook: str
    next: int
    running: list[int]
    bodies: list[bytes]


class BatchStore:
    """What `Batches` asks of Redis."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._root = [store.key()]

    async def create(
        self, tenant: str, id: str, endpoint: Endpoint, lines: Sequence[Line], made: Made
    ) -> None:
        """Keep a batch. Raises ApiError 429 where the tenant has too many that have not ended."""
        names, bodies = self._key(id, "names"), self._key(id, "bodies")
        for part in _parts(lines):
            async with self._store.exchange() as redis:
                commands = redis.pipeline(transaction=True)
                commands.rpush(names, *(msgspec.json.encode(line.name) for line in part))
                commands.rpush(bodies, *(line.body for line in part))
                commands.expire(names, UNMADE_SECONDS)
                commands.expire(bodies, UNMADE_SECONDS)
                await commands.execute()
        most = self._limits.batches_open
        named = (id, quote(tenant, safe=""), tenant, endpoint, made.webhook or "", len(lines))
        answer = await self._run(scripts.CREATE, *named, most, msgspec.json.encode(made))
        if answer == b"kept":
            return
        async with self._store.exchange() as redis:
            await redis.delete(names, bodies)
        if answer == b"gone":  # a part was written twice, where a connection broke, or is lost
            raise StoreUnavailable
        message = (
            f"You have {most} batches that have not ended, and no more are taken. Wait for one, or cancel it."
        )
        raise ApiError(429, "too_many_batches", message, retry_after=BUSY_SECONDS)

    async def view(self, tenant: str, id: str) -> BatchView:
        """A tenant's batch. Raises ApiError 404."""
        async with self._store.exchange() as redis:
            values = await cast(Any, redis.hmget(self._key(id), FIELDS))
        if values[0] is None or values[0].decode() != tenant or values[1] is None:
            raise batch_not_found(id)
        return read_view(id, values)

    async def page(self, tenant: str, after: str | None, limit: int) -> tuple[list[BatchView], bool]:
        """A tenant's batches, newest first, from behind `after` on, and whether there are more. Raises ApiError 404."""
        found = await self._run(scripts.PAGE, quote(tenant, safe=""), after or "", limit + 1, *FIELDS)
        if found is None:
            raise batch_not_found(after or "", "after")
        views = [read_view(id.decode(), values) for id, values in found[:limit] if values[0] is not None]
        return views, len(found) > limit

    async def cancel(self, tenant: str, id: str) -> None:
        """Begin to end a tenant's batch; one that has ended stays as it is. Raises ApiError 404."""
        if await self._run(scripts.CANCEL, quote(id, safe=""), tenant) == b"missing":
            raise batch_not_found(id)

    async def names(self, id: str, first: int, count: int) -> tuple[list[Name], str]:
        """What the lines from `first` on are called, and the letter of each one's state."""
        async with self._store.exchange() as redis:
            commands = redis.pipeline(transaction=True)
            commands.lrange(self._key(id, "names"), first, first + count - 1)
            commands.getrange(self._key(id, "states"), first, first + count - 1)
            names, states = await commands.execute()
        if len(names) != len(states):
            raise batch_not_found(id)
        return [msgspec.json.decode(name, type=Name) for name in names], states.decode()

    async def take(self) -> list[str]:
        """Batches that are due, for this replica to look at."""
        return [id.decode() for id in await self._run(scripts.TAKE, AT_ONCE)]

    async def look(self, id: str) -> Look | None:
        """What is to be done for a batch; None for one that is not kept any more."""
        most = max(1, self._limits.jobs_waiting // 2)
        found = await self._run(scripts.LOOK, id, most, self._limits.job_seconds)
        if found is None:
            return None
        tenant, status, webhook, following, running, bodies = found
        return Look(tenant.decode(), status.decode(), webhook.decode(), following, running, bodies)

    async def fed(self, id: str, upto: int) -> str:
        """The lines before `upto` are jobs; the batch's status."""
        return str((await self._run(scripts.FED, id, upto)).decode())

    async def later(self, id: str, seconds: float) -> None:
        """Have a batch looked at in so many seconds."""
        await self._run(scripts.LATER, id, round(seconds * 1e3))

    async def told(self, id: str) -> None:
        """Nothing more is to be done for a batch that has ended."""
        async with self._store.exchange() as redis:
            await redis.zrem(self._store.key("batches", "due"), id)

    def _key(self, id: str, *parts: str) -> str:
        return self._store.key("batch", id, *parts)

    async def _run(self, script: Script, *arguments: str | bytes | int) -> Any:
        async with self._store.exchange() as redis:
            return await script(redis, self._root, *arguments)


def _parts(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """The lines in parts of about `PART_BYTES`."""
    part: list[Line] = []
    size = 0
    for line in lines:
        part.append(line)
        size += len(line.body)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
